//! Tasks of pools that have bridges of their own.

use common_ipc::process::{JoinError, LaunchOptions};
use cross_process_bridge::Execution;
use integration_tests::proc;
use nix::sys::signal::Signal as NixSignal;
use pkit::{ProcessPool, StatePool, TaskError, WorkError, WorkerPool};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{BEGUN, Death, ProbeBridge, Tally, tally};
use crate::servers::{kill, zygote};
use crate::together::{PATIENCE, Pids, WAYS, Way, gone, note, noted, run, signal_of};
use crate::workers::result;

scenarios![
    together_tasks_of_a_pool_have_bridges,
    together_tasks_of_workers_have_bridges,
    together_workers_keep_a_bridge_from_task_to_task,
    fault_13_together_bridges_that_die_in_tasks_of_pools,
    fault_15_together_a_killed_task_takes_its_bridge_along,
    fault_54_together_a_pool_that_is_dropped_takes_bridges_along,
];

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Done {
    sum: i64,
    task: u32,
    object: u32,
}

/// Has an object in a process of its own add the numbers up to this one.
fn add_up((way, number): (Way, i64)) -> Done {
    let bridge = way.bridge(&tally());
    let sum = (1..=number).fold(0, |_, number| bridge.add(number).unwrap());
    let object = bridge.pid().unwrap();
    bridge.stop().unwrap();
    Done { sum, task: std::process::id(), object }
}

fn check(number: i64, done: &Done) {
    assert_eq!(done.sum, number * (number + 1) / 2);
    assert!(done.task != done.object && done.task != std::process::id(), "{done:?}");
    // It was stopped, and collected, before its task returned.
    assert!(!proc::runs(done.object as i32), "{done:?}");
}

fn together_tasks_of_a_pool_have_bridges() -> Outcome {
    let zygote = zygote();
    for way in WAYS {
        let pool = ProcessPool::new(3).unwrap();
        let items = || (1..=12).map(|number| (way, number));
        let forked: Vec<_> = pool.map(items(), add_up).map(Result::unwrap).collect();
        let sent: Vec<_> = pool.map_in(&zygote, items(), add_up).map(Result::unwrap).collect();
        for results in [forked, sent] {
            assert_eq!(results.len(), 12);
            for (number, done) in (1..).zip(&results) {
                check(number, done);
            }
        }
        pool.close().unwrap();
    }
    Passed
}

/// Workers come from a zygote only: the pool's thread replaces them beside whatever threads the program has.
fn together_tasks_of_workers_have_bridges() -> Outcome {
    zygote();
    let pool = WorkerPool::new(2).unwrap();
    for way in WAYS {
        let results: Vec<_> = pool.map((1..=20).map(|n| (way, n)), add_up).map(Result::unwrap).collect();
        assert_eq!(results.len(), 20);
        for (number, done) in (1..).zip(&results) {
            check(number, done);
        }
    }
    assert_eq!(pool.statistics().unwrap().started, 2);
    pool.close().unwrap();
    Passed
}

fn together_workers_keep_a_bridge_from_task_to_task() -> Outcome {
    zygote();
    for way in WAYS {
        let total = tally();
        let make = |(way, total): (Way, Tally)| way.bridge(&total);
        let pool: StatePool<ProbeBridge> = WorkerPool::builder(1).with_state_of(make, (way, total)).unwrap();
        let add =
            |bridge: &mut ProbeBridge, number: i64| (bridge.add(number).unwrap(), bridge.pid().unwrap());
        let sums: Vec<_> = pool.map(1..=50, add).map(Result::unwrap).collect();
        assert_eq!(sums.last().unwrap().0, 1275);
        let object = sums[0].1;
        assert!(sums.iter().all(|(_, pid)| *pid == object));
        // The worker dies, and its object with it: the next one has another.
        kill(pool.pids().unwrap()[0] as i32, NixSignal::SIGKILL);
        gone(&[object as i32]);
        let (sum, other) = result(pool.submit(add, 7).unwrap()).unwrap();
        assert!(sum == 7 && other != object);
        pool.close().unwrap();
        gone(&[other as i32]);
    }
    Passed
}

/// What a task whose object dies in a call has seen of that: the signal, whether the call may have run, and the sum of the
/// next object.
type Survived = (Option<i32>, bool, i64);

fn survive((way, tally): (Way, Tally)) -> Survived {
    let bridge = way.bridge(&tally);
    bridge.add(100).unwrap();
    let error = bridge.die(Death::Kill).unwrap_err();
    let seen = (signal_of(&error), error.execution() == Execution::Unknown);
    assert!(bridge.add(1).unwrap_err().execution() == Execution::NotRun);
    bridge.start().unwrap();
    let sum = bridge.add(5).unwrap();
    bridge.stop().unwrap();
    (seen.0, seen.1, sum)
}

/// Its object's death is its end, too.
fn succumb((way, tally): (Way, Tally)) -> i64 {
    let bridge = way.bridge(&tally);
    bridge.die(Death::Abort).unwrap();
    bridge.add(1).unwrap()
}

