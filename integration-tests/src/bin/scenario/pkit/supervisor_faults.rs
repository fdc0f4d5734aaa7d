//! The supervisor when it can't have its way: storms of failures, children that never get ready, that hang, that don't
//! stop; and the supervisor's own troubles.

use std::thread;
use std::time::Duration;

use common_ipc::link::Queue;
use common_ipc::process::{LaunchOptions, Signal, StopStep, active_children};
use integration_tests::{proc, raw};
use pkit::supervisor::{
    Backoff, Cause, ChildSpec, Ended, Event, Restart, Status, Supervisor, SupervisorError,
};

use crate::Outcome::{self, Passed};
use crate::pkit::supervisor::{builder, child, hear, is_ready_again, kill, pid};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    fault_07_a_supervisor_is_wrong_process_in_a_fork,
    fault_24_a_handle_of_a_supervisor_outlives_restarts,
    fault_25_too_many_failures_are_the_end,
    fault_25_a_stop_in_its_backoff_is_final,
    fault_26_a_child_that_is_not_ready_in_time_is_an_error_of_its_supervisors_start,
    fault_26_a_child_that_ends_before_it_is_ready_is_an_error_of_its_supervisors_start,
    fault_26_a_child_that_cannot_be_set_up_is_an_error_of_its_supervisors_start,
    fault_34_a_supervised_child_that_ignores_sigterm_is_killed_after_its_grace,
    a_child_in_an_endless_loop_is_found,
    a_stopped_supervisor_takes_nobody_for_hung,
    a_dropped_supervisor_stops_its_children,
    what_cannot_be_supervised_is_said,
);

const LONG: Duration = Duration::from_secs(600);

/// Gets on with its work for ever.
fn serve() {
    loop {
        pkit::progress();
        thread::sleep(Duration::from_millis(5));
    }
}

fn fault_07_a_supervisor_is_wrong_process_in_a_fork() -> Outcome {
    let supervisor = builder().child(child("a", sleep_for_long)).start().unwrap();
    let wrong = start(|| {
        let results = [
            supervisor.children().err(),
            supervisor.child("a").err(),
            supervisor.start_child("a").err(),
            supervisor.stop_child("a").err(),
            supervisor.restart("a").err(),
            supervisor.rolling_restart("a").err(),
            supervisor.rolling_restart_all().err(),
            supervisor.events().err(),
            supervisor.wait().err(),
            supervisor.try_wait().err(),
            supervisor.stop().err(),
        ];
        results.iter().all(|error| matches!(error, Some(SupervisorError::WrongProcess(_))))
    });
    assert!(wrong.output::<bool>().unwrap());
    // Nor does the drop of a copy stop anything.
    let supervisor = std::sync::Arc::new(supervisor);
    let copy = std::sync::Arc::clone(&supervisor);
    start(move || drop((copy, std::process::id()))).wait().unwrap();
    assert_eq!(supervisor.child("a").unwrap().restarts, 0);
    assert!(supervisor.try_wait().unwrap().is_none());
    supervisor.stop().unwrap();
    Passed
}

fn fault_24_a_handle_of_a_supervisor_outlives_restarts() -> Outcome {
    let supervisor = builder().child(child("a", sleep_for_long)).start().unwrap();
    let events = supervisor.events().unwrap();
    let mut seen = vec![pid(&supervisor, "a")];
    for round in 0..30 {
        match round % 3 {
            0 => {
                kill(&supervisor, "a");
                hear(&events, |event| is_ready_again(event, "a"));
            }
            1 => supervisor.restart("a").unwrap(),
            _ => supervisor.rolling_restart("a").unwrap(),
        }
        // What is told of the old process doesn't touch the new one, and by its name one reaches the new one.
        let state = supervisor.child("a").unwrap();
        assert_eq!((state.status, state.generation), (Status::Ready, round + 2));
        assert!(proc::runs(pid(&supervisor, "a")) && active_children().len() == 1);
        assert_ne!(seen.last(), Some(&pid(&supervisor, "a")));
        seen.push(pid(&supervisor, "a"));
        while events.try_recv().is_some() {}
    }
    supervisor.stop_child("a").unwrap();
    assert_eq!(supervisor.child("a").unwrap().pid, None);
    supervisor.start_child("a").unwrap();
    assert_eq!(supervisor.child("a").unwrap().restarts, 31);
    supervisor.stop().unwrap();
    Passed
}

