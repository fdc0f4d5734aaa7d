//! Small messages in one direction, as fast as they go.

use std::hint::black_box;

use common_ipc::link::Connection;
use common_ipc::process::LaunchOptions;
use integration_tests::raw::ring::Ring;
use integration_tests::raw::shared::Shared;
use nix::unistd::pipe;
use serde::{Deserialize, Serialize};

use crate::case::{Better, Case, Contender};
use crate::kernel::{read_whole, write_whole};
use crate::measure::Setting;
use crate::place::Place;
use crate::rivals;

/// The child sends without end, and its parent counts what it receives.
pub(crate) const CASE: Case = Case {
    name: "one_way_64B",
    task: "messages of 64 bytes in one direction",
    unit: "million/s",
    better: Better::Higher,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours("Connection, a serde struct", ours),
        Contender::limit("shared-memory ring, spin", ring),
        Contender::peer("encoding and decoding alone", codec),
        Contender::peer("pipe, a write for each", pipe_writes),
        Contender::peer("ipc-channel Vec<u8>", rivals::ipc_channel::one_way),
    ],
    bounds: &[],
};

#[derive(Serialize, Deserialize)]
struct Sample {
    words: [u64; 8],
}

fn ours(setting: Setting) -> f64 {
    let (here, there) = Connection::<(), Sample>::pair().unwrap();
    let child = setting.child(&LaunchOptions::new().give(&there), move || {
        let mut number = 0;
        loop {
            number += 1;
            // An error is the parent that has had enough.
            if there.send(&Sample { words: [number; 8] }).is_err() {
                return;
            }
        }
    });
    let mut expected = 0;
    let figure = setting.rate_of(|| {
        expected += 1;
        assert_eq!(here.recv().unwrap().words[7], expected);
    });
    drop(here);
    child.output::<()>().unwrap();
    figure
}

/// So many messages that neither side waits for each one of the other's.
const SLOTS: usize = 4096;

fn ring(setting: Setting) -> f64 {
    let ring = Shared::<Ring<64, SLOTS>>::new();
    let _other = setting.fork(|| {
        let mut writer = ring.writer();
        let mut message = [0; 64];
        for number in 1_u64.. {
            message[56..].copy_from_slice(&number.to_ne_bytes());
            // All of it is written, and read below, whatever the optimiser knows of its bytes.
            writer.write(black_box(&message));
        }
    });
    let mut reader = ring.reader();
    let mut message = [0; 64];
    let mut expected = 0_u64;
    setting.rate_of(|| {
        expected += 1;
        reader.read(black_box(&mut message));
        assert_eq!(message[56..], expected.to_ne_bytes());
    })
}

/// What a typed message costs without going anywhere: no library that serialises is faster.
fn codec(setting: Setting) -> f64 {
    let config = bincode::config::standard().with_fixed_int_encoding();
    let mut bytes = [0; 64];
    let mut number = 0;
    setting.rate_of(|| {
        number += 1;
        let sample = black_box(Sample { words: [number; 8] });
        bincode::serde::encode_into_slice(&sample, &mut bytes, config).unwrap();
        let (back, _): (Sample, usize) =
            bincode::serde::decode_from_slice(black_box(&bytes), config).unwrap();
        assert_eq!(black_box(back).words[7], number);
    })
}

fn pipe_writes(setting: Setting) -> f64 {
    let (from, to) = pipe().unwrap();
    let _other = setting.fork(|| {
        let message = [1; 64];
        loop {
            write_whole(&to, &message);
        }
    });
    let mut message = [0; 64];
    setting.rate_of(|| read_whole(&from, &mut message))
}
