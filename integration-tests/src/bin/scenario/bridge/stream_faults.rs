//! What may go wrong with a stream of a bridge: each row by fork, from a template and from a zygote.

use std::time::{Duration, Instant};

use common_ipc::process::{Launch, LaunchOptions, Signal};
use cross_process_bridge::manager::Manager;
use cross_process_bridge::{BridgeError, Execution, Timeout};
use integration_tests::{proc, stress_factor};

use crate::Outcome::{self, Passed};
use crate::bridge::streams::{Gate, SourceBridge, each, ended, is_busy, values};
use crate::bridge::ways::{Awkward, BEGUN, DROPPED, Death, ENDED, TALLIED, status_of, tally};

scenarios![
    fault_46_calls_beside_an_open_stream_are_told_at_once,
    one_way_calls_beside_an_open_stream_are_not_lost,
    fault_16_an_item_that_cannot_be_serialised_is_the_last_one,
    an_item_that_is_too_long_is_the_last_one,
    fault_14_deaths_in_each_phase_of_a_stream,
    fault_13_a_kill_at_any_moment_of_a_stream,
    fault_49_each_wait_for_an_item_has_its_time,
    a_stop_a_restart_and_a_kill_beside_an_open_stream,
    a_stream_in_a_forked_child,
    an_object_in_a_manager_cannot_be_occupied,
    a_panic_is_the_last_item,
    fault_50_a_slow_consumer_keeps_the_iterator_back,
];

fn fault_46_calls_beside_an_open_stream_are_told_at_once() -> Outcome {
    each(|source, _| {
        let mut numbers = source.numbers(0).unwrap();
        assert_eq!(numbers.next().unwrap().unwrap(), 0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let clone = source.clone();
                scope.spawn(move || {
                    for _ in 0..100 {
                        assert!(is_busy(clone.echo(1)));
                        assert!(is_busy(clone.numbers(1)));
                        assert!(is_busy(clone.note()));
                    }
                });
            }
        });
        let error = source.echo(1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Source::echo can't be called while the object is occupied by Source::numbers; it wasn't carried out"
        );
        assert!(numbers.take(1000).map(Result::unwrap).eq(1..1001));
        assert_eq!(source.echo(1).unwrap(), 1);
        // Some of them on their way when the stream is opened.
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let busy = (0..2000).filter(|number| is_busy(source.echo(*number)));
                        busy.count()
                    })
                })
                .collect();
            let mut opened = 0;
            while callers.iter().any(|caller| !caller.is_finished()) {
                if let Ok(numbers) = source.numbers(5) {
                    assert!(numbers.take(3).map(Result::unwrap).eq(5..8));
                    opened += 1;
                }
            }
            assert!(opened > 0);
            callers.into_iter().for_each(|caller| assert!(caller.join().is_ok()));
        });
    })
}

fn one_way_calls_beside_an_open_stream_are_not_lost() -> Outcome {
    each(|source, tally| {
        let sent = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..2000).filter(|_| !is_busy(source.note())).count() as u64))
                .collect();
            while callers.iter().any(|caller| !caller.is_finished()) {
                let _ = source.numbers(0).map(|numbers| numbers.take(2).count());
            }
            callers.into_iter().map(|caller| caller.join().unwrap()).sum::<u64>()
        });
        source.echo(0).unwrap();
        assert_eq!(tally.get(TALLIED).unwrap(), sent);
    })
}

fn fault_16_an_item_that_cannot_be_serialised_is_the_last_one() -> Outcome {
    each(|source, _| {
        for awkward in [Awkward::CannotBeWritten, Awkward::PanicsWhenWritten] {
            // It has to get there.
            let at = 7;
            let error = source.awkward(at, awkward).unwrap_err();
            assert!(matches!(error, BridgeError::Encode { execution: Execution::NotRun, .. }), "{error}");
        }
        let error = source.ends().unwrap().next().unwrap().unwrap_err();
        assert!(matches!(error, BridgeError::Encode { execution: Execution::Ran, .. }), "{error}");
        assert!(source.awkward(3, Awkward::Plain).unwrap().take(10).all(|item| item.is_ok()));
        for kind in [1, 2, 3] {
            let mut items = source.awkward_items(5, kind).unwrap();
            assert_eq!(items.by_ref().take(5).filter(Result::is_ok).count(), 5);
            let error = items.next().unwrap().unwrap_err();
            assert!(matches!(error, BridgeError::Encode { .. } | BridgeError::Decode { .. }), "{error}");
            assert_eq!(error.execution(), Execution::Ran);
            assert!(items.next().is_none());
            assert_eq!(source.echo(1).unwrap(), 1);
        }
    })
}

