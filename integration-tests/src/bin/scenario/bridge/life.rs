//! Bridges from start to stop, and again.

use std::time::Duration;

use common_ipc::process::{Launch, Signal, active_children};
use cross_process_bridge::{
    BridgeError, Execution, ExitStatus, LaunchOptions, Resource, StartError, StopStep,
};
use integration_tests::proc;

use crate::Outcome::{self, Passed, Skipped};
use crate::bridge::moving::{EarBridge, far_end};
use crate::bridge::ways::{
    DROPPED, Death, Made, ProbeBridge, all_ways, overflowed, probe, started, status_of, tally,
};

scenarios![
    a_bridge_is_started_called_and_stopped,
    a_second_start_keeps_the_process,
    without_a_start_every_call_says_so,
    a_stop_waits_for_the_calls_before_it,
    a_stop_escalates,
    a_stop_of_what_has_died_tells_how,
    a_dropped_bridge_leaves_nothing,
    a_dropped_bridge_with_a_busy_object_leaves_nothing,
    a_scope_stops_whatever_happens,
    a_method_that_takes_the_object_ends_the_bridge,
    fault_24_a_restart_keeps_the_handle,
    an_error_of_the_constructor_is_that_of_the_start,
    a_panic_of_the_constructor_is_that_of_the_start,
    a_death_in_the_constructor_is_the_error_of_the_start,
    a_constructor_that_never_returns_is_given_up,
    starts_by_many_threads_start_one_process,
    a_bridge_has_a_name_in_ps,
    fault_57_an_object_in_a_directory_that_is_not_there,
    an_object_in_a_directory_and_environment_of_its_own,
    fault_55_an_object_at_uid_nobody,
    an_object_with_a_limit_of_memory,
    a_kill_is_over_when_it_returns,
    a_process_that_cannot_serve_says_why,
    the_exit_of_the_program_ends_bridges,
    constructor_arguments_that_move_serve_one_start,
];

fn a_bridge_is_started_called_and_stopped() -> Outcome {
    for (probe, tally) in all_ways(Made::Well) {
        probe.start().unwrap();
        let pid = probe.pid().unwrap();
        assert_ne!(pid, std::process::id());
        assert_eq!(probe.process().pid(), Some(pid));
        assert_eq!((probe.add(3).unwrap(), probe.add(-5).unwrap()), (3, -2));
        assert_eq!(probe.put("a".to_owned(), 1).unwrap(), None);
        assert_eq!(probe.get("a").unwrap().unwrap(), 1);
        assert_eq!(probe.get("b").unwrap().unwrap_err().to_string(), "there is nothing under \"b\"");
        let mut list = vec!["before".to_owned()];
        assert_eq!(probe.keys(&mut list).unwrap(), 2);
        assert_eq!(list, ["before", "a"]);
        probe.stop().unwrap();
        assert_eq!(tally.get(DROPPED).unwrap(), 1);
        assert!(!proc::runs(pid as i32));
        assert_eq!((probe.process().pid(), probe.process().child().is_none()), (None, true));
        probe.stop().unwrap();
    }
    Passed
}

fn a_second_start_keeps_the_process() -> Outcome {
    let (probe, _) = started();
    let pid = probe.pid().unwrap();
    probe.start().unwrap();
    assert_eq!((probe.pid().unwrap(), probe.process().generation()), (pid, 1));
    probe.stop().unwrap();
    Passed
}

fn without_a_start_every_call_says_so() -> Outcome {
    let (probe, _) = probe();
    let not_started = |error: BridgeError| {
        assert!(matches!(error, BridgeError::NotStarted { object: "Probe" }), "{error}");
        assert_eq!(error.execution(), Execution::NotRun);
    };
    not_started(probe.echo(1).unwrap_err());
    not_started(probe.note(1).unwrap_err());
    probe.process().kill().unwrap();
    not_started(probe.process().stop_timeout(Duration::from_secs(1)).unwrap_err());
    probe.start().unwrap();
    probe.stop().unwrap();
    not_started(probe.echo(1).unwrap_err());
    not_started(probe.clone().finish().unwrap_err());
    Passed
}

fn a_stop_waits_for_the_calls_before_it() -> Outcome {
    let (probe, tally) = started();
    for _ in 0..20 {
        probe.note(5).unwrap();
    }
    probe.stop().unwrap();
    assert_eq!(tally.to_vec(), [0, 0, 1, 20]);
    Passed
}

