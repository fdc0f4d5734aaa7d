//! From the start of a back end to its end.

use std::time::Duration;

use valkka_multiprocess::{During, ProcessError, Signal, StopStep};

use crate::probe::{Command, Event, How, Made, Where, block_on, started, told};

fn step(name: &str) -> Event {
    Event::Step(name.to_owned())
}

#[test]
fn the_steps_of_a_life_come_in_order() {
    let process = started(Made::Talkative);
    assert!(process.wait_ready(Duration::from_secs(20)).unwrap());
    process.send(&Command::Echo(1)).unwrap();
    let stopped = process.stop().unwrap();
    assert_eq!((stopped.by, stopped.status.success()), (StopStep::EndedByItself, true));
    for expected in [step("pre_run"), step("async_pre"), Event::Echo(1), step("async_post"), step("post_run")]
    {
        assert_eq!(process.recv().unwrap(), expected);
    }
    assert!(process.recv().unwrap_err().ended().unwrap().is_clean());
}

#[test]
fn tasks_are_dropped_at_the_end() {
    let process = started(Made::Well);
    process.send(&Command::EchoInTask(1, 600_000)).unwrap();
    process.send(&Command::TellWhenCancelled(600_000)).unwrap();
    let waiting = std::thread::scope(|scope| {
        let front = process.front();
        let waiting = scope.spawn(|| front.request(|reply| Command::KeepInTask { reply }));
        process.request(|reply| Command::Square { number: 1, reply }).unwrap();
        while process.try_recv().unwrap().is_some() {}
        assert_eq!(process.stop().unwrap().by, StopStep::EndedByItself);
        waiting.join().unwrap()
    });
    let error = waiting.unwrap_err();
    // Its task may not have been begun when the stop was there.
    assert!(matches!(error, ProcessError::Unanswered | ProcessError::Ended { .. }), "{error}");
}

#[test]
fn tasks_with_time_finish() {
    let process = started(Made::Patient);
    process.send(&Command::EchoInTask(1, 60)).unwrap();
    process.send(&Command::TellWhenCancelled(30)).unwrap();
    assert_eq!(process.stop().unwrap().by, StopStep::EndedByItself);
    let mut seen: Vec<_> = std::iter::from_fn(|| process.recv().ok()).collect();
    let place = |event| seen.iter().position(|seen| *seen == event);
    assert!(place(Event::Cancelled) < place(Event::WentOn), "{seen:?}");
    assert!(place(Event::Echo(1)).is_some());
    assert_eq!(seen.drain(..).count(), 3);
}

#[test]
fn a_signal_ends_it_and_another_one_the_time_of_its_tasks() {
    let process = started(Made::Well);
    assert!(process.wait_ready(Duration::from_secs(20)).unwrap());
    process.child().unwrap().signal(Signal::TERM).unwrap();
    assert!(process.wait_stop().unwrap().is_clean());
    // In the midst of a handler.
    let process = started(Made::Well);
    process.send(&Command::Echo(1)).unwrap();
    process.send(&Command::Hang).unwrap();
    assert_eq!(process.recv().unwrap(), Event::Echo(1));
    process.child().unwrap().signal(Signal::TERM).unwrap();
    assert!(process.wait_stop().unwrap().is_clean());

    let process = started(Made::Patient);
    process.send(&Command::TellWhenCancelled(600_000)).unwrap();
    process.request(|reply| Command::Square { number: 1, reply }).unwrap();
    process.child().unwrap().signal(Signal::TERM).unwrap();
    assert_eq!(process.recv().unwrap(), Event::Cancelled);
    assert_eq!(process.wait_stop_timeout(Duration::from_millis(50)).unwrap(), None);
    process.child().unwrap().signal(Signal::TERM).unwrap();
    assert!(process.wait_stop().unwrap().is_clean());
}

#[test]
fn a_stop_escalates() {
    // A handler that waits for ever hides the request to stop; SIGTERM it doesn't.
    let process = started(Made::Well);
    process.send(&Command::Hang).unwrap();
    let stopped = process.stop_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!((stopped.by, stopped.status.success()), (StopStep::Terminated, true));
    // Tasks that have more time than whoever stops it.
    let process = started(Made::Patient);
    process.send(&Command::TellWhenCancelled(600_000)).unwrap();
    let stopped = process.stop_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!((stopped.by, stopped.status.success()), (StopStep::Terminated, true));
}