fn fault_25_too_many_failures_are_the_end() -> Outcome {
    let mut builder = Supervisor::builder()
        .intensity(3, LONG)
        .child(child("well", sleep_for_long))
        .child(child("fails", || std::process::exit(3)))
        .child(child("well-too", sleep_for_long));
    let events = builder.events();
    let supervisor = builder.start().unwrap();
    let Ended::Failed { history, children } = supervisor.wait().unwrap() else { panic!() };
    assert_eq!(history.len(), 4);
    for failure in &history {
        assert!(failure.to_string().contains("fails exited with code 3"), "{failure}");
    }
    let stopped: Vec<_> = children.iter().map(|stopped| (&*stopped.child, stopped.by)).collect();
    assert_eq!(stopped, [("well-too", StopStep::Terminated), ("well", StopStep::Terminated)]);
    assert!(active_children().is_empty());
    // It is over for good, and whoever asks hears that.
    assert!(matches!(supervisor.start_child("well"), Err(SupervisorError::Ended)));
    assert!(matches!(supervisor.stop().unwrap(), Ended::Failed { .. }));
    assert!(supervisor.children().unwrap().iter().all(|child| child.status == Status::Down));
    let told: Vec<Event> = events.iter().collect();
    assert_eq!(told.iter().filter(|event| matches!(event, Event::Failed { .. })).count(), 1);
    assert_eq!(told.iter().filter(|event| matches!(event, Event::Restarting { .. })).count(), 3);
    Passed
}

fn fault_25_a_stop_in_its_backoff_is_final() -> Outcome {
    let waits = ChildSpec::new("a", sleep_for_long).backoff(Backoff::new(LONG, LONG));
    let supervisor = builder().child(waits).child(child("b", sleep_for_long)).start().unwrap();
    let events = supervisor.events().unwrap();
    kill(&supervisor, "a");
    hear(&events, |event| matches!(event, Event::Restarting { after, .. } if *after > LONG / 2));
    assert_eq!(supervisor.child("a").unwrap().status, Status::Waiting);
    supervisor.stop_child("a").unwrap();
    assert_eq!(supervisor.child("a").unwrap().status, Status::Down);
    // One can do without the wait.
    supervisor.start_child("a").unwrap();
    kill(&supervisor, "a");
    hear(&events, |event| matches!(event, Event::Restarting { .. }));
    let Ended::Stopped { children } = supervisor.stop().unwrap() else { panic!() };
    assert_eq!(children.len(), 1, "only b ran: {children:?}");
    Passed
}

/// The start of a supervisor of which one child is bad: why it failed.
fn start_with(bad: ChildSpec) -> Cause {
    let mut builder = builder()
        .child(child("first", sleep_for_long))
        .child(bad.ready_by_target())
        .child(child("never", sleep_for_long));
    let events = builder.events();
    let error = builder.start().unwrap_err();
    assert!(active_children().is_empty(), "what was started is stopped");
    let told: Vec<Event> = events.iter().collect();
    let mut started = told.iter().filter_map(|event| match event {
        Event::Started { child, .. } => Some(&**child),
        _ => None,
    });
    assert_eq!(started.next(), Some("first"), "{told:?}");
    assert!(!started.any(|name| name == "never"), "{told:?}");
    match error {
        SupervisorError::Child { child, cause } if &*child == "bad" => cause,
        other => panic!("{other}"),
    }
}

fn fault_26_a_child_that_is_not_ready_in_time_is_an_error_of_its_supervisors_start() -> Outcome {
    let timeout = Duration::from_millis(100);
    let cause = start_with(child("bad", sleep_for_long).ready_timeout(timeout));
    assert!(matches!(cause, Cause::NotReady { timeout: had } if had == timeout), "{cause}");
    Passed
}

fn fault_26_a_child_that_ends_before_it_is_ready_is_an_error_of_its_supervisors_start() -> Outcome {
    let cause = start_with(child("bad", || ()));
    assert!(matches!(&cause, Cause::EndedEarly(status) if status.success()), "{cause}");
    let cause = start_with(child("bad", || panic!("on purpose")));
    assert!(cause.to_string().contains("on purpose"), "{cause}");
    // One that says so and ends right away was ready.
    let quick = child("quick", pkit::ready).ready_by_target().restart(Restart::Transient);
    builder().child(quick).start().unwrap().stop().unwrap();
    Passed
}

fn fault_26_a_child_that_cannot_be_set_up_is_an_error_of_its_supervisors_start() -> Outcome {
    let nowhere = LaunchOptions::new().cwd("/does/not/exist");
    let cause = start_with(child("bad", sleep_for_long).options(nowhere));
    assert!(matches!(&cause, Cause::NotStarted(_)), "{cause}");
    assert!(cause.to_string().contains("/does/not/exist"), "{cause}");
    Passed
}

