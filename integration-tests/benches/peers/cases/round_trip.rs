//! A small message there and back.

use common_ipc::link::Connection;
use common_ipc::process::LaunchOptions;
use serde::{Deserialize, Serialize};

use crate::case::{Better, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;
use crate::{kernel, rivals};

/// Ours sends a typed message of two words, with the number that a request has. The others send 16 bytes,
/// an eventfd 8, and Python's an int.
pub(crate) const CASE: Case = Case {
    name: "round_trip_16B",
    task: "a message of 16 bytes there and back",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours("Connection, a serde struct", ours),
        Contender::limit("shared memory, spin, then futex", kernel::shared_memory_spin),
        Contender::peer("shared memory, futex", kernel::shared_memory_futex),
        Contender::peer("pipe pair", kernel::pipe_round_trip),
        Contender::peer("eventfd pair", kernel::eventfd_round_trip),
        Contender::peer("Unix stream socket pair", kernel::socket_round_trip),
        Contender::peer("ipc-channel Vec<u8>", rivals::ipc_channel::round_trip),
        #[cfg(feature = "iceoryx2")]
        Contender::peer("iceoryx2, busy poll", rivals::iceoryx2::busy_poll),
        #[cfg(feature = "iceoryx2")]
        Contender::peer("iceoryx2, events", rivals::iceoryx2::events),
        Contender::python("cross_process_bridge call (Python)", "cross_process_bridge_call", "int"),
        Contender::python("valkka MessageProcess ping-pong (Python)", "valkka_messages", "ping"),
        Contender::python("multiprocessing.Pipe int (Python)", "multiprocessing_pairs", "pipe"),
    ],
    bounds: &[],
};

/// The same on a core that isn't theirs alone. Whoever spins is taken for a second hog, so what is
/// woken by the kernel sets the limit.
pub(crate) const BESIDE_HOG: Case = Case {
    name: "hog",
    task: "a message of 16 bytes there and back, beside a process that computes on the same core (mean)",
    unit: "us",
    better: Better::Lower,
    places: &[Place::Hog],
    contenders: &[
        Contender::ours("Connection, a serde struct", ours),
        Contender::limit("pipe pair", kernel::pipe_round_trip),
        Contender::peer("shared memory, spin, then futex", kernel::shared_memory_spin),
        Contender::peer("shared memory, futex", kernel::shared_memory_futex),
        Contender::peer("ipc-channel Vec<u8>", rivals::ipc_channel::round_trip),
    ],
    bounds: &[],
};

#[derive(Serialize, Deserialize)]
struct Ping {
    id: u64,
    n: i64,
}

fn ours(setting: Setting) -> f64 {
    let (here, there) = Connection::<Ping, Ping>::pair().unwrap();
    let child = setting.child(&LaunchOptions::new().give(&there), move || {
        while let Ok(ping) = there.recv() {
            there.send(&Ping { id: ping.id, n: ping.n + 1 }).unwrap();
        }
    });
    let mut id = 0;
    let figure = setting.time_of(|| {
        id += 1;
        here.send(&Ping { id, n: 7 }).unwrap();
        let back = here.recv().unwrap();
        assert_eq!((back.id, back.n), (id, 8));
    });
    drop(here);
    child.output::<()>().unwrap();
    figure
}
