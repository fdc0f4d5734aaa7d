//! How the workers of pools come and go: starts that fail, replacements, and the ends of pools and of programs.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common_ipc::link::{Connection, Execution};
use common_ipc::memory::SharedAtomics;
use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use nix::sys::resource::{Resource as Limit, getrlimit, setrlimit};
use nix::sys::signal::Signal as NixSignal;
use pkit::{LaunchOptions, Resource, StatePool, TaskHandle, WorkError, WorkerPool};

use crate::Outcome::{self, Passed, Skipped};
use crate::children::start;
use crate::parent_death::program;
use crate::servers::{kill, zygote};
use crate::workers::{PATIENCE, block_on, count, goes_on, hang, hang_after, pool, result};

scenarios!(
    workers_a_state_that_cannot_be_made_at_first,
    workers_a_state_that_can_never_be_made,
    workers_a_state_whose_making_hangs_or_exits,
    workers_a_state_is_dropped_at_the_end,
    workers_that_die_idle_are_no_storm,
    workers_starts_that_fail_for_want_of_processes,
    workers_starts_that_fail_for_want_of_descriptors,
    workers_are_recycled_after_so_many_tasks,
    workers_are_recycled_by_age_and_memory,
    workers_recycled_fast_take_no_more_descriptors,
    workers_close_waits_and_may_be_called_again,
    workers_terminate_is_at_once,
    workers_the_last_handle_ends_the_pool,
    workers_an_end_in_the_midst_of_everything,
    fault_27_no_worker_outlives_its_program,
    workers_a_program_that_exits_ends_its_workers,
    fault_31_workers_leave_ctrl_c_to_their_program,
    fault_54_a_pool_of_the_parents_workers_is_wrong_process,
    fault_54_pools_of_workers_in_workers,
    workers_forks_beside_a_pool,
    workers_of_another_user_and_with_limits,
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

pub(crate) fn no_children_but_servers() -> bool {
    proc::children(std::process::id() as i32).iter().all(|child| proc::name(child.pid).starts_with("mp-"))
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

/// Runs the program of this name, if there is one.
pub(crate) fn run(name: &str) -> bool {
    match name {
        "program_with_busy_workers" => busy_workers(true),
        "program_that_exits_with_busy_workers" => busy_workers(false),
        _ => return false,
    }
    true
}

/// Prints the ids of workers that spin, of which one has workers of its own, and stays or ends.
fn busy_workers(stays: bool) {
    let (reader, writer) = Connection::<(), u32>::pair().unwrap();
    let pool = pool(2);
    let spin = |()| loop {
        std::hint::spin_loop();
    };
    let task: TaskHandle<()> = pool.submit(spin, ()).unwrap();
    let nested = |(writer, spin): (Connection<u32, ()>, ())| {
        let pool = self::pool(1);
        let task: TaskHandle<()> = pool.submit(|()| hang(()), spin).unwrap();
        writer.send(&pool.pids().unwrap()[0]).unwrap();
        task.join().unwrap();
    };
    let other = pool.submit(nested, (writer, ())).unwrap();
    let inner = reader.recv().unwrap();
    for pid in pool.pids().unwrap().iter().chain([&inner]) {
        println!("{pid}");
    }
    if stays {
        hang(());
    }
    // The exit comes upon a pool that is there.
    std::mem::forget((pool, task, other));
}

fn fault_27_no_worker_outlives_its_program() -> Outcome {
    let (mut program, pids) = program(&["program_with_busy_workers"], 3);
    assert!(pids.iter().all(|pid| proc::runs(*pid)), "{pids:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    for pid in &pids {
        assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} of {pids:?} survives");
    }
    Passed
}

fn workers_a_program_that_exits_ends_its_workers() -> Outcome {
    let (mut program, pids) = program(&["program_that_exits_with_busy_workers"], 3);
    assert_eq!(pids.len(), 3);
    assert!(program.wait().unwrap().success());
    for pid in &pids {
        assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} of {pids:?} survives");
    }
    Passed
}

fn fault_31_workers_leave_ctrl_c_to_their_program() -> Outcome {
    let pool = pool(2);
    goes_on(&pool, 10);
    let pids = pool.pids().unwrap();
    let (begun, go) = (Event::new().unwrap(), Event::new().unwrap());
    let wait = |(begun, go): (Event, Event)| {
        begun.set();
        go.wait().unwrap();
        1u32
    };
    let task = pool.submit(wait, (begun.clone(), go.clone())).unwrap();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    for pid in &pids {
        kill(*pid as i32, NixSignal::SIGINT);
    }
    std::thread::sleep(Duration::from_millis(50));
    go.set();
    assert_eq!(result(task).unwrap(), 1);
    goes_on(&pool, 10);
    assert_eq!(pool.pids().unwrap(), pids);
    Passed
}

