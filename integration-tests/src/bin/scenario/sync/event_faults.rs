//! Row 38: events that are reserved and set too late, never, or by nobody any more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common_ipc::link::Connection;
use common_ipc::process::{Child, Launch, LaunchOptions, Signal};
use common_ipc::sync::{Event, EventFd};
use integration_tests::{proc, raw};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use valkka_multiprocess::{EventError, EventGroup, EventIndex, SyncIndex};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    fault_37_who_waits_for_an_event_of_a_group_dies,
    fault_38_a_setter_that_is_killed_is_an_error_of_the_wait,
    fault_38_a_setter_that_is_killed_between_its_steps_has_set,
    fault_38_a_late_set_is_for_nobody,
    fault_38_late_sets_that_race_with_reservations_wake_nobody,
    fault_38_what_a_dead_process_reserved_is_free_again,
    fault_38_a_copy_of_a_reservation_releases_nothing,
    fault_38_a_panic_releases,
    fault_38_a_hostile_process_spoils_no_more_than_the_events,
);

/// A test that fails waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn end(child: &Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Killed after a moment, by another thread.
fn killed_soon(wait: impl FnOnce(&Child)) {
    let child = start(sleep_for_long);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            child.kill().unwrap();
        });
        wait(&child);
    });
}

fn must_be_killed<T: std::fmt::Debug>(result: Result<T, EventError>) {
    match result.unwrap_err() {
        EventError::DiedBeforeSet { status, .. } => assert_eq!(status.signal(), Some(Signal::KILL)),
        error => panic!("{error}"),
    }
}

fn fault_38_a_setter_that_is_killed_is_an_error_of_the_wait() -> Outcome {
    let (events, fds) = (EventGroup::new(2).unwrap(), EventGroup::from_fn(2, EventFd::new).unwrap());
    let tell = |_| std::io::Result::Ok(());
    killed_soon(|child| must_be_killed(events.sync(child, tell)));
    killed_soon(|child| must_be_killed(events.sync_timeout(child, PATIENCE, tell)));
    killed_soon(|child| must_be_killed(SyncIndex::reserve(&events).unwrap().wait(child)));
    killed_soon(|child| must_be_killed(fds.sync(child, tell)));
    killed_soon(|child| {
        let reserved = events.reserve().unwrap();
        must_be_killed(reserved.wait_or_death(child, None));
        // It stays reserved, and others can set it.
        events.set(reserved.index()).unwrap();
        assert!(reserved.wait_or_death(child, None).unwrap());
    });
    // It sets the event with its last breath.
    for _ in 0..20 {
        let reserved = events.reserve().unwrap();
        let index = reserved.index();
        let child = start(|| {
            events.set(index).unwrap();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        });
        assert!(reserved.wait_or_death(&child, None).unwrap());
        child.wait().unwrap();
    }
    assert_eq!((events.available(), fds.available()), (2, 2));
    Passed
}

/// The words of the only group that there is: of the first event, in its first reservation.
const SET: u32 = 1 << 2 | 1 | 2;

fn fault_38_a_setter_that_is_killed_between_its_steps_has_set() -> Outcome {
    let events = EventGroup::new(1).unwrap();
    let reserved = events.reserve().unwrap();
    let (waits, kills) = (start(|| reserved.wait().unwrap()), start(sleep_for_long));
    assert!(proc::eventually(|| proc::stat(waits.id() as i32).is_some_and(|stat| stat.state == 'S')));
    assert!(!reserved.is_set().unwrap());
    raw::poke("shared memory", 0, SET);
    assert!(waits.output_timeout::<()>(PATIENCE).unwrap().is_some());
    end(&kills);
    assert!(reserved.wait_or_death(&kills, None).unwrap());
    Passed
}

