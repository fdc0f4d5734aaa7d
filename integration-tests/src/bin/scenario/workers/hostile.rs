//! Tasks that are hostile to their pool, or clumsy: it goes on, and nothing of them stays.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common_ipc::link::{Connection, Execution};
use common_ipc::memory::SharedAtomics;
use common_ipc::process::WorkFailure;
use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use nix::sys::signal::Signal as NixSignal;
use pkit::{TaskHandle, WorkError, WorkerPool};

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;

use crate::workers::faults::{died, kill};
use crate::workers::{count, goes_on, hang, pool, result};

scenarios!(
    workers_a_task_that_closes_all_descriptors,
    workers_a_task_that_executes_a_program,
    workers_a_task_that_forks_and_returns_twice,
    workers_a_task_that_writes_garbage_everywhere,
    workers_a_task_that_scribbles_over_all_shared_memory,
    workers_a_task_that_lies_about_what_was_begun,
    workers_a_task_that_stops_its_worker,
    workers_a_worker_that_is_stopped_by_others,
    workers_a_task_that_signals_leads_and_threads,
    fault_35_a_grandchild_that_holds_all_open,
);

/// The pool has as many workers as before, which work, and no process is there beside them and the servers.
fn is_sound(pool: &WorkerPool) {
    goes_on(pool, 100);
    let workers = || pool.statistics().unwrap().workers == pool.size();
    assert!(proc::eventually(workers), "{}", pool.statistics().unwrap());
    let only_workers = || {
        let pids = pool.pids().unwrap();
        let children = proc::children(std::process::id() as i32);
        children
            .iter()
            .all(|child| pids.contains(&(child.pid as u32)) || proc::name(child.pid).starts_with("mp-"))
    };
    assert!(proc::eventually(only_workers), "{:?}", proc::children(std::process::id() as i32));
    let statistics = pool.statistics().unwrap();
    assert_eq!((statistics.waiting, statistics.under_way), (0, 0), "{statistics}");
}

/// What it is hostile with, among others that aren't: only it may fail.
fn among_others<R: serde::Serialize + serde::de::DeserializeOwned>(
    pool: &WorkerPool,
    hostile: TaskHandle<R>,
) -> Result<R, WorkError> {
    let counts = SharedAtomics::new(60).unwrap();
    let others: Vec<_> = (0..60).map(|place| pool.submit(count, (counts.clone(), place)).unwrap()).collect();
    for (place, task) in (0..).zip(others) {
        assert_eq!(result(task).unwrap_or_else(|error| panic!("{place}: {error}")), place);
    }
    assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == 1));
    let own = result(hostile);
    is_sound(pool);
    own
}

fn lost_or_done<R>(result: Result<R, WorkError>) {
    match result {
        Ok(_) => {}
        // It has returned, and can't say so.
        Err(WorkError::Failed(WorkFailure::Result { .. })) => {}
        // It may have spoilt what it would have been told by that there is room for its result.
        Err(WorkError::TimedOut { .. }) => {}
        Err(error @ (WorkError::Lost { .. } | WorkError::Died { .. })) => {
            assert_eq!(error.execution(), Execution::Unknown);
        }
        Err(error) => panic!("{error}"),
    }
}

fn workers_a_task_that_closes_all_descriptors() -> Outcome {
    let pool = pool(2);
    for round in 0..10u64 {
        lost_or_done(among_others(&pool, pool.submit(|()| raw::close_from(3), ()).unwrap()));
        // Standard streams as well, and it takes its time.
        let slow = pool.submit(
            |round: u64| {
                raw::close_from(0);
                std::thread::sleep(Duration::from_millis(round * 20));
            },
            round,
        );
        lost_or_done(among_others(&pool, slow.unwrap()));
        let hangs = pool.submit(
            |()| {
                raw::close_from(3);
                hang(());
            },
            (),
        );
        let error = among_others(&pool, hangs.unwrap()).unwrap_err();
        assert!(matches!(error, WorkError::Lost { .. }), "{error}");
    }
    Passed
}

fn workers_a_task_that_executes_a_program() -> Outcome {
    let pool = pool(2);
    for _ in 0..10 {
        let (counts, exec) = (SharedAtomics::new(1).unwrap(), |counts: SharedAtomics| {
            counts[0].store(std::process::id().into(), Ordering::SeqCst);
            drop(counts);
            panic!("{}", Command::new("/bin/sleep").arg("600").exec());
        });
        let task: TaskHandle<()> = pool.submit(exec, counts.clone()).unwrap();
        let error = among_others(&pool, task).unwrap_err();
        assert!(matches!(error, WorkError::Lost { .. }), "{error}");
        assert!(proc::eventually(|| !proc::runs(counts[0].load(Ordering::SeqCst) as i32)));
        // One that ends by itself is told as that, or as cut off.
        let exits = pool
            .submit(|()| -> () { panic!("{}", Command::new("/bin/sh").args(["-c", "exit 8"]).exec()) }, ());
        match among_others(&pool, exits.unwrap()).unwrap_err() {
            WorkError::Lost { .. } => {}
            error => assert_eq!(died::<()>(Err(error)).code(), Some(8)),
        }
    }
    Passed
}

