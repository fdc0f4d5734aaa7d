//! Supervised children that have message processes and bridges inside.

use std::sync::atomic::Ordering;

use common_ipc::link::Queue;
use common_ipc::process::{LaunchOptions, StopSignals, active_children};
use integration_tests::proc;
use nix::sys::signal::Signal as NixSignal;
use pkit::supervisor::{ChildSpec, Event, Events, Strategy, Supervisor};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError, Reply};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{ProbeBridge, tally};
use crate::pkit::supervisor::{at_once, builder, hear, is_ready_again, pid};
use crate::servers::{kill, zygote};
use crate::together::{PATIENCE, Pids, WAYS, Way, gone, run};

scenarios![
    together_supervised_children_ask_back_ends_and_bridges,
    fault_54_together_a_killed_child_leaves_no_grandchildren,
    fault_54_together_a_grandchild_that_is_killed_is_its_parents_error,
    together_a_group_of_supervised_children_is_replaced_with_all_below,
    together_supervised_children_that_take_their_leave,
];

/// Sums up, with the help of an object in yet another process.
#[derive(Serialize, Deserialize)]
struct Clerk {
    way: Way,
    #[serde(skip)]
    bridge: Option<ProbeBridge>,
}

#[derive(Serialize, Deserialize)]
struct Add {
    number: i64,
    reply: Reply<(i64, u32)>,
}

impl Backend for Clerk {
    type Command = Add;
    type Event = ();

    fn pre_run(&mut self, _: &mut Context<Self>) -> Result<(), RemoteError> {
        self.bridge = Some(self.way.bridge(&tally()));
        Ok(())
    }

    fn handle(&mut self, _: &mut Context<Self>, Add { number, reply }: Add) -> Result<(), RemoteError> {
        let bridge = self.bridge.as_ref().ok_or(RemoteError::msg("no bridge"))?;
        reply.send(&(bridge.add(number)?, bridge.pid()?))?;
        Ok(())
    }
}

/// What a child works on: requests come and go by queues, which its next process has as well.
#[derive(Clone, Serialize, Deserialize)]
struct Office {
    way: Way,
    requests: Queue<i64>,
    answers: Queue<Answer>,
    /// How many of its processes have come to their end as they should.
    left: Pids,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Answer {
    by_back_end: i64,
    by_bridge: i64,
    /// The child, its back end, that one's object, and its own.
    family: [u32; 4],
}

impl Office {
    fn new(way: Way) -> Office {
        Office {
            way,
            requests: Queue::new().unwrap(),
            answers: Queue::new().unwrap(),
            left: Pids::new(1).unwrap(),
        }
    }

    fn ask(&self, number: i64) -> Answer {
        self.requests.send(&number).unwrap();
        self.answers.recv_timeout(PATIENCE).unwrap().expect("an answer")
    }

    /// A child that serves this one, and how it is started.
    fn spec(&self, name: &str, from: Way) -> ChildSpec {
        let spec = match from {
            Way::Fork => {
                let office = self.clone();
                let options = LaunchOptions::new().give(&self.requests).give(&self.answers);
                ChildSpec::new(name, move || serve(office)).options(options)
            }
            Way::Zygote => ChildSpec::in_zygote(name, &zygote(), serve, self.clone()),
        };
        spec.backoff(at_once()).ready_by_target().hold_stop_signals()
    }
}

fn serve(office: Office) -> Result<(), RemoteError> {
    let stop = StopSignals::held()?;
    let clerk: MessageProcess<Clerk> =
        office.way.message("clerk", Clerk { way: office.way, bridge: None }, LaunchOptions::new());
    let bridge = office.way.bridge(&tally());
    pkit::ready();
    let tick = std::time::Duration::from_millis(2);
    while !stop.wait_timeout(tick)? {
        let Some(number) = office.requests.try_recv()? else { continue };
        let (by_back_end, object) = clerk.request(|reply| Add { number, reply })?;
        let by_bridge = bridge.add(number)?;
        let family = [std::process::id(), clerk.pid().unwrap_or(0), object, bridge.pid()?];
        office.answers.send(&Answer { by_back_end, by_bridge, family })?;
    }
    bridge.stop()?;
    clerk.stop()?;
    office.left[0].fetch_add(1, Ordering::SeqCst);
    Ok(())
}

fn family(answer: &Answer) -> Vec<i32> {
    answer.family.iter().map(|pid| *pid as i32).collect()
}

struct House {
    supervisor: Supervisor,
    events: Events,
    offices: Vec<(String, Office)>,
}

/// One child for each way of the child and of what is below it.
fn house(strategy: Strategy) -> House {
    let mut builder = builder().strategy(strategy);
    let mut offices = Vec::new();
    for from in WAYS {
        for below in WAYS {
            let (name, office) = (format!("{from:?} over {below:?}"), Office::new(below));
            builder = builder.child(office.spec(&name, from));
            offices.push((name, office));
        }
    }
    let events = builder.events();
    let supervisor = builder.start().unwrap();
    let last = &offices[offices.len() - 1].0;
    hear(&events, |event| is_ready_again(event, last));
    House { supervisor, events, offices }
}

fn together_supervised_children_ask_back_ends_and_bridges() -> Outcome {
    let house = house(Strategy::OneForOne);
    for (name, office) in &house.offices {
        let mut all = Vec::new();
        for number in 1..=10 {
            let answer = office.ask(number);
            let sum = number * (number + 1) / 2;
            assert_eq!((answer.by_back_end, answer.by_bridge), (sum, sum));
            assert_eq!(answer.family[0] as i32, pid(&house.supervisor, name));
            all.push(answer.family);
        }
        assert!(all.iter().all(|family| *family == all[0]));
    }
    house.supervisor.stop().unwrap();
    assert!(active_children().is_empty());
    Passed
}

/// Numbers that look like any others, and are the same each time.
fn shuffled(seed: u64) -> impl Iterator<Item = usize> {
    let next = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(seed), next).skip(1).map(|state| (state >> 33) as usize)
}

