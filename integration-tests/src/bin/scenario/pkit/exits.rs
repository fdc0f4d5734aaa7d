//! Row 22, through pkit's processes: exit callbacks, and starts from them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common_ipc::sync::Event;
use integration_tests::{proc, stress_factor};
use pkit::{
    ExitStatus, JoinError, LaunchOptions, Process, ProcessBuilder, RestartPolicy, Signal, StartError,
    join_callbacks,
};

use crate::Outcome::{self, Passed};
use crate::pkit::ways::{all_ways, dressed, ways};
use crate::processes::children::sleep_for_long;

scenarios!(
    fault_22_callbacks_come_for_all_processes_that_are_started_together,
    fault_22_each_run_is_told_once_and_in_order,
    fault_22_a_run_that_was_joined_has_told_its_end,
    fault_22_a_callback_finds_its_run_over,
    fault_22_a_callback_may_do_what_it_likes_with_its_process,
    fault_22_a_callback_that_panics_badly_costs_no_other_one,
    fault_22_a_slow_callback_holds_up_no_other_process,
    fault_22_a_callback_is_told_of_what_ends_after_it_came,
    a_process_that_is_kept_by_its_callbacks_alone_is_let_go,
);

pub(crate) const SOON: Option<Duration> = Some(Duration::from_secs(60));

pub(crate) fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(Duration::from_secs(60)).unwrap()
}

/// Nobody is told anything more.
pub(crate) fn assert_quiet<T: std::fmt::Debug>(told: &Receiver<T>) {
    assert!(join_callbacks(SOON));
    if let Ok(more) = told.recv_timeout(Duration::from_millis(20)) {
        panic!("{more:?}");
    }
}

fn fault_22_callbacks_come_for_all_processes_that_are_started_together() -> Outcome {
    for count in [5, 100 * stress_factor() as usize] {
        let (tell, told) = channel();
        let processes: Vec<_> = (0..count.div_ceil(3))
            .flat_map(|_| {
                dressed(
                    |()| std::process::exit(4),
                    |builder: ProcessBuilder<()>, options| {
                        let tell = tell.clone();
                        builder.options(options).on_exit(move |exit| {
                            tell.send((exit.pid(), exit.name().to_owned(), exit.status().code())).unwrap();
                        })
                    },
                )
            })
            .take(count)
            .collect();
        // Joined, polled, and left alone.
        let mut started = Vec::new();
        for process in &processes {
            started.push((process.start().unwrap(), process.name().to_owned(), Some(4)));
        }
        for process in processes.iter().step_by(2) {
            assert!(matches!(process.join(), Err(JoinError::Died(ExitStatus::Exited(4)))));
        }
        let mut heard: Vec<_> = (0..count).map(|_| next(&told)).collect();
        assert_quiet(&told);
        heard.sort();
        started.sort();
        assert_eq!(heard, started);
    }
    Passed
}

fn fault_22_each_run_is_told_once_and_in_order() -> Outcome {
    let (tell, told) = channel();
    let dress = |mut builder: ProcessBuilder<u64>, options| {
        for place in [1, 2, 3] {
            let tell = tell.clone();
            builder = builder.on_exit(move |exit| {
                tell.send((exit.generation(), place, exit.pid(), exit.output().unwrap())).unwrap();
            });
        }
        builder.options(options)
    };
    for process in dressed(|()| u64::from(std::process::id()), dress) {
        let mut expected = Vec::new();
        for generation in 1..=50 * u64::from(stress_factor()) {
            // Some are collected by whoever joins, some by whoever looks, and some in between.
            let pid = match generation % 3 {
                0 => process.restart(RestartPolicy::Join).unwrap(),
                1 => process.start().unwrap(),
                _ => {
                    // By whoever tries to start it again and again.
                    assert!(proc::eventually(|| process.start().is_ok()), "{:?}", process.start());
                    process.open().unwrap().pid()
                }
            };
            if generation % 3 == 0 {
                process.join().unwrap();
            }
            expected.extend([1, 2, 3].map(|place| (generation, place, pid, u64::from(pid))));
        }
        let heard: Vec<_> = expected.iter().map(|_| next(&told)).collect();
        assert_eq!(heard, expected);
        assert_quiet(&told);
    }
    Passed
}