fn workers_a_task_that_forks_and_returns_twice() -> Outcome {
    let pool = pool(2);
    for _ in 0..20 {
        // Both go on as the worker.
        let both = pool.submit(|()| raw::fork_and_return(), ()).unwrap();
        let child = among_others(&pool, both).unwrap();
        assert_ne!(child, 0, "what its copy returned");
        assert!(proc::eventually(|| !proc::runs(child)));
        // The copy is slow, panics, or goes on to send what it isn't asked for.
        let slow = pool.submit(
            |()| {
                let child = raw::fork_and_return();
                if child == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                assert_ne!(child, 0, "on purpose");
                child
            },
            (),
        );
        let child = among_others(&pool, slow.unwrap()).unwrap();
        assert!(proc::eventually(|| !proc::runs(child)));
    }
    assert_eq!(pool.statistics().unwrap().died, 0);
    Passed
}

fn workers_a_task_that_writes_garbage_everywhere() -> Outcome {
    let pool = pool(2);
    let hasty = pool.clone().task_timeout(Duration::from_millis(400));
    for round in 0..20u64 {
        let garbage = |round: u64| {
            let bytes: Vec<u8> = (0..300).map(|place| (place * round * 31 + round) as u8).collect();
            for (number, target) in proc::descriptors(std::process::id() as i32) {
                if number > 2 && target.to_string_lossy().starts_with("socket:") {
                    let _ = nix::sys::socket::send(
                        number,
                        &bytes[..1 + (round as usize * 13) % 299],
                        nix::sys::socket::MsgFlags::MSG_DONTWAIT,
                    );
                } else if number > 2 && !target.to_string_lossy().starts_with("/memfd:") {
                    if let Ok(file) = OpenOptions::new().write(true).open(format!("/proc/self/fd/{number}")) {
                        let _ = file.write_at(&bytes, round * 64);
                    }
                }
            }
            round
        };
        lost_or_done(among_others(&pool, hasty.submit(garbage, round).unwrap()));
        // One that goes on until it is ended.
        let forever = || {
            hasty
                .submit(
                    |round: u64| -> () {
                        let until = Instant::now() + Duration::from_millis(200);
                        while Instant::now() < until {
                            for (number, _) in proc::descriptors(std::process::id() as i32) {
                                if number > 2 {
                                    let _ = nix::sys::socket::send(
                                        number,
                                        &[round as u8; 3],
                                        nix::sys::socket::MsgFlags::MSG_DONTWAIT,
                                    );
                                }
                            }
                        }
                    },
                    round,
                )
                .unwrap()
        };
        if round % 5 == 0 {
            lost_or_done(among_others(&pool, forever()));
        }
    }
    Passed
}

/// The writable shared mappings of this process.
fn shared_mappings() -> Vec<(u64, u64)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let shared = maps.lines().filter(|line| line.split(' ').nth(1) == Some("rw-s"));
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let range = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some((number(start), number(end)))
    };
    shared.filter_map(range).collect()
}

fn memory() -> File {
    OpenOptions::new().read(true).write(true).open("/proc/self/mem").unwrap()
}

fn workers_a_task_that_scribbles_over_all_shared_memory() -> Outcome {
    // What it does to its worker, later tasks of that worker find: they may hang.
    let pool = pool(2).task_timeout(Duration::from_millis(400));
    for round in 0..120u64 {
        let scribble = |round: u64| {
            let memory = memory();
            let mut random = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random
            };
            for (start, end) in shared_mappings() {
                match round % 4 {
                    // All of it, ...
                    0 => {
                        let bytes: Vec<u8> = (start..end).map(|_| next() as u8).collect();
                        let _ = memory.write_at(&bytes, start);
                    }
                    1 => {
                        let _ = memory.write_at(
                            &vec![if round % 8 == 1 { 0xff } else { 0 }; (end - start) as usize],
                            start,
                        );
                    }
                    // ... or some words, where the protocol has its own, again and again.
                    _ => {
                        for _ in 0..200 {
                            let at = start + next() % 4096.min(end - start) / 8 * 8;
                            let word = if next() % 2 == 0 { next() } else { next() % 64 };
                            let _ = memory.write_at(&word.to_le_bytes(), at);
                        }
                    }
                }
            }
            round
        };
        let task = pool.submit(scribble, round).unwrap();
        let mut ahead: Vec<_> = (0..20u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
        if round % 3 == 2 {
            for task in ahead.iter().step_by(2) {
                task.cancel().unwrap();
            }
        }
        if let Err(error) = result(task) {
            assert_ne!(error.execution(), Execution::NotRun, "{error}");
        }
        // It may be that its worker says that it is at them, or can't say anything any more, until it is replaced.
        let mut right = 0;
        for n in 0.. {
            match result(if ahead.is_empty() { pool.submit(|n: u64| n, n).unwrap() } else { ahead.remove(0) })
            {
                Ok(_) => right += 1,
                Err(
                    WorkError::Died { .. }
                    | WorkError::Lost { .. }
                    | WorkError::TimedOut { .. }
                    | WorkError::Cancelled { .. }
                    | WorkError::Failed(_),
                ) => right = 0,
                Err(error) => panic!("{error}"),
            }
            if right == 50 {
                break;
            }
            assert!(n < 1000, "{}", pool.statistics().unwrap());
        }
    }
    is_sound(&pool);
    Passed
}

