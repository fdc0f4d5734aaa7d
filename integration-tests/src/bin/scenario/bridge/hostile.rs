//! Objects that do what no object should, and the errors of their bridges.

use std::sync::mpsc;
use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::memory::SharedArray;
use cross_process_bridge::{BridgeError, Execution, LaunchOptions, Resource, StopStep, bridge};
use integration_tests::raw;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;

use crate::Outcome::{self, Passed};

scenarios![
    fault_47_a_call_that_runs_after_the_connection_is_lost_is_not_called_unrun,
    a_reader_position_that_cannot_be_ends_the_process,
    a_late_reply_is_dropped_by_the_next_call,
    fault_13_a_death_is_told_while_a_forked_stranger_has_the_descriptors,
    a_method_that_takes_the_object_beside_other_calls,
    a_kill_ends_the_calls_of_a_liar,
    bounds_at_their_edges,
    a_failure_with_a_long_text_is_that_calls_error,
    an_end_that_is_returned_twice_is_that_calls_error,
];

struct Rogue {
    tally: SharedArray<u64>,
    end: Option<Connection<u64, u64>>,
}

const BEGUN: usize = 0;
const COPY: usize = 1;
const CLOSING: usize = 2;

/// Its text is long.
#[derive(Debug, Clone, PartialEq)]
struct Long(usize);

impl serde::Serialize for Long {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("x".repeat(self.0)))
    }
}

impl<'de> serde::Deserialize<'de> for Long {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Long, D::Error> {
        Err(serde::de::Error::custom("x".repeat(1000)))
    }
}

#[bridge]
impl Rogue {
    fn new(tally: SharedArray<u64>) -> Rogue {
        Rogue { tally, end: None }
    }

    fn count(&mut self) -> u64 {
        self.tally.set(BEGUN, self.tally.get(BEGUN).unwrap() + 1).unwrap();
        self.tally.get(BEGUN).unwrap()
    }

    #[bridge(one_way)]
    fn note(&mut self) {
        self.count();
    }

    /// As a program does that becomes a daemon.
    fn close_everything(&self, milliseconds: u64) {
        self.tally.set(CLOSING, 1).unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        raw::close_from(3);
        std::thread::sleep(Duration::from_millis(milliseconds));
    }

    /// Dies, and leaves a copy of itself, as who forks without the library does.
    fn leave_a_fork(&self) {
        let copy = raw::fork(|| {
            std::thread::sleep(Duration::from_secs(8));
            0
        });
        self.tally.set(COPY, copy as u64).unwrap();
        raise(Signal::SIGKILL).unwrap();
    }

    /// Says that it is another process, keeps that alive, and waits to be killed.
    fn leave_a_liar(&self) {
        let copy = raw::fork(|| {
            std::thread::sleep(Duration::from_secs(20));
            0
        });
        raw::tell_owner(copy);
        self.tally.set(COPY, copy as u64).unwrap();
        std::thread::sleep(Duration::from_secs(600));
    }

    fn poke(&self, at: u64, value: u32) {
        raw::poke("connection", at as usize, value);
    }

    fn late(&self, milliseconds: u64, length: u64) -> Vec<u8> {
        std::thread::sleep(Duration::from_millis(milliseconds));
        vec![7; length as usize]
    }

    fn take(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn long_text(&self, length: u64) -> Long {
        Long(length as usize)
    }

    fn keep(&mut self, end: Connection<u64, u64>) {
        self.end = Some(end);
    }

    fn kept(&self) -> Option<Connection<u64, u64>> {
        self.end.clone()
    }

    fn finish(self, milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        3
    }
}

fn rogue() -> (RogueBridge, SharedArray<u64>) {
    let tally = SharedArray::new(4).unwrap();
    let rogue = RogueBridge::new(tally.clone());
    rogue.process().launch_in(&crate::servers::zygote());
    rogue.start().unwrap();
    (rogue, tally)
}

fn fault_47_a_call_that_runs_after_the_connection_is_lost_is_not_called_unrun() -> Outcome {
    let (rogue, tally) = rogue();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| rogue.close_everything(100));
        assert!(integration_tests::proc::eventually(|| tally.get(CLOSING).unwrap() == 1));
        let error = rogue.count().unwrap_err();
        assert_eq!((error.execution(), tally.get(BEGUN).unwrap()), (Execution::NotRun, 0), "{error}");
        assert_eq!(closing.join().unwrap().unwrap_err().execution(), Execution::Unknown);
    });
    Passed
}

fn a_reader_position_that_cannot_be_ends_the_process() -> Outcome {
    let (rogue, _) = rogue();
    // What the process has read of what it was sent.
    let _ = rogue.poke(128, 0x7000_0000);
    let error = rogue.take(&vec![1; 3_000_000]).unwrap_err();
    assert!(matches!(error, BridgeError::Broken { execution: Execution::NotRun, .. }), "{error}");
    assert!(error.needs_start() && !rogue.process().is_alive(), "{error}");
    rogue.start().unwrap();
    assert_eq!(rogue.count().unwrap(), 1);
    Passed
}

