//! The supervisor with real processes: what it restarts, and in which order; what it replaces.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use common_ipc::link::Queue;
use common_ipc::process::{LaunchOptions, StartError, active_children, current_name};
use integration_tests::{proc, raw};
use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use pkit::supervisor::Events;
use pkit::supervisor::{
    Backoff, Cause, ChildSpec, Ended, Event, RecycleReason, Restart, Status, Strategy, Supervisor,
    SupervisorBuilder, SupervisorError,
};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};
use crate::servers::{self, zygote};

scenarios!(
    a_killed_child_is_started_again,
    a_supervisor_beside_threads_needs_a_zygote,
    transient_and_temporary_children_end,
    a_group_is_started_again_in_order,
    a_childs_name_is_its_processes,
    the_program_forks_beside_a_supervisor,
    the_new_process_is_ready_before_the_old_one_goes,
    a_new_process_that_fails_leaves_the_old_one,
    old_and_large_processes_are_replaced,
);

/// Restarts as soon and as often as one likes.
pub(crate) fn builder() -> SupervisorBuilder {
    Supervisor::builder().intensity(u32::MAX, Duration::from_secs(1))
}

pub(crate) fn child(name: &str, target: impl FnOnce() + 'static) -> ChildSpec {
    ChildSpec::new(name, target).backoff(at_once())
}

pub(crate) fn at_once() -> Backoff {
    Backoff::new(Duration::from_millis(1), Duration::from_millis(1))
}

/// Hears events until this one comes, and returns all.
pub(crate) fn hear(events: &Events, last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut heard = Vec::new();
    loop {
        match events.recv_timeout(Duration::from_secs(60)) {
            Some(event) => heard.push(event),
            None => panic!("nothing more after {heard:#?}"),
        }
        if heard.last().is_some_and(&last) {
            return heard;
        }
    }
}

pub(crate) fn pid(supervisor: &Supervisor, child: &str) -> i32 {
    supervisor.child(child).unwrap().pid.unwrap() as i32
}

pub(crate) fn kill(supervisor: &Supervisor, child: &str) {
    servers::kill(pid(supervisor, child), SIGKILL);
}

pub(crate) fn is_ready_again(event: &Event, child: &str) -> bool {
    matches!(event, Event::Ready { child: who, .. } if &**who == child)
}

fn a_killed_child_is_started_again() -> Outcome {
    let zygote = zygote();
    let from_zygote = ChildSpec::in_zygote("zygote's", &zygote, |()| sleep_for_long(), ()).backoff(at_once());
    let supervisor = builder().child(child("template's", sleep_for_long)).child(from_zygote).start().unwrap();
    thread::spawn(thread::park);
    let events = supervisor.events().unwrap();
    for name in ["template's", "zygote's"] {
        for round in 1..20 {
            let before = supervisor.child(name).unwrap();
            assert_eq!((before.generation, before.restarts), (round, round - 1));
            kill(&supervisor, name);
            let heard = hear(&events, |event| is_ready_again(event, name));
            let killed = |event: &Event| match event {
                Event::Exited { pid, cause: Cause::Ended(status), .. } => {
                    Some(*pid) == before.pid && status.signal().map(i32::from) == Some(SIGKILL as i32)
                }
                _ => false,
            };
            assert!(heard.iter().any(killed), "{heard:?}");
            assert_ne!(supervisor.child(name).unwrap().pid, before.pid);
        }
    }
    let Ended::Stopped { children } = supervisor.stop().unwrap() else { panic!() };
    let names: Vec<_> = children.iter().map(|stopped| &*stopped.child).collect();
    assert_eq!(names, ["zygote's", "template's"]);
    assert!(active_children().is_empty());
    Passed
}

fn a_supervisor_beside_threads_needs_a_zygote() -> Outcome {
    let zygote = zygote();
    thread::spawn(thread::park);
    let error = builder().child(child("closure", sleep_for_long)).start().unwrap_err();
    assert!(
        matches!(&error, SupervisorError::Target { source, .. } if matches!(**source, StartError::Refused(_)))
    );
    assert!(error.to_string().contains("ChildSpec::in_zygote"), "{error}");
    let spec = ChildSpec::in_zygote("function", &zygote, |()| sleep_for_long(), ());
    builder().child(spec).start().unwrap().stop().unwrap();
    Passed
}

