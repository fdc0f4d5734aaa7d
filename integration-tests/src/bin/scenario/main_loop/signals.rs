//! Signals to the program, in its loop.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common_ipc::process::{CaughtSignals, Launch, LaunchOptions};
use integration_tests::{proc, raw};
use nix::sys::signal::{Signal as NixSignal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, setpgid};
use valkka_multiprocess::{MainLoop, Polled, Signal, WatchError};

use crate::Outcome::{self, Passed};
use crate::main_loop::sources::{PATIENCE, next};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    signals_are_events,
    signals_before_the_loop_sleeps_are_not_lost,
    two_loops_get_the_same_signals,
    some_signals_cannot_be_events,
    fault_33_children_of_a_loop_have_default_signals,
    fault_33_a_bare_copy_of_a_loop_has_default_signals,
    fault_33_programs_that_a_loop_executes_have_default_signals,
    a_loop_in_a_child_has_signals_of_its_own,
    after_the_loop_signals_do_what_they_did,
    handlers_of_other_code_come_back,
    a_signal_wakes_a_loop_that_sleeps_in_another_thread,
    a_flood_of_signals_hangs_nobody,
);

fn signals_are_events() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let all = [Signal::INT, Signal::TERM, Signal::HUP];
    let id = main_loop.signals(&all, |signal| signal).unwrap();
    for signal in all {
        start(move || kill(Pid::parent(), NixSignal::try_from(signal.as_raw()).unwrap()).unwrap())
            .wait()
            .unwrap();
        assert_eq!(next(&mut main_loop), signal);
    }
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing);
    assert!(main_loop.unwatch(id));
    let real_time = Signal::from_raw(40).unwrap();
    main_loop.signals(&[real_time], |signal| signal).unwrap();
    start(|| shell_kill(std::os::unix::process::parent_id(), 40)).wait().unwrap();
    assert_eq!(next(&mut main_loop), real_time);
    Passed
}

fn shell_kill(pid: u32, signal: i32) {
    let kill = format!("kill -{signal} {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

fn signals_before_the_loop_sleeps_are_not_lost() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::USR1, Signal::USR2, Signal::INT], |signal| signal).unwrap();
    for signal in [NixSignal::SIGUSR2, NixSignal::SIGINT, NixSignal::SIGUSR1, NixSignal::SIGUSR1] {
        raise(signal).unwrap();
    }
    let mut seen: Vec<_> = (0..3).map(|_| next(&mut main_loop)).collect();
    seen.sort_unstable();
    assert_eq!(seen, [Signal::INT, Signal::USR1, Signal::USR2]);
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing, "two of a kind were one");
    // One that ends the loop does so before anything else was asked for.
    let mut main_loop = MainLoop::<()>::new().unwrap();
    main_loop.stop_on(&[Signal::TERM]).unwrap();
    raise(NixSignal::SIGTERM).unwrap();
    assert_eq!(main_loop.next().unwrap(), None);
    Passed
}

fn two_loops_get_the_same_signals() -> Outcome {
    let mut loops = [MainLoop::new().unwrap(), MainLoop::new().unwrap()];
    for main_loop in &mut loops {
        main_loop.signals(&[Signal::USR1], |_| "one").unwrap();
    }
    loops[0].signals(&[Signal::USR1], |_| "two").unwrap();
    raise(NixSignal::SIGUSR1).unwrap();
    let mut both = [next(&mut loops[0]), next(&mut loops[0])];
    both.sort_unstable();
    assert_eq!((both, next(&mut loops[1])), (["one", "two"], "one"));
    let [first, mut second] = loops;
    drop(first);
    raise(NixSignal::SIGUSR1).unwrap();
    assert_eq!(next(&mut second), "one");
    Passed
}

fn some_signals_cannot_be_events() -> Outcome {
    let caught = || proc::status_field(std::process::id() as i32, "SigCgt");
    let before = caught();
    let mut main_loop = MainLoop::new().unwrap();
    for signal in [Signal::KILL, Signal::STOP, Signal::SEGV] {
        let error = main_loop.signals(&[Signal::USR1, signal], |_| ()).unwrap_err();
        assert!(matches!(error, WatchError::Signal(_)) && error.to_string().contains(&signal.to_string()));
    }
    assert_eq!(caught(), before, "none of them is taken");
    // So many watches at once, and then again.
    let many: Vec<_> = std::iter::from_fn(|| CaughtSignals::new().ok()).take(100).collect();
    assert_eq!(many.len(), 32);
    assert!(matches!(main_loop.signals(&[Signal::USR1], |_| ()), Err(WatchError::Os(_))));
    drop(many);
    main_loop.signals(&[Signal::USR1], |_| ()).unwrap();
    Passed
}

fn fault_33_children_of_a_loop_have_default_signals() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::TERM, Signal::USR1], |signal| signal).unwrap();
    for signal in [Signal::TERM, Signal::USR1] {
        let child = start(sleep_for_long);
        child.signal(signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal));
    }
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing);
    Passed
}

