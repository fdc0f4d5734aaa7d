//! Row 47: what a start says is so, whichever descriptor is the one that is missing. A process of its own, without a
//! harness: what runs out is the whole process's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common_ipc::memory::SharedAtomics;
use common_ipc::process::{Child, Launch, LaunchOptions, StartError, Zygote, active_children, init};
use integration_tests::proc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More than fits into a message: it comes with a descriptor of its own.
const LONG: usize = 100_000;
const ROUNDS: usize = 20;

fn main() {
    init().unwrap();
    // What every process makes once is there.
    start(&SharedAtomics::new(1).unwrap(), 0).unwrap().wait().unwrap();
    for free in 0..12 {
        for round in 0..ROUNDS {
            with_so_many_free(free, round);
        }
    }
    while_they_come_and_go();
}

/// A child that counts, and returns much; waited for until it is about to run.
fn start(marks: &SharedAtomics, slot: usize) -> Result<Child, StartError> {
    let body = |(marks, slot): (SharedAtomics, usize)| {
        marks[slot].fetch_add(1, Ordering::SeqCst);
        vec![7u8; LONG]
    };
    let options = LaunchOptions::new();
    let launch = Launch::new(&options).wait_until_ready(true);
    launch.start_in(&Zygote::global(), body, &(marks.clone(), slot))
}

fn with_so_many_free(free: u64, round: usize) {
    let marks = SharedAtomics::new(1).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, proc::lowest_free_descriptor() + free, hard).unwrap();
    let started = start(&marks, 0);
    // It has the limit of its start, and may have no output for that.
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    match started {
        Ok(child) => drop(child.wait().unwrap()),
        Err(error) => {
            assert!(proc::eventually(|| active_children().is_empty()));
            let ran = marks[0].load(Ordering::SeqCst);
            assert_eq!(ran, 0, "{free} free, round {round}: it ran, and the start said: {error}");
        }
    }
}

/// Somebody else has the last ones now and then.
fn while_they_come_and_go() {
    let starts = 60 * ROUNDS;
    let marks = SharedAtomics::new(starts).unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let low = proc::lowest_free_descriptor() + 1;
    let over = AtomicBool::new(false);
    let errors: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for limit in [low, soft] {
                    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        let errors = (0..starts).filter_map(|slot| Some((slot, start(&marks, slot).err()?))).collect();
        over.store(true, Ordering::Relaxed);
        errors
    });
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(proc::eventually(|| active_children().is_empty()));
    assert!(!errors.is_empty() && errors.len() < starts, "{} of {starts} starts failed", errors.len());
    for (slot, error) in errors {
        let ran = marks[slot].load(Ordering::SeqCst);
        assert_eq!(ran, 0, "start {slot}: it ran, and the start said: {error}");
    }
}