/// Where a connection's memory has the word that says which jobs were begun.
const CLAIMS: u64 = 2048;

fn workers_a_task_that_lies_about_what_was_begun() -> Outcome {
    let pool = pool(1);
    for (round, word) in [u64::MAX, 0, u64::from(u32::MAX), 1 << 32, 100, 5 << 32 | 3].into_iter().enumerate()
    {
        for cancelled in [0, 3, 9] {
            goes_on(&pool, 60);
            let begun = Event::new().unwrap();
            let lie = |(word, begun): (u64, Event)| {
                for (start, _) in shared_mappings() {
                    let mut now = [0; 8];
                    memory().read_exact_at(&mut now, start + CLAIMS).unwrap();
                    let now = u64::from_le_bytes(now);
                    // Of the round that there is, or of another one.
                    let lie = if word > 1 << 40 { now | u64::from(u32::MAX) } else { word };
                    memory().write_all_at(&lie.to_le_bytes(), start + CLAIMS).unwrap();
                }
                begun.set();
                hang(());
            };
            let lies = pool.submit(lie, (word, begun.clone())).unwrap();
            let others: Vec<_> = (0..10u64).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
            // It may be found out, and killed, before it has said that it is at it.
            assert!(proc::eventually(|| begun.is_set() || lies.is_done()));
            // That of one that it says it has begun, and hasn't.
            let ended = others[cancelled].cancel().unwrap();
            lies.cancel().unwrap();
            assert!(result(lies).is_err(), "it hangs");
            for (n, task) in (0..).zip(others) {
                match result(task) {
                    Ok(same) => assert!(same == n && !(ended && n == cancelled as u64), "{round}: {n}"),
                    // What it says is that they were under way.
                    Err(WorkError::Died { .. } | WorkError::Lost { .. } | WorkError::Cancelled { .. }) => {}
                    Err(error) => panic!("{round}: {n}: {error}"),
                }
            }
            is_sound(&pool);
        }
    }
    Passed
}

fn workers_a_task_that_stops_its_worker() -> Outcome {
    let pool = pool(2).task_timeout(Duration::from_millis(150));
    for _ in 0..5 {
        let stops = pool.submit(|()| nix::sys::signal::raise(NixSignal::SIGSTOP).unwrap(), ()).unwrap();
        let error = among_others(&pool, stops).unwrap_err();
        assert!(matches!(error, WorkError::TimedOut { .. }), "{error}");
    }
    assert_eq!(pool.statistics().unwrap().timed_out, 5);
    // Without a limit it is cancelled, or ended with the pool.
    let pool = crate::workers::pool(1);
    let stops = pool.submit(|()| nix::sys::signal::raise(NixSignal::SIGSTOP).unwrap(), ()).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(stops.cancel().unwrap());
    assert!(matches!(result(stops), Err(WorkError::Cancelled { execution: Execution::Unknown })));
    let stops = pool.submit(|()| nix::sys::signal::raise(NixSignal::SIGSTOP).unwrap(), ()).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    drop(pool);
    assert!(matches!(result(stops), Err(WorkError::Ended { .. })));
    Passed
}

fn workers_a_worker_that_is_stopped_by_others() -> Outcome {
    // It has nothing to do when it is stopped; the other one does all that there is.
    let pool = pool(2).task_timeout(Duration::from_millis(100));
    for which in [0, 1, 0] {
        goes_on(&pool, 20);
        assert!(proc::eventually(|| pool.pids().unwrap().len() == 2));
        let stopped = pool.pids().unwrap()[which] as i32;
        kill(stopped as u32, NixSignal::SIGSTOP);
        assert!(proc::eventually(|| proc::stat(stopped).is_some_and(|stat| stat.state == 'T')));
        goes_on(&pool, 20);
        kill(stopped as u32, NixSignal::SIGCONT);
        goes_on(&pool, 20);
    }
    Passed
}

