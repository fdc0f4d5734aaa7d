//! What the originals of pkit's `Process` pin down, and what their documentation promises.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use common_ipc::link::Queue;
use common_ipc::process::LaunchOptions;
use common_ipc::sync::Event;
use pkit::{
    ChildError, ExitStatus, JoinError, Process, RestartPolicy, Signal, StartError, StopStep, Target, current,
    ready,
};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::pkit::ways::{all_ways, dressed, telling, ways};
use crate::processes::children::sleep_for_long;
use crate::servers::zygote;

scenarios!(
    the_program_itself_is_the_main_process,
    a_process_is_alive_between_its_start_and_its_end,
    a_process_that_was_never_started_has_nothing_to_join,
    join_waits_and_gives_its_output_to_everybody,
    a_process_is_reusable,
    a_start_that_waits_returns_when_the_process_is_ready,
    a_terminate_that_waits_returns_when_the_process_has_ended,
    a_process_is_restarted_as_the_policy_says,
    a_process_runs_an_object_of_any_kind,
    waiting_for_a_condition_sees_it_come,
    waiting_for_a_condition_holds_nobody_up,
);

fn the_program_itself_is_the_main_process() -> Outcome {
    let is_main = || {
        let here = current();
        assert!(here.is_main() && here.name.is_none());
        assert_eq!(here.pid, std::process::id());
    };
    is_main();
    let named = |name: &'static str| {
        dressed::<(u32, Option<OsString>, bool)>(
            |()| (current().pid, current().name, current().is_main()),
            move |builder, options| builder.options(options).name(name),
        )
    };
    for process in named("worker").into_iter().chain(named("one with a name that ps doesn't show")) {
        let pid = process.start().unwrap();
        let name = process.name().to_owned();
        assert_eq!(process.join().unwrap(), (pid, Some(name), false));
        is_main();
    }
    // The names that are made up are the objects' too, each its own.
    let mut names: Vec<OsString> = Vec::new();
    for process in all_ways(|()| current().name.unwrap()) {
        process.start().unwrap();
        assert_eq!(process.join().unwrap(), process.name());
        names.push(process.name().to_owned());
    }
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
    for process in all_ways(|()| sleep_for_long()) {
        process.start().unwrap();
        process.terminate_wait().unwrap();
        is_main();
    }
    Passed
}

fn a_process_is_alive_between_its_start_and_its_end() -> Outcome {
    for process in all_ways(|()| sleep_for_long()) {
        assert!(!process.is_alive().unwrap());
        assert_eq!((process.pid(), process.exit_status().unwrap()), (None, None));
        let pid = process.start().unwrap();
        assert!(process.is_alive().unwrap());
        assert_eq!((process.pid(), process.exit_status().unwrap()), (Some(pid), None));
        // Neither another start nor a look changes anything.
        assert!(matches!(process.start(), Err(StartError::StillRunning)));
        assert!(matches!(process.start_wait(), Err(StartError::StillRunning)));
        assert_eq!((process.pid(), process.generation()), (Some(pid), 1));
        assert!(matches!(process.try_join(), Ok(None)));
        process.terminate().unwrap();
        assert!(matches!(process.join(), Err(JoinError::Died(_))));
        assert!(!process.is_alive().unwrap());
        assert_eq!(process.pid(), None);
        let status = process.exit_status().unwrap().unwrap();
        assert_eq!((status.signal(), status.returncode()), (Some(Signal::TERM), Some(-15)));
        // What has ended takes no harm.
        process.terminate().unwrap();
        process.kill().unwrap();
        assert_eq!(process.terminate_wait().unwrap().by, StopStep::HadEnded);
        assert_eq!(process.exit_status().unwrap().unwrap(), status);
    }
    Passed
}

fn a_process_that_was_never_started_has_nothing_to_join() -> Outcome {
    fn not_started<T>(result: Result<T, ChildError>) -> bool {
        matches!(result, Err(ChildError::NotStarted))
    }
    for process in all_ways(|()| 7) {
        assert!(matches!(process.join(), Err(JoinError::Wait(ChildError::NotStarted))));
        assert!(matches!(process.try_join(), Err(JoinError::Wait(ChildError::NotStarted))));
        let timed = process.join_timeout(Duration::from_secs(60));
        assert!(matches!(timed, Err(JoinError::Wait(ChildError::NotStarted))));
        assert!(not_started(process.terminate()) && not_started(process.kill()));
        assert!(not_started(process.terminate_wait()) && not_started(process.stop(Duration::ZERO)));
        assert!(process.open().is_none());
        assert_eq!(process.generation(), 0);
        process.start().unwrap();
        assert_eq!(process.join().unwrap(), 7);
    }
    // Built, and never used.
    drop(all_ways(|()| 7));
    Passed
}

