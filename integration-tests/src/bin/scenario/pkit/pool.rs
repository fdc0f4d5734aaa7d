//! A pool of processes: what it does.

use std::time::Duration;

use common_ipc::process::active_children;
use common_ipc::sync::Event;
use integration_tests::{proc, stress_factor};
use pkit::{PoolError, ProcessPool, SlotPool, TaskError, TaskStatus, Zygote, init};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    pool_a_task_takes_a_slot_and_gives_it_back_when_it_ends,
    pool_the_list_of_tasks_follows_them,
    pool_a_task_is_ready_then_running_then_finished,
    pool_terminate_ends_the_tasks_and_frees_the_slots,
    pool_close_waits_for_the_tasks_and_takes_no_more,
    pool_no_more_than_its_slots_run_at_once,
    pool_a_result_is_the_same_for_every_caller,
    pool_two_pools_and_two_processes_share_slots,
    pool_tasks_from_a_zygote_run_beside_threads,
    pool_map_is_in_order_and_lazy,
    pool_map_unordered_gives_what_comes_first,
    pool_map_from_a_zygote,
    pool_a_map_of_a_map_shares_one_slot,
    pool_a_shared_slot_is_free_when_its_task_was_joined,
    pool_close_frees_shared_slots,
);

/// A test that fails waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn both_kinds() -> [ProcessPool; 2] {
    [ProcessPool::new(2).unwrap(), ProcessPool::with_slots(SlotPool::new(2).unwrap())]
}

fn pool_a_task_takes_a_slot_and_gives_it_back_when_it_ends() -> Outcome {
    for pool in both_kinds() {
        let go = Event::new().unwrap();
        let task = pool.execute(|| go.wait().unwrap()).unwrap();
        assert_eq!((pool.size(), pool.free().unwrap()), (2, 1));
        let other = pool.execute(|| go.wait().unwrap()).unwrap();
        assert_eq!(pool.free().unwrap(), 0);
        assert!(pool.try_execute(|| ()).unwrap().is_none());
        assert!(pool.execute_timeout(Duration::from_millis(20), || ()).unwrap().is_none());
        go.set();
        task.join().unwrap();
        other.join().unwrap();
        assert!(proc::eventually(|| pool.free().unwrap() == 2));
        assert_eq!(pool.try_execute(|| 5).unwrap().unwrap().join().unwrap(), 5);
        assert_eq!(pool.execute_timeout(PATIENCE, || 6).unwrap().unwrap().join().unwrap(), 6);
    }
    Passed
}

fn pool_the_list_of_tasks_follows_them() -> Outcome {
    for pool in both_kinds() {
        let go = Event::new().unwrap();
        let tasks = [pool.execute(|| go.wait().unwrap()), pool.execute(|| go.wait().unwrap())];
        let tasks = tasks.map(Result::unwrap);
        let listed: Vec<_> = pool.tasks().unwrap().iter().map(|task| (task.id(), task.pid())).collect();
        assert_eq!(listed, tasks.each_ref().map(|task| (task.id(), task.pid())));
        assert!(tasks[0].id() < tasks[1].id());
        let found = pool.task(tasks[1].id()).unwrap().unwrap();
        assert_eq!(found.name(), tasks[1].name());
        assert!(pool.task(0).unwrap().is_none());
        go.set();
        assert!(found.wait().unwrap().success());
        tasks[0].wait().unwrap();
        assert!(pool.tasks().unwrap().is_empty());
        assert!(pool.task(found.id()).unwrap().is_none());
    }
    Passed
}

fn pool_a_task_is_ready_then_running_then_finished() -> Outcome {
    let pool = ProcessPool::new(1).unwrap();
    let mut was_ready = false;
    for _ in 0..100 {
        let task = pool.execute(sleep_for_long).unwrap();
        let first = task.status().unwrap();
        was_ready |= first == TaskStatus::Ready;
        assert_ne!(first, TaskStatus::Finished);
        assert!(proc::eventually(|| task.status().unwrap() == TaskStatus::Running));
        task.kill().unwrap();
        assert_eq!(task.info().wait_timeout(PATIENCE).unwrap(), task.try_wait().unwrap());
        assert_eq!(task.status().unwrap(), TaskStatus::Finished);
    }
    assert!(was_ready, "it takes a moment to get to its task");
    Passed
}

fn pool_terminate_ends_the_tasks_and_frees_the_slots() -> Outcome {
    for pool in both_kinds() {
        let tasks = [pool.execute(sleep_for_long).unwrap(), pool.execute(sleep_for_long).unwrap()];
        pool.terminate(PATIENCE).unwrap();
        for task in &tasks {
            assert_eq!(task.status().unwrap(), TaskStatus::Finished);
            assert!(matches!(task.join(), Err(TaskError::Join(_))));
        }
        assert!(proc::eventually(|| pool.free().unwrap() == 2));
        assert!(pool.tasks().unwrap().is_empty());
        assert!(matches!(pool.execute(|| ()), Err(PoolError::Closed)));
    }
    Passed
}

