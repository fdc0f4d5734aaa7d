//! When a child is started again, in which order, and what comes in between.

use super::*;
use crate::supervisor::core::Status;
use crate::supervisor::policy::Restart;

#[test]
fn waits_grow_and_begin_anew_after_a_healthy_time() {
    let backoff = Backoff::new(MS(100), MS(700)).jitter(0.0).reset_after(SECS(10));
    let mut world = World::new(Strategy::OneForOne, often(), vec![Policy { backoff, ..policy() }]);
    for (generation, wait) in (1..).zip([100, 200, 400, 700, 700]) {
        world.exits(&format!("a{generation}"), KILLED);
        world.done();
        world.pass(MS(wait) - Duration::from_nanos(1));
        assert_eq!(world.done(), "", "not a moment too early");
        world.pass(Duration::from_nanos(1));
        assert_eq!(world.done(), format!("start a{}", generation + 1));
    }
    world.pass(SECS(10) - Duration::from_nanos(1));
    world.exits("a6", KILLED);
    assert_eq!(world.waits().last(), Some(&MS(700)), "not healthy for long enough");
    world.pass(SECS(11));
    world.exits("a7", KILLED);
    assert_eq!(world.waits().last(), Some(&MS(100)));
}

#[test]
fn jitter_is_by_the_random_source_and_each_childs_own() {
    let mut randoms = [0.0, 1.0, 0.5, 0.25].into_iter();
    let random = Box::new(move || randoms.next().unwrap());
    let backoff = Backoff::new(MS(1000), SECS(8)).jitter(0.5).reset_after(SECS(1000));
    let policies = vec![Policy { backoff, ..policy() }; 2];
    let mut world = World::not_begun(Strategy::OneForOne, often(), policies, random);
    world.begin();
    for id in ["a1", "b1", "a2", "b2"] {
        world.exits(id, KILLED);
        world.pass(SECS(8));
    }
    assert_eq!(world.waits(), [MS(500), MS(1500), MS(2000), MS(1500)]);
}

#[test]
fn a_stop_in_its_backoff_is_the_end_of_a_restart() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![policy(); 2]);
    world.exits("a1", KILLED);
    world.pass(MS(99));
    let stop = world.command(|token| Command::Stop(0, token));
    assert_eq!(world.answer(stop), "done");
    world.pass(SECS(100));
    assert_eq!(world.runs(), "b1");
    assert_eq!(world.core.children()[0].status(), Status::Down);
    let start = world.command(|token| Command::Start(0, token));
    assert_eq!((world.answer(start), world.runs()), ("done".to_owned(), "a2 b1".to_owned()));
}

#[test]
fn a_start_in_its_backoff_comes_at_once_and_once() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![policy()]);
    world.exits("a1", KILLED);
    let start = world.command(|token| Command::Restart(0, token));
    assert_eq!((world.answer(start), world.runs()), ("done".to_owned(), "a2".to_owned()));
    world.done();
    world.pass(SECS(1));
    assert_eq!(world.done(), "");
    // The backoff goes on where it was, and its old timer is none for the new wait.
    world.exits("a2", KILLED);
    assert_eq!(world.waits(), [MS(100), MS(200)]);
}

#[test]
fn the_timer_of_a_wait_that_was_cut_short_is_not_the_next_ones() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![policy()]);
    world.exits("a1", KILLED);
    world.pass(MS(50));
    world.command(|token| Command::Start(0, token));
    world.exits("a2", KILLED);
    world.done();
    world.pass(MS(199));
    assert_eq!(world.done(), "");
    world.pass(MS(1));
    assert_eq!(world.done(), "start a3");
}

#[test]
fn one_that_is_stopped_before_it_is_there_is_told_when_it_is() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![policy()]);
    world.slow = true;
    let restart = world.command(|token| Command::Restart(0, token));
    let stop = world.command(|token| Command::Stop(0, token));
    assert_eq!(world.done(), "start a1, term a1, start a2");
    assert!(world.answer(restart).contains("stopped meanwhile"), "{}", world.answer(restart));
    assert_eq!(world.answer(stop), "none yet");
    world.input(Input::Started { id: parse("a2"), pid: 9 });
    assert_eq!((world.done(), world.answer(stop)), ("term a2".to_owned(), "done".to_owned()));
}

#[test]
fn a_group_does_not_wait_for_one_that_was_stopped_by_name() {
    let by_target = Policy { ready_by_target: true, ..policy() };
    let mut world =
        World::not_begun(Strategy::OneForAll, often(), vec![policy(), by_target, policy()], Box::new(|| 0.5));
    world.ready.insert(parse("b1"));
    world.begin();
    world.pass(MS(1));
    world.exits("a1", KILLED);
    world.pass(MS(100));
    assert_eq!(world.runs(), "a2 b2");
    world.deaf.insert(1);
    world.command(|token| Command::Stop(1, token));
    assert_eq!(world.runs(), "a2 b2 c2");
    world.pass(SECS(5));
    assert_eq!(world.runs(), "a2 c2");
}