fn fault_34_a_supervised_child_that_ignores_sigterm_is_killed_after_its_grace() -> Outcome {
    let deaf = || {
        raw::ignore_signal(nix::sys::signal::Signal::SIGTERM, true);
        pkit::ready();
        sleep_for_long();
    };
    let deaf = child("deaf", deaf).ready_by_target().grace(Duration::from_millis(100));
    let stopped = child("stopped", sleep_for_long).grace(LONG);
    let supervisor = builder().child(child("a", sleep_for_long)).child(deaf).child(stopped).start().unwrap();
    // While one takes its time the others are looked after.
    thread::scope(|scope| {
        scope.spawn(|| supervisor.restart("deaf").unwrap());
        supervisor.restart("a").unwrap();
    });
    // A stopped process acts on SIGTERM all the same.
    crate::servers::kill(pid(&supervisor, "stopped"), nix::sys::signal::Signal::SIGSTOP);
    let Ended::Stopped { children } = supervisor.stop().unwrap() else { panic!() };
    let took: Vec<_> = children.iter().map(|child| (&*child.child, child.by)).collect();
    use StopStep::{Killed, Terminated};
    assert_eq!(took, [("stopped", Terminated), ("deaf", Killed), ("a", Terminated)]);
    Passed
}

fn a_child_in_an_endless_loop_is_found() -> Outcome {
    let timeout = Duration::from_millis(200);
    let spins = || {
        pkit::progress();
        loop {
            std::hint::spin_loop();
        }
    };
    let mut builder = builder()
        .child(child("works", serve).hang_timeout(timeout))
        .child(child("spins", spins).hang_timeout(timeout));
    let events = builder.events();
    let supervisor = builder.start().unwrap();
    for _ in 0..3 {
        let heard = hear(&events, |event| matches!(event, Event::Hung { .. }));
        assert!(matches!(heard.last(), Some(Event::Hung { child, .. }) if &**child == "spins"), "{heard:?}");
        let heard = hear(&events, |event| is_ready_again(event, "spins"));
        let hung = |event: &Event| matches!(event, Event::Exited { cause: Cause::Hung { .. }, .. });
        assert!(heard.iter().any(hung), "{heard:?}");
    }
    assert_eq!(supervisor.child("works").unwrap().restarts, 0);
    supervisor.stop().unwrap();
    Passed
}

fn a_stopped_supervisor_takes_nobody_for_hung() -> Outcome {
    let (told, over) = (Queue::<i32>::new().unwrap(), Queue::<()>::new().unwrap());
    let there = (told.clone(), over.clone());
    let options = LaunchOptions::new().give(&told).give(&over);
    let program = common_ipc::process::Launch::new(&options).start(move || {
        let (told, over) = there;
        let timeout = Duration::from_secs(2);
        let supervisor = builder()
            .child(child("goes-on", serve).hang_timeout(timeout))
            .child(child("is-stopped-too", serve).hang_timeout(timeout))
            .start()
            .unwrap();
        told.send(&pid(&supervisor, "is-stopped-too")).unwrap();
        over.recv().unwrap();
        let restarts: u64 = supervisor.children().unwrap().iter().map(|child| child.restarts).sum();
        supervisor.stop().unwrap();
        restarts
    });
    let program = program.unwrap();
    let child = told.recv().unwrap();
    use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};
    crate::servers::kill(child, SIGSTOP);
    // The progress that it had made is seen, then none.
    thread::sleep(Duration::from_millis(600));
    program.signal(Signal::STOP).unwrap();
    thread::sleep(Duration::from_millis(2500));
    // The supervisor looks first, and again sees none: the child was stopped for longer than it may be, but nobody saw
    // that.
    program.signal(Signal::CONT).unwrap();
    thread::sleep(Duration::from_millis(300));
    crate::servers::kill(child, SIGCONT);
    thread::sleep(Duration::from_millis(500));
    over.send(&()).unwrap();
    assert_eq!(program.output::<u64>().unwrap(), 0);
    Passed
}

fn a_dropped_supervisor_stops_its_children() -> Outcome {
    let supervisor = builder().child(child("a", sleep_for_long)).child(child("b", serve)).start().unwrap();
    let events = supervisor.events().unwrap();
    drop(supervisor);
    let told: Vec<Event> = events.iter().collect();
    let stopped = told.iter().filter_map(|event| match event {
        Event::Stopped(stopped) => Some(&*stopped.child),
        _ => None,
    });
    assert_eq!(stopped.collect::<Vec<_>>(), ["b", "a"], "{told:?}");
    assert!(active_children().is_empty());
    Passed
}

fn what_cannot_be_supervised_is_said() -> Outcome {
    let error = |builder: pkit::supervisor::SupervisorBuilder| builder.start().unwrap_err();
    let a = || child("a", sleep_for_long);
    assert!(matches!(error(builder()), SupervisorError::NoChildren));
    assert!(
        matches!(error(builder().child(a()).child(a())), SupervisorError::NameTaken { name } if &*name == "a")
    );
    for spec in [
        a().hang_timeout(Duration::from_millis(1)),
        a().max_age(Duration::ZERO),
        a().backoff(Backoff::default().factor(0.1)),
    ] {
        assert!(matches!(error(builder().child(spec)), SupervisorError::Setting { .. }));
    }
    assert!(active_children().is_empty());
    Passed
}