fn workers_a_task_that_signals_leads_and_threads() -> Outcome {
    let pool = pool(2);
    for _ in 0..10 {
        let term = pool.submit(|()| nix::sys::signal::raise(NixSignal::SIGTERM).unwrap(), ()).unwrap();
        let status = died(among_others(&pool, term));
        assert_eq!(status.signal(), Some(pkit::Signal::TERM));
        // A session of its own, ...
        let leads =
            pool.submit(|()| nix::unistd::setsid().map(|pid| pid.as_raw()).unwrap_or(-1), ()).unwrap();
        assert!(among_others(&pool, leads).unwrap() != 0);
        // ... threads that go on, ...
        let threads = pool.submit(
            |()| {
                for _ in 0..3 {
                    std::thread::spawn(|| {
                        loop {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    });
                }
            },
            (),
        );
        among_others(&pool, threads.unwrap()).unwrap();
        // ... one of which ends the worker later, while it is at something else or at nothing, ...
        let later = pool.submit(
            |()| {
                std::thread::spawn(|| {
                    std::thread::sleep(Duration::from_millis(3));
                    std::process::abort();
                });
            },
            (),
        );
        let died = pool.statistics().unwrap().died;
        match result(later.unwrap()) {
            // On a busy machine three milliseconds are no time at all.
            Ok(()) | Err(WorkError::Died { .. }) => {}
            other => panic!("{other:?}"),
        }
        let patient = pool.clone().attempts(5);
        for n in 0..100u64 {
            assert_eq!(result(patient.submit(|n: u64| n, n).unwrap()).unwrap(), n);
        }
        assert!(proc::eventually(|| pool.statistics().unwrap().died > died));
    }
    // ... another directory, mask and disposition of signals.
    for _ in 0..10 {
        let moves = pool.submit(
            |()| {
                std::env::set_current_dir("/").unwrap();
                raw::ignore_signal(NixSignal::SIGTERM, true);
                nix::sys::signal::SigSet::all().thread_block().unwrap();
                raw::ignore_signal(NixSignal::SIGPIPE, false);
            },
            (),
        );
        among_others(&pool, moves.unwrap()).unwrap();
    }
    pool.terminate(Duration::from_millis(100)).unwrap();
    Passed
}

fn fault_35_a_grandchild_that_holds_all_open() -> Outcome {
    let pool = pool(2);
    for way in 0..5u64 {
        let (here, there) = Connection::<(), i32>::pair().unwrap();
        let begets = |(end, way): (Connection<i32, ()>, u64)| {
            let grandchild = raw::fork(|| {
                if way > 0 {
                    nix::unistd::setsid().unwrap();
                }
                sleep_for_long();
                0
            });
            end.send(&grandchild).unwrap();
            match way {
                0 | 1 => {}
                2 => std::process::abort(),
                3 => nix::sys::signal::raise(NixSignal::SIGKILL).unwrap(),
                // It isn't cut off: the grandchild has its end of the link.
                _ => raw::close_from(3),
            }
        };
        let task = pool.submit(begets, (there, way)).unwrap();
        let grandchild = here.recv().unwrap();
        match among_others(&pool, task) {
            Ok(()) => assert!(way < 2 || way == 4),
            Err(error) => match way {
                2 => assert_eq!(died::<()>(Err(error)).signal(), Some(pkit::Signal::ABRT)),
                3 => assert_eq!(died::<()>(Err(error)).signal(), Some(pkit::Signal::KILL)),
                _ => lost_or_done::<()>(Err(error)),
            },
        }
        if way < 2 {
            assert!(proc::runs(grandchild), "it is nobody's business of the pool's");
        }
        kill(grandchild as u32, NixSignal::SIGKILL);
    }
    // One that is cancelled, or ended with its pool, while its grandchild has all that it had.
    let (here, there) = Connection::<(), i32>::pair().unwrap();
    let begets = |end: Connection<i32, ()>| {
        let grandchild = raw::fork(|| {
            sleep_for_long();
            0
        });
        end.send(&grandchild).unwrap();
        hang(());
    };
    let task = pool.submit(begets, there).unwrap();
    let first = here.recv().unwrap();
    assert!(task.cancel().unwrap());
    assert!(matches!(result(task), Err(WorkError::Cancelled { .. })));
    is_sound(&pool);
    let (here, there) = Connection::<(), i32>::pair().unwrap();
    let task = pool.submit(begets, there).unwrap();
    let second = here.recv().unwrap();
    drop(pool);
    assert!(matches!(result(task), Err(WorkError::Ended { .. })));
    for grandchild in [first, second] {
        kill(grandchild as u32, NixSignal::SIGKILL);
        assert!(proc::eventually(|| !proc::runs(grandchild)));
    }
    Passed
}
