//! What may go wrong in a call through a bridge: each row by fork, from a template and from a zygote.

use std::time::Duration;

use common_ipc::process::Signal;
use cross_process_bridge::{BridgeError, Execution, Timeout};
use integration_tests::{proc, stress_factor};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{
    Awkward, BEGUN, Death, ENDED, Made, ProbeBridge, Tally, all_ways, overflowed, started, status_of,
};

scenarios![
    fault_13_a_kill_in_each_phase_of_a_call,
    fault_13_many_callers_hear_of_a_death_at_once,
    fault_14_crashes_in_a_call_are_told,
    fault_16_what_cannot_be_serialised_is_an_error_of_its_call,
    fault_45_replies_find_their_callers,
    fault_46_a_call_from_the_object_itself,
    fault_47_whether_a_call_ran_is_told,
    fault_49_a_call_that_timed_out_leaves_the_bridge_usable,
    a_time_out_that_kills,
    a_panic_is_an_error_of_its_call,
    a_message_that_is_too_long_is_an_error_of_its_call,
    a_gigabyte_of_arguments_is_an_error_of_its_call,
    garbage_in_the_shared_memory_is_an_error,
    an_object_that_closes_all_descriptors,
    a_process_that_has_closed_its_end_may_end_by_itself,
    a_handle_in_a_forked_child,
    a_death_after_the_reply_is_told_to_the_next_call,
];

fn each(check: impl Fn(&ProbeBridge, &Tally)) -> Outcome {
    for (probe, tally) in all_ways(Made::Well) {
        probe.start().unwrap();
        check(&probe, &tally);
        let _ = probe.stop();
    }
    Passed
}

/// Kills the process while one call after another is on its way, and compares what the caller is told with what
/// the object has done.
fn fault_13_a_kill_in_each_phase_of_a_call() -> Outcome {
    each(|probe, tally| {
        let mut in_the_midst = 0;
        for round in 0..60 * u64::from(stress_factor()) {
            probe.start().unwrap();
            let child = probe.process().child().unwrap();
            let begun_before = tally.get(BEGUN).unwrap();
            let ended_before = tally.get(ENDED).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // From before the call to after it.
                    std::thread::sleep(Duration::from_micros(round % 30 * 60));
                    child.kill().unwrap();
                });
                let mut returned = 0;
                let error = loop {
                    match probe.work(u64::from(round % 3 == 0)) {
                        Ok(_) => returned += 1,
                        Err(error) => break error,
                    }
                };
                assert_eq!(status_of(&error).signal(), Some(Signal::KILL), "{error}");
                let begun = tally.get(BEGUN).unwrap() - begun_before;
                let ended = tally.get(ENDED).unwrap() - ended_before;
                assert!(ended >= returned, "{ended} {returned}");
                match error.execution() {
                    Execution::NotRun => assert_eq!((begun, ended), (returned, returned)),
                    Execution::Unknown => {
                        assert!(begun - returned <= 1, "{begun} {returned}");
                        in_the_midst += u32::from(begun > returned);
                    }
                    Execution::Ran => panic!("nobody can know that: {error}"),
                }
            });
        }
        assert!(in_the_midst > 0, "no call was under way: the test proves nothing");
    });
    // By its own hand, in the midst of it.
    each(|probe, tally| {
        let error = probe.die(Death::Kill).unwrap_err();
        assert_eq!((error.execution(), tally.get(BEGUN).unwrap()), (Execution::Unknown, 1));
    });
    Passed
}

fn fault_13_many_callers_hear_of_a_death_at_once() -> Outcome {
    each(|probe, tally| {
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| probe.work(600_000).unwrap_err())).collect();
            // One is carried out, the others wait for that.
            while tally.get(BEGUN).unwrap() == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(20));
            probe.process().kill().unwrap();
            let errors: Vec<BridgeError> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
            assert!(errors.iter().all(|error| status_of(error).signal() == Some(Signal::KILL)));
            let not_run = errors.iter().filter(|error| error.execution() == Execution::NotRun).count();
            // Those that the process had never taken.
            assert_eq!(not_run, 7, "{errors:?}");
        });
        assert_eq!((tally.get(BEGUN).unwrap(), tally.get(ENDED).unwrap()), (1, 0));
    })
}

