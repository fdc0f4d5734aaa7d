//! Commands, events, requests, and what fails in them.

use std::thread;
use std::time::Duration;

use integration_tests::stress_factor;
use valkka_multiprocess::{Cause, During, Execution, Failure, MessageProcess, ProcessError};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Awkward, Death};
use crate::message::ways::{Command, Event, HANDLED, Made, POST_RUN, Probe, Watched, all_ways, started};

scenarios![
    commands_are_handled_in_order_with_requests_among_them,
    requests_by_many_threads_get_their_own_replies,
    a_request_whose_reply_is_dropped_is_told,
    a_request_is_answered_later,
    a_reply_that_is_kept_outlives_a_failure,
    a_reply_that_nobody_waits_for_does_nothing,
    fault_48_a_late_reply_is_dropped,
    a_reply_that_cannot_be_sent_is_told,
    a_failed_request_has_the_error,
    an_error_of_a_handler_is_told_with_its_command,
    a_panic_of_a_handler_is_told_with_its_command,
    a_handler_that_panics_each_time_does_not_end_the_back_end,
    a_report_does_not_end_the_handler,
    a_policy_to_die_ends_the_back_end,
    a_policy_that_panics_ends_the_back_end,
    commands_that_cannot_be_written_or_read,
    events_that_cannot_be_written_or_read,
    fault_13_requests_of_a_back_end_that_dies,
    fault_13_a_death_before_a_command_is_taken_is_not_run,
    fault_39_both_sides_send_a_lot_at_once,
    fault_39_each_side_takes_in_one_message_for_the_other,
    fault_39_ten_thousand_pings_before_the_first_pong,
    fault_40_messages_of_all_lengths,
    fault_42_senders_of_many_threads_do_not_mix,
    a_flood_of_events_waits_for_the_front_end,
    a_full_link_is_told,
];

fn commands_are_handled_in_order_with_requests_among_them() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        for round in 0..200 {
            watched.process.send(&Command::Number(round)).unwrap();
            if round % 10 == 9 {
                // It comes after all that was sent before: their events are there.
                assert_eq!(watched.add(1).unwrap(), round as i64 / 10 + 1);
                assert_eq!(watched.count(HANDLED), round + 1 + (round + 1) / 10);
            }
        }
        for round in 0..200 {
            assert_eq!(watched.process.recv().unwrap(), Event::Number(round));
        }
    }
    Passed
}

fn requests_by_many_threads_get_their_own_replies() -> Outcome {
    let watched = started(Made::Well);
    let front = watched.process.front();
    let rounds = 500 * stress_factor() as usize;
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut last = 0;
                for _ in 0..rounds {
                    let sum = front.request(|reply| Command::Add { number: 1, reply }).unwrap();
                    assert!(sum > last, "a sum of somebody else's");
                    last = sum;
                }
            });
        }
    });
    assert_eq!(watched.add(0).unwrap(), 8 * rounds as i64);
    Passed
}

fn a_request_whose_reply_is_dropped_is_told() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        let error = watched.process.request(|reply| Command::Drop { reply }).unwrap_err();
        assert!(matches!(error, ProcessError::Unanswered), "{error}");
        // Of a command that has no place for a reply.
        let error = watched.process.request::<u8>(|_| Command::Number(5)).unwrap_err();
        assert!(matches!(error, ProcessError::Unanswered), "{error}");
        assert_eq!(watched.process.recv().unwrap(), Event::Number(5));
        assert_eq!(watched.add(1).unwrap(), 1);
    }
    Passed
}

fn a_request_is_answered_later() -> Outcome {
    let watched = started(Made::Well);
    let front = watched.process.front();
    thread::scope(|scope| {
        let asking: Vec<_> =
            (0..4).map(|_| scope.spawn(|| front.request(|reply| Command::Keep { reply }))).collect();
        assert!(integration_tests::proc::eventually(|| watched.count(HANDLED) == 4));
        front.send(&Command::AnswerKept(9)).unwrap();
        for asked in asking {
            assert_eq!(asked.join().unwrap().unwrap(), 9);
        }
    });
    Passed
}

fn a_reply_that_is_kept_outlives_a_failure() -> Outcome {
    let watched = started(Made::Well);
    let front = watched.process.front();
    thread::scope(|scope| {
        let asking = scope.spawn(|| front.request(|reply| Command::KeepAndFail { reply }));
        // Who asked still waits, so all are told.
        assert!(told(&watched).to_string().contains("after it was kept"));
        front.send(&Command::AnswerKept(7)).unwrap();
        assert_eq!(asking.join().unwrap().unwrap(), 7);
    });
    Passed
}

