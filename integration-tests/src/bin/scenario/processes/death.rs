//! Rows 14, 18 to 21, 26, 34, 35, 44: how children end, and how one learns of it.

use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common_ipc::link::{Connection, LinkError};
use common_ipc::process::{
    Child, ExitStatus, JoinError, Launch, LaunchOptions, ProcessGroup, Resource, Signal, StartError,
    StopStep, after_fork,
};
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::Signal as NixSignal;

use crate::Outcome::{self, Passed, Skipped};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    fault_14_a_crash_is_told_as_the_signal_that_it_was,
    fault_14_a_crash_ends_a_pending_receive,
    fault_18_a_signal_never_reaches_a_process_with_the_same_id,
    fault_19_a_status_that_the_kernel_throws_away_is_not_success,
    fault_19_a_status_that_a_thief_collected_is_not_success,
    fault_20_codes_and_signals_are_told_apart,
    fault_21_all_waiters_get_the_same,
    fault_26_a_child_that_ends_before_it_is_ready_is_an_error_of_the_start,
    fault_26_a_child_that_hangs_before_it_is_ready_is_an_error_of_the_start,
    fault_34_stop_ends_whatever_it_takes,
    fault_34_stop_says_what_it_took,
    fault_35_a_grandchild_that_holds_a_stream_does_not_hold_up_the_wait,
    fault_35_stopping_a_group_ends_the_grandchildren,
    fault_44_interrupted_calls_go_on_and_keep_their_deadline,
);

fn without_core() -> LaunchOptions {
    LaunchOptions::new().core_limit(0).stderr(common_ipc::process::Stdio::Null)
}

#[expect(unconditional_recursion, reason = "on purpose")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    overflow(depth + 1) + frame[511]
}

fn crashes() -> [(fn(), Signal); 4] {
    [
        (raw::segfault, Signal::SEGV),
        (|| std::process::abort(), Signal::ABRT),
        (|| assert_ne!(overflow(0), 1), Signal::SEGV),
        (|| nix::sys::signal::raise(NixSignal::SIGILL).unwrap(), Signal::from_raw(libc::SIGILL).unwrap()),
    ]
}

fn fault_14_a_crash_is_told_as_the_signal_that_it_was() -> Outcome {
    for (crash, signal) in crashes() {
        let child = Launch::new(&without_core()).start(crash).unwrap();
        let expected = ExitStatus::Signaled { signal, core_dumped: false };
        let error = child.output::<()>().unwrap_err();
        assert!(matches!(&error, JoinError::Died(status) if *status == expected), "{error:?}");
        assert!(error.to_string().contains(&signal.to_string()), "{error}");
        assert_eq!(child.wait().unwrap(), expected);
    }
    Passed
}

fn fault_14_a_crash_ends_a_pending_receive() -> Outcome {
    for (crash, signal) in crashes() {
        let (here, there) = Connection::<(), u8>::pair().unwrap();
        let options = without_core().give(&there);
        let child = Launch::new(&options).start(move || {
            there.send(&1).unwrap();
            there.recv().unwrap();
            crash();
        });
        let child = child.unwrap();
        assert_eq!(here.recv().unwrap(), 1);
        here.send(&()).unwrap();
        assert!(matches!(here.recv(), Err(LinkError::Closed)));
        assert_eq!(child.wait().unwrap().signal(), Some(signal));
    }
    Passed
}

fn fault_18_a_signal_never_reaches_a_process_with_the_same_id() -> Outcome {
    let last_pid = "/proc/sys/kernel/ns_last_pid";
    if std::fs::OpenOptions::new().write(true).open(last_pid).is_err() {
        return Skipped("setting the next process id needs root and a kernel with ns_last_pid");
    }
    for _ in 0..200 {
        let child = start(|| ());
        child.wait().unwrap();
        if std::fs::write(last_pid, (child.id() - 1).to_string()).is_err() {
            return Skipped("the kernel doesn't let one choose the next process id");
        }
        let mut stranger = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        let same = stranger.id() == child.id();
        if same {
            child.kill().unwrap();
            child.terminate().unwrap();
            child.signal(Signal::KILL).unwrap();
            child.stop(Duration::ZERO).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            assert!(stranger.try_wait().unwrap().is_none(), "the stranger was hit");
        }
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        if same {
            return Passed;
        }
    }
    Skipped("other processes took the id each time")
}

/// A status that was stolen: the true one on a kernel that keeps it, otherwise unknown.
fn assert_stolen(status: &ExitStatus, truth: &ExitStatus) {
    assert!(status == truth || *status == ExitStatus::Unknown, "{status:?}");
    assert!(!status.success());
}

fn fault_19_a_status_that_the_kernel_throws_away_is_not_success() -> Outcome {
    raw::ignore_signal(NixSignal::SIGCHLD, true);
    let child = start::<()>(|| std::process::exit(3));
    assert_stolen(&child.wait().unwrap(), &ExitStatus::Exited(3));
    assert!(matches!(child.output::<()>(), Err(JoinError::Died(_))));
    let killed = start(sleep_for_long);
    killed.kill().unwrap();
    assert_stolen(
        &killed.wait().unwrap(),
        &ExitStatus::Signaled { signal: Signal::KILL, core_dumped: false },
    );
    // What it reported is there all the same.
    assert_eq!(start(|| 5).output::<i32>().unwrap(), 5);
    assert!(matches!(start::<()>(|| panic!("still told")).output::<()>(), Err(JoinError::Panicked(_))));
    raw::ignore_signal(NixSignal::SIGCHLD, false);
    Passed
}

