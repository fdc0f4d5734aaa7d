//! Rows 36 and 37: who dies with a permit or a lock, and who dies waiting.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use common_ipc::process::{Child, Launch, LaunchOptions, Signal};
use common_ipc::sync::{Event, EventFd, EventFlag, LockError, Mutex, Semaphore};
use integration_tests::{proc, raw, stress_factor};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};
use crate::sync::memory::behind;

scenarios!(
    fault_36_a_permit_of_the_dead_goes_to_the_next_who_is_told,
    fault_36_one_of_many_is_told,
    fault_36_a_value_is_whole_however_its_holder_dies,
    fault_36_a_hostile_child_rewrites_the_page,
    fault_36_a_copy_of_a_permit_is_nothing,
    fault_36_a_child_that_exits_without_dropping_is_dead,
    fault_37_a_waiter_that_dies_after_it_was_chosen_keeps_nobody_asleep,
    fault_37_a_stopped_waiter_keeps_nobody_asleep,
    fault_37_a_waiter_and_a_setter_die,
    fault_37_a_set_without_a_wake_is_found,
    semaphores_let_so_many_in,
    waiting_for_an_event_takes_no_processor_time,
);

/// A test that fails waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_asleep(child: &Child) -> bool {
    proc::stat(child.id() as i32).is_some_and(|stat| stat.state == 'S')
}

/// Asleep for so long that it isn't a pause of something else.
fn must_sleep(child: &Child) {
    assert!(proc::eventually(|| (0..5).all(|_| {
        std::thread::sleep(Duration::from_millis(2));
        is_asleep(child)
    })));
}

fn end(child: &Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn fault_36_a_permit_of_the_dead_goes_to_the_next_who_is_told() -> Outcome {
    let (semaphore, mutex) = (Semaphore::new(2).unwrap(), Mutex::new(5u32).unwrap());
    let ready = Event::new().unwrap();
    let dies = start(|| {
        let _permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
        let mut guard = mutex.lock().unwrap();
        *guard = 6;
        ready.set();
        sleep_for_long();
    });
    assert!(ready.wait_or_death(&dies, None).unwrap());
    assert_eq!(semaphore.available(), 0);
    assert!(semaphore.try_acquire().unwrap().is_none());
    assert!(mutex.try_lock().unwrap().is_none());
    // While somebody waits.
    let waits = start(|| semaphore.acquire().unwrap().previous_owner_died());
    must_sleep(&waits);
    end(&dies);
    assert!(waits.output::<bool>().unwrap());
    // When nobody does. One of the two permits was given back in good order.
    let permits = [(), ()].map(|()| semaphore.acquire_timeout(PATIENCE).unwrap().unwrap());
    assert_eq!(permits.iter().filter(|permit| permit.previous_owner_died()).count(), 1);
    drop(permits);
    assert_eq!(semaphore.available(), 2);
    let Err(LockError::OwnerDied(guard)) = mutex.try_lock() else { panic!("not told") };
    assert_eq!(*guard, 5, "not published");
    drop(guard);
    assert_eq!(*mutex.lock().unwrap(), 5, "told once");
    Passed
}

fn fault_36_one_of_many_is_told() -> Outcome {
    for _ in 0..5 * stress_factor() {
        let (mutex, ready) = (Mutex::new(0u64).unwrap(), Event::new().unwrap());
        let dies = start(|| {
            let _guard = mutex.lock().unwrap();
            ready.set();
            sleep_for_long();
        });
        assert!(ready.wait_or_death(&dies, None).unwrap());
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                start(|| match mutex.lock() {
                    Ok(mut guard) => {
                        *guard += 1;
                        false
                    }
                    Err(LockError::OwnerDied(mut guard)) => {
                        *guard += 1;
                        true
                    }
                    Err(error) => panic!("{error}"),
                })
            })
            .collect();
        end(&dies);
        let told = waiters.iter().filter(|waiter| waiter.output::<bool>().unwrap()).count();
        assert_eq!(told, 1);
        assert_eq!(*mutex.lock().unwrap(), 4);
    }
    Passed
}

fn fault_36_a_value_is_whole_however_its_holder_dies() -> Outcome {
    let mutex = Mutex::new([0u64; 200]).unwrap();
    let mut last = 0;
    let mut died_inside = 0;
    for round in 0..40 * stress_factor() {
        let changed = Event::new().unwrap();
        let child = start::<()>(|| {
            loop {
                let mut guard = mutex.lock().or_else(LockError::into_guard).unwrap();
                for element in guard.iter_mut() {
                    *element += 1;
                }
                drop(guard);
                changed.set();
            }
        });
        assert!(changed.wait_or_death(&child, None).unwrap());
        std::thread::sleep(Duration::from_micros(u64::from(round * 37 % 500)));
        end(&child);
        let guard = match mutex.lock_timeout(PATIENCE) {
            Err(LockError::OwnerDied(guard)) => {
                died_inside += 1;
                guard
            }
            other => other.unwrap().unwrap(),
        };
        assert!(guard.iter().all(|element| *element == guard[0]), "{guard:?}");
        assert!(guard[0] > last, "what was published stays");
        last = guard[0];
    }
    assert!(died_inside > 0, "none of them died inside");
    Passed
}

