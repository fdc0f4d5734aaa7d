//! Iterators that run behind a bridge: by fork, from a template and from a zygote.

use std::time::{Duration, Instant};

use common_ipc::memory::SharedArray;
use common_ipc::process::Signal;
use cross_process_bridge::{BridgeError, BridgeStream, Execution, Timeout, bridge};
use integration_tests::{proc, stress_factor};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::bridge_ways::{
    Awkward, BEGUN, DROPPED, Death, ENDED, ProbeError, TALLIED, Tally, die, status_of, tally,
};
use crate::servers::zygote;

scenarios![
    an_endless_stream_gives_what_is_taken,
    what_a_method_returns_beside_its_items,
    items_are_not_held_back_by_the_next_one,
    a_slow_stream_gives_one_item_after_the_other,
    fault_50_a_slow_consumer_keeps_the_iterator_back,
    items_of_any_length,
    a_stream_that_is_dropped_half_way,
    a_stream_that_is_dropped_while_its_iterator_waits,
    fault_46_calls_beside_an_open_stream_are_told_at_once,
    one_way_calls_beside_an_open_stream_are_not_lost,
    a_panic_is_the_last_item,
    fault_16_an_item_that_cannot_be_serialised_is_the_last_one,
    an_item_that_is_too_long_is_the_last_one,
    fault_14_deaths_in_each_phase_of_a_stream,
    fault_13_a_kill_at_any_moment_of_a_stream,
    fault_49_each_wait_for_an_item_has_its_time,
    a_stop_a_restart_and_a_kill_beside_an_open_stream,
    the_last_handle_is_the_streams,
    a_stream_in_a_forked_child,
    many_streams_leave_nothing,
];

struct Source {
    tally: Tally,
}

/// By which the program lets an iterator go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Gate(SharedArray<u64>);

impl Gate {
    fn new() -> Gate {
        Gate(SharedArray::new(1).unwrap())
    }

    fn posted(&self) -> u64 {
        self.0.get(0).unwrap()
    }

    fn post(&self) {
        self.0.set(0, self.posted() + 1).unwrap();
    }

    /// For as long as somebody may wait yet who doesn't know that nobody wants more.
    fn open(&self) {
        self.0.set(0, self.posted() + 1_000_000).unwrap();
    }

    fn wait(&self, passed: &mut u64) {
        *passed += 1;
        while self.posted() < *passed {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Tells of an iterator's end.
struct Ends(Tally);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.set(ENDED, self.0.get(ENDED).unwrap() + 1).unwrap();
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.count(DROPPED);
    }
}

impl Source {
    fn count(&self, place: usize) {
        self.tally.set(place, self.tally.get(place).unwrap() + 1).unwrap();
    }
}

#[bridge]
impl Source {
    fn new(tally: Tally) -> Source {
        Source { tally }
    }

    fn echo(&self, number: u64) -> u64 {
        number
    }

    #[bridge(one_way)]
    fn note(&mut self) {
        self.count(TALLIED);
    }

    /// Without an end.
    fn numbers(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        let ends = Ends(self.tally.clone());
        (from..).inspect(move |_| {
            let _ = &ends;
            self.count(BEGUN);
        })
    }

    fn few(&mut self, count: u64, milliseconds: u64) -> Box<dyn Iterator<Item = u64> + '_> {
        Box::new((0..count).inspect(move |_| std::thread::sleep(Duration::from_millis(milliseconds))))
    }

    /// Some at once; the next one when it is allowed.
    fn bursts(&self, length: u64, goes_on: Gate) -> impl Iterator<Item = u64> {
        let ends = Ends(self.tally.clone());
        let mut passed = goes_on.posted();
        (0..).inspect(move |number| {
            let _ = &ends;
            if *number > 0 && number % length == 0 {
                goes_on.wait(&mut passed);
            }
        })
    }

    fn texts(&self, lengths: Vec<usize>) -> impl Iterator<Item = String> {
        lengths.into_iter().map(|length| "x".repeat(length))
    }

    fn bytes(&self, length: usize, count: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(move |number| vec![number as u8; length])
    }

    fn panics(&self, at: u64) -> impl Iterator<Item = u64> {
        let ends = Ends(self.tally.clone());
        (0..).inspect(move |number| {
            let _ = &ends;
            assert_ne!(*number, at, "that number");
        })
    }

    fn panics_at_once(&self) -> impl Iterator<Item = u64> + use<> {
        if self.tally.get(BEGUN).is_ok() {
            panic!("before the first item");
        }
        0..1
    }