fn an_item_that_is_too_long_is_the_last_one() -> Outcome {
    each(|source, _| {
        source.stop().unwrap();
        source.process().max_message(1000);
        source.start().unwrap();
        // Batches are no longer than that.
        assert!(values(source.bytes(10, 5000).unwrap()).len() == 5000);
        let mut items = source.texts(vec![10, 700, 10, 900, 2000, 10]).unwrap();
        assert!(items.by_ref().take(3).all(|item| item.is_ok()));
        let error = items.find_map(Result::err).unwrap();
        assert!(matches!(error, BridgeError::TooLarge { max: 1000, .. }), "{error}");
        assert!(items.next().is_none());
        assert_eq!(source.echo(1).unwrap(), 1);
    })
}

fn fault_14_deaths_in_each_phase_of_a_stream() -> Outcome {
    for (death, signal) in
        [(Death::Kill, Signal::KILL), (Death::Abort, Signal::ABRT), (Death::Segfault, Signal::SEGV)]
    {
        each(|source, tally| {
            let error = source.dies_at_once(death).unwrap_err();
            assert_eq!((status_of(&error).signal(), error.execution()), (Some(signal), Execution::Unknown));
            assert_eq!(tally.get(BEGUN).unwrap(), 1);
            for at in [0, 1, 500] {
                source.start().unwrap();
                let mut items = source.dies(at, death).unwrap();
                let before = items.by_ref().map_while(Result::ok).count() as u64;
                assert!(before <= at, "{before}");
                assert!(items.next().is_none());
                let again = source.echo(1).unwrap_err();
                assert_eq!(status_of(&again).signal(), Some(signal));
                assert_eq!(again.execution(), Execution::NotRun);
            }
            source.start().unwrap();
            let error = source.dies(3, death).unwrap().find_map(Result::err).unwrap();
            assert_eq!((status_of(&error).signal(), error.execution()), (Some(signal), Execution::Unknown));
        });
    }
    Passed
}

fn fault_13_a_kill_at_any_moment_of_a_stream() -> Outcome {
    each(|source, _| {
        for round in 0..60 * u64::from(stress_factor()) {
            source.start().unwrap();
            let child = source.process().child().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_micros(round % 30 * 60));
                    child.kill().unwrap();
                });
                let error = loop {
                    let mut items = match source.numbers(0) {
                        Ok(items) => items.take(50 << (round % 8)),
                        Err(error) => break error,
                    };
                    if let Some(error) = items.find_map(Result::err) {
                        assert_ne!(error.execution(), Execution::NotRun, "{error}");
                        break error;
                    }
                };
                assert_eq!(status_of(&error).signal(), Some(Signal::KILL), "{error}");
            });
        }
    })
}

fn fault_49_each_wait_for_an_item_has_its_time() -> Outcome {
    each(|source, tally| {
        // All of them take longer than one may.
        let patient = source.with_timeout(Duration::from_millis(400));
        assert_eq!(values(patient.few(8, 80).unwrap()).len(), 8);
        let hasty = source.with_timeout(Duration::from_millis(30));
        let goes_on = Gate::new();
        let mut items = hasty.bursts(4, goes_on.clone()).unwrap();
        assert_eq!(items.by_ref().take(4).filter(Result::is_ok).count(), 4);
        let error = items.next().unwrap().unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { killed: false, .. }), "{error}");
        assert_eq!(error.execution(), Execution::Unknown);
        assert!(items.next().is_none());
        goes_on.open();
        assert_eq!(source.echo(1).unwrap(), 1);
        ended(tally, 1);
        // In the method itself. Its stream is ended when it is there.
        let error = hasty.opens_slowly(100).unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { .. }), "{error}");
        assert_eq!(source.echo(2).unwrap(), 2);
        ended(tally, 2);
        let goes_on = Gate::new();
        let ruthless = source.with_timeout(Timeout::after(Duration::from_millis(30)).and_kill());
        let mut items = ruthless.bursts(1, goes_on).unwrap();
        items.next().unwrap().unwrap();
        let error = items.next().unwrap().unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { killed: true, .. }), "{error}");
        assert!(!source.process().is_alive());
    })
}

