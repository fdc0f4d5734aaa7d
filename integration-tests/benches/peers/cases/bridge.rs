//! Calls of an object in another process.

use std::time::Instant;

use common_ipc::link::Bytes;
use cross_process_bridge::bridge;

use crate::case::{Better, Bound, Case, Contender};
use crate::cases::payload;
use crate::measure::Setting;
use crate::place::Place;
use crate::support::{median, pin};
use crate::{kernel, rivals};

const CALL: &str = "bridge: add(i64) -> i64";
const SPIN: &str = "shared memory, spin, then futex";
const PYTHON: &str = "cross_process_bridge call (Python)";

pub(crate) const CASE: Case = Case {
    name: "bridge_call",
    task: "a call with an int that returns an int",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(CALL, call),
        Contender::limit(SPIN, kernel::shared_memory_spin),
        Contender::peer("pipe pair", kernel::pipe_round_trip),
        Contender::peer("ipc-channel Vec<u8>", rivals::ipc_channel::round_trip),
        #[cfg(feature = "iceoryx2")]
        Contender::peer("iceoryx2, busy poll", rivals::iceoryx2::busy_poll),
        #[cfg(feature = "iceoryx2")]
        Contender::peer("iceoryx2, events", rivals::iceoryx2::events),
        Contender::python(PYTHON, "cross_process_bridge_call", "int"),
    ],
    bounds: &[Bound::ratio(CALL, SPIN, 2.0), Bound::ratio(CALL, PYTHON, 0.1)],
};

const BYTES: &str = "bridge: echo(Bytes) -> Bytes";
const VEC: &str = "bridge: echo(Vec<u8>) -> Vec<u8>";
const RING: &str = "shared-memory ring, spin";

pub(crate) const PAYLOAD: Case = Case {
    name: "bridge_payload",
    task: "a call with 1 MiB that returns it; the bytes of both ways count",
    unit: "GB/s",
    better: Better::Higher,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(VEC, vec),
        Contender::limit(RING, payload::ring::<{ payload::SIZE }, 2>),
        Contender::peer(BYTES, bytes),
        Contender::peer("bridge: echo(&[u8]) -> Vec<u8>", slice),
        Contender::peer("ipc-channel Vec<u8>", rivals::ipc_channel::payload_vec),
        Contender::peer("ipc-channel IpcSharedMemory", rivals::ipc_channel::payload_shared_memory),
        Contender::peer("ipc-channel bytes_channel", rivals::ipc_channel::payload_bytes),
        Contender::python(PYTHON, "cross_process_bridge_call", "bytes"),
    ],
    bounds: &[Bound::at_least(VEC, RING, 0.6), Bound::at_least(VEC, PYTHON, 5.0)],
};

const ONE: &str = "bridge: one thread";
const EIGHT: &str = "bridge: eight threads";

pub(crate) const THREADS: Case = Case {
    name: "bridge_threads",
    task: "calls of one object by eight threads at once: for each call",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(EIGHT, |setting| by_threads(setting, 8)),
        Contender::limit(ONE, |setting| by_threads(setting, 1)),
        Contender::peer("bridge: two threads", |setting| by_threads(setting, 2)),
    ],
    bounds: &[Bound::ratio(EIGHT, ONE, 1.0)],
};

struct Object {
    total: i64,
}

#[bridge]
impl Object {
    fn new(core: Option<usize>) -> Object {
        if let Some(core) = core {
            pin(core);
        }
        Object { total: 0 }
    }

    fn add(&mut self, number: i64) -> i64 {
        self.total += number;
        self.total
    }

    fn echo_vec(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn echo_slice(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn echo_bytes(&self, bytes: Bytes) -> Bytes {
        bytes
    }
}

fn object(setting: Setting) -> ObjectBridge {
    let object = ObjectBridge::new(setting.place.second_core());
    object.start().unwrap();
    object
}

fn call(setting: Setting) -> f64 {
    let object = object(setting);
    setting.time_of(|| {
        object.add(7).unwrap();
    })
}

fn vec(setting: Setting) -> f64 {
    let object = object(setting);
    let payload = vec![7; payload::SIZE];
    let mut payload = Some(payload);
    payload::both_ways(setting, || {
        let sent = payload.take().unwrap();
        let back = object.echo_vec(sent).unwrap();
        assert_eq!(back.len(), payload::SIZE);
        payload = Some(back);
    })
}

fn slice(setting: Setting) -> f64 {
    let object = object(setting);
    let payload = vec![7; payload::SIZE];
    payload::both_ways(setting, || assert_eq!(object.echo_slice(&payload).unwrap().len(), payload::SIZE))
}

fn bytes(setting: Setting) -> f64 {
    let object = object(setting);
    let payload = Bytes::from(vec![7; payload::SIZE]);
    payload::both_ways(setting, || {
        assert_eq!(object.echo_bytes(payload.clone()).unwrap().len(), payload::SIZE);
    })
}

fn by_threads(setting: Setting, threads: u32) -> f64 {
    let object = object(setting);
    let mut figures = Vec::new();
    // All of the calls of a round together.
    let round = |calls: u32| {
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..calls / threads {
                        object.add(1).unwrap();
                    }
                });
            }
        });
        begin.elapsed().as_nanos() as f64 / 1e3 / f64::from(calls)
    };
    round(80_000);
    let begin = Instant::now();
    while begin.elapsed() < setting.time {
        figures.push(round(400_000));
    }
    median(&mut figures)
}