fn fault_22_a_run_that_was_joined_has_told_its_end() -> Outcome {
    let called = Arc::new(AtomicU64::new(0));
    let dress = |builder: ProcessBuilder<()>, options| {
        let called = Arc::clone(&called);
        builder.options(options).on_exit(move |_| {
            called.fetch_add(1, Ordering::Relaxed);
        })
    };
    let mut expected = 0;
    for process in dressed(|()| (), dress) {
        for _ in 0..200 * stress_factor() {
            process.start().unwrap();
            process.join().unwrap();
            expected += 1;
            assert!(join_callbacks(None));
            assert_eq!(called.load(Ordering::Relaxed), expected);
        }
    }
    Passed
}

fn fault_22_a_callback_finds_its_run_over() -> Outcome {
    let (tell, told) = channel();
    let dress = |builder: ProcessBuilder<u8>, options| {
        let tell = tell.clone();
        builder.options(options).on_exit(move |exit| {
            let process = exit.process();
            assert_eq!(process.exit_status().unwrap().unwrap(), *exit.status());
            assert_eq!((process.pid(), process.is_alive().unwrap()), (None, false));
            assert_eq!(process.open().unwrap().pid(), exit.pid());
            assert_eq!(process.name(), exit.name());
            assert!(proc::stat(exit.pid() as i32).is_none(), "not even a zombie");
            tell.send((exit.generation(), exit.output().ok(), process.try_join().ok().flatten())).unwrap();
        })
    };
    for process in dressed(|()| 9, dress) {
        for generation in 1..30 {
            process.start().unwrap();
            assert_eq!(next(&told), (generation, Some(9), Some(9)));
        }
        assert!(join_callbacks(SOON));
    }
    Passed
}

fn fault_22_a_callback_may_do_what_it_likes_with_its_process() -> Outcome {
    let other = Process::builder().name("other").build_template(sleep_for_long).unwrap();
    for process in all_ways(|()| std::process::id()).into_iter().skip(1) {
        let (tell, told) = channel();
        other.start().unwrap();
        let others = other.clone();
        process.on_exit(move |exit| {
            let process = exit.process();
            match exit.generation() {
                1 => {
                    assert_eq!(process.join().unwrap(), exit.pid());
                    process.terminate().unwrap();
                    process.terminate_wait().unwrap();
                    let pid = exit.start_again().unwrap();
                    assert_eq!(process.join().unwrap(), pid);
                    // There was another run since.
                    assert!(matches!(exit.start_again(), Err(StartError::StillRunning)));
                }
                2 => drop(process.restart(RestartPolicy::Join).unwrap()),
                3 => drop(process.restart(RestartPolicy::Terminate).unwrap()),
                4 => drop(process.start_wait().unwrap()),
                5 => {
                    let tell = tell.clone();
                    process.on_exit(move |exit| tell.send(100 + exit.generation()).unwrap());
                    process.start().unwrap();
                    assert!(process.wait_until(|it| it.pid().is_none(), Duration::from_secs(60)).unwrap());
                }
                _ => {
                    others.terminate_wait().unwrap();
                    // Whatever it says, it doesn't wait for this one.
                    let _ = join_callbacks(None);
                }
            }
            tell.send(exit.generation()).unwrap();
        });
        process.start().unwrap();
        let heard: Vec<u64> = (0..7).map(|_| next(&told)).collect();
        assert_eq!(heard, [1, 2, 3, 4, 5, 6, 106]);
        assert_quiet(&told);
        assert_eq!(process.generation(), 6);
        assert_eq!(other.exit_status().unwrap().unwrap().signal(), Some(Signal::TERM));
    }
    Passed
}

