//! Log records of programs that do what one hardly does.

use std::io::IoSlice;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use common_ipc::process::{Launch, LaunchOptions, Zygote, join_callbacks};
use integration_tests::raw;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixCredentials, sendmsg};

use crate::Outcome::{self, Passed, Skipped};
use crate::logs::collector::{install, install_with, log_numbers, messages, numbers, seen};
use crate::processes::children::{link, start};
use crate::servers::zygote;

scenarios!(
    fault_59_callbacks_that_flush_refuse_no_fork,
    a_logger_that_starts_processes,
    a_child_with_a_logger_of_its_own_is_a_program_to_its_children,
    fault_59_a_thousand_children_at_once,
    fault_59_who_is_who_from_namespaces_of_their_own,
);

fn fault_59_callbacks_that_flush_refuse_no_fork() -> Outcome {
    install();
    let flushing = || {
        let child = start(|| log_numbers(3));
        child.on_exit(|_| log::logger().flush()).unwrap();
        child
    };
    let children: Vec<_> = (0..200).map(|_| flushing()).collect();
    children.iter().for_each(|child| assert!(child.wait().unwrap().success()));
    assert!(join_callbacks(Some(Duration::from_secs(60))));
    let seen = seen();
    children.iter().for_each(|child| assert_eq!(messages(&seen, child.id()), numbers(3)));
    Passed
}

fn a_logger_that_starts_processes() -> Outcome {
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    static STARTED: AtomicU32 = AtomicU32::new(0);
    // Made before there are threads.
    zygote();
    install_with(|_| {
        if DEPTH.fetch_add(1, Relaxed) == 0 {
            let options = LaunchOptions::new();
            // On the library's own thread a fork is refused.
            let _ = Launch::new(&options).start(|| ()).map(|child| child.wait());
            let child = Launch::new(&options).start_in(&Zygote::global(), |()| (), &()).unwrap();
            assert!(child.wait().unwrap().success());
            STARTED.fetch_add(1, Relaxed);
        }
        DEPTH.fetch_sub(1, Relaxed);
    });
    for _ in 0..5 {
        let child = start(|| log_numbers(3));
        log::info!("here");
        child.wait().unwrap();
        assert_eq!(messages(&seen(), child.id()), numbers(3));
    }
    assert!(STARTED.load(Relaxed) >= 5);
    Passed
}

fn a_child_with_a_logger_of_its_own_is_a_program_to_its_children() -> Outcome {
    let body = || {
        install();
        let child = start(|| {
            log_numbers(10);
            start(|| log_numbers(2)).wait().unwrap();
        });
        child.wait().unwrap();
        seen().into_iter().map(|seen| seen.message).collect::<Vec<_>>()
    };
    let expected = [numbers(10), numbers(2)].concat();
    assert_eq!(start(body).output::<Vec<String>>().unwrap(), expected);
    Passed
}

fn fault_59_a_thousand_children_at_once() -> Outcome {
    install();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let go = common_ipc::sync::Event::new().unwrap();
    let options = LaunchOptions::new().give(&go);
    let children: Vec<_> = (0..1000)
        .map(|_| {
            let go = go.clone();
            Launch::new(&options)
                .start(move || {
                    go.wait().unwrap();
                    log_numbers(20);
                })
                .unwrap()
        })
        .collect();
    go.set();
    children.iter().for_each(|child| assert!(child.wait().unwrap().success()));
    let seen = seen();
    children.iter().for_each(|child| assert_eq!(messages(&seen, child.id()), numbers(20)));
    Passed
}

/// In there everybody is root, and the process is called 1.
fn fault_59_who_is_who_from_namespaces_of_their_own() -> Outcome {
    install();
    let program = std::process::id() as i32;
    let child = start(move || {
        log::info!("outside");
        let socket = link();
        if unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID).is_err() {
            return None;
        }
        let copy = raw::fork(|| {
            log::info!(pid = program; "inside {}", std::process::id());
            let own = UnixCredentials::new();
            for pid in [program, 2] {
                let forged = libc::ucred { pid, uid: own.uid(), gid: own.gid() };
                let with = [ControlMessage::ScmCredentials(&forged.into())];
                let sent = sendmsg::<()>(socket, &[IoSlice::new(&[0])], &with, MsgFlags::MSG_NOSIGNAL, None);
                assert!(sent.is_err());
            }
            log::info!("still inside");
            0
        });
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(copy), None).unwrap();
        Some(copy as u32)
    });
    let Some(copy) = child.output::<Option<u32>>().unwrap() else {
        return Skipped("namespaces of its own are forbidden to this user");
    };
    let seen = seen();
    assert_eq!(messages(&seen, child.id()), ["outside"]);
    assert_eq!(messages(&seen, copy), ["inside 1", "still inside"]);
    Passed
}
