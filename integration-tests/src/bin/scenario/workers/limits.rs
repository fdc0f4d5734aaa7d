//! Pools of workers: time-outs and cancels at each moment, what they cost, and what runs out.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::link::{Connection, Execution};
use common_ipc::memory::SharedAtomics;
use common_ipc::sync::Event;
use integration_tests::{proc, stress_factor};
use pkit::{StatePool, TaskHandle, WorkError};

use crate::Outcome::{self, Passed, Skipped};
use crate::servers::zygote;
use crate::workers::{PATIENCE, count, goes_on, hang, hang_after, pool, result};

scenarios!(
    workers_a_time_out_ends_its_task_alone,
    workers_a_task_that_ends_as_its_time_does,
    workers_time_that_is_waited_does_not_count,
    workers_a_task_cancelled_at_each_moment,
    workers_a_task_cancelled_in_each_state,
    workers_handles_that_cancel_when_dropped,
    workers_of_a_task_with_an_end_cancelled_at_each_moment,
    workers_that_have_nothing_to_do_cost_nothing,
    workers_without_memory_left,
);

fn workers_a_time_out_ends_its_task_alone() -> Outcome {
    let pool = pool(1);
    let hasty = pool.clone().task_timeout(Duration::from_millis(30));
    for _ in 0..10 {
        goes_on(&pool, 60);
        let counts = SharedAtomics::new(40).unwrap();
        let begun = Event::new().unwrap();
        let before: Vec<_> =
            (0..10).map(|place| pool.submit(count, (counts.clone(), place)).unwrap()).collect();
        let late = hasty.submit(hang_after, begun.clone()).unwrap();
        // Of those sent ahead some have a time of their own, in which they end.
        let after: Vec<_> = (10..40)
            .map(|place| {
                let pool = if place % 2 == 0 { &pool } else { &hasty };
                pool.submit(count, (counts.clone(), place)).unwrap()
            })
            .collect();
        let error = result(late).unwrap_err();
        assert!(
            matches!(error, WorkError::TimedOut { limit } if limit == Duration::from_millis(30)),
            "{error}"
        );
        assert!(begun.is_set() && error.execution() == Execution::Unknown);
        for (place, task) in (0..).zip(before.into_iter().chain(after)) {
            assert_eq!(result(task).unwrap(), place);
        }
        assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == 1));
    }
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.timed_out, statistics.died, statistics.lost), (10, 10, 0), "{statistics}");
    // One that takes long without a limit isn't concerned, nor one whose limit is longer.
    let slow = |()| std::thread::sleep(Duration::from_millis(100));
    let tasks = [pool.submit(slow, ()), pool.clone().task_timeout(PATIENCE).submit(slow, ())];
    let late = hasty.submit(slow, ()).unwrap();
    for task in tasks {
        result(task.unwrap()).unwrap();
    }
    assert!(matches!(result(late), Err(WorkError::TimedOut { .. })));
    // A limit of nothing is one that ends it, or not, and no more.
    let none = pool.clone().task_timeout(Duration::ZERO);
    for n in 0..20u64 {
        match result(none.submit(|n: u64| n, n).unwrap()) {
            Ok(same) => assert_eq!(same, n),
            Err(error) => assert!(matches!(error, WorkError::TimedOut { .. }), "{error}"),
        }
    }
    goes_on(&pool, 20);
    Passed
}

