//! A large payload of bytes there and back.

use std::hint::black_box;

use common_ipc::link::{Bytes, Connection};
use common_ipc::process::LaunchOptions;
use integration_tests::raw::ring::Ring;
use integration_tests::raw::shared::Shared;
use nix::unistd::pipe;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::case::{Better, Case, Contender};
use crate::kernel::{read_whole, write_whole};
use crate::measure::Setting;
use crate::place::Place;
use crate::rivals;

/// One process sends 1 MiB out of memory of its own. The other one receives it into memory of *its* own,
/// all of it, before it sends it back from there. Both ways count: a round trip moves 2 MiB, each byte
/// of which is copied in once and out once.
pub(crate) const CASE: Case = Case {
    name: "payload_1MiB",
    task: "1 MiB there and back, copied in and out each time; the bytes of both ways count",
    unit: "GB/s",
    better: Better::Higher,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours("Connection, Bytes", ours),
        Contender::limit("shared-memory ring, spin", ring::<SIZE, 2>),
        Contender::peer("shared-memory ring in pieces of 64 KiB", ring::<{ 64 << 10 }, 32>),
        Contender::peer("Connection, Vec<u8>, which serde takes apart", ours_as_vec),
        Contender::peer("pipe pair", pipes),
        Contender::peer("ipc-channel Vec<u8>", rivals::ipc_channel::payload_vec),
        Contender::peer("ipc-channel IpcSharedMemory", rivals::ipc_channel::payload_shared_memory),
        Contender::peer("ipc-channel bytes_channel", rivals::ipc_channel::payload_bytes),
        Contender::python("cross_process_bridge call (Python)", "cross_process_bridge_call", "bytes"),
    ],
    bounds: &[],
};

/// The payload.
pub(crate) const SIZE: usize = 1 << 20;

/// The figure of a contender whose round trip this is.
pub(crate) fn both_ways(setting: Setting, round_trip: impl FnMut()) -> f64 {
    // Bytes in a microsecond are megabytes in a second.
    2.0 * SIZE as f64 / setting.time_of(round_trip) / 1e3
}

fn ours(setting: Setting) -> f64 {
    echo(setting, Bytes::from(vec![7; SIZE]), |payload| payload.len())
}

fn ours_as_vec(setting: Setting) -> f64 {
    echo(setting, vec![7; SIZE], Vec::len)
}

fn echo<T: Serialize + DeserializeOwned>(setting: Setting, payload: T, length: fn(&T) -> usize) -> f64 {
    let (here, there) = Connection::<T, T>::pair().unwrap();
    let child = setting.child(&LaunchOptions::new().give(&there), move || {
        while let Ok(payload) = there.recv() {
            there.send(&payload).unwrap();
        }
    });
    let figure = both_ways(setting, || {
        here.send(&payload).unwrap();
        assert_eq!(length(&here.recv().unwrap()), SIZE);
    });
    drop(here);
    child.output::<()>().unwrap();
    figure
}

/// In pieces, one process can copy out while the other one still copies in.
pub(crate) fn ring<const PIECE: usize, const SLOTS: usize>(setting: Setting) -> f64 {
    let there = Shared::<Ring<PIECE, SLOTS>>::new();
    let back = Shared::<Ring<PIECE, SLOTS>>::new();
    let own = || vec![[7; PIECE]; SIZE / PIECE];
    let _other = setting.fork(|| {
        let (mut from, mut to) = (there.reader(), back.writer());
        let mut payload = own();
        loop {
            payload.iter_mut().for_each(|piece| from.read(piece));
            payload.iter().for_each(|piece| to.write(piece));
        }
    });
    let (mut to, mut from) = (there.writer(), back.reader());
    let payload = own();
    let mut answer = own();
    both_ways(setting, || {
        payload.iter().for_each(|piece| to.write(piece));
        // Nobody looks at it, but it is to be there.
        answer.iter_mut().for_each(|piece| from.read(black_box(piece)));
    })
}

fn pipes(setting: Setting) -> f64 {
    let (there_out, there_in) = pipe().unwrap();
    let (back_out, back_in) = pipe().unwrap();
    let _other = setting.fork(|| {
        let mut payload = vec![0; SIZE];
        loop {
            read_whole(&there_out, &mut payload);
            write_whole(&back_in, &payload);
        }
    });
    let payload = vec![7; SIZE];
    let mut answer = vec![0; SIZE];
    both_ways(setting, || {
        write_whole(&there_in, &payload);
        read_whole(&back_out, &mut answer);
    })
}
