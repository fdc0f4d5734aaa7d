//! How many failures are too many, and failures of starts.

use super::*;
use crate::supervisor::policy::Restart;

fn history(world: &World) -> Vec<Duration> {
    match &world.ended {
        Some(Ended::Failed { history, .. }) => history.iter().map(|failure| failure.at).collect(),
        other => panic!("{other:?}"),
    }
}

fn at_once() -> Policy {
    Policy { backoff: Backoff::new(MS(0), MS(0)), ..policy() }
}

/// The next process of the child is killed.
fn kill(world: &mut World, child: usize) {
    let id = *world.live.iter().find(|id| id.child == child).unwrap();
    world.exit(id, KILLED);
    world.pass(MS(0));
}

#[test]
fn so_many_are_allowed_and_one_more_is_the_end() {
    let mut world = World::new(Strategy::OneForOne, intensity(3, SECS(5)), vec![at_once(); 3]);
    for _ in 0..3 {
        kill(&mut world, 1);
        world.pass(SECS(1));
    }
    assert_eq!(world.runs(), "a1 b4 c1");
    world.done();
    kill(&mut world, 1);
    assert_eq!(world.done(), "term c1, term a1");
    assert_eq!(history(&world), [SECS(0), SECS(1), SECS(2), SECS(3)]);
    world.pass(SECS(1000));
    assert_eq!((world.done(), world.runs()), (String::new(), String::new()));
    let late = world.command(|token| Command::Start(1, token));
    assert!(world.answer(late).contains("has ended"));
}

#[test]
fn the_window_moves_on() {
    // As in OTP, one that is as old as the window still counts.
    for (apart, survives) in [(MS(1666), false), (MS(1667), true)] {
        let mut world = World::new(Strategy::OneForOne, intensity(3, SECS(5)), vec![at_once()]);
        for _ in 0..10 {
            if world.ended.is_none() {
                kill(&mut world, 0);
                world.pass(apart);
            }
        }
        assert_eq!(world.ended.is_none(), survives, "{apart:?}");
    }
}

#[test]
fn the_window_is_exact() {
    for (apart, survives) in [(SECS(5), false), (SECS(5) + Duration::from_nanos(1), true)] {
        let mut world = World::new(Strategy::OneForOne, intensity(1, SECS(5)), vec![at_once()]);
        kill(&mut world, 0);
        world.pass(apart);
        kill(&mut world, 0);
        assert_eq!(world.ended.is_none(), survives, "{apart:?}");
    }
}

#[test]
fn failures_of_all_children_count_together_and_those_without_a_restart_do_not() {
    let kinds = [Restart::Permanent, Restart::Temporary, Restart::Transient, Restart::Permanent];
    let policies = kinds.map(|restart| Policy { restart, ..at_once() }).to_vec();
    let mut world = World::new(Strategy::OneForOne, intensity(1, SECS(5)), policies);
    kill(&mut world, 1);
    world.exits("c1", ExitStatus::Exited(0));
    kill(&mut world, 0);
    assert!(world.ended.is_none());
    kill(&mut world, 3);
    assert_eq!(history(&world).len(), 2);
}

#[test]
fn failures_that_cannot_be_too_many_are_not_kept() {
    let mut world = World::new(Strategy::OneForOne, intensity(u32::MAX, SECS(600)), vec![at_once()]);
    for _ in 0..1000 {
        kill(&mut world, 0);
    }
    assert_eq!((world.core.failures.len(), world.waits().len()), (0, 1000));
}

#[test]
fn no_restart_may_be_allowed() {
    let mut world = World::new(Strategy::OneForAll, intensity(0, SECS(5)), vec![policy(); 2]);
    kill(&mut world, 0);
    assert_eq!(history(&world).len(), 1);
}

#[test]
fn a_restart_that_fails_is_a_failure_like_an_end() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let mut world = World::new(strategy, intensity(3, SECS(5)), vec![policy(); 2]);
        world.broken.insert(1);
        kill(&mut world, 1);
        world.pass(SECS(5));
        assert_eq!(world.waits(), [MS(100), MS(200), MS(400)]);
        assert_eq!(history(&world), [MS(0), MS(100), MS(300), MS(700)], "{strategy:?}");
        let Some(Ended::Failed { history, .. }) = &world.ended else { panic!() };
        assert!(history[1].to_string().contains("no more processes"), "{}", history[1]);
    }
}