fn a_stop_escalates() -> Outcome {
    let (probe, tally) = started();
    probe.note(600_000).unwrap();
    let stopped = probe.process().stop_timeout(Duration::from_millis(50)).unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Terminated, Some(Signal::TERM)));
    assert_eq!(tally.get(DROPPED).unwrap(), 0);
    probe.start().unwrap();
    let stopped = probe.process().stop_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!((stopped.by, stopped.status), (StopStep::EndedByItself, ExitStatus::Exited(0)));
    Passed
}

fn a_stop_of_what_has_died_tells_how() -> Outcome {
    let (probe, _) = started();
    let child = probe.process().child().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody has called since.
    let error = probe.stop().unwrap_err();
    assert_eq!(status_of(&error).signal(), Some(Signal::KILL));
    probe.stop().unwrap();

    probe.start().unwrap();
    probe.die(Death::Abort).unwrap_err();
    let stopped = probe.process().stop_timeout(Duration::ZERO).unwrap();
    assert_eq!((stopped.by, stopped.status.signal()), (StopStep::HadEnded, Some(Signal::ABRT)));
    Passed
}

fn a_dropped_bridge_leaves_nothing() -> Outcome {
    for (probe, tally) in all_ways(Made::Well) {
        probe.start().unwrap();
        let (pid, clone) = (probe.pid().unwrap() as i32, probe.clone());
        drop(probe);
        assert_eq!(clone.echo(1).unwrap(), 1);
        drop(clone);
        assert!(!proc::runs(pid));
        assert_eq!(tally.get(DROPPED).unwrap(), 1);
    }
    Passed
}

fn a_dropped_bridge_with_a_busy_object_leaves_nothing() -> Outcome {
    let (probe, tally) = started();
    let pid = probe.pid().unwrap() as i32;
    probe.note(600_000).unwrap();
    drop(probe);
    assert!(!proc::runs(pid));
    assert_eq!(tally.get(DROPPED).unwrap(), 0);
    Passed
}

fn a_scope_stops_whatever_happens() -> Outcome {
    let (probe, tally) = probe();
    assert_eq!(probe.scope(|probe| probe.add(2)).unwrap().unwrap(), 2);
    assert_eq!(tally.get(DROPPED).unwrap(), 1);

    let failing = ProbeBridge::new(tally.clone(), Made::ByError);
    assert!(matches!(failing.scope(|_| ()), Err(BridgeError::Constructor { .. })));

    let panicking = ProbeBridge::new(tally.clone(), Made::Well);
    let caught =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panicking.scope(|_| panic!("inside"))));
    assert!(caught.is_err());
    assert_eq!(tally.get(DROPPED).unwrap(), 2);

    let dying = ProbeBridge::new(tally, Made::Well);
    let error = dying.scope(|probe| assert!(probe.die(Death::Kill).is_err())).unwrap_err();
    assert_eq!(status_of(&error).signal(), Some(Signal::KILL));
    assert!(active_children().is_empty());
    Passed
}

fn a_method_that_takes_the_object_ends_the_bridge() -> Outcome {
    for (probe, tally) in all_ways(Made::Well) {
        probe.start().unwrap();
        let pid = probe.pid().unwrap() as i32;
        probe.add(11).unwrap();
        assert_eq!(probe.clone().finish().unwrap(), 11);
        assert!(!proc::runs(pid));
        assert_eq!(tally.get(DROPPED).unwrap(), 1);
        assert!(matches!(probe.echo(1), Err(BridgeError::NotStarted { .. })));
        probe.start().unwrap();
        assert_eq!(probe.add(1).unwrap(), 1);
        probe.stop().unwrap();
    }
    Passed
}

fn fault_24_a_restart_keeps_the_handle() -> Outcome {
    for (probe, _) in all_ways(Made::Well) {
        probe.start().unwrap();
        let (clone, first) = (probe.clone(), probe.pid().unwrap());
        let old = probe.process().child().unwrap();
        probe.add(1).unwrap();
        probe.process().restart().unwrap();
        let second = clone.pid().unwrap();
        assert_ne!(first, second);
        assert_eq!((clone.add(1).unwrap(), clone.process().generation()), (1, 2));
        // A handle of the old process does nothing to the new one.
        old.kill().unwrap();
        assert_eq!(probe.pid().unwrap(), second);

        // After a death, any clone starts it anew.
        probe.die(Death::Kill).unwrap_err();
        assert_eq!(clone.echo(1).unwrap_err().execution(), Execution::NotRun);
        clone.start().unwrap();
        assert_eq!((probe.add(1).unwrap(), probe.process().generation()), (1, 3));
        probe.process().kill().unwrap();
        probe.process().restart().unwrap();
        assert_eq!(probe.echo(4).unwrap(), 4);
        probe.stop().unwrap();
    }
    Passed
}