fn fault_19_a_status_that_a_thief_collected_is_not_success() -> Outcome {
    for early in [true, false] {
        let child = start::<()>(|| std::process::exit(3));
        if early {
            // Before anybody has looked.
            nix::sys::wait::waitpid(None, None).unwrap();
        } else {
            child.is_alive().unwrap();
            let _ = nix::sys::wait::waitpid(None, None);
        }
        let status = child.wait().unwrap();
        assert_stolen(&status, &ExitStatus::Exited(3));
        assert_eq!(child.wait().unwrap(), status);
        child.kill().unwrap();
    }
    Passed
}

fn fault_20_codes_and_signals_are_told_apart() -> Outcome {
    for code in [0, 1, 7, 255] {
        let child = start::<()>(|| std::process::exit(code));
        let status = child.wait().unwrap();
        assert_eq!(status, ExitStatus::Exited(code));
        assert_eq!((status.code(), status.signal(), status.success()), (Some(code), None, code == 0));
    }
    for number in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1, libc::SIGHUP, 40] {
        let signal = Signal::from_raw(number).unwrap();
        let child = start(sleep_for_long);
        child.signal(signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status, ExitStatus::Signaled { signal, core_dumped: false });
        assert_eq!((status.code(), status.signal(), status.success()), (None, Some(signal), false));
    }
    Passed
}

fn fault_21_all_waiters_get_the_same() -> Outcome {
    const WAITERS: usize = 4;
    // The children first, since the waiters are threads; then all of them side by side.
    for _ in 0..20 * stress_factor() {
        let children: Vec<_> = (0..50)
            .map(|number| {
                start(move || {
                    if number % 3 == 0 {
                        sleep_for_long();
                    }
                    number
                })
            })
            .collect();
        let barrier = Barrier::new(WAITERS + 1);
        let seen: Vec<Vec<_>> = std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..WAITERS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let wait = |child: &Child| (child.wait().unwrap(), child.output::<i32>().ok());
                        children.iter().map(wait).collect::<Vec<_>>()
                    })
                })
                .collect();
            barrier.wait();
            for child in children.iter().step_by(3) {
                child.kill().unwrap();
            }
            waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect()
        });
        for (number, child) in children.iter().enumerate() {
            let expected = (child.wait().unwrap(), child.output::<i32>().ok());
            assert_eq!(expected.1, (number % 3 != 0).then_some(number as i32));
            assert!(seen.iter().all(|seen| seen[number] == expected));
        }
    }
    Passed
}

fn fault_26_a_child_that_ends_before_it_is_ready_is_an_error_of_the_start() -> Outcome {
    fn launch(options: &LaunchOptions) -> StartError {
        Launch::new(options).wait_until_ready(true).start(|| ()).unwrap_err()
    }
    // Each child gets further hooks than the one before; the first one that ends it counts.
    let options = LaunchOptions::new().stderr(common_ipc::process::Stdio::Null);
    static ENDING: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    after_fork(|| match ENDING.load(std::sync::atomic::Ordering::Relaxed) {
        0 => std::process::exit(4),
        1 => nix::sys::signal::raise(NixSignal::SIGKILL).unwrap(),
        _ => panic!("in the hook"),
    });
    let next = || {
        let error = launch(&options);
        ENDING.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        error
    };
    let exited = next();
    assert!(matches!(exited, StartError::EndedEarly { status: ExitStatus::Exited(4) }), "{exited:?}");
    let killed = next();
    let StartError::EndedEarly { status } = &killed else { panic!("{killed:?}") };
    assert_eq!(status.signal(), Some(Signal::KILL));
    let panicked = next();
    let StartError::EndedEarly { status: ExitStatus::Panicked(report) } = &panicked else {
        panic!("{panicked:?}")
    };
    assert_eq!(report.message, "in the hook");
    Passed
}

fn fault_26_a_child_that_hangs_before_it_is_ready_is_an_error_of_the_start() -> Outcome {
    after_fork(|| nix::sys::signal::raise(NixSignal::SIGSTOP).unwrap());
    let timeout = Duration::from_millis(50);
    let options = LaunchOptions::new().ready_timeout(timeout);
    let error = Launch::new(&options).wait_until_ready(true).start(|| ()).unwrap_err();
    assert!(matches!(error, StartError::NotReady { timeout: had } if had == timeout), "{error:?}");
    assert!(common_ipc::process::active_children().is_empty());
    Passed
}

