//! What comes from a back end while somebody waits for its end: it is kept, for those who receive.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use common_ipc::link::Bytes;
use common_ipc::memory::SharedArray;
use integration_tests::{proc, raw};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Deserializer, Serialize};
use valkka_multiprocess::{
    Backend, Context, Incoming, MainLoop, MessageProcess, Polled, ProcessError, RemoteError,
};

use crate::Outcome::{self, Passed};

scenarios![
    waits_for_the_end_beside_a_receiver_lose_nothing,
    a_loop_beside_a_wait_for_the_end_has_its_events_at_once,
    what_is_kept_is_bounded_with_the_bytes_beside_it,
    what_is_kept_is_bounded_however_little_it_is,
    events_that_cannot_be_read_are_told_after_a_wait_for_the_end,
    a_flood_that_cannot_be_read_leaves_the_loop_to_others,
    a_flood_that_cannot_be_read_does_not_hold_up_a_stop,
    a_wait_for_the_end_without_descriptors_left_does_not_spin,
];

#[derive(Serialize, Deserialize)]
enum Ask {
    /// These numbers.
    Numbers(u64, u64),
    /// So many MiB, one by one.
    Large(u64),
    Units(u64),
    Unreadable(u64),
    /// From now on, whatever else it does, which is nothing.
    FloodUnreadable,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tell {
    Number(u64),
    Large(Bytes),
    Unit,
    Unreadable(Unreadable),
}

/// The process that can't read it; its own copies can.
static PROGRAM: AtomicU32 = AtomicU32::new(0);
/// How often the program has tried.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);

#[derive(Debug, PartialEq, Serialize)]
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        if std::process::id() == PROGRAM.load(Ordering::Relaxed) {
            // So that it comes faster than it is looked at.
            thread::sleep(Duration::from_millis(1));
            LOOKED_AT.fetch_add(1, Ordering::Relaxed);
            return Err(serde::de::Error::custom("it isn't for here"));
        }
        Ok(Unreadable)
    }
}

/// Counts what it has sent.
struct Talker(SharedArray<u64>);

impl Backend for Talker {
    type Command = Ask;
    type Event = Tell;

    fn handle(&mut self, cx: &mut Context<Self>, ask: Ask) -> Result<(), RemoteError> {
        let mut tell = |event: &Tell| -> Result<(), RemoteError> {
            cx.send_out(event)?;
            self.0.set(0, self.0.get(0).unwrap() + 1).unwrap();
            Ok(())
        };
        match ask {
            Ask::Numbers(from, count) => {
                (from..from + count).try_for_each(|number| tell(&Tell::Number(number)))
            }
            Ask::Large(count) => {
                let large = Tell::Large(vec![1; 1 << 20].into());
                (0..count).try_for_each(|_| tell(&large))
            }
            Ask::Units(count) => (0..count).try_for_each(|_| tell(&Tell::Unit)),
            Ask::Unreadable(count) => (0..count).try_for_each(|_| tell(&Tell::Unreadable(Unreadable))),
            Ask::FloodUnreadable => loop {
                tell(&Tell::Unreadable(Unreadable))?;
            },
        }
    }
}

fn talker() -> (MessageProcess<Talker>, SharedArray<u64>) {
    PROGRAM.store(std::process::id(), Ordering::Relaxed);
    let sent = SharedArray::new(1).unwrap();
    let process = MessageProcess::new("talker", Talker(sent.clone()));
    process.start().unwrap();
    (process, sent)
}

