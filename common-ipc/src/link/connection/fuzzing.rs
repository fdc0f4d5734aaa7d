//! What the fuzz targets of connections run: an honest end whose peer does anything.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::link::Bytes;
use crate::link::attachments::Incoming;
use crate::link::codec;
use crate::link::connection::Connection;

/// A value with something of everything.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Value {
    Nothing,
    Text(String),
    Bytes(Bytes),
    Units(Vec<()>),
    Map(std::collections::BTreeMap<u16, Option<char>>),
    Nested(Box<Value>),
    Many { values: Vec<Value>, flag: bool, number: f32 },
    End(Connection<u8, u8>),
}

type Pair = (Connection<Value, Value>, Connection<Value, Value>);

const MAX_FRAME: usize = 1 << 20;

fn pair() -> Option<Pair> {
    Connection::pair_with(MAX_FRAME, 4096).ok()
}

/// Takes so many bytes off the front.
fn cut<'a>(data: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (first, rest) = data.split_at(count.min(data.len()));
    *data = rest;
    first
}

fn word(data: &mut &[u8]) -> u32 {
    let mut four = [0; 4];
    let bytes = cut(data, 4);
    four[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(four)
}

/// The data as an encoded value, then as chunks with any flags.
pub(crate) fn frames(data: &[u8]) {
    let incoming = Incoming {
        fds: vec![None],
        buffers: vec![Some(Bytes::new()), None],
        max_frame: MAX_FRAME,
        provisional: false,
        lost: false,
    };
    let _ = codec::decode_message::<Value>(data, Some(incoming));
    let Some((one, other)) = pair() else { return };
    let Ok(view) = other.end.view() else { return };
    let mut data = data;
    while !data.is_empty() {
        let first = word(&mut data);
        let chunk = cut(&mut data, first as usize & 0x3ff);
        {
            let producer = &mut other.end.sending.lock().producer;
            if producer.room(view).is_ok_and(|room| room < Some(chunk.len() as u32)) {
                break;
            }
            producer.put(view, chunk);
            producer.commit(view, first & 0xf000_0000);
        }
        if first & 0x400 != 0 && one.try_recv().is_err() {
            return;
        }
    }
    while let Ok(Some(_)) = one.try_recv() {}
}

/// The data as writes to any words, between calls of every kind.
pub(crate) fn words(data: &[u8]) {
    let Some((one, other)) = pair() else { return };
    let Ok(view) = other.end.view() else { return };
    let mut data = data;
    while !data.is_empty() {
        let what = word(&mut data);
        let value = word(&mut data);
        // Half of them to the words of the protocol.
        let range = if what & 8 == 0 { 1536 } else { view.len() };
        let at = (what >> 4) as usize * 4 % range;
        view.word(at).store(value, Ordering::Relaxed);
        match what & 7 {
            0 | 1 => drop(one.try_recv()),
            2 => drop(one.recv_timeout(Duration::from_micros(10))),
            3 => drop(one.try_send(&Value::Text("x".repeat(what as usize >> 4 & 0x3ff)))),
            4 => drop(one.send_timeout(&Value::Bytes(vec![1; 5000].into()), Duration::from_micros(10))),
            5 => drop(other.try_send(&Value::Units(vec![(); 9]))),
            6 => drop(other.try_send(&Value::Many { values: Vec::new(), flag: true, number: 1.5 })),
            _ => {}
        }
    }
}
