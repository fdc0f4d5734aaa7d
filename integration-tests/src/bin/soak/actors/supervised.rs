//! A supervisor of `pkit` with several children, which end in all ways, and are stopped and restarted by name meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use common_ipc::testing::Random;
use pkit::supervisor::{Backoff, ChildSpec, Event, Restart, Strategy, Supervisor, SupervisorError};

use crate::model::deed::{Deed, Order, carry_out};
use crate::model::excuse;
use crate::model::ledger::Ledger;
use crate::model::tally::Count;
use crate::stage::{Round, Stage, options};

const NAME: &str = "supervised";
const CHILDREN: [(&str, Deed); 4] = [
    ("stays", Deed::Sleep(3_600_000_000)),
    ("naps", Deed::Sleep(15_000)),
    ("exits", Deed::Exit(3)),
    ("panics", Deed::Panic),
];

pub(crate) fn run(stage: &Stage) {
    let (pulse, mut random) = (stage.pulse(NAME), stage.random(NAME));
    let Ok(ledger) = Ledger::new(CHILDREN.len()) else { return };
    while !stage.is_over() {
        pulse.at("start");
        let mut builder = Supervisor::builder()
            .strategy(if random.one_in(3) { Strategy::OneForAll } else { Strategy::OneForOne })
            .intensity(u32::MAX, Duration::from_secs(3_600));
        for child in CHILDREN {
            let Some(slot) = ledger.take() else { break };
            ledger.say(slot, 0, 0xffff);
            builder = builder.child(spec(stage, child, (ledger.marks(), slot, child.1)));
        }
        let events = builder.events();
        let supervisor = match builder.start() {
            Ok(supervisor) => supervisor,
            Err(error) => {
                stage.not_started(NAME, &error, is_explained(stage, &error));
                let told: Vec<_> = events.iter().collect();
                count(stage, told);
                ledger.settle(NAME, &stage.tally);
                continue;
            }
        };
        let round = Round::begin(stage);
        let mut told = Vec::new();
        while round.goes_on() {
            let (name, _) = CHILDREN[random.below(CHILDREN.len() as u64) as usize];
            act(stage, &supervisor, name, &mut random, &|about| pulse.at(about));
            told.extend(events.try_iter());
            std::thread::sleep(random.up_to(Duration::from_millis(10)));
        }
        pulse.at("stop");
        if let Err(error) = supervisor.stop() {
            stage.tally.check(false, || format!("{NAME}: stop: {error}"));
        }
        pulse.at("the last events");
        told.extend(events.iter());
        count(stage, told);
        pulse.at("wait for all");
        stage.wait_for_all_of(NAME);
        ledger.settle(NAME, &stage.tally);
    }
    pulse.over();
}

fn spec(stage: &Stage, (name, deed): (&str, Deed), order: Order) -> ChildSpec {
    let run = |order: Order| drop(carry_out(order));
    ChildSpec::in_zygote(name, &stage.zygote, run, order)
        .options(options(NAME))
        .grace(Duration::from_millis(300))
        .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(40)))
        .restart(if deed == Deed::Panic { Restart::Transient } else { Restart::Permanent })
}

fn act(stage: &Stage, supervisor: &Supervisor, name: &str, random: &mut Random, at: &dyn Fn(&str)) {
    let result = match random.below(12) {
        0 => {
            at("stop_child");
            supervisor.stop_child(name)
        }
        1 | 2 => {
            at("start_child");
            supervisor.start_child(name)
        }
        3 => {
            at("restart");
            supervisor.restart(name)
        }
        4 => {
            at("rolling_restart");
            supervisor.rolling_restart(name)
        }
        _ => {
            at("child");
            supervisor.child(name).map(drop)
        }
    };
    if let Err(error) = result {
        stage.tally.check(is_explained(stage, &error), || format!("{NAME}: {error}"));
    }
}

fn is_explained(stage: &Stage, error: &SupervisorError) -> bool {
    match error {
        // Its children end by themselves, and are killed.
        SupervisorError::Child { .. }
        | SupervisorError::NotReplaced { .. }
        | SupervisorError::Busy { .. }
        | SupervisorError::Interrupted { .. } => true,
        SupervisorError::Target { source, .. } => excuse::start(&stage.record, source),
        SupervisorError::Thread(_) => excuse::descriptors(&stage.record),
        _ => false,
    }
}

/// Each process that was started has ended once; more than that is never told.
fn count(stage: &Stage, events: Vec<Event>) {
    let mut running: BTreeMap<u32, u32> = BTreeMap::new();
    let mut lost = false;
    for event in &events {
        match event {
            Event::Started { pid, .. } => {
                stage.tally.one(Count::Started);
                *running.entry(*pid).or_default() += 1;
            }
            Event::Exited { pid, .. } => end(stage, &mut running, *pid, lost),
            Event::Stopped(stopped) => end(stage, &mut running, stopped.pid, lost),
            Event::StartFailed { error, .. } => {
                stage.tally.one(Count::NotStarted);
                stage.tally.check(excuse::start(&stage.record, error), || format!("{NAME}: {error}"));
            }
            Event::Lost { .. } => lost = true,
            _ => {}
        }
    }
    running.retain(|_, count| *count > 0);
    if !lost && !running.is_empty() {
        stage
            .tally
            .wrong(Count::Lost, || format!("{NAME}: the ends of {running:?} weren't told: {events:?}"));
    }
}

fn end(stage: &Stage, running: &mut BTreeMap<u32, u32>, pid: u32, lost: bool) {
    stage.tally.one(Count::Ended);
    match running.get_mut(&pid).filter(|count| **count > 0) {
        Some(count) => *count -= 1,
        None if lost => {}
        None => stage.tally.wrong(Count::Double, || format!("{NAME}: {pid} ended twice, or never began")),
    }
}