fn a_late_reply_is_dropped_by_the_next_call() -> Outcome {
    let (rogue, tally) = rogue();
    let error = rogue.with_timeout(Duration::from_millis(20)).late(60, 8 << 20).unwrap_err();
    assert!(matches!(error, BridgeError::Timeout { .. }), "{error}");
    // They wait for that.
    rogue.note().unwrap();
    assert_eq!(rogue.count().unwrap(), 2);
    assert_eq!(rogue.late(0, 8 << 20).unwrap().len(), 8 << 20);
    assert_eq!(tally.get(BEGUN).unwrap(), 2);
    Passed
}

fn a_method_that_takes_the_object_beside_other_calls() -> Outcome {
    for _ in 0..20 {
        let (rogue, _) = rogue();
        let (send, finished) = mpsc::channel();
        std::thread::scope(|scope| {
            let other = rogue.clone();
            scope.spawn(move || send.send(other.finish(5).unwrap()));
            std::thread::sleep(Duration::from_millis(2));
            if let Err(error) = rogue.count() {
                assert_eq!(error.execution(), Execution::NotRun, "{error}");
            }
        });
        assert_eq!(finished.recv().unwrap(), 3);
        let error = rogue.count().unwrap_err();
        assert!(matches!(error, BridgeError::NotStarted { .. }), "{error}");
        rogue.stop().unwrap();
    }
    Passed
}

fn a_failure_with_a_long_text_is_that_calls_error() -> Outcome {
    let (rogue, _) = rogue();
    rogue.stop().unwrap();
    rogue.process().max_message(1000);
    rogue.start().unwrap();
    let error = rogue.long_text(2000).unwrap_err();
    assert!(matches!(error, BridgeError::Encode { execution: Execution::Ran, .. }), "{error}");
    rogue.count().unwrap();
    Passed
}

fn an_end_that_is_returned_twice_is_that_calls_error() -> Outcome {
    let (rogue, _) = rogue();
    let (near, far) = Connection::pair().unwrap();
    rogue.keep(far).unwrap();
    let here = rogue.kept().unwrap().unwrap();
    here.send(&1).unwrap();
    assert_eq!(near.recv().unwrap(), 1);
    let error = rogue.kept().unwrap_err();
    assert!(matches!(error, BridgeError::Encode { execution: Execution::Ran, .. }), "{error}");
    rogue.count().unwrap();
    Passed
}

fn fault_13_a_death_is_told_while_a_forked_stranger_has_the_descriptors() -> Outcome {
    let mut told = 0;
    for files in 0..16 {
        let tally = SharedArray::new(4).unwrap();
        let rogue = RogueBridge::new(tally.clone());
        rogue.process().launch_with(LaunchOptions::new().limit(Resource::OpenFiles, files, files));
        if rogue.start().is_err() {
            continue;
        }
        let error = rogue.with_timeout(Duration::from_secs(4)).leave_a_fork().unwrap_err();
        assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
        // The stranger is there: it wasn't its end that was told.
        kill(Pid::from_raw(tally.get(COPY).unwrap() as i32), Signal::SIGKILL).unwrap();
        told += 1;
    }
    assert!(told > 0, "no object was ever made: the test proves nothing");
    Passed
}

fn a_kill_ends_the_calls_of_a_liar() -> Outcome {
    let (rogue, tally) = rogue();
    std::thread::scope(|scope| {
        let lied_to = scope.spawn(|| rogue.with_timeout(Duration::from_secs(10)).leave_a_liar().unwrap_err());
        while tally.get(COPY).unwrap() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(50));
        rogue.process().kill().unwrap();
        let error = lied_to.join().unwrap();
        let _ = kill(Pid::from_raw(tally.get(COPY).unwrap() as i32), Signal::SIGKILL);
        assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
    });
    Passed
}

fn bounds_at_their_edges() -> Outcome {
    let rogue = RogueBridge::new(SharedArray::new(4).unwrap());
    rogue.process().launch_in(&crate::servers::zygote());
    for bytes in [0, 11, 12] {
        rogue.process().max_message(bytes);
        assert!(matches!(rogue.start(), Err(BridgeError::TooLarge { .. })));
    }
    for (bytes, fits) in [(50, false), (1 << 33, true), (usize::MAX, true)] {
        rogue.process().max_message(bytes);
        rogue.start().unwrap();
        match rogue.with_timeout(Duration::MAX).late(0, 10_000) {
            Ok(long) => assert!(fits && long.len() == 10_000),
            Err(error) => assert!(!fits && error.execution() == Execution::Ran, "{error}"),
        }
        rogue.with_timeout(Duration::MAX).count().unwrap();
        let stopped = rogue.process().stop_timeout(Duration::MAX).unwrap();
        assert_eq!(stopped.by, StopStep::EndedByItself);
    }
    rogue.process().launch_with(LaunchOptions::new().ready_timeout(Duration::ZERO));
    assert!(matches!(rogue.start(), Err(BridgeError::Start(_))));
    rogue.process().launch_with(LaunchOptions::new().ready_timeout(Duration::MAX));
    rogue.start().unwrap();
    // One that is quick enough is answered all the same.
    let error = rogue.with_timeout(Duration::ZERO).late(50, 1).unwrap_err();
    assert!(matches!(error, BridgeError::Timeout { .. }), "{error}");
    Passed
}