fn fault_13_together_bridges_that_die_in_tasks_of_pools() -> Outcome {
    let zygote = zygote();
    let workers = WorkerPool::new(2).unwrap();
    let pool = ProcessPool::new(2).unwrap();
    let survived: Survived = (Some(NixSignal::SIGKILL as i32), true, 5);
    for way in WAYS {
        let tally = tally();
        let argument = || (way, tally.clone());
        // What a forked task has captured it can send on, to its object, if it was given that.
        let giving = pool.clone().options(LaunchOptions::new().give(&tally));
        let tasks = [giving.execute(|| survive(argument())), pool.execute_in(&zygote, survive, &argument())];
        for task in tasks {
            assert_eq!(task.unwrap().join_timeout(PATIENCE).unwrap(), Some(survived));
        }
        assert_eq!(result(workers.submit(survive, argument()).unwrap()).unwrap(), survived);
        let tasks = [giving.execute(|| succumb(argument())), pool.execute_in(&zygote, succumb, &argument())];
        for task in tasks {
            let error = task.unwrap().join_timeout(PATIENCE).unwrap_err();
            let TaskError::Join(JoinError::Panicked(report)) = error else { panic!("{error}") };
            assert!(report.message.contains("SIGABRT"), "{report}");
        }
        let error = result(workers.submit(succumb, argument()).unwrap()).unwrap_err();
        let WorkError::Panicked(report) = error else { panic!("{error}") };
        assert!(report.message.contains("SIGABRT"), "{report}");
        // Six objects have begun to die, and as many tasks told of it.
        assert_eq!(tally.get(BEGUN).unwrap(), 6);
    }
    assert_eq!(workers.statistics().unwrap().started, 2);
    workers.close().unwrap();
    pool.close().unwrap();
    Passed
}

/// Waits for its object, which is in the midst of its work; both have written down who they are.
fn hang((way, tally, pids): (Way, Tally, Pids)) {
    let bridge = way.bridge(&tally);
    note(&pids, 0, std::process::id());
    note(&pids, 1, bridge.pid().unwrap());
    bridge.work(600_000).unwrap();
}

fn fault_15_together_a_killed_task_takes_its_bridge_along() -> Outcome {
    let zygote = zygote();
    let workers = WorkerPool::new(1).unwrap();
    let pool = ProcessPool::new(1).unwrap();
    for way in WAYS {
        for by_fork in [true, false] {
            let (tally, pids) = (tally(), Pids::new(2).unwrap());
            let argument = (way, tally.clone(), pids.clone());
            let giving = pool.clone().options(LaunchOptions::new().give(&tally));
            let task = match by_fork {
                true => giving.execute(move || hang(argument)),
                false => pool.execute_in(&zygote, hang, &argument),
            };
            let task = task.unwrap();
            let seen = noted(&pids, 2);
            assert!(proc::eventually(|| tally.get(BEGUN).unwrap() == 1));
            assert!(run(&seen) && seen[0] == task.pid() as i32);
            let below = proc::descendants(seen[0]);
            assert!(below.contains(&seen[1]), "{seen:?} {below:?}");
            task.kill().unwrap();
            let error = task.join_timeout(PATIENCE).unwrap_err();
            assert!(matches!(error, TaskError::Join(JoinError::Died(_))), "{error}");
            gone(&seen);
            gone(&below);
        }
        let (tally, pids) = (tally(), Pids::new(2).unwrap());
        let task = workers.submit(hang, (way, tally.clone(), pids.clone())).unwrap();
        let seen = noted(&pids, 2);
        assert!(proc::eventually(|| tally.get(BEGUN).unwrap() == 1));
        let below = proc::descendants(seen[0]);
        assert!(task.cancel().unwrap());
        let error = result(task).unwrap_err();
        assert!(matches!(error, WorkError::Cancelled { execution: Execution::Unknown }), "{error}");
        gone(&seen);
        gone(&below);
        // Its place is another one's now.
        check(3, &result(workers.submit(add_up, (way, 3)).unwrap()).unwrap());
    }
    workers.close().unwrap();
    pool.close().unwrap();
    Passed
}

fn fault_54_together_a_pool_that_is_dropped_takes_bridges_along() -> Outcome {
    zygote();
    for way in WAYS {
        let places: Vec<_> = (0..3).map(|_| Pids::new(2).unwrap()).collect();
        let pool = WorkerPool::new(3).unwrap();
        let tasks: Vec<_> =
            places.iter().map(|pids| pool.submit(hang, (way, tally(), pids.clone())).unwrap()).collect();
        let seen: Vec<_> = places.iter().flat_map(|pids| noted(pids, 2)).collect();
        assert!(run(&seen));
        drop(pool);
        for task in tasks {
            let error = result(task).unwrap_err();
            assert!(matches!(error, WorkError::Ended { execution: Execution::Unknown, .. }), "{error}");
        }
        gone(&seen);
    }
    Passed
}
