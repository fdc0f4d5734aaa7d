//! Collecting children that make it hard: traced, in another group, with outputs that find no room.

use std::time::Duration;

use common_ipc::process::{
    ExitStatus, JoinError, Launch, LaunchOptions, ProcessGroup, Resource, Signal, Stdio, StopStep,
    active_children, join_callbacks, start_library_thread,
};
use common_ipc::sync::Event;
use integration_tests::{proc, raw, stress_factor};
use nix::unistd::Pid;

use crate::Outcome::{self, Passed, Skipped};
use crate::processes::children::{link, sleep_for_long, start};

scenarios!(
    a_child_that_somebody_traces_is_waited_for_in_time,
    a_leader_that_has_left_its_group_is_killed,
    the_group_of_a_leader_that_has_ended_is_killed,
    an_output_that_finds_no_descriptor_can_be_had_later,
    a_child_dropped_without_descriptors_to_spare_is_collected_later,
    children_started_side_by_side_are_all_collected,
    a_descriptor_that_a_child_smuggles_is_not_kept,
    dropping_a_given_end_in_the_child_closes_it,
    why_there_is_no_output_needs_no_memory,
    a_stream_that_a_thread_has_locked_does_not_hold_up_the_end,
    callbacks_that_are_due_are_known_on_other_library_threads,
);

fn a_child_that_somebody_traces_is_waited_for_in_time() -> Outcome {
    let (go, traced) = (Event::new().unwrap(), Event::new().unwrap());
    let child = start(|| go.wait().unwrap());
    let pid = child.id() as i32;
    let tracer = raw::fork(|| {
        if raw::trace(pid) {
            traced.set();
            sleep_for_long();
        }
        1
    });
    let can_trace = traced.wait_timeout(Duration::from_secs(2)).unwrap();
    go.set();
    if can_trace {
        // It has ended, which its tracer hasn't acknowledged.
        assert!(proc::eventually(|| !proc::runs(pid)));
        let before = raw::processor_time();
        assert_eq!(child.wait_timeout(Duration::from_millis(300)).unwrap(), None);
        assert!(raw::processor_time() - before < Duration::from_millis(150), "it spins");
        let (sender, told) = std::sync::mpsc::channel();
        child.on_exit(move |exit| sender.send(exit.status.clone()).unwrap()).unwrap();
        nix::sys::signal::kill(Pid::from_raw(tracer), nix::sys::signal::Signal::SIGKILL).unwrap();
        // Nobody waits for it but the reaper.
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), ExitStatus::Exited(0));
    }
    nix::sys::wait::waitpid(Pid::from_raw(tracer), None).unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(0));
    if can_trace { Passed } else { Skipped("this user, or this kernel's settings, may not trace") }
}

fn a_leader_that_has_left_its_group_is_killed() -> Outcome {
    let options = LaunchOptions::new().process_group(ProcessGroup::New);
    let parents = nix::unistd::getpgrp();
    let moved = Event::new().unwrap();
    let child = Launch::new(&options).start(|| {
        nix::unistd::setpgid(Pid::from_raw(0), parents).unwrap();
        moved.set();
        sleep_for_long();
    });
    let child = child.unwrap();
    moved.wait().unwrap();
    let stopped = child.stop(Duration::from_secs(10)).unwrap();
    assert_eq!(stopped.by, StopStep::Terminated);
    assert_eq!(stopped.status.signal(), Some(Signal::TERM));
    Passed
}

fn the_group_of_a_leader_that_has_ended_is_killed() -> Outcome {
    let options = LaunchOptions::new().process_group(ProcessGroup::New);
    let child = Launch::new(&options).start(|| {
        raw::fork(|| {
            sleep_for_long();
            0
        })
    });
    let child = child.unwrap();
    // Ended, but not collected.
    assert!(proc::eventually(|| !proc::runs(child.id() as i32)));
    assert_eq!(child.stop(Duration::from_secs(10)).unwrap().by, StopStep::HadEnded);
    let member = child.output::<i32>().unwrap();
    assert!(proc::eventually(|| !proc::runs(member)), "{member} is left");
    Passed
}

/// Takes every descriptor that this process may have.
fn all_descriptors() -> Vec<std::fs::File> {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

fn an_output_that_finds_no_descriptor_can_be_had_later() -> Outcome {
    let child = start(|| vec![7u8; 1000]);
    let taken = all_descriptors();
    assert!(!taken.is_empty());
    let error = child.output::<Vec<u8>>().unwrap_err();
    let JoinError::Wait(_) = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains("Too many open files"), "{error}");
    drop(taken);
    assert_eq!(child.output::<Vec<u8>>().unwrap().len(), 1000);
    Passed
}