fn fault_22_a_callback_that_panics_badly_costs_no_other_one() -> Outcome {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop of a payload");
        }
    }
    let (tell, told) = channel();
    let dress = |builder: ProcessBuilder<()>, options| {
        let (one, two) = (tell.clone(), tell.clone());
        builder
            .options(options)
            .on_exit(move |exit| one.send((1, exit.generation())).unwrap())
            .on_exit(|_| std::panic::panic_any(Bomb))
            .on_exit(move |exit| two.send((2, exit.generation())).unwrap())
    };
    for process in dressed(|()| (), dress) {
        for generation in 1..4 {
            process.start().unwrap();
            assert_eq!([next(&told), next(&told)], [(1, generation), (2, generation)]);
            process.join().unwrap();
            assert!(join_callbacks(SOON));
        }
    }
    Passed
}

fn fault_22_a_slow_callback_holds_up_no_other_process() -> Outcome {
    let (tell, told) = channel();
    let (stop, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let telling = tell.clone();
    let slow = Process::builder()
        .on_exit(move |exit| {
            telling.send(exit.generation()).unwrap();
            let _ = wait.lock().unwrap().recv();
        })
        .build_template(|| ())
        .unwrap();
    let other = Process::builder()
        .on_exit(move |exit| tell.send(100 + exit.generation()).unwrap())
        .build_template(|| ())
        .unwrap();
    slow.start().unwrap();
    assert_eq!(next(&told), 1);
    for generation in 1..10 {
        other.start().unwrap();
        assert_eq!(next(&told), 100 + generation);
    }
    // Its own runs go on as well, and those who join them; what they have to tell comes when it is their turn.
    for _ in 0..3 {
        slow.start().unwrap();
        slow.join().unwrap();
    }
    assert!(!join_callbacks(Some(Duration::from_millis(20))));
    assert!(told.try_recv().is_err());
    drop(stop);
    assert_eq!([next(&told), next(&told), next(&told)], [2, 3, 4]);
    assert_quiet(&told);
    Passed
}

fn fault_22_a_callback_is_told_of_what_ends_after_it_came() -> Outcome {
    let gate = Event::new().unwrap();
    let giving = LaunchOptions::new().give(&gate);
    let body = |gate: Event| gate.wait().unwrap();
    for process in ways(body, gate.clone(), giving, |builder, options| builder.options(options)) {
        let (tell, told) = channel();
        for generation in 1..=30 * u64::from(stress_factor()) {
            let teller = |place: &'static str, tell: &std::sync::mpsc::Sender<(&'static str, u64, u64)>| {
                let tell = tell.clone();
                move |exit: &pkit::ProcessExit<()>| {
                    tell.send((place, generation, exit.generation())).unwrap();
                }
            };
            gate.clear();
            process.start().unwrap();
            process.on_exit(teller("while it runs", &tell));
            gate.set();
            let late = teller("afterwards", &tell);
            process.join().unwrap();
            process.on_exit(late);
            assert!(join_callbacks(SOON));
            let mut heard: Vec<_> = told.try_iter().collect();
            heard.sort_unstable();
            let mut expected: Vec<_> =
                (1..=generation).map(|came| ("while it runs", came, generation)).collect();
            expected.extend((1..generation).map(|came| ("afterwards", came, generation)));
            expected.sort_unstable();
            assert_eq!(heard, expected);
        }
    }
    Passed
}

fn a_process_that_is_kept_by_its_callbacks_alone_is_let_go() -> Outcome {
    let (tell, told) = channel();
    let options = LaunchOptions::new();
    let process = Process::builder()
        .name("dropped")
        .options(options)
        .on_exit(move |exit| tell.send(exit.generation()).unwrap())
        .build_template(|| std::thread::sleep(Duration::from_millis(30)))
        .unwrap();
    process.start().unwrap();
    drop(process);
    // Its end is told though nobody has it any more, and then its template ends.
    assert_eq!(next(&told), 1);
    assert!(join_callbacks(SOON));
    assert!(proc::eventually(|| crate::servers::server("tmpl:dropped").is_none()));
    assert!(told.recv().is_err(), "the callbacks are gone with it");
    Passed
}
