//! Row 38, at every step: processes that are killed while they use a group of events.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common_ipc::process::{Child, Launch, LaunchOptions};
use common_ipc::sync::EventFlag;
use integration_tests::stress_factor;
use valkka_multiprocess::sync::EventFd;
use valkka_multiprocess::{EventError, EventGroup};

use crate::Outcome::{self, Passed};
use crate::processes::children::start;

scenarios!(
    fault_38_a_sweep_of_kills_leaks_no_event,
    fault_38_a_group_whose_descriptors_were_made_blocking,
    fault_38_syncs_within_syncs,
);

/// Does all that there is with a group, until it is killed.
fn busy(events: &EventGroup<impl EventFlag>) {
    loop {
        let Ok(reserved) = events.reserve() else { continue };
        let _ = events.set(reserved.index());
        let _ = reserved.wait_timeout(Duration::from_millis(1));
        let other = events.reserve_timeout(Duration::from_micros(50));
        let _ = reserved.is_set();
        drop(reserved);
        if let Ok(other) = other {
            let _ = other.wait_timeout(Duration::from_micros(20));
        }
    }
}

fn sweep<E: EventFlag + 'static>(events: &EventGroup<E>, options: &LaunchOptions) {
    let size = events.len();
    for round in 0..60 * stress_factor() {
        let children: Vec<Child> =
            (0..3).map(|_| Launch::new(options).start(|| -> () { busy(events) }).unwrap()).collect();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(300 + 37 * round as u64) {}
        children.iter().for_each(|child| child.kill().unwrap());
        children.iter().for_each(|child| drop(child.wait().unwrap()));
        assert_eq!(events.available(), size, "{events}");
        let all: Vec<_> = (0..size).map(|_| events.reserve().unwrap()).collect();
        for reserved in &all {
            assert!(!reserved.wait_timeout(Duration::ZERO).unwrap());
            assert!(events.set(reserved.index()).unwrap());
            assert!(reserved.wait_timeout(Duration::ZERO).unwrap());
        }
    }
}

fn fault_38_a_sweep_of_kills_leaks_no_event() -> Outcome {
    sweep(&EventGroup::new(3).unwrap(), &LaunchOptions::new());
    let fds = EventGroup::from_fn(3, EventFd::new).unwrap();
    sweep(&fds, &LaunchOptions::new().give(fds.events()));
    Passed
}

fn fault_38_a_group_whose_descriptors_were_made_blocking() -> Outcome {
    let events = EventGroup::from_fn(1, EventFd::new).unwrap();
    let options = LaunchOptions::new().give(events.events());
    let hostile = Launch::new(&options)
        .start(|| {
            use nix::fcntl::{FcntlArg, OFlag, fcntl};
            let fd = events.events()[0].as_fd();
            fcntl(fd, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        })
        .unwrap();
    assert!(hostile.wait().unwrap().success());
    for _ in 0..3 {
        // It clears what isn't set.
        let reserved = events.reserve().unwrap();
        assert!(!reserved.wait_timeout(Duration::from_millis(20)).unwrap());
        assert!(events.set(reserved.index()).unwrap());
        assert!(reserved.wait_timeout(Duration::from_millis(20)).unwrap());
    }
    Passed
}

fn fault_38_syncs_within_syncs() -> Outcome {
    let events = EventGroup::new(2).unwrap();
    let (front, back) = common_ipc::link::Connection::<valkka_multiprocess::EventIndex, ()>::pair().unwrap();
    let in_child = events.clone();
    let child = Launch::new(&LaunchOptions::new().give(&back))
        .start(move || {
            while let Ok(index) = back.recv() {
                // A back end that syncs with a child of its own meanwhile.
                let own = start(|| ());
                let inner = in_child.sync(&own, |_| Ok::<_, EventError>(()));
                assert!(matches!(
                    inner,
                    Err(EventError::DiedBeforeSet { .. } | EventError::NotEnoughEvents { size: 2 })
                ));
                assert!(in_child.set(index).unwrap());
            }
        })
        .unwrap();
    events.sync(&child, |index| front.send(&index)).unwrap();
    events
        .sync(&child, |outer| {
            events.sync(&child, |inner| front.send(&inner)).map_err(|error| error.to_string())?;
            let third = events.reserve();
            assert!(third.is_ok());
            front.send(&outer).map_err(|error| error.to_string())
        })
        .unwrap();
    assert_eq!(events.available(), 2);
    drop(front);
    assert!(child.wait().unwrap().success());
    Passed
}