fn join_waits_and_gives_its_output_to_everybody() -> Outcome {
    let gate = Event::new().unwrap();
    let giving = LaunchOptions::new().give(&gate);
    let body = |gate: Event| {
        gate.wait().unwrap();
        vec![7u8; 5000]
    };
    for process in ways(body, gate.clone(), giving, |builder, options| builder.options(options)) {
        gate.clear();
        process.start().unwrap();
        assert_eq!(process.join_timeout(Duration::from_millis(5)).unwrap(), None);
        assert_eq!(process.try_join().unwrap(), None);
        let opener = gate.clone();
        let begin = Instant::now();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            opener.set();
        });
        assert_eq!(process.join().unwrap(), [7; 5000]);
        assert!(begin.elapsed() >= Duration::from_millis(50));
        thread.join().unwrap();
        for _ in 0..10 {
            assert_eq!(process.join().unwrap(), [7; 5000]);
            assert_eq!(process.clone().try_join().unwrap().unwrap(), [7; 5000]);
        }
        assert_eq!(process.exit_status().unwrap(), Some(ExitStatus::Exited(0)));
    }
    Passed
}

fn a_process_is_reusable() -> Outcome {
    for process in all_ways(|()| std::process::id()) {
        for generation in 1..=20 {
            let pid = process.start().unwrap();
            assert_eq!((process.join().unwrap(), process.generation()), (pid, generation));
            assert_eq!(process.pid(), None);
        }
    }
    Passed
}

fn a_start_that_waits_returns_when_the_process_is_ready() -> Outcome {
    let told = Queue::new().unwrap();
    let body = |told: Queue<u32>| {
        std::thread::sleep(Duration::from_millis(30));
        told.send(&std::process::id()).unwrap();
        ready();
        sleep_for_long();
    };
    for process in telling(body, &told, |builder, options| builder.options(options).ready_by_target()) {
        for _ in 0..3 {
            let pid = process.start_wait().unwrap();
            assert_eq!(told.try_recv().unwrap(), Some(pid), "it came this far before the start returned");
            assert!(process.is_alive().unwrap());
            process.terminate_wait().unwrap();
        }
    }
    // Without a word of the target's it is ready when that is about to run: with its own name and signals.
    for process in dressed(|()| sleep_for_long(), |builder, options| builder.options(options).name("set-up"))
    {
        let pid = process.start_wait().unwrap() as i32;
        assert_eq!(integration_tests::proc::name(pid), "set-up");
        assert!(process.open().unwrap().is_ready().unwrap());
        assert_eq!(process.terminate_wait().unwrap().status.signal(), Some(Signal::TERM));
    }
    Passed
}

fn a_terminate_that_waits_returns_when_the_process_has_ended() -> Outcome {
    for process in all_ways(|()| sleep_for_long()) {
        let pid = process.start_wait().unwrap();
        let stopped = process.terminate_wait().unwrap();
        assert_eq!(stopped.by, StopStep::Terminated);
        assert_eq!(stopped.status, process.exit_status().unwrap().unwrap());
        assert!(integration_tests::proc::stat(pid as i32).is_none(), "not even a zombie");
        assert!(!process.is_alive().unwrap());
    }
    Passed
}