#[test]
fn a_stop_of_all_in_a_backoff_is_the_end_of_a_restart() {
    use Strategy::{OneForAll, OneForOne, RestForOne};
    for (strategy, still_there) in [(OneForOne, 2), (OneForAll, 0), (RestForOne, 1)] {
        let mut world = World::new(strategy, often(), vec![policy(); 3]);
        world.exits("b1", KILLED);
        world.done();
        world.stop_all();
        world.pass(SECS(100));
        assert!(!world.done().contains("start"));
        let Some(Ended::Stopped { children }) = &world.ended else { panic!("{:?}", world.ended) };
        assert_eq!(children.len(), still_there, "{strategy:?} {children:?}");
    }
}

#[test]
fn stops_come_in_reverse_order_each_when_the_one_before_has_ended() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![policy(); 3]);
    world.deaf.insert(1);
    world.done();
    world.stop_all();
    assert_eq!(world.done(), "term c1, term b1");
    world.pass(SECS(5) - MS(1));
    assert_eq!(world.done(), "");
    world.pass(MS(1));
    assert_eq!(world.done(), "kill b1, term a1");
    let Some(Ended::Stopped { children }) = &world.ended else { panic!("{:?}", world.ended) };
    let took: Vec<_> = children.iter().map(|stopped| (&*stopped.child, stopped.by)).collect();
    use common_ipc::process::StopStep::{Killed, Terminated};
    assert_eq!(took, [("c", Terminated), ("b", Killed), ("a", Terminated)]);
}

#[test]
fn a_group_is_stopped_in_reverse_order_and_started_in_order() {
    let mut world = World::new(Strategy::OneForAll, often(), vec![policy(); 4]);
    world.done();
    world.exits("b1", KILLED);
    assert_eq!(world.done(), "term d1, term c1, term a1");
    world.pass(MS(99));
    assert_eq!(world.done(), "");
    world.pass(MS(1));
    assert_eq!(world.done(), "start a2, start b2, start c2, start d2");
}

#[test]
fn another_that_dies_while_its_group_is_stopped_is_no_further_failure() {
    let mut world = World::new(Strategy::OneForAll, intensity(1, SECS(5)), vec![policy(); 3]);
    world.deaf.insert(2);
    world.done();
    world.exits("b1", KILLED);
    assert_eq!(world.done(), "term c1");
    world.exits("a1", KILLED);
    world.exits("c1", KILLED);
    assert_eq!(world.done(), "", "there is nothing left to stop");
    world.pass(MS(100));
    assert_eq!((world.runs(), world.waits()), ("a2 b2 c2".to_owned(), vec![MS(100)]));
}

#[test]
fn one_that_dies_while_its_group_is_started_has_it_started_again() {
    let by_target = Policy { ready_by_target: true, ..policy() };
    let mut world =
        World::not_begun(Strategy::OneForAll, often(), vec![policy(), by_target, policy()], Box::new(|| 0.5));
    world.ready.insert(parse("b1"));
    world.begin();
    world.pass(MS(1));
    world.exits("c1", KILLED);
    world.pass(MS(100));
    assert_eq!(world.runs(), "a2 b2", "b2 isn't ready");
    world.done();
    world.exits("a2", KILLED);
    assert_eq!(world.done(), "term b2");
    world.ready.insert(parse("b3"));
    world.pass(MS(102));
    assert_eq!(world.done(), "start a3, start b3, start c2");
}

#[test]
fn the_rest_of_a_rest_is_one_group() {
    let mut world = World::new(Strategy::RestForOne, often(), vec![policy(); 4]);
    world.done();
    world.exits("c1", KILLED);
    world.exits("b1", KILLED);
    assert_eq!(world.done(), "term d1");
    world.pass(MS(100));
    assert_eq!(world.done(), "start b2, start c2, start d2");
}

#[test]
fn a_start_in_a_groups_backoff_comes_at_once_with_the_group() {
    let slow = Policy { backoff: Backoff::new(SECS(600), SECS(600)).jitter(0.0), ..policy() };
    for command in [Command::Start, Command::Restart] {
        for child in [0, 2] {
            let mut world = World::new(Strategy::OneForAll, often(), vec![slow.clone(); 3]);
            world.exits("b1", KILLED);
            assert_eq!(world.runs(), "");
            world.done();
            let start = world.command(|token| command(child, token));
            assert_eq!(world.done(), "start a2, start b2, start c2");
            assert_eq!(world.answer(start), "done");
            world.pass(SECS(601));
            assert_eq!(world.done(), "");
        }
    }
}

