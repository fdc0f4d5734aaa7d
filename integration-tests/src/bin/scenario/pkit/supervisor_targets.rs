//! What supervised children return, take, and are told from the terminal.

use std::time::Duration;

use common_ipc::link::{Connection, Queue};
use common_ipc::process::{LaunchOptions, Sigint, StopSignals, Zygote};
use pkit::supervisor::{Cause, ChildSpec, Ended, Event, Restart, Status, SupervisorError};

use crate::Outcome::{self, Passed};
use crate::pkit::supervisor::{builder, hear, pid};
use crate::processes::children::sleep_for_long;

scenarios!(
    an_error_that_a_supervised_child_returns_is_a_failure,
    an_error_that_panics_when_it_is_told_is_a_failure,
    ctrl_c_leaves_supervised_children_to_their_supervisor,
    what_moves_is_refused_for_a_child_that_is_started_again,
    a_supervised_child_can_finish_what_it_is_about,
);

fn fails(_: ()) -> Result<u8, String> {
    Err("there is no work".to_owned())
}

fn an_error_that_a_supervised_child_returns_is_a_failure() -> Outcome {
    pkit::init().unwrap();
    let specs = [
        ChildSpec::new("template", || fails(())),
        ChildSpec::in_zygote("zygote", &Zygote::global(), fails, ()),
    ];
    for spec in specs {
        let mut builder = builder().child(spec.restart(Restart::Transient)).intensity(2, Duration::MAX);
        let events = builder.events();
        let supervisor = builder.start().unwrap();
        let ended = supervisor.wait().unwrap();
        let Ended::Failed { history, .. } = &ended else { panic!("{ended}") };
        assert_eq!(history.len(), 3);
        for failure in history {
            assert!(matches!(&failure.cause, Cause::Returned(error) if &**error == "there is no work"));
        }
        assert!(ended.to_string().contains("returned an error: there is no work"), "{ended}");
        assert_eq!(events.filter(|event| matches!(event, Event::Exited { .. })).count(), 3);
    }
    // A child that returns well, never, or ends by `exit` hasn't returned an error.
    let done = ChildSpec::new("done", || Ok::<(), String>(())).restart(Restart::Transient);
    let exits = ChildSpec::new("exits", || std::process::exit(0)).restart(Restart::Transient);
    let never = ChildSpec::new("never", loop_for_ever);
    let supervisor = builder().child(never).child(done).child(exits).start().unwrap();
    let is_down = |name| supervisor.child(name).unwrap().status == Status::Down;
    assert!(integration_tests::proc::eventually(|| is_down("done") && is_down("exits")));
    assert!(supervisor.children().unwrap().iter().all(|child| child.last_failure.is_none()));
    supervisor.stop().unwrap();
    Passed
}

fn an_error_that_panics_when_it_is_told_is_a_failure() -> Outcome {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Unspeakable;
    impl std::fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("on purpose");
        }
    }
    pkit::init().unwrap();
    let fails = |()| Err::<(), _>(Unspeakable);
    let spec = ChildSpec::in_zygote("zygote", &Zygote::global(), fails, ()).restart(Restart::Transient);
    let supervisor = builder().child(spec).intensity(1, Duration::MAX).start().unwrap();
    // The supervisor has survived it, and counts it.
    let Ended::Failed { history, .. } = supervisor.wait().unwrap() else { panic!() };
    assert_eq!(history.len(), 2);
    assert!(history[0].to_string().contains("can't be put into words"), "{}", history[0]);
    Passed
}

fn loop_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

fn ctrl_c_leaves_supervised_children_to_their_supervisor() -> Outcome {
    let default = LaunchOptions::new().sigint(Sigint::Default);
    let mut builder = builder()
        .child(ChildSpec::new("spared", sleep_for_long))
        .child(ChildSpec::new("renamed", sleep_for_long).options(LaunchOptions::new().umask(0o77)))
        .child(ChildSpec::new("asked-for", sleep_for_long).options(default));
    let events = builder.events();
    let supervisor = builder.start().unwrap();
    let pids = ["spared", "renamed"].map(|name| pid(&supervisor, name));
    let gone = pid(&supervisor, "asked-for");
    for pid in pids.into_iter().chain([gone]) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT).unwrap();
    }
    hear(&events, |event| matches!(event, Event::Exited { .. }));
    hear(&events, |event| matches!(event, Event::Ready { .. }));
    assert_ne!(pid(&supervisor, "asked-for"), gone);
    assert_eq!(["spared", "renamed"].map(|name| pid(&supervisor, name)), pids);
    supervisor.stop().unwrap();
    Passed
}

fn what_moves_is_refused_for_a_child_that_is_started_again() -> Outcome {
    let (_here, there) = Connection::<u8, u8>::pair().unwrap();
    let spec = |restart| {
        let options = LaunchOptions::new().give(&there);
        ChildSpec::new("talks", || ()).options(options).restart(restart)
    };
    for restart in [Restart::Permanent, Restart::Transient] {
        let refused = builder().child(spec(restart)).start().unwrap_err();
        assert!(matches!(refused, SupervisorError::Setting { .. }), "{refused}");
        assert!(refused.to_string().contains("queue"), "{refused}");
    }
    builder().child(spec(Restart::Temporary)).start().unwrap().stop().unwrap();
    // What is shared isn't refused.
    let queue = Queue::<u8>::new().unwrap();
    let copy = queue.clone();
    let child = ChildSpec::new("tells", move || copy.send(&1)).options(LaunchOptions::new().give(&queue));
    let supervisor = builder().child(child.restart(Restart::Transient)).start().unwrap();
    assert_eq!(queue.recv().unwrap(), 1);
    supervisor.stop().unwrap();
    Passed
}

fn a_supervised_child_can_finish_what_it_is_about() -> Outcome {
    let finished = Queue::<bool>::new().unwrap();
    let tell = finished.clone();
    let child = ChildSpec::new("works", move || -> Result<(), std::io::Error> {
        let stop = StopSignals::held()?;
        pkit::ready();
        while !stop.wait_timeout(Duration::from_millis(1))? {}
        std::thread::sleep(Duration::from_millis(20));
        tell.send(&true).map_err(std::io::Error::other)
    });
    let child = child.options(LaunchOptions::new().give(&finished)).hold_stop_signals().ready_by_target();
    let supervisor = builder().child(child).start().unwrap();
    supervisor.rolling_restart("works").unwrap();
    supervisor.restart("works").unwrap();
    supervisor.stop().unwrap();
    let told: Vec<bool> = std::iter::from_fn(|| finished.try_recv().unwrap()).collect();
    assert_eq!(told, [true; 3]);
    Passed
}