fn fault_14_crashes_in_a_call_are_told() -> Outcome {
    for (death, signal) in
        [(Death::Kill, Signal::KILL), (Death::Abort, Signal::ABRT), (Death::Segfault, Signal::SEGV)]
    {
        each(|probe, tally| {
            let error = probe.die(death).unwrap_err();
            assert_eq!(status_of(&error).signal(), Some(signal), "{error}");
            assert_eq!((error.execution(), tally.get(BEGUN).unwrap()), (Execution::Unknown, 1));
            // The same status, as often as it is asked for.
            let again = probe.echo(1).unwrap_err();
            assert_eq!(status_of(&again).signal(), Some(signal));
            assert_eq!(again.execution(), Execution::NotRun);
            assert!(!probe.process().is_alive());
            probe.start().unwrap();
            assert_eq!(probe.echo(2).unwrap(), 2);
        });
    }
    each(|probe, _| {
        let error = probe.die(Death::StackOverflow).unwrap_err();
        assert!(overflowed(status_of(&error)), "{error}");
    });
    each(|probe, _| {
        let error = probe.die(Death::Exit).unwrap_err();
        assert_eq!(status_of(&error).code(), Some(7), "{error}");
    })
}

fn fault_16_what_cannot_be_serialised_is_an_error_of_its_call() -> Outcome {
    each(|probe, tally| {
        let begun = || tally.get(BEGUN).unwrap();
        for awkward in [Awkward::CannotBeWritten, Awkward::PanicsWhenWritten] {
            let error = probe.awkward(awkward, 0).unwrap_err();
            assert!(matches!(error, BridgeError::Encode { execution: Execution::NotRun, .. }), "{error}");
        }
        let error = probe.awkward(Awkward::CannotBeRead, 0).unwrap_err();
        // A debug build notices it before it is sent.
        assert!(matches!(error, BridgeError::Encode { .. } | BridgeError::Decode { .. }), "{error}");
        assert_eq!((error.execution(), begun()), (Execution::NotRun, 0));
        for (returned, calls) in [(1, 1), (2, 2), (3, 3)] {
            let error = probe.awkward(Awkward::Plain, returned).unwrap_err();
            assert!(matches!(error, BridgeError::Encode { .. } | BridgeError::Decode { .. }), "{error}");
            assert_eq!((error.execution(), begun()), (Execution::Ran, calls));
            assert!(error.to_string().contains("Probe::awkward"), "{error}");
        }
        assert_eq!(probe.awkward(Awkward::Plain, 0).unwrap(), Awkward::Plain);
    })
}

fn fault_45_replies_find_their_callers() -> Outcome {
    each(|probe, _| {
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                scope.spawn(move || {
                    for number in 0..10_000 {
                        let mine = thread << 32 | number;
                        assert_eq!(probe.echo(mine).unwrap(), mine);
                        if number % 500 == 0 {
                            let text = format!("{mine}").repeat(number as usize);
                            assert_eq!(probe.text(&text).unwrap(), text);
                        }
                    }
                });
            }
        });
    })
}

fn fault_46_a_call_from_the_object_itself() -> Outcome {
    // By a fork, which alone copies handles into the object's process.
    use crate::bridge::reentry::{ABridge, BBridge, HANDLE};
    let a = ABridge::new();
    assert!(HANDLE.set(a.clone()).is_ok());
    a.start().unwrap();
    assert_eq!(a.call_itself().unwrap(), "Reentrant");
    // A -> B -> A: the object of B is in a child of A's process.
    assert_eq!(a.call_by_way_of_b().unwrap(), "Reentrant");
    assert_eq!(a.answer().unwrap(), 42);
    // A stranger's copy is another matter.
    let b = BBridge::new();
    b.start().unwrap();
    assert_eq!(b.call_a().unwrap(), "WrongProcess");
    a.stop().unwrap();
    Passed
}

