//! Rolling restarts and recycling.

use super::*;
use crate::supervisor::core::Status;

fn by_target() -> Policy {
    Policy { ready_by_target: true, ready_timeout: SECS(2), ..policy() }
}

/// All first processes are ready.
fn world(strategy: Strategy, policies: Vec<Policy>) -> World {
    let count = policies.len();
    let mut world = World::not_begun(strategy, often(), policies, Box::new(|| 0.5));
    world.ready.extend((0..count).map(|child| Id { child, generation: 1 }));
    world.begin();
    world.pass(MS(10));
    assert_eq!(world.answer(START), "done");
    world.done();
    world
}

fn roll(world: &mut World, child: usize) -> Token {
    world.command(|token| Command::Roll(child, token))
}

#[test]
fn the_new_one_is_ready_before_the_old_one_is_stopped() {
    let mut world = world(Strategy::OneForOne, vec![by_target()]);
    world.deaf.insert(0);
    let rolled = roll(&mut world, 0);
    world.pass(SECS(1));
    assert_eq!(world.done(), "start a2");
    assert_eq!(world.core.children()[0].main_process().unwrap().1, 1);
    world.ready.insert(parse("a2"));
    world.pass(MS(50));
    assert_eq!((world.done(), world.runs()), ("term a1".to_owned(), "a1 a2".to_owned()));
    assert_eq!(world.core.children()[0].main_process().unwrap().1, 2);
    assert_eq!(world.answer(rolled), "none yet");
    let again = roll(&mut world, 0);
    assert!(world.answer(again).contains("Try again"), "{}", world.answer(again));
    world.pass(SECS(5));
    assert_eq!((world.done(), world.answer(rolled)), ("kill a1".to_owned(), "done".to_owned()));
    assert_eq!(world.core.children()[0].status(), Status::Ready);
    assert!(world.waits().is_empty());
}

#[test]
fn the_old_one_stays_if_the_new_one_fails() {
    let mut world = world(Strategy::OneForAll, vec![by_target(), policy()]);
    let dies = roll(&mut world, 0);
    world.exits("a2", ExitStatus::Exited(3));
    assert!(world.answer(dies).contains("exited with code 3"), "{}", world.answer(dies));
    let late = roll(&mut world, 0);
    world.pass(SECS(2));
    assert!(world.answer(late).contains("not ready after 2s"), "{}", world.answer(late));
    world.broken.insert(0);
    let broken = roll(&mut world, 0);
    assert!(world.answer(broken).contains("no more processes"), "{}", world.answer(broken));
    assert_eq!((world.runs(), world.waits()), ("a1 b1".to_owned(), vec![]));
    assert_eq!(world.core.children()[0].status(), Status::Ready);
}

#[test]
fn the_new_one_takes_over_if_the_old_one_dies() {
    let mut world = world(Strategy::OneForOne, vec![by_target()]);
    let rolled = roll(&mut world, 0);
    world.exits("a1", KILLED);
    assert_eq!(world.core.children()[0].status(), Status::Starting);
    world.ready.insert(parse("a2"));
    world.pass(SECS(1));
    assert_eq!((world.answer(rolled), world.runs()), ("done".to_owned(), "a2".to_owned()));
    assert!(world.waits().is_empty(), "the restart was under way");
    // As after any failure when that one fails as well.
    let rolled = roll(&mut world, 0);
    world.exits("a2", KILLED);
    world.exits("a3", KILLED);
    assert!(world.answer(rolled).contains("was ended by SIGKILL"), "{}", world.answer(rolled));
    world.pass(MS(100));
    assert_eq!(world.runs(), "a4");
}

#[test]
fn the_new_one_may_die_while_the_old_one_is_stopped() {
    let mut world = world(Strategy::OneForOne, vec![policy()]);
    world.deaf.insert(0);
    let rolled = roll(&mut world, 0);
    world.exits("a2", KILLED);
    assert!(world.answer(rolled).contains("SIGKILL"));
    world.pass(SECS(4));
    assert_eq!(world.runs(), "a1", "its restart waits for the end of the old one");
    world.pass(SECS(1));
    assert_eq!(world.runs(), "a3");
}

#[test]
fn a_group_that_is_restarted_ends_a_rolling_restart() {
    let mut world = world(Strategy::OneForAll, vec![by_target(), policy()]);
    let rolled = roll(&mut world, 0);
    world.exits("b1", KILLED);
    assert!(world.answer(rolled).contains("stopped meanwhile"), "{}", world.answer(rolled));
    assert_eq!(world.done(), "start a2, term a2, term a1");
    let busy = roll(&mut world, 1);
    assert_eq!(world.answer(busy), "none yet", "it doesn't run: it is started with its group");
    world.ready.insert(parse("a3"));
    world.pass(MS(150));
    assert_eq!((world.runs(), world.answer(busy)), ("a3 b2".to_owned(), "done".to_owned()));
}

