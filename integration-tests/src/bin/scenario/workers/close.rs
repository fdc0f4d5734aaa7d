//! Pools of workers that are closed or terminated, by whoever holds them.

use std::time::Duration;

use common_ipc::link::Execution;
use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use nix::sys::signal::Signal as NixSignal;
use pkit::{TaskHandle, WorkError};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;
use crate::workers::{PATIENCE, block_on, goes_on, hang, hang_after, no_children_but_servers, pool, result};

scenarios!(
    workers_close_waits_and_may_be_called_again,
    workers_terminate_is_at_once,
    workers_the_last_handle_ends_the_pool,
    workers_an_end_in_the_midst_of_everything,
);

fn workers_close_waits_and_may_be_called_again() -> Outcome {
    let pool = pool(2);
    let (begun, go) = (Event::new().unwrap(), Event::new().unwrap());
    let wait = |(begun, go): (Event, Event)| {
        begun.set();
        go.wait().unwrap();
    };
    let runs = pool.submit(wait, (begun.clone(), go.clone())).unwrap();
    let others: Vec<_> = (0..500u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    std::thread::scope(|scope| {
        // From several threads at once, one of which gives up.
        let closing = [(); 3].map(|()| scope.spawn(|| pool.close()));
        assert!(!pool.close_timeout(Duration::from_millis(30)).unwrap());
        let refused = pool.submit(|n: u64| n, 1).err().unwrap();
        assert!(matches!(refused, WorkError::Closed) && refused.execution() == Execution::NotRun);
        assert!(closing.iter().all(|thread| !thread.is_finished()));
        go.set();
        for thread in closing {
            thread.join().unwrap().unwrap();
        }
    });
    assert!(no_children_but_servers());
    assert!(proc::eventually(|| !proc::thread_names().iter().any(|name| name == "pkit-workers")));
    for (n, task) in (0..).zip(others) {
        assert_eq!(result(task).unwrap(), n);
    }
    result(runs).unwrap();
    assert!(pool.close_timeout(Duration::ZERO).unwrap());
    pool.terminate(Duration::ZERO).unwrap();
    assert!(matches!(pool.submit(|n: u64| n, 1), Err(WorkError::Closed)));
    assert!(matches!(pool.map(0..3u64, |n| n).next(), Some(Err(WorkError::Closed))));
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.workers, statistics.waiting, statistics.died), (0, 0, 0), "{statistics}");
    assert!(pool.pids().unwrap().is_empty());
    // While a worker is lost, closing goes on.
    let pool = crate::workers::pool(1);
    let dies = pool.submit(|()| -> () { std::process::abort() }, ()).unwrap();
    let others: Vec<_> = (0..50u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
    pool.close().unwrap();
    assert!(dies.is_done() && others.iter().all(TaskHandle::is_done));
    for task in others {
        result(task).unwrap();
    }
    Passed
}

fn workers_terminate_is_at_once() -> Outcome {
    zygote();
    let pool = pool(2);
    let (begun, again) = (Event::new().unwrap(), Event::new().unwrap());
    let runs = [&begun, &again].map(|begun| pool.submit(hang_after, begun.clone()).unwrap());
    let waits: Vec<_> = (0..10u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
    assert!(begun.wait_timeout(PATIENCE).unwrap() && again.wait_timeout(PATIENCE).unwrap());
    let pids = pool.pids().unwrap();
    std::thread::scope(|scope| {
        let last = pool.submit(|n: u64| n, 1).unwrap();
        let joins = scope.spawn(|| block_on(last));
        let closes = scope.spawn(|| pool.close());
        std::thread::sleep(Duration::from_millis(50));
        pool.terminate(Duration::from_secs(20)).unwrap();
        assert!(pids.iter().all(|pid| proc::stat(*pid as i32).is_none()), "they were collected");
        match joins.join().unwrap() {
            Err(WorkError::Ended { execution: Execution::NotRun, .. }) => {}
            other => panic!("{other:?}"),
        }
        closes.join().unwrap().unwrap();
    });
    for task in runs {
        assert!(matches!(result(task), Err(WorkError::Ended { execution: Execution::Unknown, .. })));
    }
    for task in waits {
        assert!(matches!(result(task), Err(WorkError::Ended { execution: Execution::NotRun, .. })));
    }
    // Those that are deaf are killed after the grace.
    let pool = crate::workers::pool(1);
    let deaf = |begun: Event| {
        raw::ignore_signal(NixSignal::SIGTERM, true);
        hang_after(begun);
    };
    begun.clear();
    let task = pool.submit(deaf, begun.clone()).unwrap();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    pool.terminate(Duration::from_millis(50)).unwrap();
    assert!(matches!(result(task), Err(WorkError::Ended { .. })));
    assert!(no_children_but_servers());
    Passed
}

fn workers_the_last_handle_ends_the_pool() -> Outcome {
    let first = pool(2);
    let begun = Event::new().unwrap();
    let second = first.clone().task_timeout(PATIENCE).attempts(2);
    drop(first);
    goes_on(&second, 20);
    let runs = second.submit(hang_after, begun.clone()).unwrap();
    let waits: Vec<_> = (0..100).map(|_| second.submit(hang, ()).unwrap()).collect();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    // A map is a handle: it goes on.
    let mut squares = pool(1).map(1u64.., |n| n * n);
    assert_eq!(squares.next().unwrap().unwrap(), 1);
    assert_eq!(squares.next().unwrap().unwrap(), 4);
    drop(squares);
    drop(second);
    assert!(proc::eventually(no_children_but_servers));
    assert!(proc::eventually(|| !proc::thread_names().iter().any(|name| name == "pkit-workers")));
    assert!(runs.is_done() && !runs.cancel().unwrap());
    assert!(matches!(result(runs), Err(WorkError::Ended { execution: Execution::Unknown, .. })));
    for task in waits {
        assert!(matches!(block_on(task), Err(WorkError::Ended { .. })));
    }
    Passed
}

fn workers_an_end_in_the_midst_of_everything() -> Outcome {
    for round in 0..40u64 {
        let pool = pool(2);
        let handles = pool.clone();
        std::thread::scope(|scope| {
            for thread in 0..3u64 {
                let handle = handles.clone();
                scope.spawn(move || {
                    loop {
                        let result = match thread {
                            0 => handle.submit(|n: u64| n, 1).and_then(result),
                            1 => handle.map(0..100u64, |n| n).last().unwrap(),
                            _ => handle.submit(|n: u64| n, 1).and_then(block_on),
                        };
                        match result {
                            Ok(_) => {}
                            Err(WorkError::Closed | WorkError::Ended { .. }) => return,
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            drop(handles);
            std::thread::sleep(Duration::from_micros(round * 100));
            if round % 2 == 0 {
                pool.terminate(Duration::from_secs(5)).unwrap();
            } else {
                pool.close().unwrap();
            }
        });
        drop(pool);
        assert!(proc::eventually(no_children_but_servers));
    }
    Passed
}
