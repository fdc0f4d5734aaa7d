//! Groups of events, from one process to another.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::link::{Connection, safe_select};
use common_ipc::memory::SharedAtomics;
use common_ipc::process::{Child, Launch, LaunchOptions};
use common_ipc::sync::{Event, EventFd, EventFlag};
use integration_tests::stress_factor;
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    Backend, Context, EventError, EventGroup, EventIndex, MessageProcess, RemoteError, SyncIndex,
};

use crate::Outcome::{self, Passed};
use crate::processes::children::start;
use crate::servers::{start_in, template};

scenarios!(
    a_front_end_waits_for_its_back_end_by_an_event,
    a_group_of_events_goes_by_fork_template_and_zygote,
    a_group_of_events_goes_over_a_connection,
    every_process_reserves_and_nobody_gets_anothers_event,
    event_fds_of_a_group_are_polled_beside_a_connection,
    a_group_of_events_of_ones_own_kind,
    eight_threads_and_four_children_share_a_group,
);

/// A test that fails waits no longer.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
enum Command {
    Ping { done: EventIndex },
    Nothing { done: EventIndex },
    End,
}

struct Player {
    events: EventGroup,
}

impl Backend for Player {
    type Command = Command;
    type Event = bool;

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Ping { done } => cx.send_out(&self.events.set(done)?)?,
            Command::Nothing { done } => cx.send_out(&self.events.is_set(done)?)?,
            Command::End => std::process::exit(3),
        }
        Ok(())
    }
}

/// The two programs of the originals' documentation, and what becomes of them when the back end doesn't answer.
fn a_front_end_waits_for_its_back_end_by_an_event() -> Outcome {
    let events = EventGroup::new(10).unwrap();
    let process = MessageProcess::new("player", Player { events: events.clone() });
    process.start().unwrap();
    let child = process.child().unwrap();
    for _ in 0..100 {
        // By hand.
        let done = events.reserve().unwrap();
        process.send(&Command::Ping { done: done.index() }).unwrap();
        done.wait().unwrap();
        drop(done);
        assert!(process.recv().unwrap());
        // As a guard.
        let sync = SyncIndex::reserve(&events).unwrap();
        process.send(&Command::Ping { done: sync.index() }).unwrap();
        sync.wait(&child).unwrap();
        assert!(process.recv().unwrap());
        // As a call.
        events.sync(&child, |done| process.send(&Command::Ping { done })).unwrap();
        assert!(process.recv().unwrap());
    }
    assert_eq!(events.available(), 10);

    let short = Duration::from_millis(5);
    let nothing = |done| process.send(&Command::Nothing { done });
    let error = events.sync_timeout(&child, short, nothing).unwrap_err();
    assert!(matches!(error, EventError::TimedOut { after, .. } if after == short), "{error}");
    // It was asked about in time, or the index is a stale one by then.
    let _ = process.recv();
    let error = events.sync(&child, |done| {
        process.send(&Command::Nothing { done })?;
        process.send(&Command::End)
    });
    let Err(EventError::DiedBeforeSet { status, .. }) = error else { panic!("{error:?}") };
    assert_eq!(status.code(), Some(3));
    let guard = SyncIndex::reserve(&events).unwrap();
    let error = guard.wait_timeout(&child, PATIENCE).unwrap_err();
    assert!(matches!(error, EventError::DiedBeforeSet { .. }), "{error}");
    let _ = process.stop();
    // The command finds nobody, or is left behind by the one who ended.
    let error = events.sync(&child, |done| process.send(&Command::Ping { done })).unwrap_err();
    assert!(matches!(error, EventError::Call(_) | EventError::DiedBeforeSet { .. }), "{error}");
    assert_eq!(events.available(), 10);
    Passed
}

