//! Pools of workers: how workers are replaced, by starts that fail as well.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common_ipc::link::Execution;
use common_ipc::memory::SharedAtomics;
use integration_tests::proc;
use nix::sys::resource::{Resource as Limit, getrlimit, setrlimit};
use nix::sys::signal::Signal as NixSignal;
use pkit::{LaunchOptions, Resource, StatePool, WorkError, WorkerPool};

use crate::Outcome::{self, Passed, Skipped};
use crate::servers::{kill, zygote};
use crate::workers::{count, goes_on, no_children_but_servers, pool, result};

scenarios!(
    workers_that_die_idle_are_no_storm,
    workers_starts_that_fail_for_want_of_processes,
    workers_starts_that_fail_for_want_of_descriptors,
    workers_are_recycled_after_so_many_tasks,
    workers_are_recycled_by_age_and_memory,
    workers_recycled_fast_take_no_more_descriptors,
);

fn workers_that_die_idle_are_no_storm() -> Outcome {
    zygote();
    let pool = StatePool::with_state(2, || {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(1));
            std::process::abort();
        });
    });
    let pool = pool.unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let started = pool.statistics().unwrap().started;
    assert!(started < 200, "{started} starts in a second, for nobody");
    drop(pool);
    Passed
}

fn workers_starts_that_fail_for_want_of_processes() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Skipped("becoming a user who has no other processes needs root");
    }
    zygote();
    // Of this user there is no other process.
    let options = LaunchOptions::new().uid(54_322).limit(Resource::Processes, 0, 0);
    let error = WorkerPool::builder(1).options(options.clone()).build();
    let failed = match error {
        Err(error) => error,
        // Where that counts only from the next fork on, a task notices.
        Ok(pool) => {
            let task = pool.submit(|()| std::thread::Builder::new().spawn(|| ()).is_err(), ()).unwrap();
            match result(task) {
                Ok(refused) => {
                    assert!(refused, "a thread was to be had");
                    return Passed;
                }
                Err(error) => error,
            }
        }
    };
    assert!(matches!(failed, WorkError::Start(_) | WorkError::NotReady { .. }), "{failed}");
    assert!(proc::eventually(no_children_but_servers));
    Passed
}

fn workers_starts_that_fail_for_want_of_descriptors() -> Outcome {
    let pool = pool(2);
    goes_on(&pool, 20);
    let (soft, hard) = getrlimit(Limit::RLIMIT_NOFILE).unwrap();
    let most = proc::descriptors(std::process::id() as i32).iter().map(|(number, _)| *number).max().unwrap();
    for round in 0..3 {
        // None is free: what is open stays open.
        let mut fillers = Vec::new();
        setrlimit(Limit::RLIMIT_NOFILE, most as u64 + 8, hard).unwrap();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            fillers.push(file);
        }
        // Tasks need none.
        goes_on(&pool, 20);
        let error = WorkerPool::new(1).expect_err("a pool without descriptors");
        assert!(matches!(error, WorkError::Start(_)), "{error}");
        if round > 0 {
            // Nor does a pool that has lost all its workers hang.
            for pid in pool.pids().unwrap() {
                kill(pid as i32, NixSignal::SIGKILL);
            }
            fillers.extend(std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()));
            let task = pool.submit(|n: u64| n, 1).unwrap();
            match result(task) {
                Ok(_) => {}
                Err(error) => {
                    assert!(matches!(error, WorkError::Start(_)), "{error}");
                    assert_eq!(error.execution(), Execution::NotRun);
                }
            }
        }
        drop(fillers);
        setrlimit(Limit::RLIMIT_NOFILE, soft, hard).unwrap();
        goes_on(&pool, 20);
    }
    assert!(proc::eventually(|| pool.statistics().unwrap().workers == 2));
    Passed
}

fn workers_are_recycled_after_so_many_tasks() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(2).recycle_after_tasks(10).build().unwrap();
    let counts = SharedAtomics::new(1000).unwrap();
    let work = |(counts, place)| (count((counts, place)), std::process::id());
    let mut pids = std::collections::HashMap::<u32, u32>::new();
    let tasks: Vec<_> = (0..1000).map(|place| pool.submit(work, (counts.clone(), place)).unwrap()).collect();
    for (place, task) in (0..).zip(tasks) {
        let (same, pid) = result(task).unwrap();
        assert_eq!(same, place);
        *pids.entry(pid).or_default() += 1;
    }
    assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == 1));
    // Those that are claimed before the tenth reply is heard are done, too.
    assert!(pids.values().all(|tasks| *tasks >= 1 && *tasks <= 300), "{pids:?}");
    assert!(pids.len() > 10, "{pids:?}");
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.answered, statistics.died, statistics.lost), (1000, 0, 0), "{statistics}");
    assert!(statistics.recycled + 2 >= pids.len() as u64, "{statistics}");
    // One by one it is exact.
    let pool = WorkerPool::builder(1).recycle_after_tasks(3).build().unwrap();
    let mut pids = Vec::new();
    for _ in 0..9 {
        pids.push(result(pool.submit(|()| std::process::id(), ()).unwrap()).unwrap());
    }
    let runs: Vec<_> = pids.chunk_by(|one, other| one == other).map(<[u32]>::len).collect();
    assert_eq!(runs, [3, 3, 3], "{pids:?}");
    Passed
}

fn workers_are_recycled_by_age_and_memory() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(2).recycle_after(Duration::from_millis(100)).build().unwrap();
    let begin = Instant::now();
    let mut pids = std::collections::HashSet::new();
    while begin.elapsed() < Duration::from_millis(700) {
        for task in [(); 8].map(|()| pool.submit(|()| std::process::id(), ()).unwrap()) {
            pids.insert(result(task).unwrap());
        }
    }
    let statistics = pool.statistics().unwrap();
    assert!((4..=20).contains(&pids.len()), "{pids:?}, {statistics}");
    assert!(statistics.recycled >= 4 && statistics.died == 0 && statistics.lost == 0, "{statistics}");
    // Also those that have nothing to do.
    std::thread::sleep(Duration::from_millis(300));
    assert!(pool.statistics().unwrap().recycled > statistics.recycled);

    let limit = 60 << 20;
    let pool = WorkerPool::builder(2).recycle_above_memory(limit).build().unwrap();
    let leak = |bytes: usize| {
        std::mem::forget(std::hint::black_box(vec![1u8; bytes]));
        std::thread::sleep(Duration::from_millis(2));
        std::process::id()
    };
    let mut pids = std::collections::HashSet::new();
    for _ in 0..300 {
        for task in [(); 2].map(|()| pool.submit(leak, 1 << 20).unwrap()) {
            pids.insert(result(task).unwrap());
        }
        for pid in pool.pids().unwrap() {
            assert!(proc::resident_kib_of(pid as i32) < 4 * limit / 1024);
        }
    }
    let statistics = pool.statistics().unwrap();
    assert!(pids.len() > 2 && statistics.recycled >= 1, "{pids:?}, {statistics}");
    assert_eq!((statistics.lost, statistics.died, statistics.answered), (0, 0, 600), "{statistics}");
    Passed
}

fn workers_recycled_fast_take_no_more_descriptors() -> Outcome {
    zygote();
    let pool = WorkerPool::builder(2).recycle_after_tasks(1).build().unwrap();
    let open = || proc::descriptors(std::process::id() as i32).len();
    let before = open();
    for n in 0..600u64 {
        assert_eq!(result(pool.submit(|n: u64| n, n).unwrap()).unwrap(), n);
    }
    let after = open();
    assert!(after < before + 60, "{before} descriptors, then {after}");
    Passed
}
