//! Rows 19 to 21, through pkit's processes: how a run has ended.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common_ipc::process::Stdio;
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::{Signal as NixSignal, raise};
use pkit::{ExitStatus, JoinError, LaunchOptions, ProcessBuilder, Signal, join_callbacks};

use crate::Outcome::{self, Passed};
use crate::pkit::ways::{all_ways, ways};
use crate::processes::children::sleep_for_long;

scenarios!(
    fault_19_a_run_whose_status_is_thrown_away_is_no_success,
    fault_19_a_run_whose_status_is_stolen_is_no_success,
    fault_20_runs_tell_codes_and_signals_apart,
    fault_20_the_code_is_there_in_each_of_many_joins,
    fault_21_ten_threads_join_and_have_the_same,
    fault_21_a_kill_beside_joins_is_one_end,
);

const LONG: Duration = Duration::from_secs(60);

/// Ends by this code, or by this signal if it is negative; 1000: by a panic.
fn end(how: i32) {
    match how {
        1000 => panic!("on purpose"),
        0.. => std::process::exit(how),
        _ => {
            let signal = NixSignal::try_from(-how).unwrap();
            raise(signal).unwrap();
        }
    }
}

fn quiet(builder: ProcessBuilder<()>, options: LaunchOptions) -> ProcessBuilder<()> {
    builder.options(options.stderr(Stdio::Null))
}

/// The true status, or that nobody knows it: never success, nor another end.
fn assert_no_lie(how: i32, status: &ExitStatus) {
    match status {
        ExitStatus::Unknown => {}
        ExitStatus::Exited(code) => assert_eq!(*code, how),
        ExitStatus::Signaled { signal, .. } => assert_eq!(signal.as_raw(), -how),
        ExitStatus::Panicked(_) => assert_eq!(how, 1000),
        other => panic!("{other:?}"),
    }
}

fn fault_19_a_run_whose_status_is_thrown_away_is_no_success() -> Outcome {
    raw::ignore_signal(NixSignal::SIGCHLD, true);
    for how in [3, 255, 1000, -9, -15] {
        for process in ways(end, how, LaunchOptions::new(), quiet) {
            let (tell, told) = std::sync::mpsc::channel();
            process.on_exit(move |exit| tell.send(exit.status().clone()).unwrap());
            for _ in 0..3 {
                process.start().unwrap();
                assert!(process.join().is_err());
                let status = process.exit_status().unwrap().unwrap();
                assert_no_lie(how, &status);
                assert!(!status.success());
                assert_eq!(told.recv_timeout(LONG).unwrap(), status);
                assert!(join_callbacks(Some(LONG)));
            }
        }
    }
    for process in all_ways(|()| 5) {
        process.start().unwrap();
        assert_eq!(process.join().unwrap(), 5, "it said so itself");
        assert!(process.exit_status().unwrap().unwrap().success());
    }
    raw::ignore_signal(NixSignal::SIGCHLD, false);
    Passed
}

fn fault_19_a_run_whose_status_is_stolen_is_no_success() -> Outcome {
    let mut processes = Vec::new();
    for how in [0, 3, 1000, -9] {
        let made = ways(end, how, LaunchOptions::new(), quiet);
        processes.extend(made.into_iter().map(|process| (how, process)));
    }
    let told = std::sync::Arc::new(AtomicU32::new(0));
    let (over, stolen) = (AtomicBool::new(false), AtomicU32::new(0));
    raw::allow_forks();
    let mut runs = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                stolen.fetch_add(u32::from(raw::collect_any(libc::WNOHANG).is_ok()), Ordering::Relaxed);
            }
        });
        let _over = Finally(&over);
        for round in 0..20 * stress_factor() {
            for (how, process) in &processes {
                if round == 0 {
                    let told = std::sync::Arc::clone(&told);
                    process.on_exit(move |_| {
                        told.fetch_add(1, Ordering::Relaxed);
                    });
                }
                process.start().unwrap();
                assert!(process.join().is_err());
                let status = process.exit_status().unwrap().unwrap();
                assert_no_lie(*how, &status);
                assert!(*how == 0 || !status.success());
                assert_eq!(process.pid(), None);
                // The number may be a stranger's by now, who isn't touched.
                process.kill().unwrap();
                runs += 1;
            }
        }
    });
    assert!(proc::eventually(|| told.load(Ordering::Relaxed) == runs), "{told:?} of {runs}");
    assert!(join_callbacks(Some(LONG)));
    assert!(stolen.load(Ordering::Relaxed) > 0, "nothing was stolen: the test proves nothing");
    Passed
}

