//! Slots that several processes share.

use std::time::Duration;

use common_ipc::process::{Child, Launch, LaunchOptions, Zygote, init};
use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use pkit::{SlotError, SlotPool};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    slots_move_as_they_are_acquired_and_released,
    slots_of_a_name_are_made_once_and_shared_with_forked_children,
    slots_go_to_a_zygotes_child_as_its_argument,
    fault_36_slots_of_a_dead_process_come_back,
    fault_36_a_waiter_gets_the_slot_of_a_dead_process,
    fault_36_a_kept_slot_is_its_process_s_alone,
    fault_36_slots_that_were_reset_are_void_in_every_process,
);

/// A test that fails waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that has so many slots, half of them kept, and sleeps.
fn holder(slots: &SlotPool, count: usize) -> Child {
    let ready = Event::new().unwrap();
    let child = start(|| {
        let mut held = Vec::new();
        for number in 0..count {
            let slot = slots.acquire().unwrap();
            if number % 2 == 0 { slot.keep() } else { held.push(slot) }
        }
        ready.set();
        sleep_for_long();
    });
    assert!(ready.wait_or_death(&child, Some(PATIENCE)).unwrap());
    child
}

fn end(child: &Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn slots_move_as_they_are_acquired_and_released() -> Outcome {
    let slots = SlotPool::new(3).unwrap();
    slots.acquire().unwrap().keep();
    let child = start(|| {
        let _guard = slots.acquire().unwrap();
        let inside = slots.free();
        (inside, slots.with(|| slots.free()).unwrap())
    });
    assert_eq!(child.output::<(usize, usize)>().unwrap(), (1, 0));
    assert_eq!(slots.free(), 2);
    slots.release().unwrap();
    assert!(matches!(slots.release(), Err(SlotError::Overflow)));
    assert_eq!(slots.free(), 3);
    Passed
}

fn slots_of_a_name_are_made_once_and_shared_with_forked_children() -> Outcome {
    let slots = SlotPool::named("shared").unwrap();
    let size = slots.size();
    assert_eq!(size, std::thread::available_parallelism().unwrap().get());
    let ready = Event::new().unwrap();
    let child = start(|| {
        SlotPool::named("shared").unwrap().acquire().unwrap().keep();
        // What it names from now on is its own.
        SlotPool::named_with_size("own", 1).unwrap().acquire().unwrap().keep();
        ready.set();
        sleep_for_long();
    });
    assert!(ready.wait_or_death(&child, Some(PATIENCE)).unwrap());
    assert_eq!(SlotPool::named("shared").unwrap().free(), size - 1);
    assert_eq!(SlotPool::named_with_size("own", 2).unwrap().free(), 2);
    end(&child);
    assert_eq!(slots.free(), size);
    assert!(SlotPool::forget_named("shared") && SlotPool::forget_named("own"));
    Passed
}

fn slots_go_to_a_zygotes_child_as_its_argument() -> Outcome {
    init().unwrap();
    let slots = SlotPool::new(2).unwrap();
    let child = Launch::new(&LaunchOptions::new())
        .start_in(
            &Zygote::global(),
            |slots: SlotPool| {
                let guard = slots.acquire().unwrap();
                let free = slots.free();
                drop(guard);
                slots.acquire().unwrap().keep();
                free
            },
            &slots,
        )
        .unwrap();
    assert_eq!(child.output::<usize>().unwrap(), 1);
    assert_eq!(slots.free(), 2, "it is dead");
    Passed
}

fn fault_36_slots_of_a_dead_process_come_back() -> Outcome {
    let slots = SlotPool::new(5).unwrap();
    let own = slots.acquire().unwrap();
    let child = holder(&slots, 3);
    assert_eq!(slots.free(), 1);
    end(&child);
    assert_eq!(slots.free(), 4);
    // Nobody is told any more, since it was found out before.
    let all: Vec<_> = (0..4).map(|_| slots.try_acquire().unwrap().unwrap()).collect();
    assert!(!all.iter().any(pkit::Slot::previous_owner_died));
    drop((own, all));
    assert_eq!(slots.free(), 5);
    Passed
}

fn fault_36_a_waiter_gets_the_slot_of_a_dead_process() -> Outcome {
    let slots = SlotPool::new(2).unwrap();
    let dies = holder(&slots, 2);
    let waits = start(|| slots.acquire_timeout(PATIENCE).unwrap().unwrap().previous_owner_died());
    assert!(proc::eventually(|| proc::stat(waits.id() as i32).is_some_and(|stat| stat.state == 'S')));
    end(&dies);
    assert!(waits.output::<bool>().unwrap());
    assert_eq!(slots.free(), 2);
    Passed
}

fn fault_36_a_kept_slot_is_its_process_s_alone() -> Outcome {
    let slots = SlotPool::new(2).unwrap();
    slots.acquire().unwrap().keep();
    let guard = slots.acquire().unwrap();
    let child = start(|| matches!(slots.release(), Err(SlotError::Overflow)));
    assert!(child.output::<bool>().unwrap());
    // In a copy that the library doesn't know of.
    let mut copy = Some(guard);
    let pid = raw::fork(|| {
        drop(copy.take());
        i32::from(slots.release().is_ok() || slots.free() != 0)
    });
    let pid = nix::unistd::Pid::from_raw(pid);
    let status = nix::sys::wait::waitpid(pid, None).unwrap();
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(pid, 0));
    assert_eq!(slots.free(), 0);
    slots.release().unwrap();
    drop(copy);
    assert_eq!(slots.free(), 2);
    Passed
}

fn fault_36_slots_that_were_reset_are_void_in_every_process() -> Outcome {
    let slots = SlotPool::new(2).unwrap();
    let (reset, dropped) = (Event::new().unwrap(), Event::new().unwrap());
    let ready = Event::new().unwrap();
    let child = start(|| {
        let old = slots.acquire().unwrap();
        slots.acquire().unwrap().keep();
        ready.set();
        reset.wait().unwrap();
        // The same process, in the same places.
        let new = [slots.acquire().unwrap(), slots.acquire().unwrap()];
        drop(old);
        let result = (slots.free(), slots.release().is_err());
        dropped.set();
        drop(new);
        result
    });
    assert!(ready.wait_or_death(&child, Some(PATIENCE)).unwrap());
    assert_eq!(slots.free(), 0);
    slots.reset();
    assert_eq!(slots.free(), 2);
    reset.set();
    assert!(dropped.wait_or_death(&child, Some(PATIENCE)).unwrap());
    assert_eq!(child.output::<(usize, bool)>().unwrap(), (0, true));
    assert_eq!(slots.free(), 2);
    Passed
}