#[test]
fn a_wait_of_a_rest_is_not_that_of_one_before_it() {
    let slow = Policy { backoff: Backoff::new(SECS(600), SECS(600)).jitter(0.0), ..policy() };
    let policies = vec![policy(), slow.clone(), slow];
    let mut world = World::new(Strategy::RestForOne, often(), policies.clone());
    world.exits("b1", KILLED);
    world.exits("a1", KILLED);
    world.done();
    world.pass(MS(100));
    assert_eq!(world.done(), "start a2, start b2, start c2");
    // Nor is one that nobody waits for any more.
    let mut world = World::new(Strategy::RestForOne, often(), policies);
    world.exits("b1", KILLED);
    world.command(|token| Command::Stop(1, token));
    world.command(|token| Command::Stop(2, token));
    world.exits("a1", KILLED);
    world.done();
    world.pass(MS(100));
    assert_eq!((world.done(), world.waits()), ("start a2".to_owned(), vec![SECS(600), MS(100)]));
}

#[test]
fn timers_of_waits_that_were_cut_short_are_not_kept() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let slow = Policy { backoff: Backoff::new(SECS(600), SECS(600)), ..policy() };
        let mut world = World::new(strategy, often(), vec![slow]);
        for generation in 1..1000 {
            world.exits(&format!("a{generation}"), KILLED);
            world.now += MS(1);
            world.command(|token| Command::Start(0, token));
        }
        assert!(world.core.timers.len() < 100, "{}", world.core.timers.len());
    }
}

#[test]
fn one_that_was_stopped_by_name_stays_so_with_its_group() {
    let mut world = World::new(Strategy::OneForAll, often(), vec![policy(); 3]);
    world.command(|token| Command::Stop(1, token));
    assert_eq!(world.runs(), "a1 c1", "which is no failure");
    world.exits("a1", KILLED);
    world.pass(MS(100));
    assert_eq!(world.runs(), "a2 c2");
    world.command(|token| Command::Start(1, token));
    assert_eq!(world.runs(), "a2 b2 c2");
}

#[test]
fn a_restart_by_name_stops_then_starts() {
    let mut world = World::new(Strategy::OneForAll, often(), vec![policy(); 2]);
    world.deaf.insert(0);
    world.done();
    let restart = world.command(|token| Command::Restart(0, token));
    assert_eq!((world.answer(restart), world.done()), ("none yet".to_owned(), "term a1".to_owned()));
    world.pass(SECS(5));
    assert_eq!((world.answer(restart), world.done()), ("done".to_owned(), "kill a1, start a2".to_owned()));
    assert!(world.waits().is_empty());
}

#[test]
fn a_stop_comes_between_a_restart_and_its_start() {
    let mut world = World::new(Strategy::OneForOne, often(), vec![policy()]);
    world.deaf.insert(0);
    let restart = world.command(|token| Command::Restart(0, token));
    let stop = world.command(|token| Command::Stop(0, token));
    assert!(world.answer(restart).contains("stopped meanwhile"));
    world.pass(SECS(6));
    assert_eq!((world.answer(stop), world.runs()), ("done".to_owned(), String::new()));
}

#[test]
fn what_is_heard_of_an_old_process_changes_nothing() {
    let by_target = Policy { ready_by_target: true, hang_timeout: Some(SECS(1)), ..policy() };
    let mut world = World::not_begun(Strategy::OneForOne, often(), vec![by_target], Box::new(|| 0.5));
    world.begin();
    world.ready.insert(parse("a1"));
    world.pass(MS(1));
    world.exits("a1", KILLED);
    world.pass(MS(100));
    assert_eq!(world.runs(), "a2");
    let id = parse("a1");
    world.input(Input::Readiness { id, ready: true });
    assert_eq!(world.core.children()[0].status(), Status::Starting);
    for _ in 0..100 {
        world.input(Input::Exited { id, status: KILLED });
        world.input(Input::Progress { id, made: false });
        world.input(Input::Memory { id, resident: u64::MAX });
        world.input(Input::Started { id, pid: 1 });
        world.input(Input::Readiness { id, ready: false });
    }
    assert_eq!((world.runs(), world.waits().len()), ("a2".to_owned(), 1));
    // Nor does what was never started.
    world.input(Input::Exited { id: parse("a3"), status: KILLED });
    assert_eq!(world.core.children()[0].main_process(), Some((102, 2)));
}

#[test]
fn a_temporary_one_can_be_started_by_name() {
    let temporary = Policy { restart: Restart::Temporary, ..policy() };
    let mut world = World::new(Strategy::OneForOne, often(), vec![temporary]);
    world.exits("a1", KILLED);
    world.pass(SECS(1));
    assert_eq!(world.runs(), "");
    world.command(|token| Command::Start(0, token));
    assert_eq!((world.runs(), world.core.children()[0].restarts()), ("a2".to_owned(), 1));
}
