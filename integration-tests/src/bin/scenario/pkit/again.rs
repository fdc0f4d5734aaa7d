//! Starts from exit callbacks of pkit's processes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use integration_tests::stress_factor;
use pkit::{Process, Refusal, RestartPolicy, StartError, join_callbacks};

use crate::Outcome::{self, Passed};
use crate::pkit::exits::{SOON, assert_quiet, next};
use crate::pkit::statuses::Finally;
use crate::pkit::ways::all_ways;
use crate::processes::children::sleep_for_long;

scenarios!(
    fault_22_a_process_keeps_itself_going_by_its_callback,
    fault_22_a_run_can_be_followed_by_the_next_from_its_first_moment,
    fault_24_a_late_callback_does_not_start_over_somebody_elses_run,
    a_callback_cannot_start_by_a_fork,
);

fn fault_22_a_process_keeps_itself_going_by_its_callback() -> Outcome {
    let runs = 200 * u64::from(stress_factor());
    for process in all_ways(|()| ()).into_iter().skip(1) {
        let (tell, told) = channel();
        process.on_exit(move |exit| {
            if exit.generation() < runs {
                tell.send(exit.start_again()).unwrap();
            } else {
                tell.send(Ok(0)).unwrap();
            }
        });
        process.start().unwrap();
        for generation in 1..=runs {
            // Nobody else starts it.
            let started = next(&told);
            assert!(started.is_ok(), "{generation}: {started:?}");
        }
        assert_eq!(process.generation(), runs);
        assert_quiet(&told);
    }
    Passed
}

fn fault_22_a_run_can_be_followed_by_the_next_from_its_first_moment() -> Outcome {
    let processes = all_ways(|()| ()).into_iter().skip(1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // They interrupt whoever starts a process at any place.
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            });
        }
        let _over = Finally(&over);
        for process in processes {
            let (tell, told) = channel();
            process.on_exit(move |exit| {
                if exit.generation() % 2 == 1 {
                    tell.send(exit.start_again()).unwrap();
                }
            });
            for round in 0..300 * stress_factor() {
                // It has ended before its start returns, and so is told.
                process.start().unwrap();
                let again = next(&told);
                assert!(again.is_ok(), "{round}: {again:?}");
                process.join().unwrap();
            }
            assert_quiet(&told);
        }
    });
    Passed
}

fn fault_24_a_late_callback_does_not_start_over_somebody_elses_run() -> Outcome {
    let (late, told) = channel();
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let first = AtomicBool::new(true);
    let process = Process::builder()
        .on_exit(move |exit| {
            if first.swap(false, Ordering::Relaxed) {
                late.send(None).unwrap();
                wait.lock().unwrap().recv().unwrap();
                late.send(Some(exit.start_again())).unwrap();
                // Over, or going on: it is somebody else's.
                exit.process().terminate_wait().unwrap();
                late.send(Some(exit.start_again())).unwrap();
            }
        })
        .build_template(sleep_for_long)
        .unwrap();
    process.start().unwrap();
    process.kill().unwrap();
    assert!(next(&told).is_none());
    let pid = process.start().unwrap();
    go.send(()).unwrap();
    assert!(matches!(next(&told), Some(Err(StartError::StillRunning))));
    assert!(matches!(next(&told), Some(Err(StartError::StillRunning))));
    assert_quiet(&told);
    assert_eq!((process.generation(), process.open().unwrap().pid()), (2, pid));
    Passed
}

fn a_callback_cannot_start_by_a_fork() -> Outcome {
    let (tell, told) = channel();
    let process = Process::new(|| ());
    process.on_exit(move |exit| {
        tell.send((exit.start_again(), exit.process().restart(RestartPolicy::Join))).unwrap();
    });
    for generation in 1..4 {
        // What was refused can be tried again.
        process.start().unwrap();
        let (Err(again), Err(restart)) = next(&told) else { panic!("it was started") };
        for error in [again, restart] {
            assert!(matches!(error, StartError::Refused(Refusal::OnLibraryThread)), "{error:?}");
        }
        assert_eq!(process.generation(), generation);
        assert!(join_callbacks(SOON));
    }
    Passed
}