fn a_reply_that_nobody_waits_for_does_nothing() -> Outcome {
    let watched = started(Made::Well);
    // A place for a reply that was taken out of its request.
    let mut taken = None;
    let error = watched
        .process
        .request(|reply| {
            taken = Some(reply);
            Command::Number(1)
        })
        .unwrap_err();
    assert!(matches!(error, ProcessError::Unanswered), "{error}");
    let reply = taken.unwrap();
    watched.process.send(&Command::Add { number: 4, reply }).unwrap();
    assert_eq!(watched.add(1).unwrap(), 5);
    Passed
}

fn fault_48_a_late_reply_is_dropped() -> Outcome {
    let watched = started(Made::Well);
    for round in 0..20 {
        let short = Duration::from_millis(1);
        let error = watched.process.request_timeout(short, |reply| Command::Keep { reply }).unwrap_err();
        assert!(matches!(error, ProcessError::TimedOut { .. }), "{error}");
        watched.process.send(&Command::AnswerKept(round)).unwrap();
        assert_eq!(watched.add(1).unwrap(), round as i64 + 1, "its own reply");
    }
    Passed
}

fn a_reply_that_cannot_be_sent_is_told() -> Outcome {
    let watched = started(Made::Well);
    let ask = |value| watched.process.request(|reply| Command::AnswerBy { value, reply });
    assert_eq!(ask(0).unwrap(), Awkward::Plain);
    // A debug build notices at the sender that it couldn't be read.
    let error = ask(1).unwrap_err();
    assert!(matches!(error, ProcessError::Message { .. } | ProcessError::Failed(_)), "{error}");
    for value in [2, 3] {
        let error = ask(value).unwrap_err();
        let ProcessError::Failed(failure) = error else { panic!("{error}") };
        assert_eq!(name_of(&failure), "AnswerBy");
    }
    assert_eq!(ask(0).unwrap(), Awkward::Plain);
    Passed
}

fn a_failed_request_has_the_error() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        let error = watched.process.request(|reply| Command::FailWith { reply }).unwrap_err();
        let ProcessError::Failed(failure) = &error else { panic!("{error}") };
        assert_eq!(name_of(failure), "FailWith");
        assert!(error.to_string().contains("No such file"), "{error}");
        assert_eq!(error.execution(), Execution::Ran);
        // Nobody else is told.
        assert_eq!(watched.process.recv_timeout(Duration::from_millis(20)).unwrap(), None);
    }
    Passed
}

fn name_of(failure: &Failure) -> &str {
    match &failure.during {
        During::Command { name, .. } => name,
        other => panic!("{other} is no command"),
    }
}

/// The failure that is told next.
fn told(watched: &Watched) -> Failure {
    match watched.process.recv() {
        Err(ProcessError::Failed(failure)) => *failure,
        other => panic!("{other:?} is no failure"),
    }
}

fn an_error_of_a_handler_is_told_with_its_command() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        watched.process.send(&Command::Number(1)).unwrap();
        let number = watched.process.send(&Command::Fail("as it was told".into())).unwrap();
        watched.process.send(&Command::Number(3)).unwrap();
        assert_eq!(watched.process.recv().unwrap(), Event::Number(1));
        let failure = told(&watched);
        assert_eq!(failure.during, During::Command { number, name: "Fail".into() });
        let name = watched.process.name();
        assert_eq!(failure.to_string(), format!("{name}: command 2 (Fail) failed: as it was told"));
        assert_eq!(watched.process.recv().unwrap(), Event::Number(3));
    }
    Passed
}

fn a_panic_of_a_handler_is_told_with_its_command() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        watched.process.send(&Command::Panic).unwrap();
        let failure = told(&watched);
        assert_eq!(name_of(&failure), "Panic");
        let Cause::Panicked(report) = &failure.cause else { panic!("{failure}") };
        assert_eq!(report.message, "in the handler");
        assert!(report.location.contains("message/ways.rs"), "{report}");
        assert_eq!(watched.add(1).unwrap(), 1);
    }
    Passed
}

fn a_handler_that_panics_each_time_does_not_end_the_back_end() -> Outcome {
    let watched = started(Made::Well);
    for round in 1..=200 {
        assert_eq!(watched.process.send(&Command::Panic).unwrap(), round);
        assert!(matches!(told(&watched).during, During::Command { number, .. } if number == round));
    }
    assert_eq!(watched.add(1).unwrap(), 1);
    Passed
}

fn a_report_does_not_end_the_handler() -> Outcome {
    let watched = started(Made::Delicate);
    watched.process.send(&Command::Report).unwrap();
    assert_eq!(told(&watched).to_string(), "probe: command 1 (Report) failed: only told");
    assert_eq!(watched.add(1).unwrap(), 1);
    Passed
}

