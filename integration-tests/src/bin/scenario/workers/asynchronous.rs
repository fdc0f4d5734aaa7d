//! Tasks of pools of workers in tasks of tokio's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::memory::SharedAtomics;
use common_ipc::sync::Event;
use integration_tests::proc;
use nix::sys::signal::Signal as NixSignal;
use pkit::WorkError;

use crate::Outcome::{self, Passed};
use crate::workers::faults::kill;
use crate::workers::{PATIENCE, count, goes_on, hang, hang_after, pool, result};

scenarios!(
    workers_awaited_by_many_tasks_of_a_runtime,
    fault_48_tasks_of_a_runtime_that_are_aborted,
    fault_13_workers_that_are_killed_while_they_are_awaited,
);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap()
}

fn workers_awaited_by_many_tasks_of_a_runtime() -> Outcome {
    let pool = pool(2);
    let runtime = runtime();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..40u64)
            .map(|outer| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for inner in 0..200 {
                        let n = outer * 1_000 + inner;
                        assert_eq!(pool.submit(|n: u64| n + 1, n).unwrap().await.unwrap(), n + 1);
                    }
                    // Many under way at once, awaited in another order.
                    let many: Vec<_> = (0..100u32).map(|n| pool.submit(|n: u32| n * 2, n).unwrap()).collect();
                    for (n, task) in (0..100).zip(many).rev() {
                        assert_eq!(task.await.unwrap(), n * 2);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(pool.statistics().unwrap().answered, 40 * 300);
    Passed
}

fn fault_48_tasks_of_a_runtime_that_are_aborted() -> Outcome {
    let pool = Arc::new(pool(2));
    let counts = SharedAtomics::new(2).unwrap();
    let runtime = runtime();
    for round in 0..50u64 {
        let tasks: Vec<_> = (0..10)
            .map(|n| {
                let (pool, counts) = (Arc::clone(&pool), counts.clone());
                runtime.spawn(async move {
                    let slow = |counts| {
                        std::thread::sleep(Duration::from_micros(200));
                        count((counts, 0))
                    };
                    match n {
                        0 => pool.submit(hang, ()).unwrap().cancel_on_drop().await.map(|()| 0),
                        _ => pool.submit(slow, counts).unwrap().await,
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_micros(round * 30));
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            match runtime.block_on(task) {
                Ok(result) => assert_eq!(result.unwrap(), 0),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
    }
    // What nobody awaits any more is done, or was cancelled; what hangs is gone.
    let is_idle = || {
        let statistics = pool.statistics().unwrap();
        (statistics.waiting, statistics.under_way) == (0, 0)
    };
    assert!(proc::eventually(is_idle), "{}", pool.statistics().unwrap());
    let statistics = pool.statistics().unwrap();
    assert_eq!(statistics.submitted, statistics.answered + statistics.cancelled, "{statistics}");
    assert_eq!(counts[0].load(Ordering::SeqCst), statistics.answered);
    goes_on(&pool, 100);
    // The last handle of a pool goes with an aborted task, on a thread of the runtime's.
    let task = runtime.spawn(async move { pool.submit(hang, ()).unwrap().await });
    std::thread::sleep(Duration::from_millis(10));
    task.abort();
    assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    Passed
}

fn fault_13_workers_that_are_killed_while_they_are_awaited() -> Outcome {
    let pool = pool(2);
    let runtime = runtime();
    for _ in 0..30 {
        let begun = Event::new().unwrap();
        let waits = runtime.spawn(pool.submit(hang_after, begun.clone()).unwrap());
        let others: Vec<_> = (0..50u64).map(|n| runtime.spawn(pool.submit(|n: u64| n, n).unwrap())).collect();
        assert!(begun.wait_timeout(PATIENCE).unwrap());
        // Both, one of which is at the task that hangs.
        for pid in pool.pids().unwrap() {
            kill(pid, NixSignal::SIGKILL);
        }
        for (n, task) in (0..).zip(others) {
            match runtime.block_on(task).unwrap() {
                Ok(same) => assert_eq!(same, n),
                Err(error) => assert!(matches!(error, WorkError::Died { .. }), "{error}"),
            }
        }
        let error = runtime.block_on(waits).unwrap().unwrap_err();
        assert!(matches!(error, WorkError::Died { .. }), "{error}");
        assert_eq!(result(pool.submit(|n: u64| n, 5).unwrap()).unwrap(), 5);
    }
    Passed
}