fn fault_36_a_hostile_child_rewrites_the_page() -> Outcome {
    let (mutex, semaphore, event) =
        (Mutex::new([1u64; 4]).unwrap(), Semaphore::new(3).unwrap(), Event::new().unwrap());
    let (ready, stop) = (Event::new().unwrap(), Event::new().unwrap());
    let options = LaunchOptions::new().give(&mutex).give(&semaphore).give(&event);
    let hostile = Launch::new(&options).start(|| {
        let _captured = (&mutex, &semaphore, &event);
        let files = ["mutex", "semaphore", "event"].map(|name| behind(name).unwrap());
        let mut random = 0x9E37_79B9_7F4A_7C15u64;
        for round in 0u64.. {
            for file in &files {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // Wild ones, small ones, and the ids of processes that live.
                let word = match random % 4 {
                    0 => random,
                    1 => random >> 60,
                    2 => std::process::id().into(),
                    _ => 1,
                };
                let _ = file.write_at(&word.to_ne_bytes(), (random >> 32) % 14 * 8);
            }
            if round == 100 {
                ready.set();
            }
            if stop.is_set() {
                break;
            }
        }
    });
    let hostile = hostile.unwrap();
    assert!(ready.wait_or_death(&hostile, None).unwrap());
    let begin = Instant::now();
    // Whatever these say, they say it, in bounded time.
    while begin.elapsed() < Duration::from_millis(500) {
        let short = Duration::from_millis(2);
        if let Ok(Some(mut guard)) = mutex.lock_timeout(short) {
            guard[0] = guard[0].wrapping_add(1);
        }
        let permit = semaphore.acquire_timeout(short).unwrap();
        assert!(semaphore.available() <= 3);
        drop(permit);
        let _ = mutex.try_lock();
        event.wait_timeout(short).unwrap();
        event.set();
        event.clear();
    }
    stop.set();
    hostile.output::<()>().unwrap();
    Passed
}

fn fault_36_a_copy_of_a_permit_is_nothing() -> Outcome {
    let (semaphore, mutex) = (Semaphore::new(1).unwrap(), Mutex::new(1u8).unwrap());
    let permit = semaphore.acquire().unwrap();
    let mut held = Some((permit, mutex.lock().unwrap()));
    let pid = raw::fork(|| {
        if let Some((_permit, mut guard)) = held.take() {
            *guard = 2;
        }
        i32::from(semaphore.available() != 0 || mutex.try_lock().unwrap().is_some())
    });
    let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(nix::unistd::Pid::from_raw(pid), 0));
    assert_eq!(semaphore.available(), 0, "still this process's");
    drop(held);
    assert_eq!(semaphore.available(), 1);
    assert_eq!(*mutex.lock().unwrap(), 1);
    Passed
}

fn fault_36_a_child_that_exits_without_dropping_is_dead() -> Outcome {
    let semaphore = Semaphore::new(1).unwrap();
    let child = start(|| std::mem::forget(semaphore.acquire().unwrap()));
    child.output::<()>().unwrap();
    assert!(semaphore.acquire_timeout(PATIENCE).unwrap().unwrap().previous_owner_died());
    assert_eq!(semaphore.available(), 1);
    Passed
}

fn fault_37_a_waiter_that_dies_after_it_was_chosen_keeps_nobody_asleep() -> Outcome {
    // All on one processor, and the one who is to die so unimportant that it doesn't run before it dies.
    let mine = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let processor = (0..CpuSet::count()).find(|number| mine.is_set(*number).unwrap()).unwrap();
    let mut one = CpuSet::new();
    one.set(processor).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
    let unimportant = LaunchOptions::new().affinity([processor]).nice(19);
    for _ in 0..10 * stress_factor() {
        // One permit, two who sleep; as a rule the first one is chosen.
        let semaphore = Semaphore::new(1).unwrap();
        let held = semaphore.acquire().unwrap();
        let first = Launch::new(&unimportant).start(|| drop(semaphore.acquire().unwrap())).unwrap();
        must_sleep(&first);
        let second = start(|| drop(semaphore.acquire().unwrap()));
        must_sleep(&second);
        drop(held);
        first.kill().unwrap();
        assert!(second.output_timeout::<()>(PATIENCE).unwrap().is_some());
        first.wait().unwrap();
    }
    Passed
}

