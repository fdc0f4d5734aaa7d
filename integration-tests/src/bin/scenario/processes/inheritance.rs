//! Rows 3, 4, 6, 7, 8, 33: what a child has of its parent, and what it hasn't.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use common_ipc::link::{Connection, LinkError, pipe};
use common_ipc::process::{
    self, ChildError, ExitStatus, JoinError, Launch, LaunchOptions, Signal, StartError, WrongProcess,
};
use common_ipc::sync::Event;
use integration_tests::{proc, raw};
use nix::sys::signal::{SigSet, Signal as NixSignal};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};
use crate::servers::zygote;

scenarios!(
    fault_03_a_sibling_does_not_keep_a_connection_alive,
    fault_03_a_child_has_only_what_it_was_given,
    fault_03_a_borrowed_descriptor_of_the_parent_leads_nowhere,
    fault_04_a_blocked_mask_and_ignored_signals_are_not_inherited,
    fault_04_sigpipe_and_sighup_stay_ignored,
    fault_06_children_that_reseed_after_the_fork_differ,
    fault_07_a_handle_of_the_parent_is_wrong_process_in_the_child,
    fault_07_a_given_end_is_wrong_process_in_the_parent,
    fault_08_a_panic_does_not_unwind_past_the_fork,
    fault_08_the_stack_of_a_panic_is_told_if_asked_for,
    fault_33_a_handler_of_the_parent_does_not_act_in_the_child,
    given_ends_work_both_ways,
    a_pipe_that_is_given_has_one_end_here,
    events_are_shared,
    an_end_whose_start_failed_is_still_here,
    a_foreign_handle_has_a_harmless_descriptor,
);

fn fault_03_a_sibling_does_not_keep_a_connection_alive() -> Outcome {
    let (here, there) = Connection::<(), ()>::pair().unwrap();
    // The sibling is started with both ends captured, but given neither.
    let (also_here, also_there) = (here.clone(), there.clone());
    let sibling = start(move || {
        let _captured = (also_here, also_there);
        sleep_for_long();
    });
    let a = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        there.send(&()).unwrap();
        sleep_for_long();
    });
    let a = a.unwrap();
    let second = start(sleep_for_long);
    here.recv().unwrap();
    a.kill().unwrap();
    // The deadline is there for a test that fails; what is asserted is that it isn't needed.
    assert!(matches!(here.recv_timeout(Duration::from_secs(20)), Err(LinkError::Closed)));
    assert_eq!(a.wait().unwrap().signal(), Some(Signal::KILL));
    for child in [sibling, second] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    Passed
}

fn fault_03_a_child_has_only_what_it_was_given() -> Outcome {
    // Whoever runs the tests may have left some without close-on-exec.
    let foreign = proc::descriptors(std::process::id() as i32);
    let others: Vec<_> = (0..5).map(|_| start(sleep_for_long)).collect();
    let (here, there) = Connection::<(), ()>::pair().unwrap();
    let (reader, _writer) = pipe().unwrap();
    let options = LaunchOptions::new().give(&there);
    let child = Launch::new(&options).start(|| {
        let _captured = (&there, &here, &reader, &others);
        proc::descriptors(std::process::id() as i32)
    });
    let open: Vec<(i32, std::path::PathBuf)> = child.unwrap().output().unwrap();
    let sockets = open
        .iter()
        .filter(|fd| !foreign.contains(fd) && fd.1.to_string_lossy().starts_with("socket:"))
        .count();
    // Its end of the connection, its link to its parent, and the one that is always ready.
    assert_eq!(sockets, 3, "{open:?}");
    let forbidden = ["anon_inode:[pidfd]", "anon_inode:[eventpoll]", "pipe:"];
    for (number, target) in open.iter().filter(|fd| fd.0 > 2 && !foreign.contains(fd)) {
        let text = target.to_string_lossy();
        assert!(!forbidden.iter().any(|kind| text.starts_with(kind)), "{number} -> {text} of {open:?}");
    }
    for child in others {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    Passed
}

fn fault_03_a_borrowed_descriptor_of_the_parent_leads_nowhere() -> Outcome {
    let other = start(sleep_for_long);
    let (here, _there) = Connection::<u8, u8>::pair().unwrap();
    let borrowed = [other.as_fd(), here.as_fd()];
    let seen = start(|| {
        use std::os::fd::AsRawFd;
        borrowed.map(|fd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap())
    });
    let seen: [std::path::PathBuf; 2] = seen.output().unwrap();
    assert_eq!(seen, ["/dev/null", "/dev/null"].map(std::path::PathBuf::from));
    other.kill().unwrap();
    other.wait().unwrap();
    Passed
}

fn fault_04_a_blocked_mask_and_ignored_signals_are_not_inherited() -> Outcome {
    let all = SigSet::all();
    all.thread_block().unwrap();
    for signal in [NixSignal::SIGTERM, NixSignal::SIGUSR1, NixSignal::SIGQUIT] {
        raw::ignore_signal(signal, true);
    }
    for signal in [Signal::TERM, Signal::USR1, Signal::USR2] {
        let child = start(sleep_for_long);
        child.signal(signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal));
    }
    assert!(SigSet::thread_get_mask().unwrap().contains(NixSignal::SIGTERM), "the parent's own is as before");
    all.thread_unblock().unwrap();
    Passed
}

