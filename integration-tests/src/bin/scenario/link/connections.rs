//! Rows 16, 39 to 45, 50: connections between processes, one of which is slow, floods or lies.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common_ipc::link::{Bytes, Connection, LinkError, calls};
use common_ipc::process::{Child, Launch, LaunchOptions};
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};

scenarios!(
    fault_16_what_cannot_be_serialised_costs_its_own_message,
    fault_39_both_sides_send_eight_megabytes_at_once,
    fault_40_messages_of_every_size_arrive,
    fault_41_a_peer_that_writes_anywhere_costs_the_connection,
    fault_42_threads_that_send_at_once_do_not_mix,
    fault_43_a_peer_that_writes_anywhere_takes_no_memory,
    fault_44_interrupted_transfers_go_on_and_keep_their_deadline,
    fault_45_callers_on_one_connection_get_their_own_replies,
    fault_50_a_slow_receiver_bounds_the_sender,
    a_million_messages_arrive_in_order,
    an_end_given_after_use_goes_on_where_it_was,
    an_idle_connection_takes_no_time,
    ends_travel_between_processes,
);

pub(crate) fn with<T: Serialize + for<'de> Deserialize<'de>>(
    end: &Connection<T, T>,
    body: impl FnOnce(),
) -> Child {
    Launch::new(&LaunchOptions::new().give(end)).start(body).unwrap()
}

pub(crate) fn is_closed<T>(result: Result<T, LinkError>) -> bool {
    matches!(result, Err(LinkError::Closed))
}

/// Fails, or panics, where it is told to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moody {
    Fine,
    SerializeErrs,
    SerializePanics,
    DeserializeErrs,
    DeserializePanics,
}

impl Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Moody::SerializeErrs => Err(serde::ser::Error::custom("not today")),
            Moody::SerializePanics => panic!("on purpose"),
            other => (*other as u8).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Moody, D::Error> {
        // What debug builds look for at the sender is what only a receiver should meet here.
        let at_sender = SENDER.with(std::cell::Cell::get);
        match u8::deserialize(deserializer)? {
            3 if !at_sender => Err(serde::de::Error::custom("not today")),
            4 if !at_sender => panic!("on purpose"),
            3 => Ok(Moody::DeserializeErrs),
            4 => Ok(Moody::DeserializePanics),
            _ => Ok(Moody::Fine),
        }
    }
}

thread_local!(static SENDER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });

fn fault_16_what_cannot_be_serialised_costs_its_own_message() -> Outcome {
    let (here, there) = Connection::<(Vec<u64>, Moody), (Vec<u64>, Moody)>::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            for message in there.iter() {
                there.send(&message.unwrap()).unwrap();
            }
        }
    });
    drop(there);
    SENDER.set(true);
    let much = vec![7; 100_000];
    for mood in [Moody::SerializeErrs, Moody::SerializePanics] {
        let error = here.send(&(much.clone(), mood)).unwrap_err();
        assert!(matches!(error, LinkError::Encode(_)), "{error}");
        // Nothing of it was sent: the next one arrives.
        here.send(&(vec![1], Moody::Fine)).unwrap();
        assert_eq!(here.recv().unwrap(), (vec![1], Moody::Fine));
    }
    drop(here);
    child.output::<()>().unwrap();
    for mood in [Moody::DeserializeErrs, Moody::DeserializePanics] {
        let (here, there) = Connection::<Moody, Moody>::pair().unwrap();
        let child = with(&there, {
            let there = there.clone();
            move || {
                SENDER.set(false);
                let error = there.recv().unwrap_err();
                assert!(matches!(error, LinkError::Decode(_)), "{error}");
                assert!(matches!(there.recv(), Err(LinkError::Broken(_))));
            }
        });
        drop(there);
        here.send(&mood).unwrap();
        child.output::<()>().unwrap();
    }
    Passed
}

fn fault_39_both_sides_send_eight_megabytes_at_once() -> Outcome {
    let (here, there) = Connection::<Bytes, Bytes>::pair().unwrap();
    let message = Bytes::from(vec![5; 8 << 20]);
    let exchange = |end: &Connection<Bytes, Bytes>, message: &Bytes| {
        for _ in 0..3 {
            end.send(message).unwrap();
            assert_eq!(end.recv().unwrap(), *message);
        }
    };
    let child = with(&there, {
        let (there, message) = (there.clone(), message.clone());
        move || exchange(&there, &message)
    });
    drop(there);
    exchange(&here, &message);
    child.output::<()>().unwrap();
    Passed
}

fn fault_40_messages_of_every_size_arrive() -> Outcome {
    const CAP: usize = 3 << 20;
    let (here, there) = Connection::<Bytes, Bytes>::pair_with_max(CAP).unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || there.iter().for_each(|message| there.send(&message.unwrap()).unwrap())
    });
    drop(there);
    // A small one is within its message, which then says how long it is.
    for length in [0, 1, 4095, 4096, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, CAP - 8] {
        let message: Bytes = (0..length).map(|n| (n * 7) as u8).collect();
        here.send(&message).unwrap();
        assert_eq!(here.recv().unwrap(), message, "{length}");
    }
    assert!(matches!(here.send(&vec![0; CAP + 1].into()), Err(LinkError::TooLarge(_))));
    here.send(&Bytes::new()).unwrap();
    assert_eq!(here.recv().unwrap(), Bytes::new());
    drop(here);
    child.output::<()>().unwrap();
    Passed
}