fn an_error_of_the_constructor_is_that_of_the_start() -> Outcome {
    for (probe, _) in all_ways(Made::ByError) {
        for _ in 0..2 {
            let error = probe.start().unwrap_err();
            let BridgeError::Constructor { constructor, error } = &error else { panic!("{error}") };
            assert_eq!(*constructor, "Probe::new");
            assert_eq!(error.message(), "there is nothing under \"anything\"");
            assert!(error.type_name().ends_with("ProbeError"), "{}", error.type_name());
            assert!(matches!(probe.echo(1), Err(BridgeError::NotStarted { .. })));
            assert!(active_children().is_empty());
        }
    }
    Passed
}

fn a_panic_of_the_constructor_is_that_of_the_start() -> Outcome {
    for (probe, _) in all_ways(Made::ByPanic) {
        let error = probe.start().unwrap_err();
        let BridgeError::Panicked { method, report } = &error else { panic!("{error}") };
        assert_eq!((*method, report.message.as_str()), ("Probe::new", "while it was made"));
        assert!(report.location.contains("bridge/ways.rs"), "{report:?}");
        assert!(matches!(probe.echo(1), Err(BridgeError::NotStarted { .. })));
        assert!(active_children().is_empty());
    }
    Passed
}

fn a_death_in_the_constructor_is_the_error_of_the_start() -> Outcome {
    for death in [Death::Kill, Death::Abort, Death::Segfault, Death::StackOverflow, Death::Exit] {
        for (probe, _) in all_ways(Made::By(death)) {
            let error = probe.start().unwrap_err();
            let BridgeError::Start(why) = &error else { panic!("{error}") };
            let StartError::EndedEarly { status } = &**why else { panic!("{error}") };
            match death {
                Death::Kill => assert_eq!(status.signal(), Some(Signal::KILL)),
                Death::Abort => assert_eq!(status.signal(), Some(Signal::ABRT)),
                Death::Segfault => assert_eq!(status.signal(), Some(Signal::SEGV)),
                Death::StackOverflow => assert!(overflowed(status), "{status}"),
                Death::Exit => assert_eq!(status.code(), Some(7)),
            }
            assert!(matches!(probe.echo(1), Err(BridgeError::NotStarted { .. })));
        }
    }
    Passed
}

fn a_constructor_that_never_returns_is_given_up() -> Outcome {
    let probe = ProbeBridge::new(tally(), Made::Never);
    probe.process().launch_with(LaunchOptions::new().ready_timeout(Duration::from_millis(50)));
    let error = probe.start().unwrap_err();
    let BridgeError::Start(why) = &error else { panic!("{error}") };
    assert!(matches!(**why, StartError::NotReady { .. }), "{error}");
    assert!(active_children().is_empty());
    Passed
}

fn starts_by_many_threads_start_one_process() -> Outcome {
    let [_, (probe, _), _] = all_ways(Made::Well);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    probe.start().unwrap();
                    // Another thread may be stopping it.
                    match probe.echo(3) {
                        Ok(three) => assert_eq!(three, 3),
                        Err(error) => assert_eq!(error.execution(), Execution::NotRun, "{error}"),
                    }
                    let _ = probe.stop();
                }
            });
        }
    });
    assert!(active_children().is_empty());
    assert!(probe.process().generation() > 0);
    Passed
}

fn a_bridge_has_a_name_in_ps() -> Outcome {
    for (probe, _) in all_ways(Made::Well) {
        probe.start().unwrap();
        let name = proc::name(probe.pid().unwrap() as i32);
        assert!(name.starts_with("Probe-"), "{name}");
        probe.stop().unwrap();
    }
    let (probe, _) = probe();
    probe.process().launch_with(LaunchOptions::new().name("accounts"));
    probe.start().unwrap();
    assert_eq!(proc::name(probe.pid().unwrap() as i32), "accounts");
    Passed
}

fn fault_57_an_object_in_a_directory_that_is_not_there() -> Outcome {
    let here = std::env::current_dir().unwrap();
    let (probe, _) = probe();
    probe.process().launch_with(LaunchOptions::new().cwd("/does/not/exist"));
    let error = probe.start().unwrap_err();
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
    assert!(matches!(probe.echo(1), Err(BridgeError::NotStarted { .. })));
    probe.process().launch_with(LaunchOptions::new().cwd("/proc"));
    probe.start().unwrap();
    let there = std::fs::read_link(format!("/proc/{}/cwd", probe.pid().unwrap())).unwrap();
    assert_eq!(there, std::path::Path::new("/proc"));
    assert_eq!(std::env::current_dir().unwrap(), here);
    Passed
}