fn workers_a_task_that_ends_as_its_time_does() -> Outcome {
    let pool = pool(2);
    let limit = Duration::from_millis(4);
    let hasty = pool.clone().task_timeout(limit);
    let (mut done, mut late) = (0, 0);
    for round in 0..200 * u64::from(stress_factor()) {
        let counts = SharedAtomics::new(8).unwrap();
        let sleep = |(counts, micros): (SharedAtomics, u64)| {
            count((counts, 0));
            std::thread::sleep(Duration::from_micros(micros));
            micros
        };
        let micros = 3_500 + round % 50 * 20;
        let task = hasty.submit(sleep, (counts.clone(), micros)).unwrap();
        let others: Vec<_> =
            (1..8).map(|place| pool.submit(count, (counts.clone(), place)).unwrap()).collect();
        let is_done = match result(task) {
            Ok(same) => {
                assert_eq!(same, micros);
                done += 1;
                true
            }
            Err(error) => {
                assert!(matches!(error, WorkError::TimedOut { .. }), "{error}");
                late += 1;
                false
            }
        };
        for (place, task) in (1..).zip(others) {
            assert_eq!(result(task).unwrap_or_else(|error| panic!("round {round}: {error}")), place);
        }
        let counts: Vec<_> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        assert!(counts[1..].iter().all(|count| *count == 1), "round {round}: {counts:?}");
        // One that was late may have been begun without having come as far as to count itself.
        assert!(counts[0] == 1 || (!is_done && counts[0] == 0), "round {round}: {counts:?}");
    }
    assert!(late > 0, "{done} were done, {late} were late");
    let statistics = pool.statistics().unwrap();
    assert_eq!(
        (statistics.timed_out, statistics.answered),
        (late, statistics.submitted - late),
        "{statistics}"
    );
    Passed
}

fn workers_time_that_is_waited_does_not_count() -> Outcome {
    let pool = pool(1).task_timeout(Duration::from_millis(300));
    // All together they take far longer than each may.
    let slow = |n: u64| {
        std::thread::sleep(Duration::from_millis(20));
        n
    };
    let tasks: Vec<_> = (0..40u64).map(|n| pool.submit(slow, n).unwrap()).collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(result(task).unwrap(), n);
    }
    // Nor does that of the making of the state.
    let slow = || std::thread::sleep(Duration::from_millis(400));
    let pool = StatePool::with_state(1, slow).unwrap().task_timeout(Duration::from_millis(200));
    let tasks: Vec<_> = (0..10u64).map(|n| pool.submit(|(), n: u64| n, n).unwrap()).collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(result(task).unwrap(), n);
    }
    assert_eq!(pool.statistics().unwrap().timed_out, 0);
    Passed
}

/// What must be so of a task that somebody has tried to cancel, and of its neighbours.
fn fits(cancelled: bool, outcome: Result<usize, WorkError>, ran: u64) {
    match outcome {
        Ok(_) => assert!(!cancelled && ran == 1),
        Err(error @ WorkError::Cancelled { .. }) => {
            assert!(cancelled, "{error}");
            match error.execution() {
                Execution::NotRun => assert_eq!(ran, 0),
                Execution::Unknown => assert!(ran <= 1),
                Execution::Ran => assert_eq!(ran, 1),
            }
        }
        Err(error) => panic!("{error}"),
    }
}