fn fault_47_whether_a_call_ran_is_told() -> Outcome {
    each(|probe, tally| {
        let begun = || tally.get(BEGUN).unwrap();
        assert_eq!(probe.panic("Ran".to_owned()).unwrap_err().execution(), Execution::Ran);
        let hasty = probe.with_timeout(Duration::from_millis(30));
        let error = hasty.work(200).unwrap_err();
        assert_eq!((error.execution(), begun()), (Execution::Unknown, 1), "{error}");
        let error = probe.die(Death::Kill).unwrap_err();
        assert_eq!((error.execution(), begun()), (Execution::Unknown, 2));
        assert_eq!((probe.work(0).unwrap_err().execution(), begun()), (Execution::NotRun, 2));
    })
}

fn fault_49_a_call_that_timed_out_leaves_the_bridge_usable() -> Outcome {
    each(|probe, tally| {
        let hasty = probe.with_timeout(Duration::from_millis(20));
        for _ in 0..3 {
            let error = hasty.work(60).unwrap_err();
            assert!(matches!(error, BridgeError::Timeout { killed: false, .. }), "{error}");
            assert!(!error.needs_start());
        }
        // Answered when those are done, whose replies are nobody's.
        assert_eq!(probe.work(0).unwrap(), 4);
        assert_eq!((tally.get(BEGUN).unwrap(), tally.get(ENDED).unwrap()), (4, 4));
        assert_eq!(hasty.echo(5).unwrap(), 5);
    })
}

fn a_time_out_that_kills() -> Outcome {
    each(|probe, _| {
        let pid = probe.pid().unwrap() as i32;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| probe.work(600_000).unwrap_err());
            std::thread::sleep(Duration::from_millis(20));
            let ruthless = probe.with_timeout(Timeout::after(Duration::from_millis(50)).and_kill());
            let error = ruthless.echo(1).unwrap_err();
            assert!(matches!(error, BridgeError::Timeout { killed: true, .. }), "{error}");
            assert!(error.needs_start());
            assert_eq!(status_of(&other.join().unwrap()).signal(), Some(Signal::KILL));
        });
        assert!(!proc::runs(pid));
        probe.start().unwrap();
        assert_eq!(probe.echo(1).unwrap(), 1);
    })
}

fn a_panic_is_an_error_of_its_call() -> Outcome {
    each(|probe, _| {
        let pid = probe.pid().unwrap();
        let error = probe.panic("on purpose".to_owned()).unwrap_err();
        let BridgeError::Panicked { method, report } = &error else { panic!("{error}") };
        assert_eq!((*method, report.message.as_str()), ("Probe::panic", "on purpose"));
        assert!(report.location.contains("bridge/ways.rs:"), "{report:?}");
        assert!(error.to_string().contains("on purpose"), "{error}");
        // The object is as the panic left it.
        assert_eq!((probe.add(0).unwrap(), probe.pid().unwrap()), (1, pid));
        // So long a message doesn't come across, but the news does.
        probe.stop().unwrap();
        probe.process().max_message(10_000);
        probe.start().unwrap();
        let error = probe.panic("x".repeat(9_960)).unwrap_err();
        assert!(matches!(error, BridgeError::Panicked { .. }), "{error}");
        assert!(error.to_string().len() < 9_000, "{error}");
        assert_eq!(probe.echo(1).unwrap(), 1);
    })
}

fn a_message_that_is_too_long_is_an_error_of_its_call() -> Outcome {
    each(|probe, tally| {
        probe.stop().unwrap();
        probe.process().max_message(10_000);
        probe.start().unwrap();
        let error = probe.text(&"x".repeat(10_000)).unwrap_err();
        assert!(
            matches!(error, BridgeError::TooLarge { execution: Execution::NotRun, max: 10_000, .. }),
            "{error}"
        );
        let error = probe.many(10_000).unwrap_err();
        assert!(matches!(error, BridgeError::TooLarge { execution: Execution::Ran, .. }), "{error}");
        assert_eq!(probe.many(9_000).unwrap().len(), 9_000);
        assert_eq!(tally.get(BEGUN).unwrap(), 0);
    })
}