fn fault_34_stop_ends_whatever_it_takes() -> Outcome {
    let ready = common_ipc::sync::Event::new().unwrap();
    let ignoring = start(|| {
        raw::ignore_signal(NixSignal::SIGTERM, true);
        ready.set();
        sleep_for_long();
    });
    ready.wait_or_death(&ignoring, None).unwrap();
    let stopped = ignoring.stop(Duration::from_millis(20)).unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Killed, Some(Signal::KILL)));

    let frozen = start(sleep_for_long);
    frozen.signal(Signal::STOP).unwrap();
    assert!(proc::eventually(|| proc::stat(frozen.id() as i32).is_some_and(|stat| stat.state == 'T')));
    let stopped = frozen.stop(Duration::from_secs(20)).unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Terminated, Some(Signal::TERM)));

    let busy = start::<()>(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    let stopped = busy.stop(Duration::from_secs(20)).unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Terminated, Some(Signal::TERM)));
    Passed
}

fn fault_34_stop_says_what_it_took() -> Outcome {
    let ended = start(|| 1);
    ended.wait().unwrap();
    let stopped = ended.stop(Duration::ZERO).unwrap();
    assert_eq!((stopped.by, stopped.status), (StopStep::HadEnded, ExitStatus::Exited(0)));
    assert_eq!(ended.output::<i32>().unwrap(), 1, "what it delivered stays");
    Passed
}

/// A child that starts a `sleep` and says which.
fn with_grandchild(options: LaunchOptions) -> (Child, i32) {
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let child = Launch::new(&options.give(&there)).start(move || {
        let sleeper = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        there.send(&sleeper.id()).unwrap();
        there.recv().unwrap();
    });
    let child = child.unwrap();
    let sleeper = here.recv().unwrap() as i32;
    here.send(&()).unwrap();
    (child, sleeper)
}

fn fault_35_a_grandchild_that_holds_a_stream_does_not_hold_up_the_wait() -> Outcome {
    let (child, sleeper) = with_grandchild(LaunchOptions::new());
    // It holds the child's standard output and error.
    child.output::<()>().unwrap();
    assert!(proc::runs(sleeper));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(sleeper), NixSignal::SIGKILL).unwrap();
    assert!(proc::eventually(|| !proc::runs(sleeper)));
    Passed
}

fn fault_35_stopping_a_group_ends_the_grandchildren() -> Outcome {
    for group in [ProcessGroup::New, ProcessGroup::NewSession] {
        let (here, there) = Connection::<(), (u32, u32)>::pair().unwrap();
        let options = LaunchOptions::new().process_group(group).give(&there);
        let child = Launch::new(&options).start(move || {
            // One that would go on after SIGTERM.
            let mut stubborn = Command::new("/bin/sh");
            stubborn.args(["-c", "trap '' TERM; sleep 600 & wait; sleep 600"]);
            let stubborn = stubborn.spawn().unwrap();
            let sleeper = Command::new("/bin/sleep").arg("600").spawn().unwrap();
            there.send(&(stubborn.id(), sleeper.id())).unwrap();
            sleep_for_long();
        });
        let child = child.unwrap();
        let (stubborn, sleeper) = here.recv().unwrap();
        assert_eq!(proc::stat(sleeper as i32).unwrap().group, child.id() as i32);
        let stopped = child.stop(Duration::from_secs(20)).unwrap();
        assert_eq!(stopped.by, StopStep::Terminated);
        for pid in [stubborn, sleeper] {
            assert!(proc::eventually(|| !proc::runs(pid as i32)), "{pid} survives");
        }
    }
    Passed
}

fn fault_44_interrupted_calls_go_on_and_keep_their_deadline() -> Outcome {
    static INTERRUPTED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn interrupt(_: i32) {
        INTERRUPTED.fetch_add(1, Ordering::Relaxed);
    }
    raw::handle_signal(NixSignal::SIGALRM, interrupt);
    let (here, there) = Connection::<Vec<u8>, Vec<u8>>::pair().unwrap();
    let options = LaunchOptions::new().limit(Resource::Core, 0, 0).give(&there);
    let echo = Launch::new(&options).wait_until_ready(true).start(move || {
        extern "C" fn nothing(_: i32) {}
        raw::handle_signal(NixSignal::SIGALRM, nothing);
        raw::interval_timer(Duration::from_millis(1));
        while let Ok(message) = there.recv() {
            there.send(&message).unwrap();
        }
    });
    let echo = echo.unwrap();
    let sleeper = start(sleep_for_long);
    raw::interval_timer(Duration::from_millis(1));
    for _ in 0..20 {
        let message = vec![7; 300_000];
        here.send(&message).unwrap();
        assert_eq!(here.recv().unwrap(), message);
    }
    let begin = Instant::now();
    assert!(sleeper.wait_timeout(Duration::from_millis(100)).unwrap().is_none());
    assert!(begin.elapsed() >= Duration::from_millis(100), "the wait was cut short");
    assert!(here.recv_timeout(Duration::from_millis(50)).unwrap().is_none());
    for _ in 0..20 {
        assert_eq!(start(|| 1).output::<i32>().unwrap(), 1);
    }
    drop(here);
    echo.output::<()>().unwrap();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    raw::interval_timer(Duration::ZERO);
    assert!(INTERRUPTED.load(Ordering::Relaxed) > 50, "{INTERRUPTED:?} interruptions prove nothing");
    Passed
}
