//! Rows 36 to 38 for children of templates and zygotes, which are told apart, and have what is shared, by other means than
//! the program's forks.

use std::time::Duration;

use common_ipc::process::{Child, Launch, LaunchOptions, Portable};
use common_ipc::sync::{Event, LockError, Mutex, Semaphore};
use integration_tests::{proc, stress_factor};
use valkka_multiprocess::{EventError, EventGroup};

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;
use crate::servers::start_in;

scenarios!(
    fault_36_what_a_dead_child_of_a_server_held_goes_to_the_next_who_is_told,
    fault_37_a_waiter_of_a_server_that_dies_keeps_nobody_asleep,
    fault_38_what_a_dead_child_of_a_server_reserved_is_free_again,
);

/// A test that fails waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child of a template of its own, which is gone by then, or of the program's zygote.
fn start_by<A: Portable>(of_template: bool, run: fn(A), argument: &A) -> Child {
    match of_template {
        true => {
            let template = Launch::new(&LaunchOptions::new()).template_with(run).unwrap();
            template.start_with(argument).unwrap()
        }
        false => start_in(run, argument),
    }
}

/// Asleep for so long that it isn't a pause of something else.
fn must_sleep(child: &Child) {
    let is_asleep = || proc::stat(child.id() as i32).is_some_and(|stat| stat.state == 'S');
    assert!(proc::eventually(|| (0..5).all(|_| {
        std::thread::sleep(Duration::from_millis(2));
        is_asleep()
    })));
}

fn end(child: &Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn fault_36_what_a_dead_child_of_a_server_held_goes_to_the_next_who_is_told() -> Outcome {
    type All = (Semaphore, Mutex<u64>, Event);
    fn hold((semaphore, mutex, ready): All) {
        let _permit = semaphore.acquire().unwrap();
        let _guard = mutex.lock().unwrap();
        ready.set();
        sleep_for_long();
    }
    for of_template in [true, false] {
        let all: All = (Semaphore::new(1).unwrap(), Mutex::new(5).unwrap(), Event::new().unwrap());
        let dies = start_by(of_template, hold, &all);
        assert!(all.2.wait_or_death(&dies, Some(PATIENCE)).unwrap());
        assert!(all.0.try_acquire().unwrap().is_none() && all.1.try_lock().unwrap().is_none());
        end(&dies);
        assert!(all.0.acquire_timeout(PATIENCE).unwrap().unwrap().previous_owner_died());
        assert!(matches!(all.1.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
        assert!(all.1.lock_timeout(PATIENCE).is_ok(), "told once");
    }
    Passed
}

fn fault_37_a_waiter_of_a_server_that_dies_keeps_nobody_asleep() -> Outcome {
    let acquires = |semaphore: Semaphore| drop(semaphore.acquire().unwrap());
    let waits = |event: Event| event.wait().unwrap();
    for of_template in [true, false] {
        for _ in 0..5 * stress_factor() {
            // One permit, two who sleep; as a rule the first one is chosen.
            let semaphore = Semaphore::new(1).unwrap();
            let held = semaphore.acquire().unwrap();
            let [first, second] = [(); 2].map(|()| {
                let child = start_by(of_template, acquires, &semaphore);
                must_sleep(&child);
                child
            });
            drop(held);
            first.kill().unwrap();
            assert!(second.output_timeout::<()>(PATIENCE).unwrap().is_some());
            first.wait().unwrap();
        }
        let event = Event::new().unwrap();
        let [first, second] = [(); 2].map(|()| start_by(of_template, waits, &event));
        must_sleep(&first);
        must_sleep(&second);
        end(&first);
        event.set();
        assert!(second.output_timeout::<()>(PATIENCE).unwrap().is_some());
        // Who was to set it.
        event.clear();
        let sets = start_by(of_template, |_: Event| sleep_for_long(), &event);
        must_sleep(&sets);
        sets.kill().unwrap();
        assert!(!event.wait_or_death(&sets, Some(PATIENCE)).unwrap());
        sets.wait().unwrap();
    }
    Passed
}

fn fault_38_what_a_dead_child_of_a_server_reserved_is_free_again() -> Outcome {
    type Both = (EventGroup, Event);
    fn hold((events, ready): Both) {
        let _held = [events.reserve().unwrap(), events.reserve().unwrap()];
        ready.set();
        sleep_for_long();
    }
    for of_template in [true, false] {
        let both: Both = (EventGroup::new(2).unwrap(), Event::new().unwrap());
        let events = &both.0;
        let dies = start_by(of_template, hold, &both);
        assert!(both.1.wait_or_death(&dies, Some(PATIENCE)).unwrap());
        assert!(matches!(events.reserve(), Err(EventError::NotEnoughEvents { size: 2 })));
        end(&dies);
        drop([events.reserve().unwrap(), events.reserve().unwrap()]);
        assert_eq!(events.available(), 2);
    }
    Passed
}