fn a_gigabyte_of_arguments_is_an_error_of_its_call() -> Outcome {
    let (probe, _) = started();
    let gigabyte = vec![0; 1 << 30];
    let error = probe.bytes(&gigabyte).unwrap_err();
    assert!(matches!(error, BridgeError::TooLarge { execution: Execution::NotRun, .. }), "{error}");
    assert_eq!(probe.bytes(&gigabyte[..3]).unwrap(), [0; 3]);
    Passed
}

fn garbage_in_the_shared_memory_is_an_error() -> Outcome {
    let broken = std::cell::Cell::new(0);
    let played = each(|probe, _| {
        for seed in 0..6 {
            probe.start().unwrap();
            std::thread::scope(|scope| {
                let callers: Vec<_> = (0..3)
                    .map(|_| scope.spawn(|| (0..200_000).find_map(|number| probe.echo(number).err())))
                    .collect();
                // Some survive: then the calls beside them do, or don't.
                let scribbled = probe.with_timeout(Duration::from_secs(2)).scribble(seed);
                if scribbled.is_err() {
                    let _ = probe.process().kill();
                }
                for caller in callers {
                    if let Some(error) = caller.join().unwrap() {
                        // Never that it wasn't started, nor that the method ran and failed.
                        assert!(
                            matches!(
                                error,
                                BridgeError::PeerDied { .. }
                                    | BridgeError::Broken { .. }
                                    | BridgeError::Decode { .. }
                            ),
                            "{error}"
                        );
                        broken.set(broken.get() + 1);
                    }
                }
            });
            // Whatever it was, a new start makes it good.
            probe.process().restart().unwrap();
            assert_eq!(probe.echo(seed).unwrap(), seed);
            probe.stop().unwrap();
        }
    });
    // It did reach the connections.
    assert!(broken.get() > 0);
    played
}

fn an_object_that_closes_all_descriptors() -> Outcome {
    each(|probe, _| {
        let error = probe.with_timeout(Duration::from_secs(5)).close_everything();
        let error = error.and_then(|()| probe.with_timeout(Duration::from_secs(5)).echo(1)).err();
        if let Some(error) = error {
            assert!(!matches!(error, BridgeError::NotStarted { .. }), "{error}");
        }
        probe.process().restart().unwrap();
        assert_eq!(probe.echo(3).unwrap(), 3);
    })
}

fn a_process_that_has_closed_its_end_may_end_by_itself() -> Outcome {
    each(|probe, _| {
        let error = probe.close_everything_and_exit().unwrap_err();
        assert_eq!(status_of(&error).code(), Some(7), "{error}");
        assert_eq!(error.execution(), Execution::Unknown);
    })
}

fn a_handle_in_a_forked_child() -> Outcome {
    let (probe, _) = started();
    let copy = probe.clone();
    let child =
        common_ipc::process::Launch::new(&cross_process_bridge::LaunchOptions::new()).start(move || {
            let wrong = |error: BridgeError| matches!(error, BridgeError::WrongProcess(_));
            let all = [
                wrong(copy.echo(1).unwrap_err()),
                wrong(copy.start().unwrap_err()),
                wrong(copy.stop().unwrap_err()),
                wrong(copy.process().restart().unwrap_err()),
                wrong(copy.process().kill().unwrap_err()),
                copy.process().pid().is_none(),
            ];
            // Its drop is nobody else's trouble.
            drop(copy);
            all.to_vec()
        });
    assert_eq!(child.unwrap().output::<Vec<bool>>().unwrap(), [true; 6]);
    assert_eq!(probe.echo(7).unwrap(), 7);
    Passed
}

fn a_death_after_the_reply_is_told_to_the_next_call() -> Outcome {
    each(|probe, _| {
        probe.die_soon().unwrap();
        let error = (0..1000).find_map(|number| {
            std::thread::sleep(Duration::from_millis(1));
            probe.echo(number).err()
        });
        assert_eq!(status_of(&error.unwrap()).signal(), Some(Signal::KILL));
    })
}
