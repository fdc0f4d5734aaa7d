//! Pools of workers that have a state: one that can't be made at first, or never, and its end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::link::{Connection, Execution};
use common_ipc::memory::SharedAtomics;
use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use pkit::{LaunchOptions, StatePool, WorkError, WorkerPool};

use crate::Outcome::{self, Passed};
use crate::servers::zygote;
use crate::workers::{PATIENCE, count, hang, hang_after, no_children_but_servers, result};

scenarios!(
    workers_a_state_that_cannot_be_made_at_first,
    workers_a_state_that_can_never_be_made,
    workers_a_state_whose_making_hangs_or_exits,
    workers_a_state_is_dropped_at_the_end,
);

fn sums(pool: &StatePool<u64>, tasks: u64) {
    let add = |state: &mut u64, n: u64| {
        *state += 1;
        n
    };
    let tasks: Vec<_> = (0..tasks).map(|n| (n, pool.submit(add, n).unwrap())).collect();
    for (n, task) in tasks {
        assert_eq!(result(task).unwrap(), n);
    }
}

fn workers_a_state_that_cannot_be_made_at_first() -> Outcome {
    zygote();
    for (size, panics) in [(1, 2), (2, 2), (3, 1)] {
        let tries = SharedAtomics::new(2).unwrap();
        tries[1].store(panics, Ordering::SeqCst);
        let init = |tries: SharedAtomics| {
            assert!(tries[0].fetch_add(1, Ordering::SeqCst) >= tries[1].load(Ordering::SeqCst), "not yet");
            0u64
        };
        let pool = WorkerPool::builder(size).with_state_of(init, tries.clone()).unwrap();
        sums(&pool, 100);
        // Once one is ready, all are in the end, though nobody waits for them.
        assert!(proc::eventually(|| pool.statistics().unwrap().idle == size));
        assert_eq!(tries[0].load(Ordering::SeqCst), panics + size as u64);
        pool.close().unwrap();
    }
    Passed
}

fn workers_a_state_that_can_never_be_made() -> Outcome {
    zygote();
    let tries = SharedAtomics::new(1).unwrap();
    let init = |tries: SharedAtomics| -> u64 {
        panic!("never, for the {}. time", count((tries.clone(), 0)) as u64 + tries[0].load(Ordering::SeqCst))
    };
    let pool = WorkerPool::builder(2).with_state_of(init, tries.clone()).unwrap();
    let (_here, there) = Connection::<(), ()>::pair().unwrap();
    let first: Vec<_> = (0..50u64).map(|n| pool.submit(|_, n: u64| n, n).unwrap()).collect();
    let bound = pool.submit(|_, end: Connection<(), ()>| end.recv().unwrap(), there).unwrap();
    let is_init = |error: &WorkError| match error {
        WorkError::Init(report) => {
            assert!(report.message.starts_with("never, for the"), "{report}");
            assert!(error.to_string().contains("never, for the"), "{error}");
            error.execution() == Execution::NotRun
        }
        _ => false,
    };
    for task in first {
        let error = result(task).unwrap_err();
        assert!(is_init(&error), "{error}");
    }
    let error = result(bound).unwrap_err();
    assert!(is_init(&error), "{error}");
    // While nobody waits nothing is tried, and later tasks fail as well, each of them soon.
    std::thread::sleep(Duration::from_millis(300));
    let before = tries[0].load(Ordering::SeqCst);
    assert!(before <= 12, "{before} tries");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(tries[0].load(Ordering::SeqCst), before);
    for n in 0..4u64 {
        let error = result(pool.submit(|_, n: u64| n, n).unwrap()).unwrap_err();
        assert!(is_init(&error), "{error}");
    }
    let more = tries[0].load(Ordering::SeqCst) - before;
    assert!((1..=12).contains(&more), "{more} tries for 4 tasks");
    // Those of a map, too: it comes to its end.
    let results: Vec<_> = pool.map(0..20u64, |_, n| n).collect();
    assert!(results.len() == 20 && results.iter().all(|result| result.as_ref().is_err_and(is_init)));
    assert!(pool.close_timeout(PATIENCE).unwrap());
    assert!(no_children_but_servers());
    Passed
}

