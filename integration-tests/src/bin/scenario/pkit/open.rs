//! Single runs of pkit's processes: when they are ready, how long they last, and what a thousand of them leave.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use common_ipc::link::Queue;
use common_ipc::process::{LaunchOptions, Stdio, after_fork};
use common_ipc::sync::Event;
use integration_tests::{proc, stress_factor};
use nix::sys::signal::{Signal as NixSignal, raise};
use pkit::{ExitStatus, Process, ProcessOpen, Signal, StartError, StopStep, Target, ready};

use crate::Outcome::{self, Passed};
use crate::pkit::ways::{all_ways, dressed, telling, ways};
use crate::processes::children::sleep_for_long;

scenarios!(
    a_run_is_ready_when_its_child_is_about_to_run,
    a_run_is_ready_when_its_target_says_so,
    a_run_lasts_as_long_as_its_child,
    a_run_that_has_exited_keeps_its_code,
    a_run_can_be_polled_from_outside,
    fault_12_a_thousand_runs_leave_no_descriptor_and_no_memory,
    fault_26_a_start_that_waits_tells_why_it_failed,
    fault_26_a_death_before_the_target_is_told_by_every_start,
    fault_26_a_start_that_hangs_is_given_up,
    fault_26_a_start_that_hangs_before_its_target_is_given_up,
    fault_26_a_failed_start_is_not_taken_for_the_one_after_it,
    fault_26_a_run_that_died_was_never_ready,
);

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn a_run_is_ready_when_its_child_is_about_to_run() -> Outcome {
    static GATE: Mutex<Option<Event>> = Mutex::new(None);
    let gate = Event::new().unwrap();
    *GATE.lock().unwrap() = Some(gate.clone());
    after_fork(|| GATE.lock().unwrap().take().unwrap().wait().unwrap());
    let run = ProcessOpen::start(LaunchOptions::new().give(&gate), sleep_for_long).unwrap();
    assert!(!run.wait_ready(Duration::ZERO).unwrap());
    assert!(!run.wait_ready(SHORT).unwrap());
    assert!(!run.is_ready().unwrap());
    assert!(run.is_alive().unwrap() && run.poll().unwrap().is_none());
    gate.set();
    assert!(run.wait_ready(LONG).unwrap());
    assert!(run.is_ready().unwrap());
    run.terminate().unwrap();
    assert_eq!(run.wait().unwrap().returncode(), Some(-15));
    assert!(run.wait_ready(LONG).unwrap(), "it was, before it ended");
    *GATE.lock().unwrap() = None;
    Passed
}

fn a_run_is_ready_when_its_target_says_so() -> Outcome {
    let gate = Event::new().unwrap();
    let body = |gate: Event| {
        gate.wait().unwrap();
        ready();
        sleep_for_long();
    };
    let giving = LaunchOptions::new().give(&gate);
    let dress = |builder: pkit::ProcessBuilder<()>, options| builder.options(options).ready_by_target();
    for process in ways(body, gate.clone(), giving, dress) {
        gate.clear();
        process.start().unwrap();
        let run = process.open().unwrap();
        assert!(!run.wait_ready(SHORT).unwrap() && !run.is_ready().unwrap());
        gate.set();
        assert!(run.wait_ready(LONG).unwrap() && run.is_ready().unwrap());
        run.stop(LONG).unwrap();
    }
    Passed
}

fn a_run_lasts_as_long_as_its_child() -> Outcome {
    let nap = Duration::from_millis(120);
    let begin = Instant::now();
    let run = ProcessOpen::start(LaunchOptions::new().name("nap"), move || {
        std::thread::sleep(nap);
        7
    });
    let run = run.unwrap();
    assert_eq!((run.name().to_str(), run.generation()), (Some("nap"), 1));
    assert_eq!(run.wait_timeout(Duration::from_millis(1)).unwrap(), None);
    assert_eq!(run.wait().unwrap(), ExitStatus::Exited(0));
    assert!(begin.elapsed() >= nap);
    assert_eq!(run.output().unwrap(), 7);
    assert_eq!(run.output_timeout(Duration::ZERO).unwrap(), Some(7));
    // It need be neither Send nor 'static.
    let text = String::from("borrowed");
    let length = std::rc::Rc::new(&text);
    let run = ProcessOpen::start(LaunchOptions::new(), || length.len()).unwrap();
    assert_eq!(run.output().unwrap(), text.len());
    Passed
}

