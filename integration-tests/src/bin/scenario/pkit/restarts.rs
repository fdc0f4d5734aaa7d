//! Rows 23 and 24, through pkit's processes: one run after another, whoever starts them.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use integration_tests::{proc, stress_factor};
use nix::fcntl::{Flock, FlockArg};
use pkit::{JoinError, Process, RestartPolicy, Signal, StartError, join_callbacks};

use crate::Outcome::{self, Passed};
use crate::pkit::ways::all_ways;
use crate::processes::children::sleep_for_long;

scenarios!(
    fault_23_two_runs_of_a_process_never_overlap,
    fault_23_restarts_side_by_side_never_overlap,
    fault_24_a_handle_of_an_old_run_touches_no_new_one,
    of_threads_that_start_a_process_at_once_one_does,
    a_start_that_fails_leaves_the_process_as_it_was,
    threads_do_all_there_is_to_do_with_one_process,
);

const LONG: Duration = Duration::from_secs(60);

/// A file in which each run has a lock of its own until its end.
struct Locked(std::path::PathBuf);

impl Locked {
    fn new() -> Locked {
        let path = std::env::temp_dir().join(format!("multiprocess-runs-{}", std::process::id()));
        File::create(&path).unwrap();
        Locked(path)
    }

    fn process(&self) -> Process<()> {
        let path = self.0.clone();
        let target = move || {
            let lock = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock);
            std::mem::forget(lock.map_err(|(_, errno)| errno).expect("another run has it"));
            sleep_for_long();
        };
        Process::builder().build_template(target).unwrap()
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn fault_23_two_runs_of_a_process_never_overlap() -> Outcome {
    let file = Locked::new();
    let process = file.process();
    process.start().unwrap();
    for round in 0..1000 * stress_factor() {
        if round % 4 == 0 {
            // Sometimes it has the lock by then.
            std::thread::sleep(Duration::from_micros(300));
        }
        let run = process.open().unwrap();
        process.restart(RestartPolicy::Terminate).unwrap();
        // It wasn't refused the lock.
        assert_eq!(run.poll().unwrap().unwrap().signal(), Some(Signal::TERM), "{round}");
    }
    let held = || Flock::lock(File::open(&file.0).unwrap(), FlockArg::LockExclusiveNonblock).is_err();
    assert!(proc::eventually(held), "the last one has the lock");
    process.terminate_wait().unwrap();
    Passed
}

fn fault_23_restarts_side_by_side_never_overlap() -> Outcome {
    let file = Locked::new();
    let process = file.process();
    process.start().unwrap();
    let (restarted, mut runs) = (AtomicU32::new(0), Vec::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut runs = Vec::new();
                    for _ in 0..40 * stress_factor() {
                        match process.restart(RestartPolicy::Terminate) {
                            Ok(_) => drop(restarted.fetch_add(1, Ordering::Relaxed)),
                            Err(error) => assert!(matches!(error, StartError::StillRunning), "{error:?}"),
                        }
                        runs.extend(process.open());
                    }
                    runs
                })
            })
            .collect();
        for thread in threads {
            runs.extend(thread.join().unwrap());
        }
    });
    assert_eq!(process.generation(), 1 + u64::from(restarted.into_inner()));
    process.terminate_wait().unwrap();
    for run in runs {
        assert_eq!(run.wait().unwrap().signal(), Some(Signal::TERM), "run {}", run.generation());
    }
    Passed
}

fn fault_24_a_handle_of_an_old_run_touches_no_new_one() -> Outcome {
    for process in all_ways(|()| sleep_for_long()) {
        process.start().unwrap();
        let old = process.open().unwrap();
        let copy = old.clone();
        let pid = process.restart(RestartPolicy::Terminate).unwrap();
        let new = process.open().unwrap();
        for handle in [&old, &copy] {
            handle.terminate().unwrap();
            handle.kill().unwrap();
            let stopped = handle.stop(Duration::ZERO).unwrap();
            assert_eq!(stopped.status.signal(), Some(Signal::TERM));
            assert!(matches!(handle.output(), Err(JoinError::Died(_))));
            assert_eq!((handle.generation(), handle.is_alive().unwrap()), (1, false));
        }
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(new.wait_timeout(Duration::ZERO).unwrap(), None);
        assert_eq!((process.pid(), new.pid(), new.generation()), (Some(pid), pid, 2));
        process.kill().unwrap();
        assert_eq!(new.wait().unwrap().signal(), Some(Signal::KILL));
        assert_eq!(old.wait().unwrap().signal(), Some(Signal::TERM), "it keeps its own status");
    }
    Passed
}