fn fault_37_a_stopped_waiter_keeps_nobody_asleep() -> Outcome {
    let semaphore = Semaphore::new(1).unwrap();
    let held = semaphore.acquire().unwrap();
    let event = Event::new().unwrap();
    let waits = || {
        drop(semaphore.acquire().unwrap());
        event.wait().unwrap();
    };
    let children = [start(waits), start(waits), start(waits)];
    children.iter().for_each(must_sleep);
    let stop = |child: &Child| {
        child.signal(Signal::STOP).unwrap();
        assert!(proc::eventually(|| proc::stat(child.id() as i32).unwrap().state == 'T'));
    };
    // One before there is anything to be chosen for, one right after.
    stop(&children[0]);
    drop(held);
    stop(&children[1]);
    // That one may have the permit: then it is the dead one's.
    end(&children[1]);
    must_sleep(&children[2]);
    event.set();
    assert!(children[2].output_timeout::<()>(PATIENCE).unwrap().is_some());
    assert!(children[0].is_alive().unwrap());
    end(&children[0]);
    Passed
}

fn fault_37_a_waiter_and_a_setter_die() -> Outcome {
    let event_fd = EventFd::new().unwrap();
    let event = Event::new().unwrap();
    let flags: [&dyn EventFlag; 2] = [&event, &event_fd];
    for flag in flags {
        let launch = || LaunchOptions::new().give(&event_fd);
        let start = |body: &dyn Fn()| Launch::new(&launch()).start(body).unwrap();
        let dead_waiter = start(&|| flag.wait().unwrap());
        must_sleep(&dead_waiter);
        let dead_setter = start(&sleep_for_long);
        end(&dead_waiter);
        let waiter = start(&|| flag.wait().unwrap());
        must_sleep(&waiter);
        end(&dead_setter);
        // A wait that knows of the setter ends; the plain one doesn't.
        assert!(!event.wait_or_death(&dead_setter, None).unwrap());
        assert!(!event_fd.wait_or_death(&dead_setter, None).unwrap());
        assert!(is_asleep(&waiter) || waiter.is_alive().unwrap());
        let setter = start(&|| flag.set().unwrap());
        assert!(waiter.output_timeout::<()>(PATIENCE).unwrap().is_some());
        setter.output::<()>().unwrap();
        flag.clear().unwrap();
    }
    // A death during the wait, and a setter that dies right after.
    let dies = start(sleep_for_long);
    let kills = start(|| ());
    kills.output::<()>().unwrap();
    assert!(!event_fd.wait_or_death(&dies, Some(Duration::from_millis(20))).unwrap());
    dies.kill().unwrap();
    assert!(!event_fd.wait_or_death(&dies, None).unwrap());
    let options = LaunchOptions::new().give(&event_fd);
    let last_breath = Launch::new(&options).start(|| {
        event_fd.set().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    });
    assert!(event_fd.wait_or_death(&last_breath.unwrap(), None).unwrap());
    Passed
}

fn fault_37_a_set_without_a_wake_is_found() -> Outcome {
    // As a setter leaves it that is killed between its two steps.
    let event = Event::new().unwrap();
    let waiter = start(|| event.wait().unwrap());
    must_sleep(&waiter);
    behind("event").unwrap().write_at(&1u32.to_ne_bytes(), 0).unwrap();
    assert!(waiter.output_timeout::<()>(PATIENCE).unwrap().is_some());
    // And one that gives a permit back.
    let semaphore = Semaphore::new(1).unwrap();
    let held = semaphore.acquire().unwrap();
    let waiter = start(|| drop(semaphore.acquire().unwrap()));
    must_sleep(&waiter);
    behind("semaphore").unwrap().write_at(&0u64.to_ne_bytes(), 32).unwrap();
    assert!(waiter.output_timeout::<()>(PATIENCE).unwrap().is_some());
    drop(held);
    assert_eq!(semaphore.available(), 1);
    Passed
}

fn semaphores_let_so_many_in() -> Outcome {
    let (semaphore, inside) = (Semaphore::new(3).unwrap(), Mutex::new([0u32; 2]).unwrap());
    let children: Vec<_> = (0..8)
        .map(|_| {
            start(|| {
                for _ in 0..200 * stress_factor() {
                    let _permit = semaphore.acquire().unwrap();
                    let mut counts = inside.lock().unwrap();
                    counts[0] += 1;
                    counts[1] = counts[1].max(counts[0]);
                    drop(counts);
                    std::thread::yield_now();
                    inside.lock().unwrap()[0] -= 1;
                }
            })
        })
        .collect();
    for child in children {
        child.output::<()>().unwrap();
    }
    let [now, most] = *inside.lock().unwrap();
    assert_eq!((now, most), (0, 3));
    assert_eq!(semaphore.available(), 3);
    Passed
}

fn waiting_for_an_event_takes_no_processor_time() -> Outcome {
    let event = Event::new().unwrap();
    let semaphore = Semaphore::new(1).unwrap();
    let _held = semaphore.acquire().unwrap();
    let before = raw::processor_time();
    assert!(!event.wait_timeout(Duration::from_millis(500)).unwrap());
    assert!(semaphore.acquire_timeout(Duration::from_millis(500)).unwrap().is_none());
    let used = raw::processor_time() - before;
    assert!(used < Duration::from_millis(10), "{used:?} in a second");
    Passed
}