fn workers_a_task_cancelled_at_each_moment() -> Outcome {
    let pool = pool(2);
    goes_on(&pool, 100);
    let mut kinds = [0; 2];
    for round in 0..1_500 * u64::from(stress_factor()) {
        let counts = SharedAtomics::new(10).unwrap();
        let work = |(counts, place): (SharedAtomics, usize)| {
            count((counts, place));
            std::thread::sleep(Duration::from_micros(50));
            place
        };
        let tasks: Vec<_> =
            (0..10).map(|place| pool.submit(work, (counts.clone(), place)).unwrap()).collect();
        std::thread::sleep(Duration::from_micros(round % 60 * 10));
        let which = (round * 7 % 10) as usize;
        let cancelled = tasks[which].cancel().unwrap();
        // Once is as good as twice.
        let _ = tasks[which].cancel().unwrap();
        kinds[usize::from(cancelled)] += 1;
        for (place, task) in tasks.into_iter().enumerate() {
            let outcome = result(task);
            let ran = counts[place].load(Ordering::SeqCst);
            if place == which {
                fits(cancelled, outcome, ran);
            } else {
                assert_eq!(outcome.unwrap_or_else(|error| panic!("round {round}, {place}: {error}")), place);
                assert_eq!(ran, 1, "round {round}, {place}");
            }
        }
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
    let statistics = pool.statistics().unwrap();
    assert_eq!(statistics.submitted, statistics.answered + statistics.cancelled, "{statistics}");
    assert_eq!(statistics.cancelled, kinds[1], "{statistics}");
    Passed
}

fn workers_a_task_cancelled_in_each_state() -> Outcome {
    let pool = pool(1);
    for _ in 0..20 {
        goes_on(&pool, 60);
        let begun = Event::new().unwrap();
        let runs = pool.submit(hang_after, begun.clone()).unwrap();
        let others: Vec<_> = (0..400u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
        assert!(begun.wait_timeout(PATIENCE).unwrap());
        let pid = pool.pids().unwrap()[0];
        // Sent ahead, and waiting.
        for place in [2, 399] {
            assert!(others[place].cancel().unwrap() && others[place].is_done());
            assert!(!others[place].cancel().unwrap());
        }
        assert_eq!(pool.pids().unwrap(), [pid], "nobody was killed for that");
        assert!(runs.cancel().unwrap());
        assert!(matches!(result(runs), Err(WorkError::Cancelled { execution: Execution::Unknown })));
        for (n, task) in (0..).zip(others) {
            match result(task) {
                Ok(same) => assert!(same == n && n != 2 && n != 399),
                Err(error) => {
                    assert!(
                        matches!(error, WorkError::Cancelled { execution: Execution::NotRun }),
                        "{error}"
                    );
                    assert!(n == 2 || n == 399);
                }
            }
        }
        assert_ne!(pool.pids().unwrap(), [pid]);
        // Done.
        let done = pool.submit(|n: u64| n, 1).unwrap();
        assert!(proc::eventually(|| done.is_done()));
        assert!(!done.cancel().unwrap());
        assert_eq!(result(done).unwrap(), 1);
    }
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.cancelled, statistics.died, statistics.lost), (60, 20, 0), "{statistics}");
    Passed
}

fn workers_handles_that_cancel_when_dropped() -> Outcome {
    let pool = pool(2);
    for round in 0..100u64 {
        let counts = SharedAtomics::new(2).unwrap();
        let work = |counts: SharedAtomics| {
            count((counts.clone(), 0));
            std::thread::sleep(Duration::from_secs(600));
            count((counts, 1));
        };
        let tasks: Vec<_> =
            (0..3).map(|_| pool.submit(work, counts.clone()).unwrap().cancel_on_drop()).collect();
        std::thread::sleep(Duration::from_micros(round * 20));
        drop(tasks);
        let is_idle = || {
            let statistics = pool.statistics().unwrap();
            (statistics.waiting, statistics.under_way) == (0, 0)
        };
        assert!(proc::eventually(is_idle), "{}", pool.statistics().unwrap());
        assert_eq!(counts[1].load(Ordering::SeqCst), 0);
    }
    // What is done isn't cancelled, nor what is joined.
    let done = pool.submit(|n: u64| n, 1).unwrap().cancel_on_drop();
    assert_eq!(result(done).unwrap(), 1);
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.cancelled, statistics.answered), (300, 1), "{statistics}");
    Passed
}

fn workers_of_a_task_with_an_end_cancelled_at_each_moment() -> Outcome {
    let pool = pool(1);
    goes_on(&pool, 20);
    for round in 0..400u64 {
        let counts = SharedAtomics::new(1).unwrap();
        let (here, there) = Connection::<(), ()>::pair().unwrap();
        let work = |(counts, end): (SharedAtomics, Connection<(), ()>)| {
            count((counts, 0));
            end.send(&()).unwrap();
            0
        };
        let task = pool.submit(work, (counts.clone(), there)).unwrap();
        if round % 4 > 0 {
            std::thread::sleep(Duration::from_micros(round));
        }
        let cancelled = task.cancel().unwrap();
        let outcome = result(task);
        let ran = counts[0].load(Ordering::SeqCst);
        let is_done = outcome.is_ok();
        fits(cancelled, outcome, ran);
        // Its end is gone with it, or was used.
        assert!(here.recv().is_ok() || !is_done);
        goes_on(&pool, 4);
    }
    Passed
}

/// Of a process: what it has used of the processors, in ticks.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// How often the threads of this process have gone to sleep.
fn sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let of = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok()).map(of).sum()
}