fn fault_38_a_late_set_is_for_nobody() -> Outcome {
    let events = EventGroup::new(1).unwrap();
    let (go, (front, back)) = (Event::new().unwrap(), Connection::<EventIndex, bool>::pair().unwrap());
    let options = LaunchOptions::new().give(&back);
    let child = Launch::new(&options).start(|| {
        let back = back;
        let late = back.recv().unwrap();
        go.wait().unwrap();
        back.send(&events.set(late).unwrap()).unwrap();
        back.send(&events.set(back.recv().unwrap()).unwrap()).unwrap();
        // And once more, when it is over as well.
        let over = back.recv().unwrap();
        back.send(&events.set(over).unwrap()).unwrap();
    });
    let child = child.unwrap();
    let short = Duration::from_millis(5);
    let error = events.sync_timeout(&child, short, |index| front.send(&index)).unwrap_err();
    assert!(matches!(error, EventError::TimedOut { .. }), "{error}");
    let next = events.reserve().unwrap();
    go.set();
    assert!(!front.recv().unwrap(), "it is told that it is late");
    assert!(!next.is_set().unwrap() && !next.wait_timeout(short).unwrap());
    front.send(&next.index()).unwrap();
    assert!(next.wait_or_death(&child, None).unwrap() && front.recv().unwrap());
    let over = next.index();
    drop(next);
    front.send(&over).unwrap();
    assert!(!front.recv().unwrap());
    child.output::<()>().unwrap();
    Passed
}

fn fault_38_late_sets_that_race_with_reservations_wake_nobody() -> Outcome {
    let events = EventGroup::new(1).unwrap();
    let (front, back) = Connection::<EventIndex, ()>::pair().unwrap();
    let (in_child, options) = (events.clone(), LaunchOptions::new().give(&back));
    let child = Launch::new(&options).start(move || {
        let mut late = 0u32;
        while let Ok(index) = back.recv() {
            late += u32::from(!in_child.set(index).unwrap());
        }
        late
    });
    let child = child.unwrap();
    for round in 0..100_000 {
        // Given up at once.
        let old = events.reserve().unwrap();
        front.send(&old.index()).unwrap();
        drop(old);
        let new = events.reserve().unwrap();
        if round % 8 > 0 {
            // Nobody has its index.
            for _ in 0..round % 8 {
                assert!(!new.is_set().unwrap(), "in round {round}");
            }
            assert!(!new.wait_timeout(Duration::ZERO).unwrap(), "in round {round}");
        } else {
            front.send(&new.index()).unwrap();
            assert!(new.wait_or_death(&child, None).unwrap());
        }
    }
    drop(front);
    assert!(child.output::<u32>().unwrap() > 0, "none was late");
    Passed
}

fn fault_38_what_a_dead_process_reserved_is_free_again() -> Outcome {
    let events = EventGroup::new(3).unwrap();
    let (ready, own) = (Event::new().unwrap(), events.reserve().unwrap());
    let holder = || {
        let child = start(|| {
            let _held = [events.reserve().unwrap(), events.reserve().unwrap()];
            ready.set();
            sleep_for_long();
        });
        assert!(ready.wait_or_death(&child, None).unwrap());
        ready.clear();
        child
    };
    // Found by who reserves.
    let dies = holder();
    assert!(matches!(events.reserve(), Err(EventError::NotEnoughEvents { size: 3 })));
    assert_eq!(events.to_string(), "<EventGroup: R0 R1 R2 >");
    end(&dies);
    drop([events.reserve().unwrap(), events.reserve().unwrap()]);
    // By who waits for one.
    let dies = holder();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| events.reserve_timeout(PATIENCE).map(drop));
        std::thread::sleep(Duration::from_millis(5));
        dies.kill().unwrap();
        next.join().unwrap().unwrap();
    });
    dies.wait().unwrap();
    // And by who asks.
    assert_eq!(events.available(), 2);
    drop(own);
    assert_eq!(events.to_string(), "<EventGroup: f0 f1 f2 >");
    Passed
}

