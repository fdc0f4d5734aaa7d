//! The behaviours that offspring's own tests pin down, and where it breaks.

use std::time::{Duration, Instant};

use common_ipc::link::{Connection, LinkError};
use common_ipc::process::{ChildError, ExitStatus, JoinError, LaunchOptions, Signal, StartError, StopStep};
use integration_tests::raw;
use offspring::{Handle, LoopStep, Subprocess, SubprocessLoop};

use crate::Outcome::{self, Passed};

scenarios!(
    a_task_is_alive_until_run_returns,
    a_task_that_is_waited_for_is_running_when_spawn_returns,
    without_terminate_on_shutdown_shutdown_waits_for_run,
    with_explicit_start_there_is_no_process_before_start,
    a_second_start_is_an_error,
    a_failed_start_can_be_tried_again,
    a_loop_is_spaced_by_what_its_steps_return,
    a_loop_ends_by_stop,
    sigterm_ends_a_loop_after_the_current_step,
    end_runs_however_the_loop_ends,
    a_typed_handle_forgets_its_task,
    a_task_object_is_dropped_on_both_sides,
    regression_a_child_that_dies_while_its_start_waits,
    regression_shutdown_of_a_child_that_ignores_sigterm,
);

struct Gated {
    link: Connection<u32, ()>,
}

impl Subprocess for Gated {
    type Output = u32;

    fn run(&mut self) -> u32 {
        self.link.send(&std::process::id()).unwrap();
        self.link.recv().unwrap();
        7
    }
}

fn a_task_is_alive_until_run_returns() -> Outcome {
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let task = Gated { link: there }.spawn_with(options).unwrap();
    assert_eq!(here.recv().unwrap(), task.process().unwrap().id());
    assert!(task.is_alive().unwrap());
    assert_eq!(task.try_wait().unwrap(), None);
    assert_eq!(task.wait_timeout(Duration::from_millis(5)).unwrap(), None);
    here.send(&()).unwrap();
    for _ in 0..10 {
        assert_eq!(task.wait().unwrap(), 7);
    }
    assert!(!task.is_alive().unwrap());
    assert_eq!(task.try_wait().unwrap(), Some(7));
    Passed
}

struct Waited;

impl Subprocess for Waited {
    type Output = ();
    const WAIT_FOR_CHILD: bool = true;

    fn run(&mut self) {
        std::thread::sleep(Duration::from_secs(600));
    }
}

fn a_task_that_is_waited_for_is_running_when_spawn_returns() -> Outcome {
    let task = Waited.spawn().unwrap();
    assert!(task.is_alive().unwrap());
    // It has come as far as its name and its signals.
    let pid = task.process().unwrap().id();
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert!(comm.starts_with("Waited-"), "{comm}");
    let stopped = task.shutdown().unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Terminated, Some(Signal::TERM)));
    assert!(matches!(task.wait(), Err(JoinError::Died(_))));
    Passed
}

fn without_terminate_on_shutdown_shutdown_waits_for_run() -> Outcome {
    struct Patient;
    impl Subprocess for Patient {
        type Output = u8;
        const TERMINATE_ON_SHUTDOWN: bool = false;
        fn run(&mut self) -> u8 {
            std::thread::sleep(Duration::from_millis(200));
            9
        }
    }
    let begin = Instant::now();
    let task = Patient.spawn().unwrap();
    let stopped = task.shutdown().unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(200));
    assert_eq!((stopped.by, stopped.status), (StopStep::EndedByItself, ExitStatus::Exited(0)));
    assert_eq!(task.wait().unwrap(), 9);
    assert_eq!(task.shutdown().unwrap().by, StopStep::HadEnded);
    Passed
}

struct Explicit(u32);

impl Subprocess for Explicit {
    type Output = u32;
    const EXPLICIT_START: bool = true;

    fn run(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

fn with_explicit_start_there_is_no_process_before_start() -> Outcome {
    let task = Explicit(1).spawn().unwrap();
    assert!(task.process().is_none());
    assert!(!task.is_alive().unwrap());
    assert!(matches!(task.wait(), Err(JoinError::Wait(ChildError::NotStarted))));
    assert!(matches!(task.shutdown(), Err(ChildError::NotStarted)));
    task.start().unwrap();
    assert!(task.process().is_some());
    assert_eq!(task.wait().unwrap(), 2);
    drop(Explicit(1).spawn().unwrap());
    Passed
}

fn a_second_start_is_an_error() -> Outcome {
    let task = Explicit(1).spawn().unwrap();
    task.start().unwrap();
    assert!(matches!(task.start(), Err(StartError::AlreadyStarted)));
    task.wait().unwrap();
    assert!(matches!(task.start(), Err(StartError::AlreadyStarted)));
    Passed
}

fn a_failed_start_can_be_tried_again() -> Outcome {
    let task = Explicit(4).spawn().unwrap();
    let (stop, wait) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    assert!(matches!(task.start(), Err(StartError::Refused(_))));
    drop(stop);
    let _ = other.join().unwrap();
    task.start().unwrap();
    assert_eq!(task.wait().unwrap(), 5);
    Passed
}

/// A loop that tells when its steps begin, and what follows each.
struct Telling {
    link: Connection<String, ()>,
    steps: Vec<LoopStep>,
    panic_in: &'static str,
}

impl Telling {
    fn say(&self, word: &str) {
        self.link.send(&word.to_owned()).unwrap();
        assert_ne!(self.panic_in, word, "on purpose");
    }
}

impl SubprocessLoop for Telling {
    fn begin(&mut self) {
        self.say("begin");
    }

    fn step(&mut self) -> LoopStep {
        self.say("step");
        if self.steps.is_empty() { LoopStep::Stop } else { self.steps.remove(0) }
    }

    fn end(&mut self) {
        self.say("end");
    }
}

fn telling(steps: &[LoopStep], panic_in: &'static str) -> (Handle<(), Telling>, Connection<(), String>) {
    let (here, there) = Connection::<(), String>::pair().unwrap();
    let options = LaunchOptions::new().give(&there).stderr(offspring::Stdio::Null);
    let task = Telling { link: there, steps: steps.to_vec(), panic_in };
    (task.spawn_with(options).unwrap(), here)
}

/// All that it says until its end.
fn said(link: &Connection<(), String>) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        match link.recv() {
            Ok(word) => words.push(word),
            Err(LinkError::Closed) => return words,
            Err(error) => panic!("{error}"),
        }
    }
}