fn workers_a_state_whose_making_hangs_or_exits() -> Outcome {
    zygote();
    let options = LaunchOptions::new().ready_timeout(Duration::from_millis(100));
    let hangs = WorkerPool::builder(1).options(options.clone()).with_state(|| hang(())).unwrap();
    let exits = WorkerPool::builder(1).with_state(|| -> () { std::process::exit(5) }).unwrap();
    let aborts = WorkerPool::builder(1).with_state(|| -> () { std::process::abort() }).unwrap();
    for (pool, says) in [(&hangs, "100ms"), (&exits, "5"), (&aborts, "SIGABRT")] {
        for _ in 0..2 {
            let tasks = [0, 1, 2].map(|n: u64| pool.submit(|(), n: u64| n, n).unwrap());
            for task in tasks {
                let error = result(task).unwrap_err();
                assert!(matches!(error, WorkError::NotReady { .. }), "{error}");
                assert!(error.to_string().contains(says), "{error}");
                assert_eq!(error.execution(), Execution::NotRun);
            }
        }
        pool.close().unwrap();
    }
    // One that panics and has an exit handler that hangs.
    let options = LaunchOptions::new().ready_timeout(Duration::from_millis(300));
    let stuck = WorkerPool::builder(1).options(options).with_state(|| -> () {
        raw::at_exit(|| hang(()));
        panic!("on purpose");
    });
    let stuck = stuck.unwrap();
    let error = result(stuck.submit(|(), n: u64| n, 1).unwrap()).unwrap_err();
    assert!(matches!(error, WorkError::Init(_)), "{error}");
    // What is ready in time goes on for as long as it likes.
    let slow = WorkerPool::builder(1).options(options_of(200)).with_state(|| {
        std::thread::sleep(Duration::from_millis(50));
        0u64
    });
    let slow = slow.unwrap();
    sums(&slow, 10);
    std::thread::sleep(Duration::from_millis(300));
    sums(&slow, 10);
    assert_eq!(slow.statistics().unwrap().started, 1);
    Passed
}

fn options_of(milliseconds: u64) -> LaunchOptions {
    LaunchOptions::new().ready_timeout(Duration::from_millis(milliseconds))
}

struct Noted(SharedAtomics);

impl Drop for Noted {
    fn drop(&mut self) {
        count((self.0.clone(), 1));
    }
}

fn workers_a_state_is_dropped_at_the_end() -> Outcome {
    zygote();
    let init = |counts: SharedAtomics| {
        count((counts.clone(), 0));
        Noted(counts)
    };
    let made_and_dropped = |counts: &SharedAtomics| [0, 1].map(|place| counts[place].load(Ordering::SeqCst));
    // When the pool is closed, ...
    let counts = SharedAtomics::new(2).unwrap();
    let pool = WorkerPool::builder(3).with_state_of(init, counts.clone()).unwrap();
    for task in (0..30).map(|n: u64| pool.submit(|_, n: u64| n, n).unwrap()).collect::<Vec<_>>() {
        result(task).unwrap();
    }
    pool.close().unwrap();
    assert_eq!(made_and_dropped(&counts), [3, 3]);
    // ... when a worker is recycled, ...
    let counts = SharedAtomics::new(2).unwrap();
    let pool = WorkerPool::builder(1).recycle_after_tasks(1).with_state_of(init, counts.clone()).unwrap();
    for n in 0..10u64 {
        assert_eq!(result(pool.submit(|_, n: u64| n, n).unwrap()).unwrap(), n);
    }
    pool.close().unwrap();
    let [made, dropped] = made_and_dropped(&counts);
    assert!((10..=11).contains(&made) && dropped == made, "{made} made, {dropped} dropped");
    // ... not when it is killed, ...
    let counts = SharedAtomics::new(2).unwrap();
    let pool = WorkerPool::builder(2).with_state_of(init, counts.clone()).unwrap();
    let task = pool.submit(|_, begun| hang_after(begun), Event::new().unwrap()).unwrap();
    assert!(proc::eventually(|| made_and_dropped(&counts)[0] == 2));
    drop(pool);
    assert!(matches!(result(task), Err(WorkError::Ended { .. })));
    assert!(proc::eventually(no_children_but_servers));
    assert_eq!(made_and_dropped(&counts), [2, 0]);
    // ... and a drop that panics or hangs is over after the grace.
    let slow = WorkerPool::builder(1).grace(Duration::from_millis(100)).with_state(|| {
        struct Hangs;
        impl Drop for Hangs {
            fn drop(&mut self) {
                hang(());
            }
        }
        Hangs
    });
    let slow = slow.unwrap();
    assert_eq!(result(slow.submit(|_, n: u64| n, 1).unwrap()).unwrap(), 1);
    slow.close().unwrap();
    assert!(no_children_but_servers());
    Passed
}
