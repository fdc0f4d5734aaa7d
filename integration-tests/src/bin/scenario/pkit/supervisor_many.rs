//! A supervisor of many children, and many failures: each is told, and comes to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use common_ipc::process::{Signal, StopStep, active_children};
use integration_tests::{proc, stress_factor};
use nix::sys::signal::Signal::SIGKILL;
use pkit::supervisor::{Cause, ChildSpec, Ended, Event, Status, SupervisorBuilder};

use crate::Outcome::{self, Passed};
use crate::pkit::supervisor::{at_once, builder};
use crate::processes::children::sleep_for_long;
use crate::servers::{self, zygote};

scenarios!(a_thousand_children_and_as_many_kills);

const CHILDREN: usize = 1000;

/// What was told of one child, a letter each; and the processes of it that were killed, as they were told.
#[derive(Default)]
struct Told {
    events: String,
    killed: Vec<u32>,
}

impl Told {
    fn hear(&mut self, event: &Event) {
        self.events.push(match event {
            Event::Started { .. } => 's',
            Event::Ready { .. } => 'r',
            Event::Exited { pid, cause: Cause::Ended(status), .. }
                if status.signal() == Some(Signal::KILL) =>
            {
                self.killed.push(*pid);
                'k'
            }
            Event::Restarting { .. } => 'a',
            Event::Stopped(stopped) if stopped.by == StopStep::Terminated => '.',
            _ => '?',
        });
    }
}

fn a_thousand_children_and_as_many_kills() -> Outcome {
    let kills = CHILDREN * stress_factor() as usize;
    let zygote = zygote();
    let names: Vec<String> = (0..CHILDREN).map(|index| format!("child-{index}")).collect();
    let specs = names
        .iter()
        .map(|name| ChildSpec::in_zygote(name, &zygote, |()| sleep_for_long(), ()).backoff(at_once()));
    let mut builder = specs.fold(builder(), SupervisorBuilder::child);
    let events = builder.events();
    let exits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&exits);
    let heard = thread::spawn(move || {
        let mut told = BTreeMap::<String, Told>::new();
        for event in events {
            let child = match &event {
                Event::Started { child, .. }
                | Event::Ready { child, .. }
                | Event::Exited { child, .. }
                | Event::Restarting { child, .. } => child,
                Event::Stopped(stopped) => &stopped.child,
                other => panic!("{other}"),
            };
            told.entry(child.to_string()).or_default().hear(&event);
            counted.fetch_add(usize::from(matches!(event, Event::Exited { .. })), Relaxed);
        }
        told
    });
    let supervisor = builder.start().unwrap();

    // The same ones each time, in no order.
    let mut random = 12345u64;
    let mut killed = BTreeSet::new();
    let mut killed_of = BTreeMap::<&str, Vec<u32>>::new();
    while killed.len() < kills {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let name = &names[(random >> 33) as usize % CHILDREN];
        let state = supervisor.child(name).unwrap();
        if let (Some(pid), Status::Ready) = (state.pid, state.status) {
            // While the supervisor has it as running, and nobody has killed it, the number is surely its own.
            if killed.insert(pid) {
                servers::kill(pid as i32, SIGKILL);
                killed_of.entry(name).or_default().push(pid);
                // Who hears of it, on a busy machine, isn't to be left behind by more than it is kept for.
                let ahead = killed.len().saturating_sub(200);
                assert!(proc::eventually(|| exits.load(Relaxed) >= ahead), "{exits:?} of {}", killed.len());
            }
        }
    }
    assert!(proc::eventually(|| exits.load(Relaxed) >= kills), "{exits:?} of {kills}");
    let all_ready = || supervisor.children().unwrap().iter().all(|child| child.status == Status::Ready);
    assert!(proc::eventually(all_ready));
    let children = supervisor.children().unwrap();
    assert!(children.iter().all(|child| proc::runs(child.pid.unwrap() as i32)));
    assert_eq!(children.iter().map(|child| child.restarts).sum::<u64>(), kills as u64);

    let Ended::Stopped { children } = supervisor.stop().unwrap() else { panic!() };
    assert!(children.iter().map(|stopped| &*stopped.child).eq(names.iter().rev()));
    assert!(active_children().is_empty());
    let told = heard.join().unwrap();
    assert_eq!(told.len(), CHILDREN);
    for (name, told) in &told {
        let killed = killed_of.remove(name.as_str()).unwrap_or_default();
        assert_eq!(told.killed, killed, "{name}");
        assert_eq!(told.events, format!("sr{}.", "kasr".repeat(killed.len())), "{name}");
    }
    Passed
}