fn a_group_of_events_goes_by_fork_template_and_zygote() -> Outcome {
    let events = EventGroup::new(3).unwrap();
    let (in_fork, in_template) = (events.clone(), events.clone());
    let reserved = [(); 3].map(|()| events.reserve().unwrap());
    let indices = reserved.each_ref().map(|reserved| reserved.index());
    let template = template(move || in_template.set(indices[1]).unwrap());
    let children = [
        start(move || in_fork.set(indices[0]).unwrap()),
        template.start().unwrap(),
        start_in(
            |(events, index): (EventGroup, EventIndex)| events.set(index).unwrap(),
            &(events.clone(), indices[2]),
        ),
    ];
    for (reserved, child) in reserved.iter().zip(&children) {
        assert!(reserved.wait_or_death(child, Some(PATIENCE)).unwrap());
        assert!(child.output::<bool>().unwrap());
    }
    drop(reserved);
    assert_eq!(events.available(), 3);
    Passed
}

fn a_group_of_events_goes_over_a_connection() -> Outcome {
    let (here, there) = Connection::<EventGroup<EventFd>, EventIndex>::pair().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&there)).start(move || {
        let events = there.recv().unwrap();
        // What arrived can be sent on.
        let (to, from) = Connection::<EventGroup<EventFd>, ()>::pair().unwrap();
        let options = LaunchOptions::new().give(&from);
        let grandchild = Launch::new(&options).start(move || from.recv().unwrap().reserve().is_err());
        let reserved = events.reserve().unwrap();
        to.send(&events).unwrap();
        assert!(grandchild.unwrap().output::<bool>().unwrap(), "there is one event");
        there.send(&reserved.index()).unwrap();
        assert!(reserved.wait_timeout(PATIENCE).unwrap());
    });
    let events = EventGroup::from_fn(1, EventFd::new).unwrap();
    here.send(&events).unwrap();
    let index = here.recv().unwrap();
    assert!(matches!(events.reserve(), Err(EventError::NotEnoughEvents { size: 1 })));
    assert!(events.set(index).unwrap());
    child.unwrap().output::<()>().unwrap();
    assert_eq!(events.available(), 1);
    // What can't be a group, and what is too much for a message.
    let many = EventGroup::from_fn(252, EventFd::new).unwrap();
    let (here, _there) = Connection::<EventGroup<EventFd>, ()>::pair().unwrap();
    assert!(here.send(&many).unwrap_err().to_string().contains("253"));
    Passed
}