fn pool_close_waits_for_the_tasks_and_takes_no_more() -> Outcome {
    for pool in both_kinds() {
        let go = Event::new().unwrap();
        let task = pool.execute(|| go.wait().unwrap()).unwrap();
        assert!(!pool.close_timeout(Duration::from_millis(20)).unwrap());
        assert!(matches!(pool.execute(|| ()), Err(PoolError::Closed)));
        assert_eq!(task.status().unwrap(), TaskStatus::Running);
        go.set();
        pool.close().unwrap();
        assert!(task.try_join().unwrap().is_some());
        assert!(active_children().is_empty());
        assert!(pool.close_timeout(Duration::ZERO).unwrap());
    }
    Passed
}

fn pool_no_more_than_its_slots_run_at_once() -> Outcome {
    let alive = || {
        let children = proc::children(std::process::id() as i32);
        children.iter().filter(|child| child.state != 'Z').count()
    };
    for pool in both_kinds() {
        let go = Event::new().unwrap();
        let two: Vec<_> = (0..2).map(|_| pool.execute(|| go.wait().unwrap()).unwrap()).collect();
        assert_eq!(alive(), 2);
        go.set();
        drop(two);
        for _ in 0..30 {
            drop(pool.execute(|| std::thread::sleep(Duration::from_millis(3))).unwrap());
            assert!(alive() <= 2);
        }
        pool.close().unwrap();
    }
    Passed
}

fn pool_a_result_is_the_same_for_every_caller() -> Outcome {
    let pool = ProcessPool::new(2).unwrap();
    let task = pool.execute(|| vec![1u8; 100_000]).unwrap();
    let fails = pool.execute(|| -> u8 { panic!("on purpose") }).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                assert_eq!(task.join().unwrap().len(), 100_000);
                assert!(fails.clone().join().unwrap_err().to_string().contains("on purpose"));
            });
        }
    });
    assert_eq!(task.join_timeout(Duration::ZERO).unwrap().unwrap().len(), 100_000);
    assert!(fails.try_join().unwrap_err().to_string().contains("on purpose"));
    Passed
}

fn pool_two_pools_and_two_processes_share_slots() -> Outcome {
    let slots = SlotPool::new(2).unwrap();
    let here = ProcessPool::with_slots(slots.clone());
    let (go, taken) = (Event::new().unwrap(), Event::new().unwrap());
    let other = start(|| {
        let pool = ProcessPool::with_slots(slots.clone());
        let task = pool.execute(|| go.wait().unwrap()).unwrap();
        let same = pool.execute(|| go.wait().unwrap()).unwrap();
        taken.set();
        // From here on it does nothing for its pool.
        go.wait().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        task.join().unwrap();
        same.join().unwrap();
    });
    assert!(taken.wait_or_death(&other, Some(PATIENCE)).unwrap());
    assert_eq!(slots.free(), 0);
    assert!(here.try_execute(|| ()).unwrap().is_none());
    go.set();
    let task = here.execute_timeout(PATIENCE, std::process::id).unwrap().unwrap();
    assert!(other.is_alive().unwrap(), "the slot came free while the other one was idle");
    assert_eq!(task.join().unwrap(), task.pid());
    other.output::<()>().unwrap();
    // One whose process dies takes its tasks, and their slots, with it.
    let (taken, never) = (Event::new().unwrap(), Event::new().unwrap());
    let dies = start(|| {
        let pool = ProcessPool::with_slots(slots.clone());
        let _tasks = [pool.execute(|| never.wait().unwrap()), pool.execute(|| never.wait().unwrap())];
        taken.set();
        sleep_for_long();
    });
    assert!(taken.wait_or_death(&dies, Some(PATIENCE)).unwrap());
    assert_eq!(slots.free(), 0);
    dies.kill().unwrap();
    assert_eq!(here.execute_timeout(PATIENCE, || 7).unwrap().unwrap().join().unwrap(), 7);
    dies.wait().unwrap();
    assert!(proc::eventually(|| slots.free() == 2));
    Passed
}

fn pool_tasks_from_a_zygote_run_beside_threads() -> Outcome {
    init().unwrap();
    for pool in both_kinds() {
        std::thread::scope(|scope| {
            for number in 0..4u32 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..5 {
                        let task = pool.execute_in(&Zygote::global(), |n: u32| n + 1, &(number + round));
                        assert_eq!(task.unwrap().join().unwrap(), number + round + 1);
                    }
                });
            }
        });
        assert!(pool.try_execute_in(&Zygote::global(), |n: u32| n, &1).unwrap().is_some());
        let task = pool.execute_timeout_in(PATIENCE, &Zygote::global(), |n: u32| n, &2).unwrap().unwrap();
        assert_eq!(task.join().unwrap(), 2);
        pool.close().unwrap();
    }
    Passed
}