fn workers_that_have_nothing_to_do_cost_nothing() -> Outcome {
    let pool = pool(64);
    goes_on(&pool, 2_000);
    assert!(proc::eventually(|| pool.statistics().unwrap().idle == 64));
    let pids = pool.pids().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let all = || pids.iter().chain([&std::process::id()]).map(|pid| ticks(*pid)).sum::<u64>();
    let (before, slept) = (all(), sleeps());
    std::thread::sleep(Duration::from_secs(1));
    let (used, slept) = (all() - before, sleeps() - slept);
    assert!(slept < 50, "this process has woken {slept} times");
    // What it takes to look at them, say.
    assert!(used <= 1, "{used} ticks in a second");
    let dirty: Vec<_> = pids.iter().filter_map(|pid| proc::private_dirty_kib(*pid as i32)).collect();
    // Those that have done the tasks have what these have left in their heaps.
    assert!(dirty.iter().filter(|kib| **kib > 100).count() <= 8 && dirty.len() > 60, "{dirty:?} KiB");
    assert!(dirty.iter().all(|kib| *kib <= 1_000), "{dirty:?} KiB");
    let open = proc::descriptors(std::process::id() as i32).len();
    assert!(open < 64 * 5 + 40, "{open} descriptors");
    Passed
}

/// A control group whose processes may have 40 MiB, if this system lets one make such.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Group> {
        let name = format!("multiprocess-{}", std::process::id());
        let make = |folder: &Path, limits: &[&str]| {
            let folder = folder.join(&name);
            std::fs::create_dir(&folder).ok()?;
            let group = Group(folder);
            let is_set = limits.iter().all(|limit| std::fs::write(group.0.join(limit), "41943040").is_ok());
            // Swap isn't accounted for everywhere.
            let _ = std::fs::write(group.0.join("memory.swap.max"), "0");
            let _ = std::fs::write(group.0.join("memory.memsw.limit_in_bytes"), "41943040");
            is_set.then_some(group)
        };
        make(Path::new("/sys/fs/cgroup/memory"), &["memory.limit_in_bytes"])
            .or_else(|| make(Path::new("/sys/fs/cgroup"), &["memory.max"]))
    }

    fn add(&self, pid: u32) -> bool {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // As soon as nobody is in it.
        proc::eventually(|| std::fs::remove_dir(&self.0).is_ok());
    }
}

fn workers_without_memory_left() -> Outcome {
    zygote();
    let Some(group) = Group::new() else {
        return Skipped("making a control group with a limit for memory needs root, and such groups");
    };
    let pool = pool(1);
    goes_on(&pool, 20);
    for _ in 0..3 {
        assert!(proc::eventually(|| pool.statistics().unwrap().idle == 1));
        if !group.add(pool.pids().unwrap()[0]) {
            return Skipped("a process can't be put into a control group for memory");
        }
        let fill = |bytes: usize| std::hint::black_box(vec![1u8; bytes]).len();
        assert_eq!(result(pool.submit(fill, 8 << 20).unwrap()).unwrap(), 8 << 20);
        let waits: Vec<TaskHandle<usize>> =
            [400 << 20, 1, 2, 3].into_iter().map(|bytes| pool.submit(fill, bytes).unwrap()).collect();
        for (place, task) in waits.into_iter().enumerate() {
            match result(task) {
                Ok(bytes) => assert_eq!(bytes, place),
                Err(error) => {
                    assert!(matches!(error, WorkError::Died { out_of_memory: true, .. }), "{place}: {error}");
                    assert!(place == 0 && error.to_string().contains("want of memory"), "{place}: {error}");
                }
            }
        }
        // One that is killed by somebody is killed by somebody.
        let begun = Event::new().unwrap();
        let task = pool.submit(hang_after, begun.clone()).unwrap();
        assert!(begun.wait_timeout(PATIENCE).unwrap());
        crate::workers::faults::kill(pool.pids().unwrap()[0], nix::sys::signal::Signal::SIGKILL);
        let error = result(task).unwrap_err();
        assert!(matches!(error, WorkError::Died { out_of_memory: false, .. }), "{error}");
    }
    let forever = pool.submit(hang, ()).unwrap();
    drop(pool);
    assert!(matches!(result(forever), Err(WorkError::Ended { .. })));
    Passed
}