fn fault_54_a_pool_of_the_parents_workers_is_wrong_process() -> Outcome {
    raw::allow_forks();
    let pool = pool(2);
    let state = StatePool::with_state(1, || 0u64).unwrap();
    let begun = Event::new().unwrap();
    let mut task = pool.submit(hang_after, begun.clone()).unwrap();
    let done = pool.submit(|n: u64| n, 7).unwrap();
    assert!(begun.wait_timeout(PATIENCE).unwrap());
    assert!(proc::eventually(|| done.is_done()));
    let mut map = pool.map(1u64.., |n| n);
    let mut chunks = state.map_chunked(1u64.., pkit::Chunk::Of(3), |_, n| n);
    assert_eq!((map.next().unwrap().unwrap(), chunks.next().unwrap().unwrap()), (1, 1));
    let (mut other_task, mut other_map, mut other_chunks) = (Some(done), Some(map), Some(chunks));
    for _ in 0..3 {
        let child = start(|| {
            let refused = |error: WorkError| matches!(error, WorkError::WrongProcess(_));
            let all = [
                pool.submit(|n: u64| n, 1).is_err_and(refused),
                pool.try_submit(|n: u64| n, 1).is_err_and(refused),
                pool.submit_timeout(|n: u64| n, 1, PATIENCE).is_err_and(refused),
                state.submit(|_, n: u64| n, 1).is_err_and(refused),
                pool.map(0..2u64, |n| n).all(|result| result.is_err_and(refused)),
                pool.map_unordered(0..2u64, |n| n).all(|result| result.is_err_and(refused)),
                pool.map_chunked(0..9u64, pkit::Chunk::Of(2), |n| n).all(|result| result.is_err_and(refused)),
                pool.statistics().is_err_and(refused),
                pool.pids().is_err_and(refused),
                pool.close().is_err_and(refused),
                pool.close_timeout(PATIENCE).is_err_and(refused),
                pool.terminate(Duration::ZERO).is_err_and(refused),
                task.try_join().is_err_and(refused),
                task.cancel().is_err_and(refused),
                block_on(&mut task).is_err_and(refused),
                other_task.take().unwrap().join().is_err_and(refused),
                // What was there already may still be given out.
                other_map.as_mut().unwrap().take(3000).last().unwrap().is_err_and(refused),
            ];
            let chunks: Vec<_> = other_chunks.as_mut().unwrap().take(10).collect();
            drop((other_map.take(), other_chunks.take()));
            drop((pool.clone(), state.clone()));
            let format = format!("{pool:?} {state:?} {task:?}");
            (all.to_vec(), chunks.last().unwrap().is_err(), format.len() > 10)
        });
        let (all, chunks, format) = child.output::<(Vec<bool>, bool, bool)>().unwrap();
        assert!(all.iter().all(|refused| *refused) && chunks && format, "{all:?} {chunks}");
    }
    // Nothing was done to what they are copies of.
    assert!(!task.is_done());
    assert_eq!(result(other_task.unwrap()).unwrap(), 7);
    assert_eq!(other_map.as_mut().unwrap().next().unwrap().unwrap(), 2);
    assert_eq!(other_chunks.as_mut().unwrap().next().unwrap().unwrap(), 2);
    drop((other_map, other_chunks));
    // A child's own pool is its own.
    let child = start(|| {
        drop(pool.clone());
        let own = crate::workers::pool(1);
        goes_on(&own, 20);
        own.close().unwrap();
    });
    child.output::<()>().unwrap();
    task.cancel().unwrap();
    goes_on(&pool, 20);
    Passed
}