    fn panics_when_dropped(&self) -> impl Iterator<Item = u64> {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("when it was dropped");
            }
        }
        let bomb = Bomb;
        (0..3).inspect(move |_| {
            let _ = &bomb;
        })
    }

    fn awkward(&self, at: u64, item: Awkward) -> impl Iterator<Item = Awkward> {
        (0..).map(move |number| if number == at { item.clone() } else { Awkward::Plain })
    }

    /// Of an item that only this process knows.
    fn awkward_items(&self, at: u64, kind: u8) -> impl Iterator<Item = Awkward> {
        (0..).map(move |number| match kind {
            _ if number != at => Awkward::Plain,
            1 => Awkward::CannotBeWritten,
            2 => Awkward::PanicsWhenWritten,
            _ => Awkward::CannotBeRead,
        })
    }

    fn dies(&self, at: u64, death: Death) -> impl Iterator<Item = u64> + '_ {
        (0..).inspect(move |number| {
            if *number == at {
                self.count(BEGUN);
                die(death);
            }
        })
    }

    fn dies_at_once(&self, death: Death) -> impl Iterator<Item = u64> + use<> {
        self.count(BEGUN);
        die(death);
        0..1
    }

    fn opens_slowly(&self, milliseconds: u64) -> impl Iterator<Item = u64> + use<> {
        let ends = Ends(self.tally.clone());
        std::thread::sleep(Duration::from_millis(milliseconds));
        (0..).inspect(move |_| {
            let _ = &ends;
        })
    }

    fn perhaps(&self, count: u64) -> Result<impl Iterator<Item = (u64, Vec<u8>)>, ProbeError> {
        if count == 0 {
            return Err(ProbeError::Missing("any".to_owned()));
        }
        Ok((0..count).map(|number| (number, vec![7; number as usize])))
    }

    #[bridge(remote_error)]
    fn lines(&self, path: &std::path::Path) -> std::io::Result<impl Iterator<Item = String>> {
        let text = std::fs::read_to_string(path)?;
        Ok(text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter())
    }

    fn count_up() -> impl ExactSizeIterator<Item = u8> {
        [1, 2, 3].into_iter()
    }
}

fn each(check: impl Fn(&SourceBridge, &Tally)) -> Outcome {
    let zygote = zygote();
    let new = || {
        let tally = tally();
        (SourceBridge::new(tally.clone()), tally)
    };
    let (forked, copied, sent) = (new(), new(), new());
    copied.0.process().launch_from_template().unwrap();
    sent.0.process().launch_in(&zygote);
    for (source, tally) in [forked, copied, sent] {
        source.start().unwrap();
        check(&source, &tally);
        let _ = source.stop();
    }
    Passed
}

fn values<T>(stream: BridgeStream<T>) -> Vec<T> {
    stream.collect::<Result<_, _>>().unwrap()
}

fn ended(tally: &Tally, count: u64) {
    assert!(proc::eventually(|| tally.get(ENDED).unwrap() >= count), "{:?}", tally.get(ENDED));
}

fn is_busy<T>(called: Result<T, BridgeError>) -> bool {
    match called {
        Err(error @ BridgeError::Busy { .. }) => {
            assert_eq!(error.execution(), Execution::NotRun);
            assert!(!error.needs_start());
            true
        }
        Err(error) => panic!("{error}"),
        Ok(_) => false,
    }
}

fn an_endless_stream_gives_what_is_taken() -> Outcome {
    each(|source, tally| {
        for round in 0..3 {
            let numbers: Vec<u64> = source.numbers(round).unwrap().take(10_000).map(Result::unwrap).collect();
            assert!(numbers.iter().copied().eq(round..round + 10_000));
        }
        assert_eq!(source.echo(1).unwrap(), 1);
        ended(tally, 3);
    })
}

fn what_a_method_returns_beside_its_items() -> Outcome {
    each(|source, _| {
        assert_eq!(source.perhaps(0).unwrap().unwrap_err(), ProbeError::Missing("any".to_owned()));
        let items = values(source.perhaps(3).unwrap().unwrap());
        assert_eq!(items, [(0, vec![]), (1, vec![7]), (2, vec![7, 7])]);
        let error = source.lines("/does/not/exist".as_ref()).unwrap().unwrap_err();
        assert_eq!(error.type_name(), "std::io::error::Error");
        assert!(values(source.lines("/proc/self/status".as_ref()).unwrap().unwrap()).len() > 10);
        assert_eq!(values(source.count_up().unwrap()), [1, 2, 3]);
        let mut over = source.few(1, 0).unwrap();
        assert_eq!(over.next().unwrap().unwrap(), 0);
        assert!(over.next().is_none() && over.next().is_none());
        // It is over, though it is there.
        assert_eq!(source.echo(3).unwrap(), 3);
        assert!(over.next().is_none());
    })
}