fn a_run_that_has_exited_keeps_its_code() -> Outcome {
    for process in all_ways::<()>(|()| std::process::exit(7)) {
        process.start().unwrap();
        let run = process.open().unwrap();
        // A zombie first, then collected.
        assert!(proc::eventually(|| !proc::runs(run.pid() as i32)));
        for _ in 0..2 {
            run.terminate().unwrap();
            run.kill().unwrap();
            assert_eq!(run.wait().unwrap(), ExitStatus::Exited(7));
            assert_eq!(run.stop(Duration::ZERO).unwrap().by, StopStep::HadEnded);
            assert_eq!(run.poll().unwrap().unwrap().returncode(), Some(7));
        }
    }
    Passed
}

fn a_run_can_be_polled_from_outside() -> Outcome {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    for process in all_ways(|()| sleep_for_long()) {
        process.start().unwrap();
        let run = process.open().unwrap();
        let readable = |timeout: PollTimeout| {
            poll(&mut [PollFd::new(run.as_fd(), PollFlags::POLLIN)], timeout).unwrap() == 1
        };
        assert!(!readable(PollTimeout::ZERO));
        run.kill().unwrap();
        assert!(readable(PollTimeout::NONE));
        run.wait().unwrap();
        assert!(readable(PollTimeout::ZERO));
    }
    Passed
}

fn fault_12_a_thousand_runs_leave_no_descriptor_and_no_memory() -> Outcome {
    let me = std::process::id() as i32;
    let processes = dressed(|()| 3, |builder, options| builder.options(options).on_exit(|_| {}));
    let run_all = || {
        for process in &processes {
            process.start_wait().unwrap();
            assert_eq!(process.join().unwrap(), 3);
        }
        let once = ProcessOpen::start(LaunchOptions::new(), || 4).unwrap();
        assert_eq!(once.output().unwrap(), 4);
    };
    for _ in 0..50 {
        run_all();
    }
    assert!(pkit::join_callbacks(None));
    let servers = || proc::children(me).iter().map(|it| proc::descriptors(it.pid).len()).collect::<Vec<_>>();
    let before = (proc::descriptors(me).len(), servers());
    let memory = proc::resident_kib();
    for _ in 0..250 * stress_factor() {
        run_all();
    }
    assert!(pkit::join_callbacks(None));
    let settled = || (proc::descriptors(me).len(), servers()) == before;
    assert!(proc::eventually(settled), "{before:?} {:?}", proc::descriptors(me));
    let grown = proc::resident_kib().saturating_sub(memory);
    assert!(grown < 2048, "{grown} KiB more");
    Passed
}

/// Ends in some way before it is ready.
fn end(how: u8) {
    match how {
        0 => {}
        1 => std::process::exit(3),
        2 => panic!("on purpose"),
        3 => raise(NixSignal::SIGKILL).unwrap(),
        _ => sleep_for_long(),
    }
}

fn fault_26_a_start_that_waits_tells_why_it_failed() -> Outcome {
    for how in 0..4 {
        let dress = |builder: pkit::ProcessBuilder<()>, options: LaunchOptions| {
            builder.options(options.stderr(Stdio::Null)).ready_by_target()
        };
        for process in ways(end, how, LaunchOptions::new(), dress) {
            for _ in 0..3 {
                let error = process.start_wait().unwrap_err();
                let StartError::EndedEarly { status } = &error else { panic!("{how}: {error:?}") };
                match how {
                    0 => assert_eq!(*status, ExitStatus::Exited(0)),
                    1 => assert_eq!(*status, ExitStatus::Exited(3)),
                    2 => assert!(error.to_string().contains("on purpose"), "{error}"),
                    _ => assert_eq!(status.signal(), Some(Signal::KILL)),
                }
                // It is as after any run.
                assert!(!process.is_alive().unwrap());
                assert_eq!(process.exit_status().unwrap().as_ref(), Some(status));
            }
        }
    }
    Passed
}