fn a_child_dropped_without_descriptors_to_spare_is_collected_later() -> Outcome {
    let (one, other) = (start(|| ()), start(|| ()));
    let taken = all_descriptors();
    drop(one);
    drop(taken);
    // The reaper, started for this one, knows of the other.
    drop(other);
    let me = std::process::id() as i32;
    assert!(proc::eventually(|| proc::children(me).is_empty()), "{:?}", proc::children(me));
    Passed
}

fn children_started_side_by_side_are_all_collected() -> Outcome {
    raw::allow_forks();
    let called = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let each = 30 * stress_factor();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..each {
                    let called = std::sync::Arc::clone(&called);
                    let count = move |_: &_| {
                        called.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    };
                    start(|| ()).on_exit(count).unwrap();
                }
            });
        }
    });
    let all = 4 * each as usize;
    assert!(
        proc::eventually(|| called.load(std::sync::atomic::Ordering::Relaxed) == all),
        "{called:?} of {all}"
    );
    assert!(join_callbacks(Some(Duration::from_secs(20))));
    assert!(active_children().is_empty());
    Passed
}

fn a_descriptor_that_a_child_smuggles_is_not_kept() -> Outcome {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    start(|| ()).wait().unwrap();
    let before = proc::descriptors(std::process::id() as i32).len();
    for count in [1, 2, 5] {
        let child = start(|| {
            for _ in 0..3 {
                let ready = [std::io::IoSlice::new(&[0])];
                let fds = ControlMessage::ScmRights(&[1, 2, 1, 2, 1][..count]);
                sendmsg::<()>(link(), &ready, &[fds], MsgFlags::empty(), None).unwrap();
            }
        });
        let error = child.output::<()>().unwrap_err();
        assert!(matches!(error, JoinError::Garbled(_)), "{error:?}");
        assert_eq!(proc::descriptors(std::process::id() as i32).len(), before);
    }
    Passed
}

fn dropping_a_given_end_in_the_child_closes_it() -> Outcome {
    let (here, there) = common_ipc::link::Connection::<u8, u8>::pair().unwrap();
    let (mut reader, writer) = common_ipc::link::pipe().unwrap();
    let done = Event::new().unwrap();
    let options = LaunchOptions::new().give(&there).give(&writer);
    let child = Launch::new(&options).start(|| {
        drop((there, writer));
        done.wait().unwrap();
    });
    let child = child.unwrap();
    assert!(matches!(here.recv(), Err(common_ipc::link::LinkError::Closed)));
    assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
    assert!(child.is_alive().unwrap());
    done.set();
    child.wait().unwrap();
    Passed
}

fn why_there_is_no_output_needs_no_memory() -> Outcome {
    let options = LaunchOptions::new().limit(Resource::FileSize, 0, 0).stderr(Stdio::Null);
    let child = Launch::new(&options).start::<(), _>(|| panic!("{}", "a long story ".repeat(1000))).unwrap();
    let error = child.output::<()>().unwrap_err();
    let JoinError::Panicked(report) = &error else { panic!("{error:?}") };
    assert!(report.message.starts_with("a long story a long story"), "{error}");
    assert!(report.location.contains("collecting.rs"), "{error}");
    Passed
}

fn a_stream_that_a_thread_has_locked_does_not_hold_up_the_end() -> Outcome {
    let child = start(|| {
        let (sender, locked) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _locked = std::io::stdout().lock();
            sender.send(()).unwrap();
            sleep_for_long();
        });
        locked.recv().unwrap();
        7
    });
    assert_eq!(child.output_timeout::<i32>(Duration::from_secs(15)).unwrap(), Some(7));
    Passed
}

fn callbacks_that_are_due_are_known_on_other_library_threads() -> Outcome {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let child = start(|| ());
    child.on_exit(move |_| released.recv().unwrap()).unwrap();
    child.wait().unwrap();
    let ask = move || {
        let tell = tell.clone();
        let joined = || join_callbacks(None);
        start_library_thread("asks", move |thread| tell.send(thread.call(joined)).unwrap()).unwrap();
        told.recv().unwrap()
    };
    assert!(!ask(), "one is pending");
    release.send(()).unwrap();
    assert!(join_callbacks(None) && ask());
    Passed
}