fn every_process_reserves_and_nobody_gets_anothers_event() -> Outcome {
    let events = EventGroup::new(3).unwrap();
    let inside = SharedAtomics::new(3).unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            start(|| {
                for _ in 0..500 * stress_factor() {
                    let reserved = events.reserve_timeout(PATIENCE).unwrap();
                    let count = &inside[reserved.index().slot()];
                    assert_eq!(count.fetch_add(1, Ordering::Relaxed), 0, "somebody else has it");
                    assert!(!reserved.is_set().unwrap());
                    events.set(reserved.index()).unwrap();
                    reserved.wait().unwrap();
                    count.fetch_sub(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for child in children {
        child.output::<()>().unwrap();
    }
    assert_eq!(events.to_string(), "<EventGroup: f0 f1 f2 >");
    Passed
}

fn event_fds_of_a_group_are_polled_beside_a_connection() -> Outcome {
    let events = EventGroup::from_fn(4, EventFd::new).unwrap();
    let (here, there) = Connection::<EventIndex, u32>::pair().unwrap();
    let in_child = events.clone();
    let options = LaunchOptions::new().give(&there).give(events.events());
    let child = Launch::new(&options).start(move || {
        let mut number = 0;
        while let Ok(index) = there.recv() {
            number += 1;
            // An answer of one kind or the other.
            if number % 2 == 0 {
                there.send(&number).unwrap();
            } else {
                assert!(in_child.set(index).unwrap());
            }
        }
    });
    let child = child.unwrap();
    for number in 1..=20 {
        let reserved = events.reserve().unwrap();
        here.send(&reserved.index()).unwrap();
        let (mut sent, mut is_set) = (None, false);
        while sent.is_none() && !is_set {
            let ready = safe_select(&[here.as_fd(), reserved.event().as_fd()], Some(PATIENCE)).unwrap();
            assert!(!ready.is_empty());
            // A connection is readable for nothing once in a while.
            sent = here.try_recv().unwrap();
            is_set = reserved.is_set().unwrap();
        }
        assert_eq!((sent, is_set), if number % 2 == 0 { (Some(number), false) } else { (None, true) });
        assert!(is_set || reserved.wait_timeout(Duration::ZERO).is_ok_and(|is_set| !is_set));
    }
    // A child that wasn't given them sets the reservation all the same, and says that nobody was woken.
    let without = start(|| {
        let reserved = events.reserve();
        matches!(reserved, Err(EventError::Event(_)))
    });
    assert!(without.output::<bool>().unwrap());
    let reserved = events.reserve().unwrap();
    let index = reserved.index();
    let without = start(|| matches!(events.set(index), Err(EventError::Event(_))));
    assert!(reserved.wait_timeout(PATIENCE).unwrap());
    assert!(without.output::<bool>().unwrap());
    drop(here);
    child.output::<()>().unwrap();
    Passed
}

/// An event that counts how often it was set.
#[derive(Serialize, Deserialize)]
struct Counting {
    event: Event,
    sets: SharedAtomics,
}

impl Counting {
    fn new() -> io::Result<Counting> {
        Ok(Counting { event: Event::new()?, sets: SharedAtomics::new(1)? })
    }
}

impl EventFlag for Counting {
    fn set(&self) -> io::Result<()> {
        self.sets[0].fetch_add(1, Ordering::Relaxed);
        EventFlag::set(&self.event)
    }

    fn clear(&self) -> io::Result<()> {
        EventFlag::clear(&self.event)
    }

    fn is_set(&self) -> io::Result<bool> {
        EventFlag::is_set(&self.event)
    }

    fn wait(&self) -> io::Result<()> {
        self.event.wait()
    }

    fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.event.wait_timeout(timeout)
    }
}

fn a_group_of_events_of_ones_own_kind() -> Outcome {
    let events = EventGroup::from_fn(2, Counting::new).unwrap();
    let reserved = events.reserve().unwrap();
    let child = start_in(
        |(events, index): (EventGroup<Counting>, EventIndex)| {
            assert!(events.set(index).unwrap() && events.set(index).unwrap());
        },
        &(events.clone(), reserved.index()),
    );
    assert!(reserved.wait_or_death(&child, Some(PATIENCE)).unwrap());
    child.output::<()>().unwrap();
    assert_eq!(reserved.event().sets[0].load(Ordering::Relaxed), 2);
    // What it has of the trait: the death of a child.
    let dead = start(|| ());
    let error = events.sync(&dead, |_| io::Result::Ok(())).unwrap_err();
    assert!(matches!(error, EventError::DiedBeforeSet { .. }), "{error}");
    Passed
}

fn eight_threads_and_four_children_share_a_group() -> Outcome {
    // Fewer events than who wants one.
    let events = EventGroup::new(4).unwrap();
    let links = [(); 2].map(|()| Connection::<EventIndex, ()>::pair().unwrap());
    let (fronts, backs): (Vec<_>, Vec<_>) = links.into_iter().unzip();
    let setters: Vec<Child> = backs
        .into_iter()
        .map(|back| {
            let (in_child, options) = (events.clone(), LaunchOptions::new().give(&back));
            let body = move || {
                while let Ok(index) = back.recv() {
                    assert!(in_child.set(index).unwrap());
                }
            };
            Launch::new(&options).start(body).unwrap()
        })
        .collect();
    let rounds = 1_250 * stress_factor();
    let own = || {
        for _ in 0..rounds {
            let reserved = events.reserve_timeout(PATIENCE).unwrap();
            assert!(!reserved.is_set().unwrap());
            assert!(events.set(reserved.index()).unwrap() && reserved.is_set().unwrap());
        }
    };
    let others = [start(own), start(own)];
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (front, child, events) = (&fronts[thread % 2], &setters[thread % 2], &events);
            scope.spawn(move || {
                for _ in 0..rounds {
                    let reserved = events.reserve_timeout(PATIENCE).unwrap();
                    front.send(&reserved.index()).unwrap();
                    assert!(reserved.wait_or_death(child, Some(PATIENCE)).unwrap());
                }
            });
        }
    });
    drop(fronts);
    for child in setters.iter().chain(&others) {
        child.output::<()>().unwrap();
    }
    assert_eq!(events.available(), 4);
    Passed
}
