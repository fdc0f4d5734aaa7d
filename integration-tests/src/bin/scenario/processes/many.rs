//! Rows 11 and 12, and the bounds: many starts, many children, and what happens when there are too many.

use std::time::Duration;

use common_ipc::process::{Child, Launch, LaunchOptions, Resource, StartError, active_children};
use integration_tests::{proc, raw, stress_factor};

use crate::Outcome::{self, Passed};

scenarios!(
    fault_11_a_fork_that_fails_leaves_nothing,
    fault_12_running_out_of_descriptors_is_a_typed_error,
    fault_12_ten_thousand_starts_leave_descriptors_and_memory_as_they_were,
    a_thousand_children_are_started_listed_and_stopped,
    waiting_takes_no_processor_time,
);

fn me() -> i32 {
    std::process::id() as i32
}

fn open() -> usize {
    proc::descriptors(me()).len()
}

fn fault_11_a_fork_that_fails_leaves_nothing() -> Outcome {
    // Without root the limit counts at once; with root it counts for a child that isn't.
    let mut options = LaunchOptions::new().limit(Resource::Processes, 0, 0);
    if nix::unistd::geteuid().is_root() {
        options = options.uid(65534);
    }
    let child = Launch::new(&options).start(|| {
        // What every process has once is there after the first attempt.
        let first = offspring::spawn(|| ()).map(|_| ()).unwrap_err();
        let before = open();
        for _ in 0..100 {
            assert!(offspring::spawn(|| ()).is_err());
        }
        assert!(active_children().is_empty());
        let StartError::Os { step: "fork", source } = &first else { panic!("{first}") };
        (source.raw_os_error(), open() == before, first.to_string())
    });
    let (errno, unchanged, text) = child.unwrap().output::<(Option<i32>, bool, String)>().unwrap();
    assert_eq!(errno, Some(libc::EAGAIN));
    assert!(text.starts_with("could not fork: "), "{text}");
    assert!(unchanged);
    Passed
}

fn fault_12_running_out_of_descriptors_is_a_typed_error() -> Outcome {
    let options = LaunchOptions::new().limit(Resource::OpenFiles, 64, 64);
    let child = Launch::new(&options).start(|| {
        let mut children = Vec::new();
        let error = loop {
            match Launch::new(&LaunchOptions::new()).start(|| std::thread::sleep(Duration::from_secs(600))) {
                Ok(child) => children.push(child),
                Err(error) => break error,
            }
        };
        let at_the_limit = open();
        for _ in 0..100 {
            assert!(matches!(offspring::spawn(|| ()), Err(StartError::Os { .. })));
        }
        assert_eq!(open(), at_the_limit, "failed starts leave nothing");
        assert_eq!(active_children().len(), children.len());
        let count = children.len();
        // What runs is as usable as before, and ending one makes room for another.
        children.pop().unwrap().stop(Duration::from_secs(20)).unwrap();
        assert_eq!(offspring::spawn(|| 1).unwrap().join().unwrap(), 1);
        (count, error.to_string())
    });
    let (count, text) = child.unwrap().output::<(usize, String)>().unwrap();
    assert!(text.contains("Too many open files"), "{text}");
    // Two each, and some that every process has.
    assert!(count >= 25, "only {count} children with 64 descriptors");
    Passed
}

fn fault_12_ten_thousand_starts_leave_descriptors_and_memory_as_they_were() -> Outcome {
    let round = || assert_eq!(offspring::spawn(|| 1u8).unwrap().join().unwrap(), 1);
    for _ in 0..500 {
        round();
    }
    let (descriptors, memory) = (open(), proc::resident_kib());
    for _ in 0..10_000 * stress_factor() {
        round();
    }
    assert_eq!(open(), descriptors);
    let grown = proc::resident_kib().saturating_sub(memory);
    assert!(grown < 1024, "{grown} KiB more after 10,000 starts");
    assert!(proc::children(me()).is_empty());
    Passed
}

fn a_thousand_children_are_started_listed_and_stopped() -> Outcome {
    const COUNT: usize = 1000;
    let sleep = || std::thread::sleep(Duration::from_secs(600));
    let options = LaunchOptions::new();
    // What every process has once.
    Launch::new(&options).start(|| ()).unwrap().wait().unwrap();
    let before = open();
    let children: Vec<_> = (0..COUNT).map(|_| Launch::new(&options).start(sleep).unwrap()).collect();
    let each = (open() - before) as f64 / COUNT as f64;
    assert!(each <= 2.0, "{each} descriptors for each child");
    let listed: Vec<_> = active_children().iter().map(Child::id).collect();
    assert_eq!(listed, children.iter().map(Child::id).collect::<Vec<_>>(), "the oldest first");
    for child in &children {
        child.terminate().unwrap();
    }
    for child in &children {
        child.wait().unwrap();
    }
    assert!(active_children().is_empty());
    assert_eq!(open(), before, "while all handles are still there");
    Passed
}

fn waiting_takes_no_processor_time() -> Outcome {
    let children: Vec<_> = (0..20)
        .map(|_| {
            let child = Launch::new(&LaunchOptions::new())
                .start(|| std::thread::sleep(Duration::from_secs(600)))
                .unwrap();
            child.on_exit(|_| ()).unwrap();
            child
        })
        .collect();
    let idle = |wait: &dyn Fn()| {
        let before = raw::processor_time();
        wait();
        raw::processor_time() - before
    };
    let waiting = idle(&|| {
        assert!(children[0].wait_timeout(Duration::from_secs(1)).unwrap().is_none());
    });
    let sleeping = idle(&|| std::thread::sleep(Duration::from_secs(1)));
    assert!(waiting < Duration::from_millis(5), "{waiting:?} while waiting for a second");
    assert!(sleeping < Duration::from_millis(5), "{sleeping:?} in the background of a second");
    for child in &children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(common_ipc::process::join_callbacks(Some(Duration::from_secs(20))));
    Passed
}