fn fault_37_who_waits_for_an_event_of_a_group_dies() -> Outcome {
    let events = EventGroup::new(1).unwrap();
    let (front, back) = Connection::<(), EventIndex>::pair().unwrap();
    let waits = Launch::new(&LaunchOptions::new().give(&back)).start(|| {
        let reserved = events.reserve().unwrap();
        back.send(&reserved.index()).unwrap();
        reserved.wait().unwrap();
    });
    let waits = waits.unwrap();
    let index = front.recv().unwrap();
    assert!(proc::eventually(|| proc::stat(waits.id() as i32).is_some_and(|stat| stat.state == 'S')));
    end(&waits);
    // Nobody knows yet.
    assert!(events.set(index).unwrap());
    let next = events.reserve().unwrap();
    assert!(!events.set(index).unwrap() && !next.is_set().unwrap());
    let setter = start(|| events.set(next.index()).unwrap());
    assert!(next.wait_or_death(&setter, None).unwrap());
    setter.wait().unwrap();
    Passed
}

fn fault_38_a_copy_of_a_reservation_releases_nothing() -> Outcome {
    let events = EventGroup::new(1).unwrap();
    let mut reserved = Some(events.reserve().unwrap());
    let pid = raw::fork(|| {
        drop(reserved.take());
        i32::from(events.available() != 0)
    });
    let pid = Pid::from_raw(pid);
    assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 0));
    // A copy can wait, until the reservation is over.
    let held = reserved.unwrap();
    let waits = start(|| (held.wait().is_ok(), held.is_set().is_ok()));
    events.set(held.index()).unwrap();
    assert_eq!(waits.output::<(bool, bool)>().unwrap(), (true, true));
    drop(held);
    let held = events.reserve().unwrap();
    let waits = start(|| matches!(held.wait(), Err(EventError::StaleIndex { .. })));
    assert!(proc::eventually(|| proc::stat(waits.id() as i32).is_some_and(|stat| stat.state == 'S')));
    drop(held);
    assert!(waits.output_timeout::<bool>(PATIENCE).unwrap().unwrap());
    assert_eq!(events.available(), 1);
    Passed
}

fn fault_38_a_panic_releases() -> Outcome {
    let events = EventGroup::new(1).unwrap();
    let child = start(sleep_for_long);
    let panics = || events.sync::<(), std::io::Error>(&child, |_| panic!("on the way"));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(events.available(), 1);
    let fails = |_| Err::<(), _>("the text of an error");
    let error = events.sync(&child, fails).unwrap_err();
    assert!(error.to_string().contains("the text of an error"), "{error}");
    end(&child);
    // In the process that was to set it.
    let reserved = events.reserve().unwrap();
    let panics = start::<()>(|| panic!("before it set the event"));
    let error = reserved.wait_or_death(&panics, None).unwrap_err();
    assert!(error.to_string().contains("before it set the event"), "{error}");
    drop(reserved);
    // And in one that has reserved it.
    let panics = start::<()>(|| {
        let _reserved = events.reserve().unwrap();
        panic!("with an event reserved");
    });
    panics.wait().unwrap();
    assert_eq!(events.available(), 1);
    Passed
}

fn fault_38_a_hostile_process_spoils_no_more_than_the_events() -> Outcome {
    let events = EventGroup::new(3).unwrap();
    let hostile = start(|| {
        let _captured = &events;
        for (seed, name) in ["shared memory", "semaphore", "event"].into_iter().cycle().take(60).enumerate() {
            raw::scribble(name, seed as u64, Duration::from_millis(10));
        }
    });
    let begin = Instant::now();
    let short = Duration::from_millis(2);
    // Whatever these say, they say it, in bounded time.
    while begin.elapsed() < Duration::from_millis(500) {
        if let Ok(reserved) = events.reserve_timeout(short) {
            assert!(reserved.index().slot() < 3);
            let _ = reserved.wait_timeout(short);
            let _ = reserved.wait_or_death(&hostile, Some(short));
            let _ = events.set(reserved.index());
            let _ = reserved.is_set();
        }
        assert!(events.available() <= 3 && events.to_string().starts_with("<EventGroup: "));
    }
    hostile.output::<()>().unwrap();
    // Reservations bring order back into what nobody writes to any more.
    let held: Vec<_> = std::iter::from_fn(|| events.reserve().ok()).collect();
    for reserved in held {
        events.set(reserved.index()).unwrap();
        assert!(reserved.wait_timeout(PATIENCE).unwrap());
    }
    Passed
}