fn fault_54_pools_of_workers_in_workers() -> Outcome {
    let pool = pool(2);
    let sums = pool.map(0..3u64, |outer| {
        let pool = self::pool(2);
        let inner = pool.map(0..3u64, move |inner| inner);
        let sum: u64 = inner.map(Result::unwrap).sum();
        let pool = self::pool(1);
        let lowest = result(
            pool.submit(
                |n: u64| {
                    let pool = self::pool(1);
                    let n = result(pool.submit(|n: u64| n + 1, n).unwrap()).unwrap();
                    pool.close().unwrap();
                    n
                },
                outer * 10,
            )
            .unwrap(),
        );
        sum + lowest.unwrap()
    });
    assert_eq!(sums.map(Result::unwrap).collect::<Vec<_>>(), [4, 14, 24]);
    drop(pool);
    for way in 0..3 {
        let (reader, writer) = Connection::<(), u32>::pair().unwrap();
        let root = crate::workers::pool(1);
        let nested = |writer: Connection<u32, ()>| {
            let middle = self::pool(1);
            let task = middle.submit(
                |writer: Connection<u32, ()>| {
                    writer.send(&std::process::id()).unwrap();
                    let lowest = self::pool(1);
                    let task = lowest.submit(hang, ()).unwrap();
                    writer.send(&lowest.pids().unwrap()[0]).unwrap();
                    task.join().unwrap();
                },
                writer,
            );
            task.unwrap().join().unwrap();
        };
        let task = root.submit(nested, writer).unwrap();
        let below = [reader.recv().unwrap() as i32, reader.recv().unwrap() as i32];
        assert!(below.iter().all(|pid| proc::runs(*pid)));
        match way {
            0 => assert!(task.cancel().unwrap()),
            1 => kill(root.pids().unwrap()[0] as i32, NixSignal::SIGKILL),
            _ => root.terminate(Duration::ZERO).unwrap(),
        }
        assert!(proc::eventually(|| !below.iter().any(|pid| proc::runs(*pid))), "{way}");
        assert!(result(task).is_err());
    }
    Passed
}

fn workers_forks_beside_a_pool() -> Outcome {
    // Its thread is no obstacle to a fork, whether it sleeps or not.
    let pool = pool(2);
    goes_on(&pool, 20);
    for _ in 0..20 {
        assert_eq!(start(|| 5u32).output::<u32>().unwrap(), 5);
    }
    let mut under_way = Vec::new();
    for round in 0..200u64 {
        let work = |n: u64| {
            std::thread::sleep(Duration::from_micros(n % 7 * 100));
            n
        };
        under_way.extend((0..20).map(|n| (round + n, pool.submit(work, round + n).unwrap())));
        assert_eq!(start(move || round).output::<u64>().unwrap(), round);
        if round % 10 == 9 {
            for (n, task) in under_way.drain(..) {
                assert_eq!(result(task).unwrap(), n);
            }
        }
    }
    pool.close().unwrap();
    assert_eq!(start(|| 6u32).output::<u32>().unwrap(), 6);
    Passed
}

fn workers_of_another_user_and_with_limits() -> Outcome {
    zygote();
    // More than it may have: the allocation aborts, as in any Rust program.
    let options = LaunchOptions::new().limit(Resource::AddressSpace, 1 << 30, 1 << 30);
    let pool = WorkerPool::builder(2).options(options).build().unwrap();
    for _ in 0..3 {
        let task = pool.submit(|bytes: usize| std::hint::black_box(vec![1u8; bytes]).len(), 2 << 30).unwrap();
        match result(task) {
            Err(WorkError::Died { status, out_of_memory: false, .. }) => {
                assert_eq!(status.signal(), Some(pkit::Signal::ABRT));
            }
            other => panic!("{other:?}"),
        }
        goes_on(&pool, 20);
    }
    if !nix::unistd::geteuid().is_root() {
        return Passed;
    }
    let options = LaunchOptions::new().uid(65_534).gid(65_534).groups([]);
    let pool = WorkerPool::builder(2).options(options).build().unwrap();
    let uid = |()| nix::unistd::getuid().as_raw();
    assert_eq!(result(pool.submit(uid, ()).unwrap()).unwrap(), 65_534);
    let (here, there) = Connection::<u32, u32>::pair().unwrap();
    let echo = |end: Connection<u32, u32>| end.send(&end.recv().unwrap()).unwrap();
    let task = pool.submit(echo, there).unwrap();
    here.send(&5).unwrap();
    assert_eq!(here.recv().unwrap(), 5);
    result(task).unwrap();
    goes_on(&pool, 100);
    let hangs = pool.clone().task_timeout(Duration::from_millis(20)).submit(hang, ()).unwrap();
    assert!(matches!(result(hangs), Err(WorkError::TimedOut { .. })));
    for pid in pool.pids().unwrap() {
        assert_eq!(proc::status_field(pid as i32, "Uid"), "65534 65534 65534 65534");
    }
    let forever = pool.submit(hang, ()).unwrap();
    pool.terminate(Duration::from_secs(20)).unwrap();
    assert!(matches!(result(forever), Err(WorkError::Ended { .. })));
    Passed
}