fn fault_26_a_death_before_the_target_is_told_by_every_start() -> Outcome {
    after_fork(|| raise(NixSignal::SIGKILL).unwrap());
    for process in all_ways(|()| ()) {
        for _ in 0..2 {
            let error = process.start_wait().unwrap_err();
            let StartError::EndedEarly { status } = &error else { panic!("{error:?}") };
            assert_eq!(status.signal(), Some(Signal::KILL));
            assert_eq!(process.pid(), None);
        }
    }
    Passed
}

fn fault_26_a_start_that_hangs_is_given_up() -> Outcome {
    let dress = |builder: pkit::ProcessBuilder<()>, options| builder.options(options).ready_by_target();
    for process in ways(end, 4, LaunchOptions::new(), dress) {
        for timeout in [Duration::ZERO, SHORT] {
            let error = process.start_wait_timeout(timeout).unwrap_err();
            assert!(matches!(error, StartError::NotReady { timeout: had } if had == timeout), "{error:?}");
            assert_eq!(process.exit_status().unwrap().unwrap().signal(), Some(Signal::KILL));
        }
        // Whoever doesn't wait has it all the same.
        process.start().unwrap();
        process.kill().unwrap();
    }
    // One that stops itself is as good as one that hangs.
    let stopped: Process<()> =
        Process::builder().ready_by_target().build(|| raise(NixSignal::SIGSTOP).unwrap());
    assert!(matches!(stopped.start_wait_timeout(SHORT), Err(StartError::NotReady { .. })));
    Passed
}

fn fault_26_a_start_that_hangs_before_its_target_is_given_up() -> Outcome {
    // A template or a zygote keeps its own time.
    after_fork(sleep_for_long);
    let hasty = |builder: pkit::ProcessBuilder<()>, options: LaunchOptions| {
        builder.options(options.ready_timeout(Duration::from_millis(200)))
    };
    for process in dressed(|()| (), hasty) {
        let error = process.start_wait_timeout(SHORT).unwrap_err();
        assert!(matches!(error, StartError::NotReady { .. }), "{error:?}");
        assert_eq!(process.pid(), None);
    }
    Passed
}

/// Dies the first time, and then lives.
struct Second {
    was_there: Event,
}

impl Target for Second {
    type Output = ();

    fn run(self) {
        if !self.was_there.is_set() {
            self.was_there.set();
            std::process::exit(3);
        }
        ready();
        sleep_for_long();
    }
}

fn fault_26_a_failed_start_is_not_taken_for_the_one_after_it() -> Outcome {
    let was_there = Event::new().unwrap();
    let options = LaunchOptions::new().give(&was_there);
    let process = Process::builder()
        .options(options)
        .ready_by_target()
        .on_exit(|exit| {
            if exit.status().code() == Some(3) {
                exit.start_again().unwrap();
            }
        })
        .build_template(Second { was_there: was_there.clone() })
        .unwrap();
    for _ in 0..100 * stress_factor() {
        was_there.clear();
        // Its callback starts it again at once; that is another run.
        let error = process.start_wait().unwrap_err();
        assert!(matches!(error, StartError::EndedEarly { status: ExitStatus::Exited(3) }), "{error:?}");
        assert!(proc::eventually(|| process.generation() % 2 == 0));
        assert!(process.open().unwrap().wait_ready(LONG).unwrap());
        process.stop(LONG).unwrap();
        assert!(pkit::join_callbacks(None));
    }
    Passed
}

fn fault_26_a_run_that_died_was_never_ready() -> Outcome {
    let told = Queue::new().unwrap();
    let dress = |builder: pkit::ProcessBuilder<()>, options| builder.options(options).ready_by_target();
    let body = |told: Queue<u8>| told.send(&1).unwrap();
    for process in telling(body, &told, dress) {
        process.start().unwrap();
        let run = process.open().unwrap();
        assert!(!run.wait_ready(LONG).unwrap(), "it ended");
        assert!(!run.is_ready().unwrap());
        assert_eq!(run.wait().unwrap(), ExitStatus::Exited(0));
        assert_eq!(told.recv().unwrap(), 1);
    }
    Passed
}
