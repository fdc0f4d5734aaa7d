//! Message processes from start to end, and again.

use std::time::Duration;

use common_ipc::process::{Launch, LaunchOptions, Signal};
use integration_tests::proc;
use valkka_multiprocess::{
    During, Execution, ExitStatus, MessageProcess, ProcessError, StartError, StopStep,
};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::Death;
use crate::message::ways::{Command, Event, HANDLED, Made, POST_RUN, PRE_RUN, Probe, all_ways, started};

scenarios![
    a_back_end_is_started_told_and_stopped,
    a_back_end_that_has_ended_is_started_again,
    a_second_start_of_a_back_end_is_an_error,
    without_a_start_a_front_end_says_so,
    a_stop_waits_for_commands_and_post_run,
    what_was_sent_before_the_end_is_received_after_it,
    a_request_to_stop_and_a_wait_for_it,
    a_request_to_stop_that_has_no_room_times_out,
    a_back_end_that_is_stuck_is_killed,
    a_stop_of_a_back_end_that_has_died_tells_how,
    a_stopped_back_end_is_stopped_all_the_same,
    a_back_end_ends_itself,
    a_dropped_message_process_leaves_nothing,
    a_dropped_message_process_with_a_busy_back_end_leaves_nothing,
    pre_run_that_fails_is_told,
    pre_run_that_dies_is_told,
    a_wait_for_readiness,
    post_run_that_fails_is_told,
    a_back_end_has_the_process_name_and_options,
    a_copy_of_a_front_end_in_a_child_is_of_no_use,
    the_exit_of_the_program_ends_back_ends_and_calls_post_run,
    clones_of_the_front_end_outlive_the_process,
    starts_and_ends_of_many_back_ends_leave_nothing,
];

fn a_back_end_is_started_told_and_stopped() -> Outcome {
    for watched in all_ways(Made::Well) {
        let process = &watched.process;
        process.start().unwrap();
        let pid = process.pid().unwrap();
        assert_eq!(process.request(|reply| Command::Pid { reply }).unwrap(), pid);
        assert_ne!(pid, std::process::id());
        assert_eq!(process.send(&Command::Number(7)).unwrap(), 2);
        assert_eq!(process.recv().unwrap(), Event::Number(7));
        assert_eq!((watched.add(3).unwrap(), watched.add(-5).unwrap()), (3, -2));
        let stopped = process.stop().unwrap();
        assert_eq!((stopped.by, stopped.status), (StopStep::EndedByItself, ExitStatus::Exited(0)));
        assert_eq!([PRE_RUN, POST_RUN, HANDLED].map(|place| watched.count(place)), [1, 1, 4]);
        assert!(!proc::runs(pid as i32) && !process.is_alive());
    }
    Passed
}

fn a_back_end_that_has_ended_is_started_again() -> Outcome {
    for watched in all_ways(Made::Well) {
        for round in 1..=3 {
            watched.process.start().unwrap();
            // As it was made: what it had counted is gone with the one before.
            assert_eq!(watched.add(5).unwrap(), 5);
            assert_eq!(watched.process.send(&Command::Die(Death::Kill)).unwrap(), 2);
            let error = watched.process.recv().unwrap_err();
            assert_eq!(error.ended().unwrap().status.signal(), Some(Signal::KILL), "{error}");
            assert_eq!(watched.count(PRE_RUN), round);
        }
        assert_eq!(watched.count(POST_RUN), 0);
    }
    Passed
}

fn a_second_start_of_a_back_end_is_an_error() -> Outcome {
    let watched = started(Made::Well);
    let pid = watched.process.pid();
    let error = watched.process.start().unwrap_err();
    assert!(matches!(error, ProcessError::Running { .. }), "{error}");
    assert_eq!(watched.process.pid(), pid);
    assert_eq!(watched.add(1).unwrap(), 1);
    Passed
}

fn without_a_start_a_front_end_says_so() -> Outcome {
    let process = MessageProcess::new("idle", Probe::new(Made::Well));
    let errors = [
        process.send(&Command::Number(1)).unwrap_err(),
        process.recv().unwrap_err(),
        process.request(|reply| Command::Pid { reply }).unwrap_err(),
        process.stop().unwrap_err(),
        process.wait_stop().unwrap_err(),
        process.pipe().unwrap_err(),
        process.child().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(&error, ProcessError::NotStarted { name } if name == "idle"), "{error}");
        assert_eq!(error.execution(), Execution::NotRun);
    }
    assert_eq!((process.pid(), process.to_string().as_str()), (None, "<Probe.idle>"));
    Passed
}

fn a_stop_waits_for_commands_and_post_run() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        watched.process.send(&Command::Sleep(50)).unwrap();
        for number in 0..100 {
            watched.process.send(&Command::Number(number)).unwrap();
        }
        watched.process.stop().unwrap();
        assert_eq!((watched.count(HANDLED), watched.count(POST_RUN)), (101, 1));
    }
    Passed
}

