//! Rows 3, 13, 16, 39 to 44, 50: connections between processes, one of which dies, hangs, floods or lies.

use std::time::{Duration, Instant};

use common_ipc::link::{Bytes, Connection, LinkError, calls, safe_select};
use common_ipc::process::{Child, Launch, LaunchOptions};
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::children::sleep_for_long;

scenarios!(
    fault_03_a_copy_of_an_end_does_not_hide_its_owners_death,
    fault_03_an_end_that_moved_knows_whose_the_other_one_is,
    fault_03_an_end_that_moved_dies_with_its_new_owner,
    fault_03_who_only_sends_learns_of_a_death,
    fault_13_a_death_ends_every_call_with_an_error,
    fault_13_whole_messages_that_had_arrived_come_before_the_error,
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

fn with<T: Serialize + for<'de> Deserialize<'de>>(end: &Connection<T, T>, body: impl FnOnce()) -> Child {
    Launch::new(&LaunchOptions::new().give(end)).start(body).unwrap()
}

/// A process that this one forks without the library, which keeps copies of all descriptors.
fn holder() -> i32 {
    raw::fork(|| {
        sleep_for_long();
        0
    })
}

fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

fn is_closed<T>(result: Result<T, LinkError>) -> bool {
    matches!(result, Err(LinkError::Closed))
}

fn fault_03_a_copy_of_an_end_does_not_hide_its_owners_death() -> Outcome {
    for used in [false, true] {
        let (here, there) = Connection::<u32, u32>::pair().unwrap();
        let (say, hear) = Connection::<u32, u32>::pair().unwrap();
        let options = LaunchOptions::new().give(&there).give(&hear);
        let child = Launch::new(&options).start(move || {
            if used {
                there.send(&1).unwrap();
            }
            // It keeps copies of both ends, and isn't a child of ours.
            hear.send(&(holder() as u32)).unwrap();
            sleep_for_long();
        });
        let child = child.unwrap();
        let grandchild = say.recv().unwrap() as i32;
        if used {
            assert_eq!(here.recv().unwrap(), 1);
        }
        child.kill().unwrap();
        assert!(is_closed(here.recv()));
        assert!(is_closed(here.send(&2)));
        assert!(is_closed(say.recv()));
        assert!(proc::runs(grandchild), "it was its death that closed the connection");
        end(grandchild);
        child.wait().unwrap();
    }
    Passed
}

fn fault_03_an_end_that_moved_knows_whose_the_other_one_is() -> Outcome {
    type Inner = Connection<u32, u32>;
    let (outer, far_outer) = Connection::<Inner, ()>::pair().unwrap();
    let (here, there) = Inner::pair().unwrap();
    let child = with(&there, {
        let there = there.clone();
        move || {
            there.send(&(holder() as u32)).unwrap();
            sleep_for_long();
        }
    });
    drop(there);
    // Whose the other end is was said before this one moves.
    let grandchild = here.recv().unwrap() as i32;
    assert!(here.try_recv().unwrap().is_none());
    outer.send(&here).unwrap();
    let moved = far_outer.recv().unwrap();
    // And on, to a child.
    let reader = with(&moved, {
        let moved = moved.clone();
        move || assert!(is_closed(moved.recv()))
    });
    drop(moved);
    child.kill().unwrap();
    reader.output::<()>().unwrap();
    assert!(proc::runs(grandchild));
    end(grandchild);
    child.wait().unwrap();
    Passed
}

fn fault_03_who_only_sends_learns_of_a_death() -> Outcome {
    let (here, there) = Connection::<u32, u32>::pair().unwrap();
    let (say, hear) = Connection::<(), u32>::pair().unwrap();
    let options = LaunchOptions::new().give(&there).give(&hear);
    let child = Launch::new(&options).start(move || {
        hear.send(&(holder() as u32)).unwrap();
        sleep_for_long();
        drop(there);
    });
    let child = child.unwrap();
    let grandchild = say.recv().unwrap() as i32;
    child.kill().unwrap();
    child.wait().unwrap();
    while let Ok(()) = here.send(&1) {}
    assert!(is_closed(here.send(&1)));
    assert!(proc::runs(grandchild));
    end(grandchild);
    Passed
}

fn fault_03_an_end_that_moved_dies_with_its_new_owner() -> Outcome {
    type Inner = Connection<u32, u32>;
    let (to_one, one_end) = Connection::<(), Inner>::pair().unwrap();
    let (to_other, other_end) = Connection::<Inner, u32>::pair().unwrap();
    let one = Launch::new(&LaunchOptions::new().give(&one_end)).start(move || {
        let (inner, far) = Inner::pair().unwrap();
        inner.send(&1).unwrap();
        one_end.send(&far).unwrap();
        // Its other end is here, and what becomes of it is for whoever has the far one to know.
        assert_eq!(inner.recv().unwrap(), 2);
        assert!(is_closed(inner.recv()));
        inner.send(&3).unwrap_err();
    });
    let one = one.unwrap();
    let other = Launch::new(&LaunchOptions::new().give(&other_end)).start(move || {
        let far = other_end.recv().unwrap();
        assert_eq!(far.recv().unwrap(), 1);
        far.send(&2).unwrap();
        other_end.send(&(holder() as u32)).unwrap();
        sleep_for_long();
    });
    let other = other.unwrap();
    // From one child by way of this process to another one, which then dies while a copy stays.
    to_other.send(&to_one.recv().unwrap()).unwrap();
    let grandchild = to_other.recv().unwrap() as i32;
    other.kill().unwrap();
    one.output::<()>().unwrap();
    assert!(proc::runs(grandchild));
    end(grandchild);
    other.wait().unwrap();
    Passed
}

/// What a child does that has the far end, and how it comes to its end.
fn deaths() -> Vec<(&'static str, fn())> {
    vec![
        ("is killed", || kill(Pid::this(), Signal::SIGKILL).unwrap()),
        ("aborts", || std::process::abort()),
        ("exits", || std::process::exit(3)),
        ("exits at once", || raw::exit_at_once()),
        ("returns", || {}),
    ]
}

fn fault_13_a_death_ends_every_call_with_an_error() -> Outcome {
    type End = Connection<String, String>;
    /// A call that the far end's death ends, after it was told that it may die.
    type Call = fn(&End) -> Result<(), LinkError>;
    let large = || "x".repeat(1 << 20);
    let calls: [(&str, Call); 6] = [
        ("recv", |end| end.recv().map(drop)),
        ("recv_timeout", |end| end.recv_timeout(Duration::from_secs(60)).map(|_| ())),
        ("send, for room", |end| {
            loop {
                end.send(&"x".repeat(1000))?;
            }
        }),
        ("send, half-way", |end| end.send(&"x".repeat(1 << 20))),
        ("send_timeout", |end| end.send_timeout(&"x".repeat(1 << 20), Duration::from_secs(60))),
        ("poll", |end| {
            while safe_select(&[std::os::fd::AsFd::as_fd(end)], None).unwrap().is_empty() {}
            loop {
                end.try_recv()?;
            }
        }),
    ];
    for (death, die) in deaths() {
        for (name, call) in calls {
            let (here, there) = End::pair().unwrap();
            let options = LaunchOptions::new().core_limit(0).stderr(common_ipc::process::Stdio::Null);
            let child = Launch::new(&options.give(&there)).start(move || {
                assert_eq!(there.recv().unwrap(), "die soon");
                // The call is under way by then, as a rule; when it isn't, it is a later one.
                std::thread::sleep(Duration::from_millis(20));
                die();
            });
            let child = child.unwrap();
            here.send(&"die soon".to_owned()).unwrap();
            let result = call(&here);
            assert!(is_closed(result), "{name} while the other side {death}");
            // And every later one.
            assert!(is_closed(here.recv()), "{name}, {death}");
            assert!(is_closed(here.send(&large())), "{name}, {death}");
            assert!(is_closed(here.try_recv()), "{name}, {death}");
            child.wait().unwrap();
            assert!(is_closed(here.try_send(&String::new())), "{name}, {death}");
        }
    }
    Passed
}

fn fault_13_whole_messages_that_had_arrived_come_before_the_error() -> Outcome {
    for round in 0..20 * stress_factor() {
        let (here, there) = Connection::<u32, u32>::pair().unwrap();
        let child = with(&there, {
            let there = there.clone();
            move || {
                for number in 0.. {
                    there.send(&number).unwrap();
                }
            }
        });
        drop(there);
        std::thread::sleep(Duration::from_micros(u64::from(round % 20) * 100));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut next = 0;
        let error = loop {
            match here.recv() {
                Ok(number) => assert_eq!(number, next),
                Err(error) => break error,
            }
            next += 1;
        };
        assert!(matches!(error, LinkError::Closed), "{error}");
    }
    Passed
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
fn talk_to_a_scribbler(seed: u64) {
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
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(100) {
        let _ = here.recv_timeout(Duration::from_millis(1));
        let _ = here.send_timeout(&vec!["x".repeat(500); 200], Duration::from_millis(1));
        let _ = here.try_send(&vec!["y".repeat(50); 2]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn fault_41_a_peer_that_writes_anywhere_costs_the_connection() -> Outcome {
    (1..=10 * u64::from(stress_factor())).for_each(talk_to_a_scribbler);
    Passed
}

fn fault_43_a_peer_that_writes_anywhere_takes_no_memory() -> Outcome {
    talk_to_a_scribbler(1000);
    let before = proc::resident_kib();
    (1001..=1010).for_each(talk_to_a_scribbler);
    let after = proc::resident_kib();
    // One frame of the longest kind would be 64 MiB.
    assert!(after < before + (16 << 10), "{before} KiB, then {after} KiB");
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

extern "C" fn nothing(_: libc::c_int) {}

fn fault_44_interrupted_transfers_go_on_and_keep_their_deadline() -> Outcome {
    raw::handle_signal(Signal::SIGALRM, nothing);
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