fn an_object_in_a_directory_and_environment_of_its_own() -> Outcome {
    let zygote = crate::servers::zygote();
    let (probe, _) = probe();
    probe.process().launch_in(&zygote).launch_with(LaunchOptions::new().cwd("/").env("PROBE", "yes"));
    probe.start().unwrap();
    let pid = probe.pid().unwrap();
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), std::path::Path::new("/"));
    Passed
}

fn fault_55_an_object_at_uid_nobody() -> Outcome {
    if !nix::unistd::getuid().is_root() {
        return Skipped("it takes root to become somebody else");
    }
    // Some that are to be lost.
    nix::unistd::setgroups(&[7, 8].map(nix::unistd::Gid::from_raw)).unwrap();
    for (probe, _) in all_ways(Made::Well) {
        probe.process().launch_with(LaunchOptions::new().uid(65534).gid(65534).groups([]));
        probe.start().unwrap();
        let pid = probe.pid().unwrap() as i32;
        assert_eq!(proc::status_field(pid, "Uid"), "65534 65534 65534 65534");
        assert_eq!(proc::status_field(pid, "Groups").trim(), "");
        assert_eq!(probe.bytes(&[7; 100_000]).unwrap(), [7; 100_000]);
        assert_eq!(
            probe.process().stop_timeout(Duration::from_secs(20)).unwrap().by,
            StopStep::EndedByItself
        );
        // A new process, whose rights are another one's business.
        probe.process().launch_with(LaunchOptions::new());
        probe.start().unwrap();
        assert!(proc::status_field(probe.pid().unwrap() as i32, "Uid").starts_with("0 "));
        probe.stop().unwrap();
    }
    Passed
}

fn an_object_with_a_limit_of_memory() -> Outcome {
    let (probe, _) = probe();
    let limit = 512 << 20;
    probe.process().launch_with(LaunchOptions::new().limit(Resource::AddressSpace, limit, limit));
    probe.start().unwrap();
    let error = probe.many(2 << 30).unwrap_err();
    assert_eq!(status_of(&error).signal(), Some(Signal::ABRT), "{error}");
    assert_eq!(error.execution(), Execution::Unknown);
    probe.start().unwrap();
    assert_eq!(probe.many(3).unwrap(), "xxx");
    Passed
}

fn a_kill_is_over_when_it_returns() -> Outcome {
    for (probe, _) in all_ways(Made::Well) {
        for round in 1..=30 {
            probe.start().unwrap();
            assert_eq!(probe.add(1).unwrap(), 1, "a new object, in round {round}");
            let pid = probe.pid().unwrap() as i32;
            probe.process().kill().unwrap();
            assert!(!proc::runs(pid));
            probe.process().kill().unwrap();
            let error = probe.echo(1).unwrap_err();
            assert_eq!((status_of(&error).signal(), error.needs_start()), (Some(Signal::KILL), true));
        }
    }
    Passed
}

fn a_process_that_cannot_serve_says_why() -> Outcome {
    for files in 0..8 {
        for (probe, _) in all_ways(Made::Well) {
            probe.process().launch_with(LaunchOptions::new().limit(Resource::OpenFiles, files, files));
            if let Err(error) = probe.start() {
                // Or for want of a descriptor the arguments can't be read.
                assert!(matches!(error, BridgeError::Start(_) | BridgeError::Decode { .. }), "{error:?}");
                assert_eq!(error.execution(), Execution::NotRun, "{error}");
                assert!(!error.to_string().contains("code 0"), "{error}");
            } else {
                assert_eq!(probe.echo(files).unwrap(), files);
            }
            assert!(
                probe.process().stop_timeout(Duration::from_secs(5)).is_ok() || !probe.process().is_alive()
            );
        }
    }
    Passed
}

fn the_exit_of_the_program_ends_bridges() -> Outcome {
    static KEPT: std::sync::OnceLock<ProbeBridge> = std::sync::OnceLock::new();
    let program = Launch::new(&LaunchOptions::new()).start(|| {
        let (probe, _) = started();
        let pid = probe.pid().unwrap();
        assert!(KEPT.set(probe).is_ok());
        pid
    });
    let pid = program.unwrap().output::<u32>().unwrap();
    assert!(!proc::runs(pid as i32));
    Passed
}

fn constructor_arguments_that_move_serve_one_start() -> Outcome {
    let bridge = EarBridge::new(far_end());
    bridge.start().unwrap();
    bridge.stop().unwrap();
    let error = bridge.start().unwrap_err();
    assert!(matches!(error, BridgeError::Encode { execution: Execution::NotRun, .. }), "{error}");
    Passed
}
