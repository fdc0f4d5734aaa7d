//! Whatever happens in whatever order: what always holds.

use proptest::prelude::{Just, ProptestConfig, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Choice;

use super::*;
use crate::supervisor::core::Status;
use crate::supervisor::policy::Restart;

#[derive(Debug, Clone)]
enum Step {
    /// The n-th of the processes that live ends.
    Exit(usize, bool),
    Ready(usize),
    Progress(usize),
    Grow(usize),
    Start(usize),
    Stop(usize),
    Restart(usize),
    Roll(usize),
    RollAll,
    Break(usize, bool),
    Deaf(usize, bool),
    Pass(u64),
    Sleep(u64),
    /// Something of a process that was.
    Stale(usize, u64),
    StopAll,
}

const CHILDREN: usize = 4;

fn step() -> impl Choice<Value = Step> {
    let child = 0..CHILDREN;
    prop_oneof![
        6 => (any::<usize>(), any::<bool>()).prop_map(|(which, normal)| Step::Exit(which, normal)),
        6 => any::<usize>().prop_map(Step::Ready),
        2 => any::<usize>().prop_map(Step::Progress),
        1 => any::<usize>().prop_map(Step::Grow),
        2 => child.clone().prop_map(Step::Start),
        2 => child.clone().prop_map(Step::Stop),
        2 => child.clone().prop_map(Step::Restart),
        3 => child.clone().prop_map(Step::Roll),
        1 => Just(Step::RollAll),
        1 => (child.clone(), any::<bool>()).prop_map(|(child, on)| Step::Break(child, on)),
        1 => (child.clone(), any::<bool>()).prop_map(|(child, on)| Step::Deaf(child, on)),
        8 => (0..400u64).prop_map(Step::Pass),
        1 => (0..9000u64).prop_map(Step::Sleep),
        1 => (child, 0..9u64).prop_map(|(child, generation)| Step::Stale(child, generation)),
        1 => Just(Step::StopAll),
    ]
}

fn policies(kinds: &[(u8, u8)]) -> Vec<Policy> {
    let policy = |&(kind, extras): &(u8, u8)| Policy {
        restart: [Restart::Permanent, Restart::Transient, Restart::Temporary][usize::from(kind) % 3],
        ready_by_target: extras & 1 != 0,
        ready_timeout: MS(300),
        grace: MS(200),
        hang_timeout: (extras & 2 != 0).then_some(MS(400)),
        max_age: (extras & 4 != 0).then_some(MS(700)),
        max_memory: (extras & 8 != 0).then_some(10),
        recycle_overlapping: extras & 16 != 0,
        ..policy()
    };
    kinds.iter().map(policy).collect()
}

fn play(world: &mut World, step: &Step) {
    let nth = |world: &World, which: usize| {
        let count = world.live.len().max(1);
        world.live.iter().nth(which % count).copied()
    };
    match *step {
        Step::Exit(which, normal) => {
            let status = if normal { ExitStatus::Exited(0) } else { KILLED };
            if let Some(id) = nth(world, which) {
                world.exit(id, status);
            }
        }
        Step::Ready(which) => world.ready.extend(nth(world, which)),
        Step::Progress(which) => world.progress.extend(nth(world, which)),
        Step::Grow(which) => world.resident.extend(nth(world, which).map(|id| (id, 11))),
        Step::Start(child) => {
            world.command(|token| Command::Start(child, token));
        }
        Step::Stop(child) => {
            world.command(|token| Command::Stop(child, token));
        }
        Step::Restart(child) => {
            world.command(|token| Command::Restart(child, token));
        }
        Step::Roll(child) => {
            world.command(|token| Command::Roll(child, token));
        }
        Step::RollAll => {
            world.command(Command::RollAll);
        }
        Step::Break(child, true) => world.broken.extend([child]),
        Step::Break(child, false) => world.broken.retain(|broken| *broken != child),
        Step::Deaf(child, on) => drop(if on { world.deaf.insert(child) } else { world.deaf.remove(&child) }),
        Step::Pass(time) => world.pass(MS(time)),
        Step::Sleep(time) => world.now += MS(time),
        Step::Stale(child, generation) => {
            let id = Id { child, generation };
            if !world.live.contains(&id) {
                world.input(Input::Exited { id, status: KILLED });
                world.input(Input::Readiness { id, ready: true });
                world.input(Input::Started { id, pid: 1 });
            }
        }
        Step::StopAll => world.stop_all(),
    }
}

/// What holds at any time.
fn check(world: &World, rolling: bool) {
    for child in 0..CHILDREN {
        let live = world.live.iter().filter(|id| id.child == child).count();
        assert!(live <= if rolling { 2 } else { 1 }, "{}", world.runs());
        // The core knows each of them.
        let known = &world.core.children()[child];
        assert!(world.live.iter().filter(|id| id.child == child).all(|id| known.slot_of(*id).is_some()));
    }
    if world.ended.is_some() {
        assert!(world.live.is_empty(), "{}", world.runs());
    }
}

/// Time passes in which every process does as it should.
fn settle(world: &mut World, rounds: usize) {
    for _ in 0..rounds {
        let live = world.live.clone();
        world.ready.extend(&live);
        world.progress.extend(&live);
        world.pass(MS(100));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_always_holds(
        strategy in 0..3usize,
        restarts in prop_oneof![Just(3u32), Just(u32::MAX)],
        kinds in proptest::collection::vec((any::<u8>(), any::<u8>()), CHILDREN),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne][strategy];
        let policies = policies(&kinds);
        let overlaps = policies.iter().any(|policy| policy.recycle_overlapping);
        let rolling = overlaps || steps.iter().any(|step| matches!(step, Step::Roll(_) | Step::RollAll));
        let mut world =
            World::not_begun(strategy, intensity(restarts, SECS(5)), policies, Box::new(|| 0.5));
        world.begin();
        let mut stopped = false;
        for step in &steps {
            play(&mut world, step);
            check(&world, rolling);
            if stopped {
                prop_assert!(!world.done().contains("start"));
            }
            let failed = world.events.iter().any(|event| matches!(event, Event::Failed { .. }));
            stopped |= failed || matches!(step, Step::StopAll);
            world.trace.clear();
        }
        // Everybody is answered, and everything ends, in bounded time.
        world.stop_all();
        world.pass(SECS(10));
        prop_assert!(world.ended.is_some(), "{}", world.runs());
        prop_assert_eq!(world.answers.len() as u64, world.tokens + 1);
    }

    /// When nothing more happens all come to rest: those that are to run do, those that were stopped by name don't.
    #[test]
    fn all_come_to_rest(
        strategy in 0..3usize,
        kinds in proptest::collection::vec((any::<u8>(), any::<u8>()), CHILDREN),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne][strategy];
        // Those that are old would be replaced for ever.
        let kinds: Vec<_> = kinds.iter().map(|(kind, extras)| (*kind, extras & !4)).collect();
        let policies = policies(&kinds);
        let mut world = World::not_begun(strategy, often(), policies.clone(), Box::new(|| 0.5));
        world.begin();
        // A start of the supervisor that fails is another matter.
        settle(&mut world, 20);
        prop_assert_eq!(world.answer(START), "done");
        // By name; `None` where that depends.
        let mut stopped = [Some(false); CHILDREN];
        for step in steps.iter().filter(|step| !matches!(step, Step::StopAll)) {
            play(&mut world, step);
            match *step {
                Step::Stop(child) => stopped[child] = Some(true),
                Step::Start(child) | Step::Restart(child) => stopped[child] = Some(false),
                // One that is still being stopped isn't replaced.
                Step::Roll(child) if stopped[child] == Some(true) => stopped[child] = None,
                _ => {}
            }
        }
        world.broken.clear();
        world.deaf.clear();
        world.resident.clear();
        settle(&mut world, 700);
        prop_assert_eq!(world.answers.len() as u64, world.tokens + 1);
        for (child, policy) in policies.iter().enumerate() {
            let status = world.core.children()[child].status();
            let live = world.live.iter().filter(|id| id.child == child).count();
            prop_assert!((status, live) == (Status::Ready, 1) || (status, live) == (Status::Down, 0));
            let runs = status == Status::Ready;
            prop_assert!(!(stopped[child] == Some(true) && runs), "{child} was stopped: {}", world.runs());
            let is_to_run = policy.restart == Restart::Permanent && stopped[child] == Some(false);
            prop_assert!(runs || !is_to_run, "{child} is to run: {}", world.runs());
        }
    }

    /// The first starts come in order, and each waits for the readiness of those before it.
    #[test]
    fn starts_are_in_order(order in proptest::collection::vec(0..CHILDREN, 0..12)) {
        let by_target = Policy { ready_by_target: true, ..policy() };
        let policies = vec![by_target; CHILDREN];
        let mut world = World::not_begun(Strategy::OneForAll, often(), policies, Box::new(|| 0.5));
        world.begin();
        let mut said = BTreeSet::new();
        for child in order {
            said.insert(child);
            world.ready.insert(Id { child, generation: 1 });
            world.pass(MS(60) * CHILDREN as u32);
            let in_a_row = (0..CHILDREN).take_while(|child| said.contains(child)).count();
            prop_assert_eq!(world.live.len(), (in_a_row + 1).min(CHILDREN));
        }
    }
}