/// Talks to a child that writes garbage all over the memory that it shares with this process.
/// Whether that has broken the connection, after which it stays broken.
fn talk_to_a_scribbler(seed: u64) -> bool {
    let (here, there) = Connection::<Vec<String>, Vec<String>>::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            there.send(&vec!["honest".to_owned()]).unwrap();
            there.recv().unwrap();
            raw::scribble("connection", seed, Duration::from_secs(60));
        }
    });
    drop(there);
    assert_eq!(here.recv().unwrap(), ["honest"]);
    here.send(&Vec::new()).unwrap();
    let (begin, mut is_broken) = (Instant::now(), false);
    while begin.elapsed() < Duration::from_millis(100) {
        match here.recv_timeout(Duration::from_millis(1)) {
            Err(LinkError::Broken(_)) => is_broken = true,
            other => assert!(!is_broken, "{other:?}"),
        }
        let _ = here.send_timeout(&vec!["x".repeat(500); 200], Duration::from_millis(1));
        let _ = here.try_send(&vec!["y".repeat(50); 2]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    is_broken
}

fn fault_41_a_peer_that_writes_anywhere_costs_the_connection() -> Outcome {
    let broken = (1..=10 * u64::from(stress_factor())).filter(|seed| talk_to_a_scribbler(*seed)).count();
    assert!(broken > 0, "no connection was ever broken: the test proves nothing");
    Passed
}

fn fault_43_a_peer_that_writes_anywhere_takes_no_memory() -> Outcome {
    talk_to_a_scribbler(1000);
    let before = proc::resident_kib();
    let broken = (1001..=1010).filter(|seed| talk_to_a_scribbler(*seed)).count();
    let after = proc::resident_kib();
    // One frame of the longest kind would be 64 MiB.
    assert!(after < before + (16 << 10), "{before} KiB, then {after} KiB");
    assert!(broken > 0, "no connection was ever broken: the test proves nothing");
    Passed
}

fn fault_42_threads_that_send_at_once_do_not_mix() -> Outcome {
    const EACH: usize = 8;
    let (here, there) = Connection::<Vec<u8>, Vec<u8>>::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            std::thread::scope(|scope| {
                for thread in 0..4u8 {
                    let there = &there;
                    scope.spawn(move || {
                        for _ in 0..EACH {
                            there.send(&vec![thread; 200_000]).unwrap();
                        }
                    });
                }
            });
        }
    });
    drop(there);
    let mut counts = [0; 4];
    while let Ok(message) = here.recv() {
        assert_eq!(message.len(), 200_000);
        assert!(message.iter().all(|byte| *byte == message[0]));
        counts[usize::from(message[0])] += 1;
    }
    assert_eq!(counts, [EACH; 4]);
    child.output::<()>().unwrap();
    Passed
}

static INTERRUPTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn interrupt(_: libc::c_int) {
    INTERRUPTED.fetch_add(1, Ordering::Relaxed);
}

fn fault_44_interrupted_transfers_go_on_and_keep_their_deadline() -> Outcome {
    raw::handle_signal(Signal::SIGALRM, interrupt);
    let (here, there) = Connection::<Bytes, Bytes>::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            for message in there.iter() {
                std::thread::sleep(Duration::from_millis(3));
                there.send(&message.unwrap()).unwrap();
            }
        }
    });
    drop(there);
    raw::interval_timer(Duration::from_millis(1));
    for _ in 0..20 {
        let message = Bytes::from(vec![9; 300_000]);
        here.send(&message).unwrap();
        assert_eq!(here.recv().unwrap(), message);
    }
    let timed = |call: &dyn Fn()| {
        let begin = Instant::now();
        call();
        begin.elapsed()
    };
    let asked = Duration::from_millis(50);
    let waited = timed(&|| assert!(here.recv_timeout(asked).unwrap().is_none()));
    assert!(waited >= asked, "{waited:?}");
    child.signal(common_ipc::process::Signal::STOP).unwrap();
    let waited = timed(&|| {
        let error = here.send_timeout(&vec![0; 1 << 20].into(), asked).unwrap_err();
        assert!(matches!(error, LinkError::TimedOut), "{error}");
    });
    assert!(waited >= asked, "{waited:?}");
    raw::interval_timer(Duration::ZERO);
    assert!(INTERRUPTED.load(Ordering::Relaxed) > 50, "{INTERRUPTED:?} interruptions prove nothing");
    child.signal(common_ipc::process::Signal::CONT).unwrap();
    here.send(&vec![1; 10].into()).unwrap();
    assert_eq!(here.recv().unwrap(), vec![1; 10].into());
    drop(here);
    child.output::<()>().unwrap();
    Passed
}

