//! An object behind a bridge as most scenarios need it, and the bridge to it by each way of starting its process.

use std::collections::HashMap;
use std::time::Duration;

use common_ipc::memory::SharedArray;
use cross_process_bridge::{BridgeError, ExitStatus, bridge};
use integration_tests::raw;
use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};

use crate::servers::zygote;

/// What a method is to end its process by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Death {
    Kill,
    Abort,
    Segfault,
    StackOverflow,
    Exit,
}

/// How the constructor is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Made {
    Well,
    ByError,
    ByPanic,
    By(Death),
    Never,
}

/// An error of the object's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("there is nothing under {0:?}")]
    Missing(String),
}

/// A value whose `Serialize` or `Deserialize` fails.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Awkward {
    Plain,
    CannotBeWritten,
    PanicsWhenWritten,
    CannotBeRead,
}

impl Serialize for Awkward {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Awkward::Plain => serializer.serialize_u8(0),
            Awkward::CannotBeWritten => Err(serde::ser::Error::custom("it won't be written")),
            Awkward::PanicsWhenWritten => panic!("while it was written"),
            Awkward::CannotBeRead => serializer.serialize_u8(1),
        }
    }
}

impl<'de> Deserialize<'de> for Awkward {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Awkward, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Awkward::Plain),
            _ => Err(serde::de::Error::custom("it won't be read")),
        }
    }
}

/// The counters that a probe shares with its program: what its methods have really done.
pub(crate) type Tally = SharedArray<u64>;

/// How many methods were begun, and how many came to their end.
pub(crate) const BEGUN: usize = 0;
pub(crate) const ENDED: usize = 1;
/// Whether the object was dropped.
pub(crate) const DROPPED: usize = 2;
/// Whether the class's own `stop` ran.
pub(crate) const TALLIED: usize = 3;

pub(crate) struct Probe {
    tally: Tally,
    total: i64,
    known: HashMap<String, i64>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.count(DROPPED);
    }
}

impl Probe {
    fn count(&self, place: usize) {
        self.tally.set(place, self.tally.get(place).unwrap() + 1).unwrap();
    }
}

#[bridge]
impl Probe {
    pub(crate) fn new(tally: Tally, made: Made) -> Result<Probe, ProbeError> {
        match made {
            Made::Well => {}
            Made::ByError => return Err(ProbeError::Missing("anything".to_owned())),
            Made::ByPanic => panic!("while it was made"),
            Made::By(death) => die(death),
            Made::Never => std::thread::sleep(Duration::from_secs(600)),
        }
        Ok(Probe { tally, total: 0, known: HashMap::new() })
    }

    pub(crate) fn pid(&self) -> u32 {
        std::process::id()
    }

    pub(crate) fn echo(&self, number: u64) -> u64 {
        number
    }

    pub(crate) fn text(&self, text: &str) -> String {
        text.to_owned()
    }

    pub(crate) fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    pub(crate) fn add(&mut self, number: i64) -> i64 {
        self.total += number;
        self.total
    }

    pub(crate) fn put(&mut self, key: String, value: i64) -> Option<i64> {
        self.known.insert(key, value)
    }

    pub(crate) fn get(&self, key: &str) -> Result<i64, ProbeError> {
        self.known.get(key).copied().ok_or_else(|| ProbeError::Missing(key.to_owned()))
    }

    pub(crate) fn keys(&self, list: &mut Vec<String>) -> usize {
        list.extend(self.known.keys().cloned());
        list.len()
    }

    /// Is begun, takes its time, and comes to its end.
    pub(crate) fn work(&mut self, milliseconds: u64) -> u64 {
        self.count(BEGUN);
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.count(ENDED);
        self.tally.get(ENDED).unwrap()
    }

    /// Is begun, and ends its process.
    pub(crate) fn die(&mut self, death: Death) {
        self.count(BEGUN);
        die(death);
    }

    /// Comes to its end, and ends its process a little later.
    pub(crate) fn die_soon(&mut self) {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            die(Death::Kill);
        });
    }

    pub(crate) fn panic(&mut self, message: String) -> u8 {
        self.total += 1;
        panic!("{message}")
    }

    pub(crate) fn awkward(&mut self, given: Awkward, returned: u8) -> Awkward {
        self.count(BEGUN);
        match returned {
            0 => given,
            1 => Awkward::CannotBeWritten,
            2 => Awkward::PanicsWhenWritten,
            _ => Awkward::CannotBeRead,
        }
    }

    pub(crate) fn many(&self, length: usize) -> String {
        "x".repeat(length)
    }

    /// Scribbles over the connection's shared memory, as who was taken over may.
    pub(crate) fn scribble(&self, seed: u64) {
        raw::scribble("connection", seed, Duration::from_millis(100));
    }

    pub(crate) fn close_everything(&self) {
        raw::close_from(3);
    }

    /// Has something to do yet when it can't be talked to any more.
    pub(crate) fn close_everything_and_exit(&self) {
        raw::close_from(3);
        std::thread::sleep(Duration::from_millis(200));
        std::process::exit(7);
    }

    #[bridge(one_way)]
    pub(crate) fn note(&mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.count(TALLIED);
    }

    pub(crate) fn finish(self) -> i64 {
        self.total
    }
}

pub(crate) fn die(death: Death) {
    match death {
        Death::Kill => raise(Signal::SIGKILL).unwrap(),
        Death::Abort => std::process::abort(),
        Death::Segfault => raw::segfault(),
        Death::StackOverflow => overflow(0),
        Death::Exit => std::process::exit(7),
    }
}

#[expect(unconditional_recursion, reason = "it is to use up the stack")]
fn overflow(depth: u64) {
    let room = std::hint::black_box([depth; 512]);
    overflow(room[0] + 1);
    std::hint::black_box(room);
}

pub(crate) fn tally() -> Tally {
    SharedArray::new(4).unwrap()
}

/// A bridge that isn't started.
pub(crate) fn probe() -> (ProbeBridge, Tally) {
    let tally = tally();
    (ProbeBridge::new(tally.clone(), Made::Well), tally)
}

/// One that is, by a fork.
pub(crate) fn started() -> (ProbeBridge, Tally) {
    let (probe, tally) = probe();
    probe.start().unwrap();
    (probe, tally)
}

/// Bridges that start their processes by a fork, from a template, from the program's zygote.
pub(crate) fn all_ways(made: Made) -> [(ProbeBridge, Tally); 3] {
    let zygote = zygote();
    let new = || {
        let tally = tally();
        (ProbeBridge::new(tally.clone(), made), tally)
    };
    let (forked, copied, sent) = (new(), new(), new());
    copied.0.process().launch_from_template().unwrap();
    sent.0.process().launch_in(&zygote);
    [forked, copied, sent]
}

/// The status of a process that was found dead.
pub(crate) fn status_of(error: &BridgeError) -> &ExitStatus {
    match error {
        BridgeError::PeerDied { status, .. } => status,
        other => panic!("{other}"),
    }
}

/// Whether such an end is what a stack overflow is told as: in a fork of the main thread its runtime tells of it, and
/// aborts; in a zygote's or a template's child the kernel does.
pub(crate) fn overflowed(status: &ExitStatus) -> bool {
    status
        .signal()
        .is_some_and(|signal| [Signal::SIGABRT as i32, Signal::SIGSEGV as i32].contains(&signal.as_raw()))
}