fn fault_04_sigpipe_and_sighup_stay_ignored() -> Outcome {
    raw::ignore_signal(NixSignal::SIGHUP, true);
    let child = start(|| {
        for signal in [NixSignal::SIGPIPE, NixSignal::SIGHUP] {
            nix::sys::signal::raise(signal).unwrap();
        }
    });
    child.output::<()>().unwrap();
    Passed
}

static SEED: AtomicU64 = AtomicU64::new(1);

fn next_random() -> u64 {
    // A generator whose next number depends on nothing but its state.
    SEED.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn fault_06_children_that_reseed_after_the_fork_differ() -> Outcome {
    let [one, other]: [u64; 2] = [(), ()].map(|()| start(next_random).output().unwrap());
    assert_eq!(one, other, "without a hook they are copies");
    process::after_fork(|| {
        let mut seed = [0; 8];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut seed).unwrap();
        SEED.store(u64::from_le_bytes(seed), Ordering::Relaxed);
    });
    let numbers: std::collections::BTreeSet<u64> =
        (0..100).map(|_| start(next_random).output().unwrap()).collect();
    assert_eq!(numbers.len(), 100);
    Passed
}

fn fault_07_a_handle_of_the_parent_is_wrong_process_in_the_child() -> Outcome {
    let other = start(sleep_for_long);
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let answers = start(|| {
        let wrong = |error: ChildError| matches!(error, ChildError::WrongProcess(WrongProcess));
        [
            wrong(other.wait().unwrap_err()),
            wrong(other.try_wait().unwrap_err()),
            wrong(other.wait_timeout(Duration::ZERO).unwrap_err()),
            wrong(other.kill().unwrap_err()),
            wrong(other.terminate().unwrap_err()),
            wrong(other.signal(Signal::KILL).unwrap_err()),
            wrong(other.stop(Duration::ZERO).unwrap_err()),
            wrong(other.on_exit(|_| ()).unwrap_err()),
            matches!(other.output::<()>(), Err(JoinError::Wait(ChildError::WrongProcess(_)))),
            matches!(here.send(&1), Err(LinkError::WrongProcess(_))),
            matches!(there.recv(), Err(LinkError::WrongProcess(_))),
            process::active_children().is_empty(),
        ]
    });
    assert_eq!(answers.output::<[bool; 12]>().unwrap(), [true; 12]);
    assert!(other.is_alive().unwrap());
    // A fork that the library knows nothing of is told apart as well.
    let pid = raw::fork(|| i32::from(!matches!(other.kill(), Err(ChildError::WrongProcess(_)))));
    let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(nix::unistd::Pid::from_raw(pid), 0));
    other.kill().unwrap();
    other.wait().unwrap();
    Passed
}

fn fault_07_a_given_end_is_wrong_process_in_the_parent() -> Outcome {
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let child = Launch::new(&options).start(|| there.recv().unwrap()).unwrap();
    assert!(matches!(there.send(&1), Err(LinkError::WrongProcess(_))));
    let again = Launch::new(&options).start(|| ());
    assert!(matches!(again, Err(StartError::GivenTwice(_))), "{again:?}");
    here.send(&9).unwrap();
    assert_eq!(child.output::<u8>().unwrap(), 9);
    // The copy that is left here doesn't keep the end alive.
    assert!(matches!(here.recv(), Err(LinkError::Closed)));
    Passed
}

fn fault_08_a_panic_does_not_unwind_past_the_fork() -> Outcome {
    static DROPS: AtomicU32 = AtomicU32::new(0);
    struct Counted(Connection<u32, ()>);
    impl Drop for Counted {
        fn drop(&mut self) {
            // Counts in the process that it happens in, and tells if that is the child.
            let drops = DROPS.fetch_add(1, Ordering::Relaxed) + 1;
            let _ = self.0.send(&drops);
        }
    }
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let parent = std::process::id();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let counted = Counted(there.clone());
        let child = Launch::new(&LaunchOptions::new().give(&there).name("panics"))
            .start(move || {
                let _counted = counted;
                if std::process::id() != parent {
                    panic!("told {}", "on purpose");
                }
            })
            .unwrap();
        let error = child.output::<()>().unwrap_err();
        let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
        assert_eq!(report.message, "told on purpose");
        assert!(report.location.contains("inheritance.rs:"), "{report:?}");
        assert_eq!(report.thread, "main");
        assert_eq!(child.wait().unwrap(), ExitStatus::Panicked(report.clone()));
        assert_eq!(child.wait().unwrap().code(), Some(101));
    }));
    caught.unwrap();
    drop(there);
    assert_eq!(here.recv().unwrap(), 1, "dropped in the child by the unwinding");
    assert!(matches!(here.recv(), Err(LinkError::Closed)), "and only once");
    assert_eq!(DROPS.load(Ordering::Relaxed), 1, "dropped here when the child had been started");
    Passed
}