fn items_are_not_held_back_by_the_next_one() -> Outcome {
    each(|source, tally| {
        let goes_on = Gate::new();
        // So many that the batches have grown.
        for length in [1, 3, 100, 5000] {
            let mut items = source.bursts(length, goes_on.clone()).unwrap();
            for number in 0..length * 3 {
                if number > 0 && number % length == 0 {
                    goes_on.post();
                }
                assert_eq!(items.next().unwrap().unwrap(), number);
            }
            drop(items);
            goes_on.open();
        }
        ended(tally, 4);
    })
}

fn a_slow_stream_gives_one_item_after_the_other() -> Outcome {
    each(|source, _| {
        let begin = Instant::now();
        let mut items = source.few(5, 40).unwrap();
        items.next().unwrap().unwrap();
        let first = begin.elapsed();
        assert_eq!(items.count(), 4);
        assert!(begin.elapsed() >= Duration::from_millis(200) && first < begin.elapsed());
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

fn items_of_any_length() -> Outcome {
    each(|source, _| {
        let lengths = vec![0, 1, 4095, 4096, 300_000, 0, 3 << 20, 17];
        let texts = values(source.texts(lengths.clone()).unwrap());
        assert!(texts.iter().map(String::len).eq(lengths));
        let bytes = values(source.bytes(1 << 20, 20).unwrap());
        assert!((0..20).all(|number| bytes[number] == vec![number as u8; 1 << 20]));
        assert!(values(source.bytes(0, 100_000).unwrap()).len() == 100_000);
    })
}

fn a_stream_that_is_dropped_half_way() -> Outcome {
    each(|source, tally| {
        for taken in 0..50 {
            let mut numbers = source.numbers(0).unwrap();
            for number in 0..taken {
                assert_eq!(numbers.next().unwrap().unwrap(), number);
            }
            drop(numbers);
            // It comes after the end of the iterator.
            assert_eq!(source.echo(taken).unwrap(), taken);
            assert_eq!(tally.get(ENDED).unwrap(), taken + 1);
        }
    })
}

fn a_stream_that_is_dropped_while_its_iterator_waits() -> Outcome {
    each(|source, tally| {
        let goes_on = Gate::new();
        let mut items = source.bursts(2, goes_on.clone()).unwrap();
        assert_eq!(items.next().unwrap().unwrap(), 0);
        assert_eq!(items.next().unwrap().unwrap(), 1);
        drop(items);
        assert_eq!(tally.get(ENDED).unwrap(), 0);
        let error = source.with_timeout(Duration::from_millis(30)).echo(1).unwrap_err();
        assert!(matches!(error, BridgeError::Timeout { .. }), "{error}");
        goes_on.open();
        assert_eq!(source.echo(2).unwrap(), 2);
        assert_eq!(tally.get(ENDED).unwrap(), 1);
    })
}

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

fn fault_16_an_item_that_cannot_be_serialised_is_the_last_one() -> Outcome {
    each(|source, _| {
        for awkward in [Awkward::CannotBeWritten, Awkward::PanicsWhenWritten] {
            // It has to get there.
            let at = 7;
            let error = source.awkward(at, awkward).unwrap_err();
            assert!(matches!(error, BridgeError::Encode { execution: Execution::NotRun, .. }), "{error}");
        }
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

fn the_last_handle_is_the_streams() -> Outcome {
    let tally = tally();
    let source = SourceBridge::new(tally.clone());
    source.start().unwrap();
    let mut numbers = source.numbers(0).unwrap();
    drop(source);
    assert!(numbers.by_ref().take(100).map(Result::unwrap).eq(0..100));
    assert_eq!(tally.get(DROPPED).unwrap(), 0);
    drop(numbers);
    assert_eq!((tally.get(ENDED).unwrap(), tally.get(DROPPED).unwrap()), (1, 1));
    Passed
}

fn a_stream_in_a_forked_child() -> Outcome {
    use common_ipc::process::{Launch, LaunchOptions};
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

fn many_streams_leave_nothing() -> Outcome {
    each(|source, tally| {
        let pid = source.process().pid().unwrap() as i32;
        let mut before = None;
        let rounds = 300 * u64::from(stress_factor());
        for round in 0..rounds {
            let mut numbers = source.numbers(round).unwrap();
            assert_eq!(numbers.next().unwrap().unwrap(), round);
            drop(numbers);
            if round == 50 {
                before = Some(proc::descriptors(pid).len());
            }
        }
        source.echo(1).unwrap();
        assert_eq!(before, Some(proc::descriptors(pid).len()));
        assert_eq!(tally.get(ENDED).unwrap(), rounds);
    })
}