fn a_process_is_restarted_as_the_policy_says() -> Outcome {
    let body = |()| {
        std::thread::sleep(Duration::from_millis(60));
        std::process::id()
    };
    for process in all_ways(body) {
        // Before the first start it is one.
        let mut before = process.restart(RestartPolicy::Join).unwrap();
        for generation in 2..5 {
            let run = process.open().unwrap();
            let pid = process.restart(RestartPolicy::Join).unwrap();
            assert_eq!(run.try_output().unwrap(), Some(before), "it ended by itself, before the next one");
            assert_ne!(pid, before);
            assert_eq!((process.generation(), process.pid()), (generation, Some(pid)));
            before = pid;
        }
        assert_eq!(process.join().unwrap(), before);
    }
    for process in all_ways(|()| sleep_for_long()) {
        process.restart(RestartPolicy::Terminate).unwrap();
        for generation in 2..5 {
            let run = process.open().unwrap();
            let pid = process.restart(RestartPolicy::Terminate).unwrap();
            assert_eq!(run.poll().unwrap().unwrap().signal(), Some(Signal::TERM));
            assert_ne!(pid, run.pid());
            assert_eq!((process.generation(), process.pid()), (generation, Some(pid)));
        }
        process.terminate_wait().unwrap();
        process.restart(RestartPolicy::Terminate).unwrap();
        process.kill().unwrap();
        assert!(process.join().is_err());
    }
    Passed
}

#[derive(Clone, Serialize, Deserialize)]
struct Countdown(Vec<u32>);

impl Target for Countdown {
    type Output = (u32, Vec<u32>);

    fn run(mut self) -> (u32, Vec<u32>) {
        self.0.reverse();
        (self.0.iter().sum(), self.0)
    }
}

fn a_process_runs_an_object_of_any_kind() -> Outcome {
    let target = Countdown(vec![1, 2, 3]);
    let zygote = zygote();
    // This one can neither be sent nor outlives this function.
    let (local, counted) = (std::cell::Cell::new(3), std::rc::Rc::new(4));
    let (there, count) = (&local, counted);
    let borrowing = Process::builder()
        .build_template(move || {
            there.set(there.get() + *count);
            (there.get(), vec![])
        })
        .unwrap();
    let processes = [
        Process::new(target.clone()),
        Process::builder().build_template(target.clone()).unwrap(),
        Process::builder().build_in(&zygote, target),
        borrowing,
    ];
    let outputs = [(6, vec![3, 2, 1]), (6, vec![3, 2, 1]), (6, vec![3, 2, 1]), (7, vec![])];
    for _ in 0..3 {
        for (process, output) in processes.iter().zip(&outputs) {
            process.start().unwrap();
            // Each run begins with the object as it was built.
            assert_eq!(process.join().unwrap(), *output);
        }
    }
    assert_eq!(local.get(), 3);
    Passed
}

fn waiting_for_a_condition_sees_it_come() -> Outcome {
    let told = Queue::new().unwrap();
    let body = |told: Queue<u32>| {
        std::thread::sleep(Duration::from_millis(20));
        told.send(&5).unwrap();
        sleep_for_long();
    };
    for process in telling(body, &told, |builder, options| builder.options(options)) {
        process.start().unwrap();
        let mut calls = 0;
        let heard = process.wait_until(
            |it| {
                calls += 1;
                it.is_alive().unwrap() && told.try_recv().unwrap() == Some(5)
            },
            Duration::from_secs(60),
        );
        assert!(heard.unwrap());
        assert!(calls > 1, "it was called once, so it didn't wait");
        process.kill().unwrap();
        assert!(process.wait_until(|it| it.pid().is_none(), Duration::from_secs(60)).unwrap());
    }
    Passed
}

fn waiting_for_a_condition_holds_nobody_up() -> Outcome {
    let process = Process::builder().build_template(sleep_for_long).unwrap();
    let minute = Duration::from_secs(60);
    // Before the start, while it runs, and afterwards: the condition is what counts.
    for state in 0..3 {
        assert!(process.wait_until(|_| true, Duration::ZERO).unwrap());
        assert!(!process.wait_until(|_| false, Duration::ZERO).unwrap());
        let begin = Instant::now();
        assert!(!process.wait_until(|_| false, Duration::from_millis(40)).unwrap());
        assert!(begin.elapsed() >= Duration::from_millis(40));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            process.wait_until(|_| panic!("on purpose"), minute)
        }));
        assert!(panicked.is_err());
        // Whoever waits locks nobody out, nor itself.
        let starts = |it: &Process<()>| match state {
            0 => it.start().is_ok(),
            _ => it.terminate_wait().is_ok(),
        };
        assert!(process.wait_until(starts, minute).unwrap());
    }
    // The end of the process is looked at when it comes.
    process.start().unwrap();
    let other = process.clone();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        other.kill().unwrap();
    });
    assert!(process.wait_until(|it| !it.is_alive().unwrap(), Duration::MAX).unwrap());
    killer.join().unwrap();
    Passed
}