/// Sets a flag however its scope is left.
pub(crate) struct Finally<'a>(pub(crate) &'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn fault_20_runs_tell_codes_and_signals_apart() -> Outcome {
    for how in [0, 1, 7, 255, -1, -9, -10, -14, -15] {
        for process in ways(end, how, LaunchOptions::new(), quiet) {
            process.start().unwrap();
            let error = process.join().unwrap_err();
            let status = process.exit_status().unwrap().unwrap();
            assert!(matches!(&error, JoinError::Died(told) if *told == status), "{how}: {error:?}");
            assert_eq!(status.returncode(), Some(how));
            let expected = if how < 0 { (None, Signal::from_raw(-how)) } else { (Some(how), None) };
            assert_eq!((status.code(), status.signal()), expected);
            assert_eq!(status.success(), how == 0);
        }
    }
    Passed
}

fn fault_20_the_code_is_there_in_each_of_many_joins() -> Outcome {
    for how in [7, -9] {
        for process in ways(end, how, LaunchOptions::new(), quiet) {
            for round in 0..20 * stress_factor() {
                process.start().unwrap();
                if round % 2 == 0 {
                    // Already a zombie.
                    let pid = process.open().unwrap().pid() as i32;
                    assert!(proc::eventually(|| !proc::runs(pid)));
                }
                assert!(matches!(process.join(), Err(JoinError::Died(_))));
                assert_eq!(process.exit_status().unwrap().unwrap().returncode(), Some(how));
            }
        }
    }
    Passed
}

fn fault_21_ten_threads_join_and_have_the_same() -> Outcome {
    for process in all_ways(|()| std::process::id()) {
        for _ in 0..20 * stress_factor() {
            let pid = process.start().unwrap();
            let joined: Vec<_> = std::thread::scope(|scope| {
                let joiners: Vec<_> = (0..10)
                    .map(|place| {
                        let process = &process;
                        scope.spawn(move || match place % 3 {
                            0 => process.join().unwrap(),
                            1 => process.join_timeout(LONG).unwrap().unwrap(),
                            _ => process.open().unwrap().output().unwrap(),
                        })
                    })
                    .collect();
                joiners.into_iter().map(|joiner| joiner.join().unwrap()).collect()
            });
            assert_eq!(joined, [pid; 10]);
            // A thread that was joined may be there for a moment.
            let alone = || proc::status_field(std::process::id() as i32, "Threads") == "1";
            assert!(proc::eventually(alone));
        }
    }
    Passed
}

fn fault_21_a_kill_beside_joins_is_one_end() -> Outcome {
    for process in all_ways(|()| sleep_for_long()).into_iter().skip(1) {
        for round in 0..50 * stress_factor() {
            let pid = process.start().unwrap();
            let ends: Vec<_> = std::thread::scope(|scope| {
                let process = &process;
                let waiters: Vec<_> = (0..4)
                    .map(|place| {
                        scope.spawn(move || match place {
                            0 => match process.join() {
                                Err(JoinError::Died(status)) => status,
                                other => panic!("{other:?}"),
                            },
                            1 => process.open().unwrap().wait().unwrap(),
                            2 => process.stop(LONG).unwrap().status,
                            _ => {
                                while process.is_alive().unwrap() {}
                                process.exit_status().unwrap().unwrap()
                            }
                        })
                    })
                    .collect();
                if round % 2 == 0 {
                    process.kill().unwrap();
                } else {
                    process.terminate().unwrap();
                }
                waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
            });
            assert!(matches!(ends[0].signal(), Some(Signal::KILL | Signal::TERM)), "{ends:?}");
            assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
            assert_eq!(process.open().unwrap().pid(), pid);
        }
    }
    Passed
}