fn what_was_sent_before_the_end_is_received_after_it() -> Outcome {
    let watched = started(Made::Well);
    // More than has room on the way: whoever waits for the end takes it in.
    watched.process.send(&Command::Flood(100_000)).unwrap();
    watched.process.stop().unwrap();
    for number in 0..100_000 {
        assert_eq!(watched.process.recv().unwrap(), Event::Number(number));
    }
    assert_eq!(watched.process.recv().unwrap(), Event::Last);
    for _ in 0..2 {
        let error = watched.process.recv().unwrap_err();
        assert!(error.ended().unwrap().is_clean(), "{error}");
    }
    Passed
}

fn a_request_to_stop_and_a_wait_for_it() -> Outcome {
    let watched = started(Made::Well);
    assert!(watched.process.wait_stop_timeout(Duration::from_millis(20)).unwrap().is_none());
    watched.process.send(&Command::Number(1)).unwrap();
    watched.process.request_stop().unwrap();
    let ended = watched.process.wait_stop().unwrap();
    assert!(ended.is_clean() && ended.name == "probe", "{ended}");
    assert_eq!(watched.process.wait_stop().unwrap(), ended);
    assert_eq!(watched.process.try_recv().unwrap(), Some(Event::Number(1)));
    let error = watched.process.send(&Command::Number(2)).unwrap_err();
    assert!(error.ended().is_some() && error.execution() == Execution::NotRun, "{error}");
    Passed
}

fn a_request_to_stop_that_has_no_room_times_out() -> Outcome {
    let watched = started(Made::Well);
    assert_eq!(watched.add(1).unwrap(), 1);
    watched.process.child().unwrap().signal(Signal::STOP).unwrap();
    while watched.process.try_send(&Command::Number(1)).is_ok() {}
    let little = Duration::from_millis(5);
    // The request is shorter than any command: it may find room where those have none, but not again and again.
    let error = (0..10).find_map(|_| watched.process.request_stop_timeout(little).err()).unwrap();
    assert!(matches!(error, ProcessError::TimedOut { after, .. } if after == little), "{error}");
    watched.process.child().unwrap().signal(Signal::CONT).unwrap();
    match watched.process.request_stop_timeout(Duration::from_secs(20)) {
        // One of those before has reached it.
        Ok(()) | Err(ProcessError::Ended { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    assert!(watched.process.wait_stop().unwrap().is_clean());
    Passed
}

fn a_back_end_that_is_stuck_is_killed() -> Outcome {
    let watched = started(Made::Well);
    watched.process.send(&Command::Sleep(600_000)).unwrap();
    let stopped = watched.process.stop_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Killed, Some(Signal::KILL)));
    // One that is stuck for a while ends at the request of the second step.
    let watched = started(Made::Well);
    watched.process.send(&Command::Sleep(200)).unwrap();
    let stopped = watched.process.stop_timeout(Duration::from_millis(20)).unwrap();
    assert_eq!((stopped.by, stopped.status), (StopStep::Terminated, ExitStatus::Exited(0)));
    assert_eq!(watched.count(POST_RUN), 1);
    Passed
}

fn a_stop_of_a_back_end_that_has_died_tells_how() -> Outcome {
    let watched = started(Made::Well);
    watched.process.child().unwrap().kill().unwrap();
    watched.process.wait_stop().unwrap();
    let stopped = watched.process.stop().unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::HadEnded, Some(Signal::KILL)));
    Passed
}

fn a_stopped_back_end_is_stopped_all_the_same() -> Outcome {
    let watched = started(Made::Well);
    assert_eq!(watched.add(1).unwrap(), 1);
    watched.process.child().unwrap().signal(Signal::STOP).unwrap();
    let stopped = watched.process.stop_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!((stopped.by, stopped.status), (StopStep::Terminated, ExitStatus::Exited(0)));
    Passed
}

fn a_back_end_ends_itself() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        watched.process.send(&Command::Stop).unwrap();
        // It isn't handled any more.
        let _ = watched.process.send(&Command::Number(1));
        assert_eq!(watched.process.recv().unwrap(), Event::Last);
        assert!(watched.process.wait_stop().unwrap().is_clean());
        assert_eq!((watched.count(HANDLED), watched.count(POST_RUN)), (1, 1));
    }
    Passed
}

fn a_dropped_message_process_leaves_nothing() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        let pid = watched.process.pid().unwrap();
        let tally = watched.tally.clone();
        drop(watched);
        assert!(!proc::runs(pid as i32));
        assert_eq!(tally.get(POST_RUN).unwrap(), 1);
    }
    Passed
}

fn a_dropped_message_process_with_a_busy_back_end_leaves_nothing() -> Outcome {
    let watched = started(Made::Well);
    watched.process.send(&Command::Sleep(600_000)).unwrap();
    let pid = watched.process.pid().unwrap();
    drop(watched);
    assert!(!proc::runs(pid as i32));
    Passed
}

fn pre_run_that_fails_is_told() -> Outcome {
    for made in [Made::ByError, Made::ByPanic] {
        for watched in all_ways(made) {
            watched.process.start().unwrap();
            let ProcessError::Failed(failure) = watched.process.recv().unwrap_err() else {
                panic!("no failure")
            };
            assert_eq!(failure.during, During::PreRun);
            let error = watched.process.recv().unwrap_err();
            let ended = error.ended().unwrap();
            assert_eq!(ended.failure.as_ref(), Some(&*failure), "{ended}");
            assert!(!ended.is_clean());
            assert!(watched.process.wait_ready(Duration::from_secs(10)).unwrap_err().ended().is_some());
            assert_eq!((watched.count(HANDLED), watched.count(POST_RUN)), (0, 0));
        }
    }
    Passed
}

