//! ipc-channel. Its ends are made before a bare fork, and each process uses its own.

use std::hint::black_box;

use ipc_channel::ipc::{IpcReceiver, IpcSender, IpcSharedMemory, bytes_channel, channel};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cases::payload::{SIZE, both_ways};
use crate::measure::{Fork, Setting};

type Ends<T> = (IpcSender<T>, IpcReceiver<T>);

/// A channel there, a channel back, and a child that sends back what `answer` makes of what it gets.
fn echo<T: Serialize + DeserializeOwned>(setting: Setting, answer: fn(T) -> T) -> (Ends<T>, Fork) {
    let (to, from_here) = channel().unwrap();
    let (to_here, from) = channel().unwrap();
    let other = setting.fork(|| {
        loop {
            to_here.send(answer(from_here.recv().unwrap())).unwrap();
        }
    });
    ((to, from), other)
}

pub(crate) fn round_trip(setting: Setting) -> f64 {
    let ((to, from), _other) = echo::<Vec<u8>>(setting, |message| message);
    setting.time_of(|| {
        to.send(vec![1; 16]).unwrap();
        assert_eq!(from.recv().unwrap().len(), 16);
    })
}

pub(crate) fn one_way(setting: Setting) -> f64 {
    let (to, from) = channel::<Vec<u8>>().unwrap();
    let _other = setting.fork(|| {
        loop {
            to.send(vec![1; 64]).unwrap();
        }
    });
    setting.rate_of(|| assert_eq!(from.recv().unwrap().len(), 64))
}

pub(crate) fn payload_vec(setting: Setting) -> f64 {
    let ((to, from), _other) = echo::<Vec<u8>>(setting, |payload| payload);
    // `send` takes it, but what comes back will do for the next time.
    let mut payload = vec![7; SIZE];
    both_ways(setting, || {
        to.send(std::mem::take(&mut payload)).unwrap();
        payload = from.recv().unwrap();
        assert_eq!(payload.len(), SIZE);
    })
}

/// Copied in and out, as everywhere in this case, though the bytes could be looked at where they are.
pub(crate) fn payload_shared_memory(setting: Setting) -> f64 {
    let copy = |memory: IpcSharedMemory| IpcSharedMemory::from_bytes(&black_box(memory.to_vec()));
    let ((to, from), _other) = echo::<IpcSharedMemory>(setting, copy);
    let payload = vec![7; SIZE];
    both_ways(setting, || {
        to.send(IpcSharedMemory::from_bytes(&payload)).unwrap();
        assert_eq!(black_box(from.recv().unwrap().to_vec()).len(), SIZE);
    })
}

pub(crate) fn payload_bytes(setting: Setting) -> f64 {
    let (to, from_here) = bytes_channel().unwrap();
    let (to_here, from) = bytes_channel().unwrap();
    let _other = setting.fork(|| {
        loop {
            to_here.send(&from_here.recv().unwrap()).unwrap();
        }
    });
    let payload = vec![7; SIZE];
    both_ways(setting, || {
        to.send(&payload).unwrap();
        assert_eq!(from.recv().unwrap().len(), SIZE);
    })
}