fn of_threads_that_start_a_process_at_once_one_does() -> Outcome {
    for process in all_ways(|()| sleep_for_long()).into_iter().skip(1) {
        for round in 1..=50 * u64::from(stress_factor()) {
            let barrier = Barrier::new(4);
            let started: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|place| {
                        let (barrier, process) = (&barrier, &process);
                        scope.spawn(move || {
                            barrier.wait();
                            match place {
                                0 => process.start_wait(),
                                _ => process.start(),
                            }
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let (done, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
            assert_eq!(done.len(), 1, "{refused:?}");
            assert!(refused.iter().all(|result| matches!(result, Err(StartError::StillRunning))));
            assert_eq!(process.pid(), done[0].as_ref().ok().copied());
            assert_eq!(process.generation(), round);
            process.kill().unwrap();
            assert!(process.join().is_err());
        }
    }
    Passed
}

fn a_start_that_fails_leaves_the_process_as_it_was() -> Outcome {
    let forked = Process::new(std::process::id);
    let pid = forked.start().unwrap();
    assert_eq!(forked.join().unwrap(), pid);
    let (stop, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    for _ in 0..3 {
        assert!(matches!(forked.start(), Err(StartError::Refused(_))));
        assert!(matches!(forked.restart(RestartPolicy::Join), Err(StartError::Refused(_))));
    }
    // What there is is the run that has ended.
    assert_eq!((forked.generation(), forked.join().unwrap()), (1, pid));
    drop(stop);
    let _ = other.join().unwrap();
    assert!(forked.wait_until(|it| it.start().is_ok(), LONG).unwrap());
    assert_eq!((forked.join().unwrap() == pid, forked.generation()), (false, 2));
    // Its template is killed: from then on every start says so, and the run before stays what it was.
    let copied = Process::builder().name("copied").build_template(std::process::id).unwrap();
    let pid = copied.start().unwrap();
    assert_eq!(copied.join().unwrap(), pid);
    crate::servers::kill(crate::servers::server("tmpl:copied").unwrap(), nix::sys::signal::Signal::SIGKILL);
    for _ in 0..3 {
        let error = copied.start().unwrap_err();
        assert!(matches!(error, StartError::ServerDied { .. }), "{error:?}");
        assert_eq!((copied.generation(), copied.join().unwrap()), (1, pid));
    }
    Passed
}

/// Marsaglia's xorshift: any other would do.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One thing out of all that can be done. Whatever the others do, each error is one of these.
fn do_anything(process: &Process<u32>, random: &mut Random) {
    let short = Duration::from_micros(random.below(2000));
    let policy = if random.below(2) == 0 { RestartPolicy::Join } else { RestartPolicy::Terminate };
    let started = match random.below(20) {
        0 => process.start(),
        1 => process.start_wait(),
        2 => process.start_wait_timeout(LONG),
        3 | 4 => process.restart(policy),
        5 => {
            process.terminate().unwrap();
            return;
        }
        6 => {
            process.kill().unwrap();
            return;
        }
        7 => {
            process.stop(short).unwrap();
            return;
        }
        8 => {
            process.terminate_wait().unwrap();
            return;
        }
        joined @ 9..12 => {
            let output = match joined {
                9 => process.join().map(Some),
                10 => process.try_join(),
                _ => process.join_timeout(short),
            };
            assert!(matches!(output, Ok(None | Some(7)) | Err(JoinError::Died(_))), "{output:?}");
            return;
        }
        12 => {
            let _ = process.wait_until(|it| !it.is_alive().unwrap(), short).unwrap();
            return;
        }
        13 => {
            let run = process.open().unwrap();
            assert!(run.wait_ready(short).unwrap() && run.is_ready().unwrap());
            let status = run.wait().unwrap();
            assert_eq!(run.poll().unwrap().unwrap(), status);
            return;
        }
        14 => {
            let run = process.open().unwrap();
            run.terminate().unwrap();
            run.wait().unwrap();
            return;
        }
        15 => {
            let _ = (process.pid(), process.is_alive().unwrap(), process.exit_status().unwrap());
            return;
        }
        16 => {
            drop(process.clone());
            assert!(format!("{process:?}").contains("ProcessOpen"));
            return;
        }
        17 => {
            let generation = process.generation();
            let run = process.open().unwrap();
            assert!(generation <= run.generation() && run.generation() <= process.generation());
            return;
        }
        18 => {
            // Rarely, since each stays.
            if random.below(20) == 0 {
                process.on_exit(|exit| assert!(exit.process().generation() >= exit.generation()));
            }
            return;
        }
        _ => {
            std::thread::sleep(short);
            return;
        }
    };
    assert!(matches!(started, Ok(_) | Err(StartError::StillRunning)), "{started:?}");
}

fn threads_do_all_there_is_to_do_with_one_process() -> Outcome {
    let told = Arc::new(Mutex::new(BTreeMap::<u64, u32>::new()));
    let processes = all_ways(|()| {
        std::thread::sleep(Duration::from_millis(2));
        7
    });
    for process in &processes[1..] {
        told.lock().unwrap().clear();
        let (counting, sleepy) = (Arc::clone(&told), AtomicU32::new(0));
        process.on_exit(move |exit| {
            *counting.lock().unwrap().entry(exit.generation()).or_default() += 1;
            if sleepy.fetch_add(1, Ordering::Relaxed) % 8 == 0 {
                let _ = exit.start_again();
            }
        });
        process.start().unwrap();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..50 {
                scope.spawn(move || {
                    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (thread + 1));
                    while begin.elapsed() < Duration::from_secs(1) * stress_factor() {
                        do_anything(process, &mut random);
                    }
                });
            }
        });
        // The last callbacks may start it again.
        let quiet = || {
            let generation = process.generation();
            let _ = process.terminate_wait().unwrap();
            assert!(join_callbacks(Some(LONG)));
            generation == process.generation()
        };
        assert!(proc::eventually(quiet));
        let told = told.lock().unwrap();
        let generations = process.generation();
        assert!(generations > 10, "{generations}");
        assert!(told.keys().copied().eq(1..=generations), "{generations} {told:?}");
        assert!(told.values().all(|times| *times == 1), "{told:?}");
    }
    Passed
}