fn fault_54_together_a_killed_child_leaves_no_grandchildren() -> Outcome {
    let house = house(Strategy::OneForOne);
    let mut before: Vec<_> = house.offices.iter().map(|(_, office)| family(&office.ask(1))).collect();
    let mut sums = vec![1; before.len()];
    for place in shuffled(24).map(|number| number % 4).take(12) {
        let (name, office) = &house.offices[place];
        assert!(run(&before[place]), "{before:?}");
        let killed = pid(&house.supervisor, name);
        let below = proc::descendants(killed);
        assert!(before[place][1..].iter().all(|pid| below.contains(pid)), "{before:?} {below:?}");
        kill(killed, NixSignal::SIGKILL);
        hear(&house.events, |event| is_ready_again(event, name));
        gone(&before[place]);
        gone(&below);
        // It begins anew, and the others have lost nothing.
        sums[place] = 0;
        for (other, (_, office)) in house.offices.iter().enumerate() {
            let answer = office.ask(10);
            sums[other] += 10;
            assert_eq!((answer.by_back_end, answer.by_bridge), (sums[other], sums[other]));
            assert_eq!(family(&answer) == before[other], other != place);
            before[other] = family(&answer);
        }
        assert_eq!(office.left[0].load(Ordering::SeqCst), 0);
    }
    house.supervisor.stop().unwrap();
    for family in &before {
        gone(family);
    }
    Passed
}

fn fault_54_together_a_grandchild_that_is_killed_is_its_parents_error() -> Outcome {
    let house = house(Strategy::OneForOne);
    for (name, office) in &house.offices {
        // The back end, its object, the child's own object.
        for victim in 1..4 {
            let before = family(&office.ask(5));
            kill(before[victim], NixSignal::SIGKILL);
            gone(&before[victim..=victim]);
            // The next request finds it dead, and is lost with the child, which says why.
            office.requests.send(&1).unwrap();
            let heard = hear(&house.events, |event| is_ready_again(event, name));
            let why = heard.iter().find_map(|event| match event {
                Event::Exited { child, cause, .. } if **child == **name => Some(cause.to_string()),
                _ => None,
            });
            let why = why.expect("its end is told");
            assert!(why.contains("returned an error") && why.contains("SIGKILL"), "{why}");
            gone(&before);
            let answer = office.ask(6);
            assert_eq!((answer.by_back_end, answer.by_bridge), (6, 6));
        }
    }
    house.supervisor.stop().unwrap();
    Passed
}

fn together_a_group_of_supervised_children_is_replaced_with_all_below() -> Outcome {
    let house = house(Strategy::OneForAll);
    let before: Vec<_> = house.offices.iter().map(|(_, office)| family(&office.ask(1))).collect();
    kill(before[1][0], NixSignal::SIGKILL);
    let last = &house.offices[house.offices.len() - 1].0;
    hear(&house.events, |event| is_ready_again(event, last));
    for (place, (_, office)) in house.offices.iter().enumerate() {
        gone(&before[place]);
        assert_eq!(office.ask(2).by_back_end, 2);
        // Those that weren't killed have taken their leave.
        assert_eq!(office.left[0].load(Ordering::SeqCst), u64::from(place != 1));
    }
    house.supervisor.stop().unwrap();
    Passed
}

fn together_supervised_children_that_take_their_leave() -> Outcome {
    let house = house(Strategy::OneForOne);
    for (name, office) in &house.offices {
        let before = family(&office.ask(3));
        house.supervisor.rolling_restart(name).unwrap();
        gone(&before);
        assert_eq!(office.left[0].load(Ordering::SeqCst), 1);
        assert_eq!(office.ask(4).by_bridge, 4);
    }
    house.supervisor.stop().unwrap();
    for (_, office) in &house.offices {
        assert_eq!(office.left[0].load(Ordering::SeqCst), 2);
        assert!(proc::eventually(|| office.requests.try_recv().unwrap().is_none()));
    }
    Passed
}