fn a_policy_to_die_ends_the_back_end() -> Outcome {
    for command in [Command::Fail("the last".into()), Command::Panic] {
        for watched in all_ways(Made::Delicate) {
            watched.process.start().unwrap();
            watched.process.send(&command).unwrap();
            let failure = told(&watched);
            assert_eq!(watched.process.recv().unwrap(), Event::Last);
            let error = watched.process.recv().unwrap_err();
            assert_eq!(error.ended().unwrap().failure.as_ref(), Some(&failure));
            assert_eq!(watched.count(POST_RUN), 1);
            watched.process.start().unwrap();
            assert_eq!(watched.add(1).unwrap(), 1);
        }
    }
    Passed
}

fn a_policy_that_panics_ends_the_back_end() -> Outcome {
    let watched = started(Made::Undecided);
    watched.process.send(&Command::Fail("what now?".into())).unwrap();
    assert!(told(&watched).to_string().contains("what now?"));
    assert!(told(&watched).to_string().contains("undecided"));
    let ended = watched.process.wait_stop().unwrap();
    assert!(ended.to_string().contains("undecided"), "{ended}");
    Passed
}

fn commands_that_cannot_be_written_or_read() -> Outcome {
    let watched = started(Made::Well);
    let error = watched.process.send(&Command::Awkward(Awkward::CannotBeWritten)).unwrap_err();
    assert!(matches!(error, ProcessError::Message { .. }), "{error}");
    assert_eq!(error.execution(), Execution::NotRun);
    match watched.process.send(&Command::Awkward(Awkward::CannotBeRead)) {
        // A debug build notices here.
        Err(error) => assert!(error.to_string().contains("it won't be read"), "{error}"),
        Ok(_) => assert!(told(&watched).to_string().contains("it won't be read")),
    }
    assert_eq!(watched.count(HANDLED), 0);
    assert_eq!(watched.add(1).unwrap(), 1);
    let small = MessageProcess::new("small", Probe::new(Made::Well)).max_message(1000);
    small.start().unwrap();
    let error = small.send(&Command::Bytes(vec![0; 1001].into())).unwrap_err();
    assert!(matches!(error, ProcessError::Message { .. }), "{error}");
    assert_eq!(small.request(|reply| Command::Add { number: 1, reply }).unwrap(), 1);
    Passed
}

fn events_that_cannot_be_written_or_read() -> Outcome {
    let watched = started(Made::Well);
    // Whoever could read the command could write it as an event: the handler is where it is made.
    let error = watched.process.request(|reply| Command::AnswerBy { value: 2, reply }).unwrap_err();
    assert!(error.to_string().contains("it won't be written"), "{error}");
    let small = MessageProcess::new("small", Probe::new(Made::Well)).max_message(1000);
    small.start().unwrap();
    // The event has the same length as the command; a flood of what fits goes on.
    small.send(&Command::Bytes(vec![1; 900].into())).unwrap();
    assert_eq!(small.recv().unwrap(), Event::Bytes(vec![1; 900].into()));
    Passed
}

fn fault_13_requests_of_a_back_end_that_dies() -> Outcome {
    for death in [Death::Kill, Death::Abort, Death::Segfault, Death::StackOverflow, Death::Exit] {
        let watched = started(Made::Well);
        let front = watched.process.front();
        thread::scope(|scope| {
            let asking: Vec<_> =
                (0..4).map(|_| scope.spawn(|| front.request(|reply| Command::Keep { reply }))).collect();
            assert!(integration_tests::proc::eventually(|| watched.count(HANDLED) == 4));
            front.send(&Command::Die(death)).unwrap();
            for asked in asking {
                let error = asked.join().unwrap().unwrap_err();
                let status = &error.ended().unwrap().status;
                match death {
                    Death::Exit => assert!(status.code().is_some(), "{error}"),
                    _ => assert!(status.signal().is_some(), "{error}"),
                }
                assert_eq!(error.execution(), Execution::Unknown);
            }
        });
        let ended = watched.process.recv().unwrap_err();
        assert!(ended.ended().is_some(), "{ended}");
    }
    Passed
}

fn fault_13_a_death_before_a_command_is_taken_is_not_run() -> Outcome {
    let watched = started(Made::Well);
    let front = watched.process.front();
    thread::scope(|scope| {
        let busy = scope.spawn(|| front.request(|reply| Command::Keep { reply }));
        assert!(integration_tests::proc::eventually(|| watched.count(HANDLED) == 1));
        front.send(&Command::Sleep(600_000)).unwrap();
        assert!(integration_tests::proc::eventually(|| watched.count(HANDLED) == 2));
        let waiting = scope.spawn(|| front.request(|reply| Command::Add { number: 1, reply }));
        thread::sleep(Duration::from_millis(30));
        front.child().unwrap().kill().unwrap();
        assert_eq!(busy.join().unwrap().unwrap_err().execution(), Execution::Unknown);
        assert_eq!(waiting.join().unwrap().unwrap_err().execution(), Execution::NotRun);
    });
    Passed
}