fn pre_run_that_dies_is_told() -> Outcome {
    for watched in all_ways(Made::By(Death::Abort)) {
        watched.process.start().unwrap();
        let error = watched.process.request(|reply| Command::Pid { reply }).unwrap_err();
        assert_eq!(error.ended().unwrap().status.signal(), Some(Signal::ABRT), "{error}");
        assert_eq!(error.execution(), Execution::NotRun);
    }
    Passed
}

fn a_wait_for_readiness() -> Outcome {
    for watched in all_ways(Made::Well) {
        watched.process.start().unwrap();
        assert!(watched.process.wait_ready(Duration::from_secs(20)).unwrap());
        assert_eq!(watched.count(PRE_RUN), 1);
    }
    let never = started(Made::Never);
    assert!(!never.process.wait_ready(Duration::from_millis(30)).unwrap());
    never.process.child().unwrap().kill().unwrap();
    assert!(never.process.wait_ready(Duration::from_secs(20)).unwrap_err().ended().is_some());
    Passed
}

fn post_run_that_fails_is_told() -> Outcome {
    let watched = started(Made::BadEnd);
    watched.process.stop().unwrap();
    let ProcessError::Failed(failure) = watched.process.recv().unwrap_err() else { panic!("no failure") };
    assert_eq!(failure.to_string(), "probe: post_run failed: a bad end");
    let error = watched.process.recv().unwrap_err();
    assert!(!error.ended().unwrap().is_clean(), "{error}");
    assert!(error.to_string().contains("a bad end"), "{error}");
    Passed
}

fn a_back_end_has_the_process_name_and_options() -> Outcome {
    let probe = Probe::new(Made::Well);
    let options = LaunchOptions::new().name("another").cwd("/proc");
    let process = MessageProcess::new("wall-camera", probe).launch_with(options);
    process.start().unwrap();
    let pid = process.request(|reply| Command::Pid { reply }).unwrap() as i32;
    assert_eq!(proc::name(pid), "wall-camera");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), std::path::Path::new("/proc"));
    let lost = MessageProcess::new("lost", Probe::new(Made::Well))
        .launch_with(LaunchOptions::new().cwd("/does/not/exist"));
    let error = lost.start().unwrap_err();
    assert!(
        matches!(&error, ProcessError::Start(start) if matches!(**start, StartError::Setup { .. })),
        "{error}"
    );
    assert!(matches!(lost.recv(), Err(ProcessError::NotStarted { .. })));
    Passed
}

fn a_copy_of_a_front_end_in_a_child_is_of_no_use() -> Outcome {
    let watched = started(Made::Well);
    let child = Launch::new(&LaunchOptions::new())
        .start(|| {
            let errors = [
                watched.process.send(&Command::Number(1)).unwrap_err(),
                watched.process.recv().unwrap_err(),
                watched.process.start().unwrap_err(),
                watched.process.stop().unwrap_err(),
            ];
            errors.iter().all(|error| matches!(error, ProcessError::WrongProcess(_)))
        })
        .unwrap();
    assert!(child.output::<bool>().unwrap());
    assert_eq!(watched.add(2).unwrap(), 2);
    Passed
}

fn the_exit_of_the_program_ends_back_ends_and_calls_post_run() -> Outcome {
    let probe = Probe::new(Made::Well);
    let tally = probe.tally();
    let program = Launch::new(&LaunchOptions::new())
        .start(move || {
            let process = MessageProcess::new("left", probe);
            process.start().unwrap();
            process.request(|reply| Command::Pid { reply }).unwrap();
            std::mem::forget(process);
        })
        .unwrap();
    program.output::<()>().unwrap();
    assert!(proc::eventually(|| tally.get(POST_RUN).unwrap() == 1));
    Passed
}

fn clones_of_the_front_end_outlive_the_process() -> Outcome {
    let watched = started(Made::Well);
    let front = watched.process.front().clone();
    assert_eq!(front.request(|reply| Command::Add { number: 4, reply }).unwrap(), 4);
    drop(watched);
    let error = front.send(&Command::Number(1)).unwrap_err();
    assert!(error.ended().unwrap().is_clean(), "{error}");
    assert_eq!(front.recv().unwrap(), Event::Last);
    Passed
}

fn starts_and_ends_of_many_back_ends_leave_nothing() -> Outcome {
    for round in 0..50 * u64::from(integration_tests::stress_factor()) {
        let watched = started(Made::Well);
        watched.process.send(&Command::Number(round)).unwrap();
        match round % 3 {
            0 => drop(watched.process.stop().unwrap()),
            1 => watched.process.child().unwrap().kill().unwrap(),
            _ => assert_eq!(watched.process.recv().unwrap(), Event::Number(round)),
        }
    }
    Passed
}
