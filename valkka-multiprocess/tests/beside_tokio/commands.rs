//! Commands, tasks, and what fails in them.

use std::thread;
use std::time::Duration;

use valkka_multiprocess::{Cause, During, Execution, ProcessError};

use crate::probe::{Command, Event, How, Made, Where, block_on, made, started, told};

#[test]
fn commands_are_handled_in_order_and_tasks_beside_them() {
    let process = started(Made::Well);
    // The second one isn't begun before the first one's handler has returned.
    process.send(&Command::EchoAfter(1, 30)).unwrap();
    process.send(&Command::Echo(2)).unwrap();
    process.send(&Command::EchoInTask(4, 50)).unwrap();
    process.send(&Command::Echo(3)).unwrap();
    for number in 1..=4 {
        assert_eq!(process.recv().unwrap(), Event::Echo(number));
    }
    process.stop().unwrap();
}

#[test]
fn a_thousand_tasks_run_at_once() {
    let process = started(Made::Well);
    for number in 0..1000 {
        process.send(&Command::EchoInTask(number, 20)).unwrap();
    }
    let mut seen: Vec<u64> = (0..1000)
        .map(|_| match process.recv().unwrap() {
            Event::Echo(number) => number,
            other => panic!("{other:?}"),
        })
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..1000));
    process.stop().unwrap();
}

#[test]
fn a_thousand_requests_answered_by_tasks() {
    block_on(async {
        let process = started(Made::Well);
        let front = process.front().clone();
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..1000 {
            let front = front.clone();
            requests.spawn(async move {
                let milliseconds = number % 7;
                let square = |reply| Command::SquareInTask { number, milliseconds, reply };
                assert_eq!(front.request_async(square).await.unwrap(), number * number);
            });
        }
        requests.join_all().await;
        process.stop_async().await.unwrap();
    });
}

#[test]
fn requests_by_threads() {
    let process = started(Made::Well);
    thread::scope(|scope| {
        for thread in 0..4 {
            let front = process.front();
            scope.spawn(move || {
                for number in 0..500 {
                    let number = thread * 1000 + number;
                    let square = front.request(|reply| Command::Square { number, reply }).unwrap();
                    assert_eq!(square, number * number);
                }
            });
        }
    });
    process.stop().unwrap();
}

#[test]
fn an_error_is_told_with_its_command() {
    let process = started(Made::Well);
    for (place, how) in
        [Where::Handler, Where::Task].map(|place| [(place, How::Error), (place, How::Panic)]).concat()
    {
        let number = process.send(&Command::End(place, how)).unwrap();
        let failure = told(&process);
        assert_eq!(failure.during, During::Command { number, name: "End".into() }, "{place:?} {how:?}");
        match failure.cause {
            Cause::Error(error) => assert_eq!(error.message(), "as it was told"),
            Cause::Panicked(report) => {
                assert_eq!((how, &*report.message), (How::Panic, "as it was told"));
                assert!(report.location.contains("probe.rs"), "{report}");
            }
        }
        // It goes on.
        process.send(&Command::Echo(number)).unwrap();
        assert_eq!(process.recv().unwrap(), Event::Echo(number));
    }
    process.stop().unwrap();
}

#[test]
fn an_error_in_the_background_belongs_to_no_command() {
    let process = started(Made::Well);
    for how in [How::Error, How::Panic] {
        process.send(&Command::End(Where::Background, how)).unwrap();
        assert_eq!(told(&process).during, During::Task);
    }
    process.send(&Command::Report).unwrap();
    assert_eq!(told(&process).to_string(), "probe: command 3 (Report) failed: only told");
    process.stop().unwrap();
}