fn waits_for_the_end_beside_a_receiver_lose_nothing() -> Outcome {
    let (process, _) = talker();
    let (front, is_over) = (process.front(), AtomicBool::new(false));
    thread::scope(|scope| {
        for time in [0, 0, 100] {
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(front.wait_stop_timeout(Duration::from_micros(time)).unwrap(), None);
                }
            });
        }
        // Each burst ends with somebody who sleeps, or finds what the others have kept.
        let count = 5 * u64::from(integration_tests::stress_factor());
        for burst in 0..1000 * count {
            front.send(&Ask::Numbers(burst * 20, 20)).unwrap();
            for number in burst * 20..(burst + 1) * 20 {
                assert_eq!(front.recv().unwrap(), Tell::Number(number));
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    Passed
}

fn a_loop_beside_a_wait_for_the_end_has_its_events_at_once() -> Outcome {
    let (process, _) = talker();
    let front = process.front();
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.watch(&process, |incoming| incoming).unwrap();
    thread::scope(|scope| {
        let waiting = [0, 1].map(|_| scope.spawn(|| front.wait_stop().unwrap()));
        for number in 0..1000 {
            front.send(&Ask::Numbers(number, 1)).unwrap();
            let event = main_loop.next_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(event, Polled::Event(Incoming::Event(Tell::Number(number))));
        }
        // Kept by one of those who wait, and taken by nobody: they don't spin for it.
        front.send(&Ask::Numbers(7, 1)).unwrap();
        thread::sleep(Duration::from_millis(50));
        let before = raw::processor_time();
        thread::sleep(Duration::from_millis(300));
        assert!(raw::processor_time() - before < Duration::from_millis(150));
        front.request_stop().unwrap();
        for waited in waiting {
            assert!(waited.join().unwrap().is_clean());
        }
        assert_eq!(main_loop.next().unwrap(), Some(Incoming::Event(Tell::Number(7))));
        assert!(matches!(main_loop.next().unwrap(), Some(Incoming::Ended(_))));
    });
    Passed
}

/// Waits for the end in vain, until nothing more is sent.
fn wait_in_vain(process: &MessageProcess<Talker>, sent: &SharedArray<u64>) -> u64 {
    let mut quiet = 0;
    loop {
        let before = sent.get(0).unwrap();
        assert_eq!(process.wait_stop_timeout(Duration::from_millis(300)).unwrap(), None);
        // On a busy machine it may come to nothing for a while.
        quiet = if sent.get(0).unwrap() == before && before > 0 { quiet + 1 } else { 0 };
        if quiet == 5 {
            return before;
        }
    }
}

fn what_is_kept_is_bounded_with_the_bytes_beside_it() -> Outcome {
    let (process, sent) = talker();
    process.send(&Ask::Large(400)).unwrap();
    let before = wait_in_vain(&process, &sent);
    assert!((32..100).contains(&before), "{before} MiB");
    for _ in 0..400 {
        assert!(matches!(process.recv().unwrap(), Tell::Large(bytes) if bytes.len() == 1 << 20));
    }
    process.stop().unwrap();
    Passed
}

fn what_is_kept_is_bounded_however_little_it_is() -> Outcome {
    const UNITS: u64 = 3_000_000;
    let before = proc::resident_kib();
    let (process, sent) = talker();
    process.send(&Ask::Units(UNITS)).unwrap();
    let sent = wait_in_vain(&process, &sent);
    let grown = proc::resident_kib() - before;
    assert!(sent < UNITS && grown < 300 << 10, "{sent} sent, {grown} KiB");
    process.child().unwrap().kill().unwrap();
    assert!(process.wait_stop().unwrap().status.signal().is_some());
    let received = std::iter::from_fn(|| process.recv().ok()).count() as u64;
    assert!(received >= sent, "{received} of {sent}");
    Passed
}

fn events_that_cannot_be_read_are_told_after_a_wait_for_the_end() -> Outcome {
    let (process, _) = talker();
    process.send(&Ask::Unreadable(3)).unwrap();
    process.send(&Ask::Numbers(1, 1)).unwrap();
    assert_eq!(process.wait_stop_timeout(Duration::from_millis(100)).unwrap(), None);
    for _ in 0..3 {
        assert!(matches!(process.recv().unwrap_err(), ProcessError::Message { .. }));
    }
    assert_eq!(process.recv().unwrap(), Tell::Number(1));
    Passed
}

fn a_flood_that_cannot_be_read_leaves_the_loop_to_others() -> Outcome {
    let (process, _) = talker();
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.watch(&process, Some).unwrap();
    main_loop.every(Duration::from_millis(1), || None).unwrap();
    process.send(&Ask::FloodUnreadable).unwrap();
    for _ in 0..30 {
        assert_eq!(main_loop.next().unwrap(), Some(None));
    }
    let looked_at = LOOKED_AT.load(Ordering::Relaxed);
    assert!((10..10_000).contains(&looked_at), "{looked_at}");
    process.child().unwrap().kill().unwrap();
    while main_loop.next().unwrap() == Some(None) {}
    Passed
}

fn a_flood_that_cannot_be_read_does_not_hold_up_a_stop() -> Outcome {
    for round in 0..3 {
        let (process, _) = talker();
        process.send(&Ask::FloodUnreadable).unwrap();
        assert_eq!(process.wait_stop_timeout(Duration::from_millis(round)).unwrap(), None);
        assert!(process.stop_timeout(Duration::from_millis(20)).unwrap().status.signal().is_some());
    }
    Passed
}

fn a_wait_for_the_end_without_descriptors_left_does_not_spin() -> Outcome {
    let (process, _) = talker();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    let before = raw::processor_time();
    assert_eq!(process.wait_stop_timeout(Duration::from_millis(300)).unwrap(), None);
    assert!(raw::processor_time() - before < Duration::from_millis(150));
    // More than the link holds: it is kept all the same.
    process.send(&Ask::Numbers(0, 100_000)).unwrap();
    process.request_stop().unwrap();
    assert!(process.wait_stop().unwrap().is_clean());
    for number in 0..100_000 {
        assert_eq!(process.recv().unwrap(), Tell::Number(number));
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    Passed
}