fn transient_and_temporary_children_end() -> Outcome {
    let ends = |name: &'static str, code: i32, restart| {
        child(name, move || std::process::exit(code)).restart(restart)
    };
    let mut builder = builder()
        .child(ends("done", 0, Restart::Transient))
        .child(ends("gone", 1, Restart::Temporary))
        .child(ends("again", 1, Restart::Transient))
        .child(ends("always", 0, Restart::Permanent));
    let events = builder.events();
    let supervisor = builder.start().unwrap();
    let again =
        |event: &Event, name: &str| matches!(event, Event::Restarting { child, .. } if &**child == name);
    for name in ["again", "always"] {
        for _ in 0..3 {
            let heard = hear(&events, |event| again(event, name));
            assert!(!heard.iter().any(|event| again(event, "done") || again(event, "gone")), "{heard:?}");
        }
    }
    assert!(proc::eventually(|| {
        let status = |name| supervisor.child(name).unwrap().status;
        status("done") == Status::Down && status("gone") == Status::Down
    }));
    supervisor.stop().unwrap();
    Passed
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: i32) {
    STOP.store(true, Relaxed);
}

/// Says `+name`, serves until it is told to stop, then says `-name`.
fn tells(log: Queue<String>, name: &'static str) -> ChildSpec {
    let options = LaunchOptions::new().give(&log);
    let target = move || {
        raw::handle_signal(SIGTERM, stop);
        log.send(&format!("+{name}")).unwrap();
        pkit::ready();
        while !STOP.load(Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        log.send(&format!("-{name}")).unwrap();
    };
    child(name, target).options(options).ready_by_target()
}

fn next(log: &Queue<String>, count: usize) -> String {
    let told = (0..count).map(|_| log.recv_timeout(Duration::from_secs(60)).unwrap().expect("told in time"));
    told.collect::<Vec<_>>().join(" ")
}

fn a_group_is_started_again_in_order() -> Outcome {
    for (strategy, told) in [
        (Strategy::OneForOne, "+b"),
        (Strategy::OneForAll, "-d -c -a +a +b +c +d"),
        (Strategy::RestForOne, "-d -c +b +c +d"),
    ] {
        let log = Queue::new().unwrap();
        let with = |name| tells(log.clone(), name);
        let builder = builder().strategy(strategy).child(with("a")).child(with("b")).child(with("c"));
        let supervisor = builder.child(with("d")).start().unwrap();
        assert_eq!(next(&log, 4), "+a +b +c +d");
        for _ in 0..3 {
            kill(&supervisor, "b");
            assert_eq!(next(&log, told.split(' ').count()), told, "{strategy:?}");
            let all_ready =
                || supervisor.children().unwrap().iter().all(|child| child.status == Status::Ready);
            assert!(proc::eventually(all_ready));
        }
        supervisor.stop().unwrap();
        assert_eq!(next(&log, 4), "-d -c -b -a");
    }
    Passed
}

fn a_childs_name_is_its_processes() -> Outcome {
    let names = Queue::<String>::new().unwrap();
    let says = |name: &str, options: LaunchOptions| {
        let there = names.clone();
        let target = move || {
            there.send(&current_name().unwrap().into_string().unwrap()).unwrap();
            sleep_for_long();
        };
        ChildSpec::new(name, target).options(options.give(&names))
    };
    let with_options = says("b", LaunchOptions::new().name("better"));
    let supervisor = builder().child(says("a", LaunchOptions::new())).child(with_options).start().unwrap();
    let told: BTreeSet<_> = next(&names, 2).split(' ').map(str::to_owned).collect();
    assert_eq!(told, BTreeSet::from(["a".to_owned(), "better".to_owned()]));
    assert_eq!(proc::name(pid(&supervisor, "b")), "better");
    supervisor.stop().unwrap();
    Passed
}

fn the_program_forks_beside_a_supervisor() -> Outcome {
    let crashes = child("crashes", || std::process::abort());
    let crashes = crashes.options(LaunchOptions::new().core_limit(0));
    let supervisor = builder().child(child("serves", sleep_for_long)).child(crashes).start().unwrap();
    for round in 0..100 {
        assert_eq!(start(move || round).output::<i32>().unwrap(), round);
    }
    assert!(supervisor.child("crashes").unwrap().restarts > 0);
    supervisor.stop().unwrap();
    Passed
}

fn the_new_process_is_ready_before_the_old_one_goes() -> Outcome {
    let log = Queue::new().unwrap();
    let builder = builder().child(tells(log.clone(), "a")).child(tells(log.clone(), "b"));
    let supervisor = builder.start().unwrap();
    assert_eq!(next(&log, 2), "+a +b");
    for _ in 0..5 {
        let before = pid(&supervisor, "a");
        supervisor.rolling_restart("a").unwrap();
        assert_eq!(next(&log, 2), "+a -a");
        assert_ne!(pid(&supervisor, "a"), before);
        assert!(!proc::runs(before), "it was collected");
    }
    supervisor.rolling_restart_all().unwrap();
    assert_eq!(next(&log, 4), "+a -a +b -b");
    supervisor.restart("a").unwrap();
    assert_eq!(next(&log, 2), "-a +a");
    assert!(matches!(supervisor.rolling_restart("z"), Err(SupervisorError::UnknownChild { .. })));
    supervisor.stop().unwrap();
    assert!(matches!(supervisor.rolling_restart("a"), Err(SupervisorError::Ended)));
    Passed
}

fn a_new_process_that_fails_leaves_the_old_one() -> Outcome {
    let first = Queue::<()>::new().unwrap();
    first.send(&()).unwrap();
    let options = LaunchOptions::new().give(&first);
    let target = move || {
        if first.try_recv().unwrap().is_some() {
            pkit::ready();
        }
        sleep_for_long();
    };
    let spec = child("a", target).options(options).ready_by_target();
    let spec = spec.ready_timeout(Duration::from_millis(200));
    let supervisor = builder().child(spec).start().unwrap();
    let old = pid(&supervisor, "a");
    let error = supervisor.rolling_restart("a").unwrap_err();
    assert!(matches!(&error, SupervisorError::NotReplaced { cause: Cause::NotReady { .. }, .. }), "{error}");
    assert_eq!(pid(&supervisor, "a"), old);
    assert!(proc::runs(old) && active_children().len() == 1);
    supervisor.stop().unwrap();
    Passed
}

fn old_and_large_processes_are_replaced() -> Outcome {
    let grows = || {
        let memory = vec![1u8; 64 << 20];
        sleep_for_long();
        drop(memory);
    };
    let mut builder = builder()
        .child(child("old", sleep_for_long).max_age(Duration::from_millis(100)))
        .child(child("old-too", sleep_for_long).max_age(Duration::from_millis(100)).recycle_overlapping())
        .child(child("large", grows).max_memory(32 << 20))
        .child(child("small", sleep_for_long).max_memory(1 << 40));
    let events = builder.events();
    let supervisor = builder.start().unwrap();
    let small = pid(&supervisor, "small");
    let mut reasons = BTreeSet::new();
    while reasons.len() < 3 {
        let heard = hear(&events, |event| matches!(event, Event::Recycling { .. }));
        let Some(Event::Recycling { child, why, .. }) = heard.last() else { unreachable!() };
        match why {
            RecycleReason::Age { age } => assert!(*age >= Duration::from_millis(100), "{age:?}"),
            RecycleReason::Memory { resident } => assert!(*resident > 32 << 20 && &**child == "large"),
            other => panic!("{other}"),
        }
        reasons.insert(child.to_string());
        assert!(!heard.iter().any(|event| matches!(event, Event::Restarting { .. })), "it is no failure");
    }
    assert_eq!(pid(&supervisor, "small"), small);
    supervisor.stop().unwrap();
    Passed
}