#[test]
fn an_error_is_that_of_the_request_whose_reply_was_dropped() {
    let process = started(Made::Well);
    for place in [Where::Handler, Where::Task] {
        for how in [How::Error, How::Panic] {
            let error = process.request(|reply| Command::EndRequest(place, how, reply)).unwrap_err();
            let ProcessError::Failed(failure) = &error else { panic!("{place:?} {how:?}: {error}") };
            assert!(failure.to_string().contains("as it was told"), "{failure}");
            assert_eq!(error.execution(), Execution::Ran);
        }
    }
    // Nobody else was told.
    assert_eq!(process.recv_timeout(Duration::from_millis(20)).unwrap(), None);
    let error = process.request(|reply| Command::DropInTask { reply }).unwrap_err();
    assert!(matches!(error, ProcessError::Unanswered), "{error}");
    let error = process.request::<u64>(|_| Command::Echo(5)).unwrap_err();
    assert!(matches!(error, ProcessError::Unanswered), "{error}");
    assert_eq!(process.recv().unwrap(), Event::Echo(5));
    process.stop().unwrap();
}

#[test]
fn a_policy_to_die_ends_the_back_end() {
    for place in [Where::Handler, Where::Task, Where::Background] {
        let process = started(Made::Delicate);
        process.send(&Command::End(place, How::Error)).unwrap();
        let failure = told(&process);
        let error = process.recv().unwrap_err();
        assert_eq!(error.ended().unwrap().failure.as_ref(), Some(&failure), "{place:?}");
    }
}

#[test]
fn a_command_that_cannot_be_read_is_told() {
    let process = started(Made::Well);
    match process.send(&Command::Unreadable(crate::probe::Unreadable)) {
        // A debug build notices here.
        Err(error) => assert!(error.to_string().contains("it won't be read"), "{error}"),
        Ok(_) => assert!(told(&process).to_string().contains("it won't be read")),
    }
    assert_eq!(process.request(|reply| Command::Square { number: 3, reply }).unwrap(), 9);
    process.stop().unwrap();
}

#[test]
fn a_flood_of_commands_leaves_time_for_tasks() {
    let process = started(Made::Well);
    process.send(&Command::EchoInTask(u64::MAX, 1)).unwrap();
    for number in 0..20_000 {
        process.send(&Command::Echo(number)).unwrap();
    }
    let (mut next, mut of_task) = (0, None);
    for _ in 0..=20_000 {
        match process.recv().unwrap() {
            Event::Echo(u64::MAX) => of_task = Some(next),
            Event::Echo(number) => {
                assert_eq!(number, next);
                next += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(of_task.unwrap() < 20_000);
    assert!(process.request(|reply| Command::Ticks { reply }).unwrap() > 3);
    process.stop().unwrap();
}

#[test]
fn fault_13_requests_of_a_back_end_that_is_killed() {
    block_on(async {
        let process = started(Made::Well);
        let front = process.front().clone();
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let front = front.clone();
            requests.spawn(async move {
                front.request_async(|reply| Command::KeepInTask { reply }).await.unwrap_err()
            });
        }
        // They are sent in this turn; what comes after them all is handled after them.
        tokio::task::yield_now().await;
        front.request_async(|reply| Command::Square { number: 1, reply }).await.unwrap();
        front.child().unwrap().kill().unwrap();
        for error in requests.join_all().await {
            assert!(error.ended().is_some(), "{error}");
            assert_eq!(error.execution(), Execution::Unknown);
        }
        assert!(front.recv_async().await.unwrap_err().ended().is_some());
        assert_eq!(front.send_async(&Command::Echo(1)).await.unwrap_err().execution(), Execution::NotRun);
        process.start().unwrap();
        assert_eq!(front.request_async(|reply| Command::Square { number: 4, reply }).await.unwrap(), 16);
        process.stop_async().await.unwrap();
    });
}

#[test]
fn before_its_start_there_is_nobody() {
    block_on(async {
        let process = made(Made::Well);
        let error = process.send_async(&Command::Echo(1)).await.unwrap_err();
        assert!(matches!(error, ProcessError::NotStarted { .. }), "{error}");
        assert!(matches!(process.stop_async().await, Err(ProcessError::NotStarted { .. })));
    });
}