fn pool_map_is_in_order_and_lazy() -> Outcome {
    for pool in both_kinds() {
        let drawn = std::cell::Cell::new(0u64);
        let items = std::iter::repeat_with(|| {
            drawn.set(drawn.get() + 1);
            drawn.get()
        });
        let mut results = pool.map(items, |number| {
            // The first of two is the slower one.
            std::thread::sleep(Duration::from_millis(number % 2 * 10));
            number * 10
        });
        assert_eq!(drawn.get(), 0, "nothing before it is asked for");
        for number in 1..=20 {
            assert_eq!(results.next().unwrap().unwrap(), number * 10);
            assert!(drawn.get() < number + 2, "{} drawn for {number}", drawn.get());
        }
        drop(results);
        assert!(proc::eventually(|| pool.free().unwrap() == 2));
        let finite = pool.map(0..5, |number| number);
        assert_eq!((finite.size_hint(), finite.len()), ((5, Some(5)), 5));
        // What fails, fails alone, in its place.
        let results: Vec<_> =
            pool.map(0..5, |number| if number == 2 { std::process::exit(3) } else { number }).collect();
        let good: Vec<_> = results.iter().map(|result| result.as_ref().ok().copied()).collect();
        assert_eq!(good, [Some(0), Some(1), None, Some(3), Some(4)]);
    }
    Passed
}

fn pool_map_unordered_gives_what_comes_first() -> Outcome {
    for pool in both_kinds() {
        let release = Event::new().unwrap();
        let mut results = pool.map_unordered(0..6, |number| {
            if number == 0 {
                release.wait().unwrap();
            }
            number * 2
        });
        assert_eq!(results.len(), 6);
        let mut places = Vec::new();
        for _ in 0..5 {
            let (place, result) = results.next().unwrap();
            assert_eq!(result.unwrap(), place * 2);
            places.push(place);
        }
        assert_eq!((places, results.len()), (vec![1, 2, 3, 4, 5], 1));
        release.set();
        assert!(matches!(results.next(), Some((0, Ok(0)))));
        assert!(results.next().is_none());
    }
    Passed
}

fn pool_map_from_a_zygote() -> Outcome {
    init().unwrap();
    let thread = std::thread::spawn(sleep_a_while);
    for pool in both_kinds() {
        let squares = pool.map_in(&Zygote::global(), 1..=5u64, |number| number * number);
        assert_eq!(squares.map(Result::unwrap).collect::<Vec<_>>(), [1, 4, 9, 16, 25]);
        let sum: u64 = pool
            .map_unordered_in(&Zygote::global(), 1..=5u64, |number| number)
            .map(|(place, result)| {
                assert_eq!(result.as_ref().unwrap(), &(place as u64 + 1));
                result.unwrap()
            })
            .sum();
        assert_eq!(sum, 15);
    }
    thread.join().unwrap();
    Passed
}

fn sleep_a_while() {
    std::thread::sleep(Duration::from_millis(100));
}

fn pool_a_map_of_a_map_shares_one_slot() -> Outcome {
    for size in 1..=3 {
        let both = [ProcessPool::new(size).unwrap(), ProcessPool::with_slots(SlotPool::new(size).unwrap())];
        for pool in both {
            let one = pool.map(0..6u32, |number| number + 1).map(Result::unwrap);
            let two = pool.map_unordered(one, |number| number * 10).map(|(_, result)| result.unwrap());
            let mut three: Vec<_> = pool.map(two, |number| number + 3).map(Result::unwrap).collect();
            three.sort_unstable();
            assert_eq!(three, [13, 23, 33, 43, 53, 63]);
            assert_eq!(pool.free().unwrap(), size);
        }
    }
    Passed
}

fn pool_a_shared_slot_is_free_when_its_task_was_joined() -> Outcome {
    let slots = SlotPool::new(1).unwrap();
    let pool = ProcessPool::with_slots(slots.clone());
    for round in 0..1000 * stress_factor() {
        let task = pool.execute(move || round).unwrap();
        if round % 2 == 0 {
            assert_eq!(task.join().unwrap(), round);
        } else {
            while task.status().unwrap() != TaskStatus::Finished {}
        }
        assert_eq!(slots.free(), 1, "round {round}");
    }
    Passed
}

fn pool_close_frees_shared_slots() -> Outcome {
    for round in 0..500 {
        let slots = SlotPool::new(2).unwrap();
        let pool = ProcessPool::with_slots(slots.clone());
        let tasks = [pool.execute(|| ()).unwrap(), pool.execute(|| ()).unwrap()];
        if round % 2 == 0 {
            pool.close().unwrap()
        } else {
            pool.terminate(Duration::from_secs(20)).unwrap()
        }
        assert_eq!(slots.free(), 2, "round {round}");
        drop(tasks);
    }
    Passed
}