#[test]
fn a_restart_that_fails_twice_succeeds_the_third_time() {
    let mut world = World::new(Strategy::RestForOne, intensity(3, SECS(5)), vec![policy(); 3]);
    world.broken.insert(1);
    world.exits("b1", KILLED);
    world.pass(MS(300));
    assert_eq!(world.runs(), "a1");
    world.broken.clear();
    world.pass(MS(400));
    assert_eq!(world.runs(), "a1 b4 c2");
}

#[test]
fn a_start_that_fails_stops_what_was_started_and_says_who() {
    let mut world = World::not_begun(Strategy::OneForOne, often(), vec![policy(); 4], Box::new(|| 0.5));
    world.broken.insert(2);
    world.deaf.insert(0);
    world.begin();
    assert_eq!(world.done(), "start a1, start b1, start c1, term b1, term a1");
    assert_eq!(world.answer(START), "none yet");
    world.pass(SECS(5));
    assert_eq!(world.done(), "kill a1");
    assert!(world.answer(START).starts_with("child c could not be started"), "{}", world.answer(START));
    assert!(world.ended.is_some());
}

#[test]
fn a_start_by_name_that_fails_is_told_and_tried_again() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![policy()]);
    world.command(|token| Command::Stop(0, token));
    world.broken.insert(0);
    let start = world.command(|token| Command::Start(0, token));
    assert!(world.answer(start).contains("no more processes"), "{}", world.answer(start));
    world.broken.clear();
    world.pass(MS(100));
    assert_eq!(world.runs(), "a3");
}

#[test]
fn nothing_is_tried_again_at_the_programs_exit() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![policy(); 3]);
    world.exiting = true;
    world.exits("b1", KILLED);
    world.done();
    world.pass(MS(100));
    assert_eq!(world.done(), "start b2", "the exit itself stops the others");
    world.exits("a1", TERMINATED);
    world.exits("c1", TERMINATED);
    assert!(matches!(&world.ended, Some(Ended::Stopped { children }) if children.len() == 2));
}

#[test]
fn ends_by_the_programs_exit_are_no_failures() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut world = World::new(strategy, intensity(1, SECS(1)), vec![policy(); 4]);
        world.slow = true;
        let restart = world.command(|token| Command::Restart(1, token));
        world.events.clear();
        world.done();
        for id in ["d1", "a1", "c1"] {
            world.input(Input::Exiting);
            world.exits(id, TERMINATED);
        }
        // It came in between.
        world.input(Input::Started { id: parse("b2"), pid: 9 });
        assert!(!world.done().contains("start") && world.waits().is_empty());
        assert_eq!(world.answer(restart), SupervisorError::Ended.to_string());
        assert!(matches!(&world.ended, Some(Ended::Stopped { children }) if children.len() == 4));
        assert!(world.events.iter().all(|event| matches!(event, Event::Stopped(_) | Event::Started { .. })));
    }
}

#[test]
fn an_error_that_was_returned_is_a_failure() {
    let transient = Policy { restart: Restart::Transient, ..at_once() };
    let mut world = World::new(Strategy::OneForOne, often(), vec![transient]);
    let id = *world.live.iter().next().unwrap();
    world.input(Input::Returned { id, error: "no such file".into() });
    world.exit(id, ExitStatus::Exited(0));
    world.pass(MS(0));
    assert_eq!(world.runs(), "a2");
    let failure = world.core.children()[0].last_failure().unwrap().to_string();
    assert!(failure.ends_with("a returned an error: no such file"), "{failure}");
    // Of a process that is gone it is no news.
    world.input(Input::Returned { id, error: "late".into() });
    world.exit(*world.live.iter().next().unwrap(), ExitStatus::Exited(0));
    assert_eq!(world.runs(), "", "that one had done its work");
}