#[test]
fn a_blocked_thread_does_not_hold_up_the_end() {
    for made in [Made::Well, Made::Spread] {
        let process = started(made);
        process.send(&Command::BlockForEver).unwrap();
        let stopped = process.stop().unwrap();
        assert_eq!((stopped.by, stopped.status.success()), (StopStep::EndedByItself, true));
    }
}

#[test]
fn what_panics_when_it_is_dropped_does_not_hold_up_the_end() {
    for place in [Where::Task, Where::Background, Where::Handler] {
        let process = started(Made::Talkative);
        process.send(&Command::Echo(1)).unwrap();
        process.send(&Command::WaitAwkwardly(place)).unwrap();
        while process.recv().unwrap() != Event::Echo(1) {}
        process.child().unwrap().signal(Signal::TERM).unwrap();
        let ended = process.wait_stop().unwrap();
        assert!(ended.status.success(), "{place:?} {ended}");
        if let (Where::Handler, Some(failure)) = (place, &ended.failure) {
            assert!(failure.to_string().contains("it was dropped"), "{failure}");
            assert!(told(&process).to_string().contains("it was dropped"));
        } else {
            assert_eq!(process.recv().unwrap(), step("async_post"), "{place:?}");
        }
        assert_eq!(process.recv().unwrap(), step("post_run"));
    }
}

#[test]
fn it_ends_itself() {
    let process = started(Made::Talkative);
    process.send(&Command::Stop).unwrap();
    let _ = process.send(&Command::Echo(1));
    assert!(process.wait_stop().unwrap().is_clean());
    let seen: Vec<_> = std::iter::from_fn(|| process.recv().ok()).collect();
    assert_eq!(seen, ["pre_run", "async_pre", "async_post", "post_run"].map(step));
}

#[test]
fn it_ends_with_its_front_end() {
    let process = started(Made::Well);
    let child = process.child().unwrap();
    process.send(&Command::EchoInTask(1, 600_000)).unwrap();
    drop(process);
    assert!(child.try_wait().unwrap().unwrap().success());
}

#[test]
fn one_that_is_not_ready_tells_why() {
    for made in [Made::Fails(How::Error), Made::Fails(How::Panic), Made::WithoutRuntime] {
        let process = started(made);
        let failure = told(&process);
        assert_eq!(failure.during, During::PreRun);
        let error = process.recv().unwrap_err();
        assert_eq!(error.ended().unwrap().failure.as_ref(), Some(&failure), "{error}");
        assert!(process.wait_ready(Duration::from_secs(20)).unwrap_err().ended().is_some());
    }
    let process = started(Made::NeverReady);
    assert!(!process.wait_ready(Duration::from_millis(30)).unwrap());
    process.child().unwrap().signal(Signal::TERM).unwrap();
    assert!(process.wait_stop().unwrap().is_clean());
}

#[test]
fn a_bad_end_is_told() {
    let process = started(Made::BadEnd);
    process.stop().unwrap();
    let failure = told(&process);
    assert_eq!(failure.during, During::PostRun);
    assert_eq!(process.recv().unwrap_err().ended().unwrap().failure.as_ref(), Some(&failure));
}

#[test]
fn a_stop_by_a_task() {
    block_on(async {
        for made in [Made::Well, Made::Talkative, Made::Spread] {
            let process = started(made);
            process.send_async(&Command::Echo(1)).await.unwrap();
            let stopped = process.stop_async().await.unwrap();
            assert_eq!((stopped.by, stopped.status.success()), (StopStep::EndedByItself, true));
            let mut seen = Vec::new();
            let error = loop {
                match process.recv_async().await {
                    Ok(event) => seen.push(event),
                    Err(error) => break error,
                }
            };
            assert!(seen.contains(&Event::Echo(1)), "{seen:?}");
            assert!(error.ended().unwrap().is_clean(), "{error}");
            assert_eq!(process.stop_async().await.unwrap().by, StopStep::HadEnded);
        }
        let process = started(Made::Well);
        process.send_async(&Command::Hang).await.unwrap();
        let stopped = process.stop_timeout_async(Duration::from_millis(50)).await.unwrap();
        assert_eq!((stopped.by, stopped.status.success()), (StopStep::Terminated, true));
    });
}