fn fault_39_both_sides_send_a_lot_at_once() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        let long = vec![7; 8 << 20];
        // The second one is sent while the back end waits for room for the first one's event.
        for _ in 0..3 {
            watched.process.send(&Command::Bytes(long.clone().into())).unwrap();
        }
        for _ in 0..3 {
            assert!(watched.process.recv().unwrap() == Event::Bytes(long.clone().into()));
        }
    }
    Passed
}

fn fault_39_each_side_takes_in_one_message_for_the_other() -> Outcome {
    // One of the longest kind is what each side takes in: without that of the front end, the third one never leaves.
    let length = 8 << 20;
    let process = MessageProcess::new("tight", Probe::new(Made::Well)).max_message(length + 4096);
    process.start().unwrap();
    for number in 0..3 {
        process.send(&Command::Bytes(vec![number; length].into())).unwrap();
    }
    for number in 0..3 {
        assert!(process.recv().unwrap() == Event::Bytes(vec![number; length].into()));
    }
    Passed
}

fn fault_39_ten_thousand_pings_before_the_first_pong() -> Outcome {
    let watched = started(Made::Well);
    for number in 0..50_000 {
        watched.process.send(&Command::Number(number)).unwrap();
    }
    for number in 0..50_000 {
        assert_eq!(watched.process.recv().unwrap(), Event::Number(number));
    }
    Passed
}

fn fault_40_messages_of_all_lengths() -> Outcome {
    let max = 1 << 20;
    let process = MessageProcess::new("lengths", Probe::new(Made::Well)).max_message(max);
    process.start().unwrap();
    let mut longest = 0;
    for length in [0, 1, 4095, 4096, 65535, 65536, 65537, 262_144, 262_145, max - 100, max, max + 1] {
        match process.send(&Command::Bytes(vec![3; length].into())) {
            Ok(_) => {
                assert!(process.recv().unwrap() == Event::Bytes(vec![3; length].into()));
                longest = length;
            }
            Err(error) => assert!(matches!(error, ProcessError::Message { .. }) && length >= max, "{error}"),
        }
    }
    assert_eq!(longest, max - 100);
    Passed
}

fn fault_42_senders_of_many_threads_do_not_mix() -> Outcome {
    let watched = started(Made::Well);
    let front = watched.process.front();
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for _ in 0..20 {
                    front.send(&Command::Bytes(vec![thread; 200_000].into())).unwrap();
                }
            });
        }
        let mut counts = [0; 4];
        for _ in 0..80 {
            let Event::Bytes(bytes) = front.recv().unwrap() else { panic!("no bytes") };
            assert!(bytes.len() == 200_000 && bytes.iter().all(|byte| *byte == bytes[0]));
            counts[usize::from(bytes[0])] += 1;
        }
        assert_eq!(counts, [20; 4]);
    });
    Passed
}

fn a_flood_of_events_waits_for_the_front_end() -> Outcome {
    let watched = started(Made::Well);
    let before = integration_tests::proc::resident_kib();
    watched.process.send(&Command::Flood(2_000_000)).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert!(integration_tests::proc::resident_kib() < before + 20_000, "nobody reads for the front end");
    for number in 0..1000 {
        assert_eq!(watched.process.recv().unwrap(), Event::Number(number));
    }
    watched.process.child().unwrap().kill().unwrap();
    // What it had sent by then comes first.
    let error = loop {
        if let Err(error) = watched.process.recv() {
            break error;
        }
    };
    assert!(error.ended().is_some(), "{error}");
    Passed
}

fn a_full_link_is_told() -> Outcome {
    let watched = started(Made::Well);
    watched.process.send(&Command::Sleep(600_000)).unwrap();
    // From then on it takes nothing.
    assert!(integration_tests::proc::eventually(|| watched.count(HANDLED) == 1));
    // Until there isn't even room for the smallest.
    let fill = |command: &Command| loop {
        if let Err(error) = watched.process.try_send(command) {
            break error;
        }
    };
    fill(&Command::Bytes(vec![0; 1000].into()));
    let error = fill(&Command::Number(1));
    assert!(matches!(error, ProcessError::TimedOut { execution: Execution::NotRun, .. }), "{error}");
    let little = Duration::from_millis(5);
    let error = watched.process.send_timeout(&Command::Bytes(vec![0; 1000].into()), little).unwrap_err();
    assert!(matches!(error, ProcessError::TimedOut { after, .. } if after == little), "{error}");
    let error =
        watched.process.request_timeout(little, |reply| Command::Add { number: 1, reply }).unwrap_err();
    assert!(matches!(error, ProcessError::TimedOut { execution: Execution::NotRun, .. }), "{error}");
    watched.process.stop_timeout(little).unwrap();
    Passed
}