fn fault_33_a_bare_copy_of_a_loop_has_default_signals() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::TERM], |signal| signal).unwrap();
    // The library knows nothing of this fork: the handler is there, and knows that it isn't at home.
    let pid = Pid::from_raw(raw::fork(|| {
        raise(NixSignal::SIGTERM).unwrap();
        7
    }));
    assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Signaled(pid, NixSignal::SIGTERM, false));
    // One that has a loop of its own, of other signals and then of the same.
    let pid = Pid::from_raw(raw::fork(|| {
        let mut own = MainLoop::new().unwrap();
        own.signals(&[Signal::USR1], |signal| signal).unwrap();
        let id = own.signals(&[Signal::TERM], |signal| signal).unwrap();
        raise(NixSignal::SIGTERM).unwrap();
        assert_eq!(next(&mut own), Signal::TERM);
        own.unwatch(id);
        raise(NixSignal::SIGTERM).unwrap();
        7
    }));
    assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Signaled(pid, NixSignal::SIGTERM, false));
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing);
    raise(NixSignal::SIGTERM).unwrap();
    assert_eq!(next(&mut main_loop), Signal::TERM);
    Passed
}

fn fault_33_programs_that_a_loop_executes_have_default_signals() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::TERM], |signal| signal).unwrap();
    let mut program = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    shell_kill(program.id(), libc::SIGTERM);
    let status = program.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGTERM));
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing);
    Passed
}

fn a_loop_in_a_child_has_signals_of_its_own() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::TERM, Signal::INT], |signal| signal).unwrap();
    let in_child = move |depth: u32| {
        let mut own = MainLoop::new().unwrap();
        own.signals(&[Signal::TERM], |signal| signal).unwrap();
        raise(NixSignal::SIGTERM).unwrap();
        assert_eq!(next(&mut own), Signal::TERM);
        depth
    };
    let child = start(move || {
        assert_eq!(in_child(1), 1);
        let mut own = MainLoop::new().unwrap();
        own.signals(&[Signal::TERM], |signal| signal).unwrap();
        let grandchild = start(move || in_child(2));
        assert_eq!(grandchild.output::<u32>().unwrap(), 2);
        assert_eq!(own.try_next().unwrap(), Polled::Nothing);
    });
    child.output::<()>().unwrap();
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing);
    Passed
}

fn after_the_loop_signals_do_what_they_did() -> Outcome {
    for signal in [NixSignal::SIGINT, NixSignal::SIGTERM, NixSignal::SIGHUP] {
        let child = start(move || {
            let number = Signal::from_raw(signal as i32).unwrap();
            for _ in 0..3 {
                let mut main_loop = MainLoop::new().unwrap();
                main_loop.signals(&[number], |signal| signal).unwrap();
                raise(signal).unwrap();
                assert_eq!(next(&mut main_loop), number);
                // What came and wasn't looked at is gone.
                raise(signal).unwrap();
            }
            raise(signal).unwrap();
        });
        assert_eq!(child.wait().unwrap().signal().map(Signal::as_raw), Some(signal as i32));
    }
    // As under nohup.
    raw::ignore_signal(NixSignal::SIGHUP, true);
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::HUP], |signal| signal).unwrap();
    raise(NixSignal::SIGHUP).unwrap();
    assert_eq!(next(&mut main_loop), Signal::HUP);
    drop(main_loop);
    raise(NixSignal::SIGHUP).unwrap();
    raw::ignore_signal(NixSignal::SIGHUP, false);
    Passed
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn handlers_of_other_code_come_back() -> Outcome {
    raw::handle_signal(NixSignal::SIGUSR1, count);
    let mut main_loop = MainLoop::new().unwrap();
    let id = main_loop.signals(&[Signal::USR1, Signal::USR2], |signal| signal).unwrap();
    raise(NixSignal::SIGUSR1).unwrap();
    assert_eq!((next(&mut main_loop), HANDLED.load(Ordering::Relaxed)), (Signal::USR1, 0));
    // One that was set meanwhile stays.
    raw::handle_signal(NixSignal::SIGUSR2, count);
    assert!(main_loop.unwatch(id));
    raise(NixSignal::SIGUSR1).unwrap();
    raise(NixSignal::SIGUSR2).unwrap();
    assert_eq!(HANDLED.load(Ordering::Relaxed), 2);
    raw::ignore_signal(NixSignal::SIGUSR1, false);
    raw::ignore_signal(NixSignal::SIGUSR2, false);
    Passed
}

fn a_signal_wakes_a_loop_that_sleeps_in_another_thread() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::USR1], |signal| signal).unwrap();
    let sleeper = std::thread::spawn(move || next(&mut main_loop));
    std::thread::sleep(Duration::from_millis(10));
    raise(NixSignal::SIGUSR1).unwrap();
    assert_eq!(sleeper.join().unwrap(), Signal::USR1);
    Passed
}

fn a_flood_of_signals_hangs_nobody() -> Outcome {
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).unwrap();
    assert_eq!(getpgrp(), nix::unistd::getpid());
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::USR1], |signal| signal).unwrap();
    let flood =
        Launch::new(&LaunchOptions::new()).start(|| while kill(Pid::parent(), NixSignal::SIGUSR1).is_ok() {});
    let flood = flood.unwrap();
    for _ in 0..20 {
        assert_eq!(next(&mut main_loop), Signal::USR1);
    }
    // Loops come and go beneath it.
    for _ in 0..300 {
        let mut other = MainLoop::new().unwrap();
        other.signals(&[Signal::USR1], |signal| signal).unwrap();
        other.next_timeout(PATIENCE).unwrap();
    }
    flood.kill().unwrap();
    flood.wait().unwrap();
    Passed
}