fn fault_45_callers_on_one_connection_get_their_own_replies() -> Outcome {
    const EACH: u64 = 10_000;
    let (caller, server) = calls::<(u64, u64), (u64, u64)>().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&server)).start(move || {
        // Answered by several at once, so in another order now and then.
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| server.clone().serve(|request| request).unwrap());
            }
        });
    });
    let child = child.unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let caller = &caller;
            scope.spawn(move || {
                for number in 0..EACH {
                    assert_eq!(caller.call((thread, number)).unwrap(), (thread, number));
                }
            });
        }
    });
    drop(caller);
    child.output::<()>().unwrap();
    Passed
}

fn fault_50_a_slow_receiver_bounds_the_sender() -> Outcome {
    let (here, there) = Connection::<Bytes, Bytes>::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            let mut count = 0u32;
            for message in there.iter() {
                assert_eq!(message.unwrap().len(), 1 << 20);
                count += 1;
                std::thread::sleep(Duration::from_micros(500));
            }
            assert_eq!(count, 500);
        }
    });
    drop(there);
    let message = Bytes::from(vec![0; 1 << 20]);
    here.send(&message).unwrap();
    let before = [proc::resident_kib(), proc::resident_kib_of(child.id() as i32)];
    let mut most = before;
    for _ in 1..500 {
        here.send(&message).unwrap();
        let now = [proc::resident_kib(), proc::resident_kib_of(child.id() as i32)];
        most = [most[0].max(now[0]), most[1].max(now[1])];
    }
    drop(here);
    child.output::<()>().unwrap();
    // What one message takes, a few times over; half a gigabyte was sent.
    assert!(most[0] < before[0] + (8 << 10) && most[1] < before[1] + (8 << 10), "{before:?} {most:?}");
    Passed
}

fn a_million_messages_arrive_in_order() -> Outcome {
    const MESSAGES: u64 = 1_000_000;
    let (here, there) = Connection::<u64, u64>::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            for expected in 0..MESSAGES {
                assert_eq!(there.recv().unwrap(), expected);
                if expected % 1000 == 0 {
                    there.send(&expected).unwrap();
                }
            }
        }
    });
    drop(there);
    for number in 0..MESSAGES {
        here.send(&number).unwrap();
        if number % 1000 == 0 {
            assert_eq!(here.recv().unwrap(), number);
        }
    }
    child.output::<()>().unwrap();
    assert!(is_closed(here.recv()));
    Passed
}

fn an_end_given_after_use_goes_on_where_it_was() -> Outcome {
    let (here, there) = Connection::<u32, u32>::pair().unwrap();
    here.send(&1).unwrap();
    assert_eq!(there.recv().unwrap(), 1);
    there.send(&2).unwrap();
    here.send(&3).unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            assert_eq!(there.recv().unwrap(), 3);
            there.send(&4).unwrap();
            // On to the next generation.
            let grandchild = with(&there, {
                let there = there.clone();
                move || {
                    assert_eq!(there.recv().unwrap(), 5);
                    there.send(&6).unwrap();
                }
            });
            assert!(matches!(there.recv(), Err(LinkError::WrongProcess(_))));
            grandchild.output::<()>().unwrap();
        }
    });
    assert!(matches!(there.recv(), Err(LinkError::WrongProcess(_))));
    assert_eq!((here.recv().unwrap(), here.recv().unwrap()), (2, 4));
    here.send(&5).unwrap();
    assert_eq!(here.recv().unwrap(), 6);
    assert!(is_closed(here.recv()));
    child.output::<()>().unwrap();
    Passed
}

fn an_idle_connection_takes_no_time() -> Outcome {
    let (here, there) = Connection::<u32, u32>::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            there.send(&1).unwrap();
            let before = raw::processor_time();
            assert_eq!(there.recv().unwrap(), 2);
            let used = raw::processor_time() - before;
            // A look each 50 ms would be six; one wait's spinning is all that there is.
            assert!(used < Duration::from_millis(2), "{used:?}");
        }
    });
    drop(there);
    assert_eq!(here.recv().unwrap(), 1);
    let before = raw::processor_time();
    assert!(here.recv_timeout(Duration::from_millis(300)).unwrap().is_none());
    let used = raw::processor_time() - before;
    assert!(used < Duration::from_millis(2), "{used:?}");
    here.send(&2).unwrap();
    child.output::<()>().unwrap();
    Passed
}

fn ends_travel_between_processes() -> Outcome {
    type Service = Connection<u64, u64>;
    // A child asks for connections of its own, one after the other, and is served by each.
    let (here, there) = Connection::<Service, u32>::pair().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        for round in 0..50u32 {
            there.send(&round).unwrap();
            let service = there.recv().unwrap();
            service.send(&u64::from(round)).unwrap();
            assert_eq!(service.recv().unwrap(), u64::from(round) + 1);
        }
    });
    let child = child.unwrap();
    while let Ok(round) = here.recv() {
        let (mine, yours) = Service::pair().unwrap();
        here.send(&yours).unwrap();
        assert_eq!(mine.recv().unwrap(), u64::from(round));
        mine.send(&(u64::from(round) + 1)).unwrap();
        assert!(is_closed(mine.recv()));
    }
    child.output::<()>().unwrap();
    Passed
}
