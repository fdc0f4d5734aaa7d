//! Readiness, progress, and time that the supervisor itself has missed.

use super::*;
use crate::supervisor::core::Status;

fn by_target() -> Policy {
    Policy { ready_by_target: true, ready_timeout: SECS(2), ..policy() }
}

fn hangs() -> Policy {
    Policy { hang_timeout: Some(MS(800)), ..policy() }
}

#[test]
fn the_next_one_is_started_when_the_one_before_is_ready() {
    let mut world =
        World::not_begun(Strategy::OneForOne, often(), vec![by_target(), by_target()], Box::new(|| 0.5));
    world.begin();
    world.pass(SECS(1));
    assert_eq!((world.runs(), world.answer(START)), ("a1".to_owned(), "none yet".to_owned()));
    world.ready.insert(parse("a1"));
    world.pass(MS(50));
    assert_eq!((world.runs(), world.answer(START)), ("a1 b1".to_owned(), "none yet".to_owned()));
    world.ready.insert(parse("b1"));
    world.pass(MS(50));
    assert_eq!(world.answer(START), "done");
}

#[test]
fn one_that_is_not_ready_in_time_is_killed_then() {
    let mut world = World::not_begun(Strategy::OneForOne, often(), vec![by_target()], Box::new(|| 0.5));
    world.begin();
    world.pass(SECS(2) - Duration::from_nanos(1));
    assert_eq!(world.done(), "start a1");
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.done(), "kill a1");
    assert!(world.answer(START).contains("not ready after 2s"), "{}", world.answer(START));
}

#[test]
fn one_that_ends_before_it_is_ready_has_failed_whatever_its_code() {
    let mut world = World::not_begun(Strategy::OneForOne, often(), vec![by_target()], Box::new(|| 0.5));
    world.begin();
    world.exits("a1", ExitStatus::Exited(0));
    assert!(world.answer(START).contains("not ready yet when it exited with code 0"));
}

#[test]
fn one_that_is_not_ready_in_time_is_started_again_later() {
    let mut world = World::not_begun(Strategy::OneForOne, often(), vec![by_target()], Box::new(|| 0.5));
    world.ready.insert(parse("a1"));
    world.begin();
    world.pass(MS(1));
    world.exits("a1", KILLED);
    world.pass(MS(100) + SECS(2) + MS(200));
    assert_eq!(world.runs(), "a3");
    assert_eq!(world.waits(), [MS(100), MS(200)]);
}

#[test]
fn time_that_nobody_saw_is_not_counted_against_a_start() {
    let mut world = World::not_begun(Strategy::OneForOne, often(), vec![by_target()], Box::new(|| 0.5));
    world.begin();
    world.pass(SECS(1));
    // Stopped for an hour.
    world.now += SECS(3600);
    world.pass(MS(900));
    assert_eq!(world.done(), "start a1");
    world.pass(MS(200));
    assert_eq!(world.done(), "kill a1", "but it is bounded");
}

#[test]
fn a_loop_that_is_always_late_still_sees_the_end_of_a_start() {
    let mut world = World::not_begun(Strategy::OneForOne, often(), vec![by_target()], Box::new(|| 0.5));
    world.begin();
    for _ in 0..100 {
        world.now += MS(500);
        world.input(Input::Tick);
    }
    assert_eq!(world.done(), "start a1, kill a1");
}

#[test]
fn one_without_progress_is_killed_and_started_again() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![hangs()]);
    world.done();
    world.pass(MS(799));
    assert_eq!(world.done(), "");
    world.pass(MS(1));
    assert_eq!(world.done(), "kill a1");
    assert!(
        world.events.iter().any(|event| matches!(event, Event::Hung { timeout, .. } if *timeout == MS(800)))
    );
    world.pass(MS(100));
    assert_eq!(world.runs(), "a2");
}

#[test]
fn progress_as_often_as_asked_for_is_enough() {
    // However it falls between the looks.
    for offset in 0..100 {
        let mut world = World::new(Strategy::OneForOne, often(), vec![hangs()]);
        world.pass(MS(offset));
        for _ in 0..20 {
            world.progress.insert(parse("a1"));
            world.pass(MS(800));
        }
        assert_eq!(world.runs(), "a1", "{offset}");
        // The last one was 800 ms ago.
        world.done();
        world.pass(MS(200));
        assert!(world.done().starts_with("kill a1"), "{offset}");
    }
}

#[test]
fn time_that_nobody_saw_is_not_counted_against_progress() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![hangs()]);
    for _ in 0..20 {
        world.pass(MS(700));
        // Stopped for an hour, and the child with it.
        world.now += SECS(3600);
        world.pass(MS(50));
        world.progress.insert(parse("a1"));
        world.pass(MS(100));
    }
    world.done();
    world.pass(MS(900));
    assert!(world.done().starts_with("kill a1"));
}

#[test]
fn a_loop_that_is_always_late_sees_nobody_hang() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![hangs()]);
    for _ in 0..100 {
        world.now += MS(200);
        world.input(Input::Tick);
    }
    assert_eq!(world.runs(), "a1");
}

#[test]
fn one_that_hangs_while_it_is_being_stopped_is_stopped() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![Policy { grace: SECS(60), ..hangs() }]);
    world.deaf.insert(0);
    world.done();
    world.command(|token| Command::Stop(0, token));
    world.pass(SECS(59));
    assert_eq!(world.done(), "term a1");
    world.pass(SECS(1));
    assert_eq!(world.done(), "kill a1");
    assert_eq!(world.core.children()[0].status(), Status::Down);
}