fn a_stop_a_restart_and_a_kill_beside_an_open_stream() -> Outcome {
    each(|source, tally| {
        let begin = Instant::now();
        let mut numbers = source.numbers(0).unwrap();
        numbers.next().unwrap().unwrap();
        source.stop().unwrap();
        assert_eq!((tally.get(ENDED).unwrap(), tally.get(DROPPED).unwrap()), (1, 1));
        let error = numbers.find_map(Result::err).unwrap();
        assert!(matches!(error, BridgeError::PeerDied { execution: Execution::Unknown, .. }), "{error}");
        assert!(numbers.next().is_none());

        source.start().unwrap();
        let mut numbers = source.numbers(0).unwrap();
        numbers.next().unwrap().unwrap();
        source.process().restart().unwrap();
        // The new object isn't occupied by the old one's stream.
        assert_eq!(source.echo(1).unwrap(), 1);
        let mut new = source.numbers(7).unwrap();
        assert!(numbers.any(|item| item.is_err()));
        drop(numbers);
        assert!(is_busy(source.echo(1)));
        assert_eq!(new.next().unwrap().unwrap(), 7);

        source.process().kill().unwrap();
        let error = new.find_map(Result::err).unwrap();
        assert_eq!(status_of(&error).signal(), Some(Signal::KILL), "{error}");
        source.start().unwrap();

        // While somebody waits for an item.
        let goes_on = Gate::new();
        std::thread::scope(|scope| {
            let mut items = source.bursts(1, goes_on.clone()).unwrap();
            items.next().unwrap().unwrap();
            let waits = scope.spawn(move || items.next().unwrap().unwrap_err());
            std::thread::sleep(Duration::from_millis(20));
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                goes_on.open();
            });
            source.stop().unwrap();
            let error = waits.join().unwrap();
            assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
        });
        // None of it had to insist.
        assert!(begin.elapsed() < Duration::from_secs(60));
        source.start().unwrap();
    })
}

fn a_stream_in_a_forked_child() -> Outcome {
    let source = SourceBridge::new(tally());
    source.start().unwrap();
    let mut numbers = source.numbers(0).unwrap();
    numbers.next().unwrap().unwrap();
    let child = Launch::new(&LaunchOptions::new())
        .start(|| {
            let numbers = numbers.by_ref();
            // What had come before is there; nothing more comes.
            let error = numbers.find_map(Result::err).unwrap();
            (matches!(error, BridgeError::WrongProcess(_)), error.to_string())
        })
        .unwrap();
    let (is_told, text) = child.output::<(bool, String)>().unwrap();
    assert!(is_told, "{text}");
    assert!(numbers.take(1000).map(Result::unwrap).eq(1..1001));
    source.stop().unwrap();
    Passed
}

fn a_panic_is_the_last_item() -> Outcome {
    each(|source, tally| {
        for at in [0, 1, 1000] {
            let mut items = source.panics(at).unwrap();
            for number in 0..at {
                assert_eq!(items.next().unwrap().unwrap(), number);
            }
            let error = items.next().unwrap().unwrap_err();
            let BridgeError::Panicked { method: "Source::panics", report } = &error else {
                panic!("{error}")
            };
            assert!(report.message.contains("that number"), "{error}");
            assert_eq!(error.execution(), Execution::Ran);
            assert!(items.next().is_none() && items.next().is_none());
            assert_eq!(source.echo(at).unwrap(), at);
        }
        assert_eq!(tally.get(ENDED).unwrap(), 3);
        let error = source.panics_at_once().unwrap_err();
        assert!(matches!(error, BridgeError::Panicked { .. }), "{error}");
        let mut items = source.panics_when_dropped().unwrap();
        assert_eq!(items.by_ref().take(3).filter(Result::is_ok).count(), 3);
        let error = items.next().unwrap().unwrap_err();
        assert!(error.to_string().contains("when it was dropped"), "{error}");
        // Nobody is there to be told.
        drop(source.panics_when_dropped().unwrap());
        assert_eq!(source.echo(2).unwrap(), 2);
    })
}

fn fault_50_a_slow_consumer_keeps_the_iterator_back() -> Outcome {
    each(|source, tally| {
        let pid = source.process().pid().unwrap() as i32;
        let mut taken = 0;
        let mut numbers = source.numbers(0).unwrap();
        // Fast at first, so that the iterator may be far ahead.
        for _ in 0..200_000 {
            assert_eq!(numbers.next().unwrap().unwrap(), taken);
            taken += 1;
        }
        std::thread::sleep(Duration::from_millis(50));
        let (before, here) = (proc::resident_kib_of(pid), proc::resident_kib());
        for _ in 0..20 * u64::from(stress_factor()) {
            for _ in 0..10_000 {
                assert_eq!(numbers.next().unwrap().unwrap(), taken);
                taken += 1;
            }
            std::thread::sleep(Duration::from_millis(5));
            let made = tally.get(BEGUN).unwrap();
            // What is on its way, what is made ahead, and the one that is being made.
            assert!(made - taken <= 2 * (256 << 10) / 12 + 2, "{made} {taken}");
        }
        let (now, now_here) = (proc::resident_kib_of(pid), proc::resident_kib());
        assert!(now < before + 4096 && now_here < here + 4096, "{before} {now} {here} {now_here}");
    })
}

fn an_object_in_a_manager_cannot_be_occupied() -> Outcome {
    let manager = Manager::start().unwrap();
    let source = manager.share(&SourceBridge::new(tally())).unwrap();
    let error = source.numbers(0).unwrap_err();
    assert!(matches!(error, BridgeError::InManager { .. }), "{error}");
    assert_eq!(error.execution(), Execution::NotRun);
    assert_eq!(source.echo(1).unwrap(), 1);
    drop(source);
    manager.stop().unwrap();
    Passed
}