fn fault_08_the_stack_of_a_panic_is_told_if_asked_for() -> Outcome {
    zygote();
    for (asked_for, value) in [(true, "1"), (false, "0")] {
        let options = LaunchOptions::new().env("RUST_BACKTRACE", value);
        let launch = Launch::new(&options);
        let body = || -> () { panic!("on purpose") };
        let template = launch.template(body).unwrap();
        let children = [
            launch.start(body).unwrap(),
            template.start().unwrap(),
            launch.start_in(&zygote(), |()| -> () { panic!("on purpose") }, &()).unwrap(),
        ];
        for child in children {
            let error = child.output::<()>().unwrap_err();
            let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
            let shown = format!("{error:?}");
            assert!(shown.starts_with(&error.to_string()), "{shown}");
            let stack = report.backtrace.as_ref();
            assert_eq!(
                stack.map(|stack| stack.contains("fault_08_the_stack_of_a_panic")),
                asked_for.then_some(true)
            );
            assert_eq!(shown.contains("stack backtrace of the child"), asked_for, "{shown}");
        }
    }
    Passed
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn note(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn fault_33_a_handler_of_the_parent_does_not_act_in_the_child() -> Outcome {
    raw::handle_signal(NixSignal::SIGUSR1, note);
    raw::handle_signal(NixSignal::SIGTERM, note);
    let bystander = start(sleep_for_long);
    let child = start(sleep_for_long);
    child.signal(Signal::USR1).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::USR1));
    assert!(bystander.is_alive().unwrap());
    assert_eq!(HANDLED.load(Ordering::Relaxed), 0);
    nix::sys::signal::raise(NixSignal::SIGUSR1).unwrap();
    assert_eq!(HANDLED.load(Ordering::Relaxed), 1, "the parent still has it");
    bystander.terminate().unwrap();
    assert_eq!(bystander.wait().unwrap().signal(), Some(Signal::TERM));
    Passed
}

fn given_ends_work_both_ways() -> Outcome {
    let pairs: Vec<_> = (0..3).map(|_| Connection::<String, usize>::pair().unwrap()).collect();
    let (here, there): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let child = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        for link in &there {
            while let Ok(text) = link.recv() {
                link.send(&text.len()).unwrap();
            }
        }
    });
    let child = child.unwrap();
    for link in here {
        for length in [0, 10, 100_000] {
            link.send(&"x".repeat(length)).unwrap();
            assert_eq!(link.recv().unwrap(), length);
        }
    }
    child.output::<()>().unwrap();
    Passed
}

fn a_pipe_that_is_given_has_one_end_here() -> Outcome {
    use std::io::{Read, Write};
    let (mut reader, mut writer) = pipe().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&writer))
        .start(move || writer.write_all(b"through the pipe").unwrap())
        .unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through the pipe");
    child.output::<()>().unwrap();
    Passed
}

fn events_are_shared() -> Outcome {
    let (go, done) = (Event::new().unwrap(), Event::new().unwrap());
    let child = start(|| {
        go.wait().unwrap();
        done.set();
    });
    assert!(!done.wait_timeout(Duration::from_millis(5)).unwrap());
    go.set();
    assert!(done.wait_or_death(&child, None).unwrap());
    child.output::<()>().unwrap();
    let dies = start(sleep_for_long);
    done.clear();
    dies.kill().unwrap();
    assert!(!done.wait_or_death(&dies, None).unwrap());
    Passed
}

fn an_end_whose_start_failed_is_still_here() -> Outcome {
    let (here, there) = Connection::<u8, u8>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let failed = Launch::new(&options.clone().cwd("/does/not/exist")).start(|| ());
    assert!(matches!(failed, Err(StartError::Setup { .. })), "{failed:?}");
    there.send(&1).unwrap();
    assert_eq!(here.recv().unwrap(), 1);
    let child = Launch::new(&options).start(|| there.send(&2).unwrap()).unwrap();
    assert_eq!(here.recv().unwrap(), 2);
    child.output::<()>().unwrap();
    Passed
}

fn a_foreign_handle_has_a_harmless_descriptor() -> Outcome {
    use std::os::fd::AsRawFd;
    let other = start(sleep_for_long);
    let (here, _there) = Connection::<u8, u8>::pair().unwrap();
    // Nobody has asked for their descriptors before the fork.
    let targets = start(|| {
        let target = |number: i32| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
        [target(other.as_fd().as_raw_fd()), target(here.as_fd().as_raw_fd())]
    });
    let targets: [std::path::PathBuf; 2] = targets.output().unwrap();
    assert_eq!(targets, ["/dev/null", "/dev/null"].map(std::path::PathBuf::from));
    other.kill().unwrap();
    other.wait().unwrap();
    Passed
}