fn a_loop_is_spaced_by_what_its_steps_return() -> Outcome {
    let pause = Duration::from_millis(120);
    let begin = Instant::now();
    let (task, link) = telling(&[LoopStep::After(pause), LoopStep::Again, LoopStep::Again], "");
    assert_eq!(said(&link), ["begin", "step", "step", "step", "step", "end"]);
    assert!(begin.elapsed() >= pause + 2 * LoopStep::PAUSE, "{:?}", begin.elapsed());
    task.wait().unwrap();
    Passed
}

fn a_loop_ends_by_stop() -> Outcome {
    let (task, link) = telling(&[LoopStep::After(Duration::ZERO), LoopStep::Stop], "");
    assert_eq!(said(&link), ["begin", "step", "step", "end"]);
    task.wait().unwrap();
    assert_eq!(task.process().unwrap().wait().unwrap(), ExitStatus::Exited(0));
    Passed
}

fn sigterm_ends_a_loop_after_the_current_step() -> Outcome {
    struct Slow(Connection<String, ()>);
    impl SubprocessLoop for Slow {
        fn step(&mut self) -> LoopStep {
            self.0.send(&"begun".to_owned()).unwrap();
            self.0.recv().unwrap();
            self.0.send(&"done".to_owned()).unwrap();
            LoopStep::After(Duration::from_secs(600))
        }
    }
    let (here, there) = Connection::<(), String>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let task = Slow(there).spawn_with(options).unwrap();
    assert_eq!(here.recv().unwrap(), "begun");
    task.process().unwrap().terminate().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(task.is_alive().unwrap(), "not in the midst of a step");
    here.send(&()).unwrap();
    assert_eq!(said(&here), ["done"], "what it had sent arrives, nothing more does");
    task.wait().unwrap();
    // While it pauses, the request ends the pause.
    let (task, link) = telling(&[LoopStep::After(Duration::from_secs(600))], "");
    assert_eq!([link.recv().unwrap(), link.recv().unwrap()], ["begin", "step"]);
    let stopped = task.shutdown().unwrap();
    assert_eq!((stopped.by, stopped.status), (StopStep::Terminated, ExitStatus::Exited(0)));
    assert_eq!(said(&link), ["end"]);
    Passed
}

fn end_runs_however_the_loop_ends() -> Outcome {
    for (panic_in, words) in [
        ("begin", &["begin", "end"][..]),
        ("step", &["begin", "step", "end"]),
        ("end", &["begin", "step", "end"]),
    ] {
        let (task, link) = telling(&[], panic_in);
        assert_eq!(said(&link), words);
        let error = task.wait().unwrap_err();
        let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
        assert!(report.message.contains("on purpose"), "{report:?}");
        assert!(report.location.contains("offspring/tasks.rs"), "{report:?}");
    }
    Passed
}

fn a_typed_handle_forgets_its_task() -> Outcome {
    let handles: Vec<Handle<u32>> =
        vec![offspring::spawn(|| 1).unwrap(), Explicit(1).spawn().unwrap().into_started().unwrap()];
    let from_threads: Vec<u32> = std::thread::scope(|scope| {
        handles.iter().map(|handle| scope.spawn(|| handle.wait().unwrap()).join().unwrap()).collect()
    });
    assert_eq!(from_threads, [1, 2]);
    Passed
}

fn a_task_object_is_dropped_on_both_sides() -> Outcome {
    struct Marking(std::fs::File);
    impl Drop for Marking {
        fn drop(&mut self) {
            std::io::Write::write_all(&mut self.0, b"dropped\\n").unwrap();
        }
    }
    impl Subprocess for Marking {
        type Output = ();
        fn run(&mut self) {}
    }
    let path = std::env::temp_dir().join(format!("multiprocess-drops-{}", std::process::id()));
    let task = Marking(std::fs::File::create(&path).unwrap()).spawn().unwrap();
    task.wait().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text.matches("dropped").count(), 2, "once here after the start, once in the child");
    Passed
}

fn regression_a_child_that_dies_while_its_start_waits() -> Outcome {
    common_ipc::process::after_fork(|| nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap());
    let error = Waited.spawn().unwrap_err();
    let StartError::EndedEarly { status } = &error else { panic!("{error:?}") };
    assert_eq!(status.signal(), Some(Signal::KILL));
    Passed
}

fn regression_shutdown_of_a_child_that_ignores_sigterm() -> Outcome {
    struct Deaf(Connection<(), ()>);
    impl Subprocess for Deaf {
        type Output = ();
        fn run(&mut self) {
            raw::ignore_signal(nix::sys::signal::Signal::SIGTERM, true);
            self.0.send(&()).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
    }
    let (here, there) = Connection::<(), ()>::pair().unwrap();
    let task = Deaf(there.clone()).spawn_with(LaunchOptions::new().give(&there)).unwrap();
    here.recv().unwrap();
    let stopped = task.process().unwrap().stop(Duration::from_millis(50)).unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Killed, Some(Signal::KILL)));
    Passed
}