#[test]
fn stops_end_a_rolling_restart() {
    let mut world = world(Strategy::OneForOne, vec![by_target(), policy()]);
    let rolled = roll(&mut world, 0);
    let stop = world.command(|token| Command::Stop(0, token));
    assert!(world.answer(rolled).contains("stopped meanwhile"));
    assert_eq!((world.answer(stop), world.runs()), ("done".to_owned(), "b1".to_owned()));
    world.command(|token| Command::Start(0, token));
    world.ready.insert(parse("a3"));
    world.pass(MS(10));
    let rolled = roll(&mut world, 0);
    world.stop_all();
    assert!(world.answer(rolled).contains("has ended"));
    assert!(world.ended.is_some() && world.live.is_empty());
}

#[test]
fn all_are_replaced_one_after_another_those_that_run() {
    let mut world = world(Strategy::OneForOne, vec![policy(); 4]);
    world.command(|token| Command::Stop(2, token));
    world.deaf.insert(1);
    world.done();
    let rolled = world.command(Command::RollAll);
    assert_eq!(world.done(), "start a2, term a1, start b2, term b1");
    let again = world.command(Command::RollAll);
    assert!(world.answer(again).contains("child b can't be replaced now"), "{}", world.answer(again));
    world.pass(SECS(5));
    assert_eq!(
        (world.done(), world.answer(rolled)),
        ("kill b1, start d2, term d1".to_owned(), "done".to_owned())
    );
    world.broken.insert(1);
    let fails = world.command(Command::RollAll);
    assert!(world.answer(fails).starts_with("child b was not replaced"), "{}", world.answer(fails));
    // The others all the same.
    assert_eq!(world.runs(), "a3 b2 d3");
}

#[test]
fn one_that_is_being_started_is_as_good_as_replaced() {
    let slow = Policy { ready_by_target: true, ..policy() };
    let mut world = world(Strategy::OneForOne, vec![slow, policy()]);
    world.ready.insert(parse("a1"));
    world.pass(SECS(1));
    let restarted = world.command(|token| Command::Restart(0, token));
    world.done();
    let rolled = world.command(Command::RollAll);
    world.pass(SECS(1));
    assert_eq!(world.done(), "", "it waits for the first one");
    world.ready.insert(parse("a2"));
    world.pass(SECS(1));
    assert_eq!((world.answer(restarted), world.answer(rolled)), ("done".to_owned(), "done".to_owned()));
    assert_eq!(world.runs(), "a2 b2");
}

#[test]
fn an_old_process_is_stopped_then_started() {
    let ages = Policy { max_age: Some(SECS(60)), ..policy() };
    let mut world = world(Strategy::OneForAll, vec![ages, policy()]);
    // Half of the tenth that it may be longer, at random.
    world.pass(SECS(63) - MS(11));
    assert_eq!(world.done(), "");
    world.pass(MS(1));
    assert_eq!(world.done(), "term a1, start a2", "no sibling, and no backoff");
    world.pass(SECS(63));
    assert_eq!(world.done(), "term a2, start a3");
    assert!(world.waits().is_empty());
}

#[test]
fn a_large_process_is_replaced_overlapping_if_that_is_asked_for() {
    let grows = Policy { max_memory: Some(1000), recycle_overlapping: true, ..policy() };
    let mut world = world(Strategy::OneForOne, vec![grows]);
    world.resident.insert(parse("a1"), 1000);
    world.pass(SECS(5));
    assert_eq!(world.done(), "");
    world.resident.insert(parse("a1"), 1001);
    world.broken.insert(0);
    world.pass(SECS(10));
    assert_eq!((world.done(), world.runs()), ("start a2".to_owned(), "a1".to_owned()), "not again and again");
    world.broken.clear();
    world.pass(SECS(2));
    assert_eq!(world.done(), "start a3, term a1");
}

#[test]
fn nobody_is_recycled_while_a_group_is_started() {
    let ages = Policy { max_age: Some(SECS(3)), ..policy() };
    let slow = Policy { ready_timeout: SECS(30), ..by_target() };
    let mut world = world(Strategy::RestForOne, vec![ages, slow]);
    world.exits("b1", KILLED);
    world.pass(SECS(10));
    assert_eq!(world.runs(), "a1 b2");
    world.ready.insert(parse("b2"));
    world.pass(SECS(2));
    assert_eq!(world.runs(), "a2 b2", "but soon afterwards");
}
