//! Iterators that run behind a bridge: by fork, from a template and from a zygote.

use std::time::{Duration, Instant};

use common_ipc::link::Connection;
use common_ipc::memory::SharedArray;
use common_ipc::process::{Launch, LaunchOptions};
use cross_process_bridge::{BridgeError, BridgeStream, Execution, bridge};
use integration_tests::{proc, stress_factor};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Awkward, BEGUN, DROPPED, Death, ENDED, ProbeError, TALLIED, Tally, die, tally};
use crate::servers::zygote;

scenarios![
    an_endless_stream_gives_what_is_taken,
    what_a_method_returns_beside_its_items,
    items_are_not_held_back_by_the_next_one,
    a_slow_stream_gives_one_item_after_the_other,
    items_of_any_length,
    a_stream_that_is_dropped_half_way,
    a_stream_that_is_dropped_while_its_iterator_waits,
    the_last_handle_is_the_streams,
    an_iterator_that_starts_processes,
    many_streams_leave_nothing,
];

pub(crate) struct Source {
    tally: Tally,
}

/// By which the program lets an iterator go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Gate(SharedArray<u64>);

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate(SharedArray::new(1).unwrap())
    }

    pub(crate) fn posted(&self) -> u64 {
        self.0.get(0).unwrap()
    }

    pub(crate) fn post(&self) {
        self.0.set(0, self.posted() + 1).unwrap();
    }

    /// For as long as somebody may wait yet who doesn't know that nobody wants more.
    pub(crate) fn open(&self) {
        self.0.set(0, self.posted() + 1_000_000).unwrap();
    }

    pub(crate) fn wait(&self, passed: &mut u64) {
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
    pub(crate) fn new(tally: Tally) -> Source {
        Source { tally }
    }

    pub(crate) fn echo(&self, number: u64) -> u64 {
        number
    }

    #[bridge(one_way)]
    pub(crate) fn note(&mut self) {
        self.count(TALLIED);
    }

    /// Without an end.
    pub(crate) fn numbers(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        let ends = Ends(self.tally.clone());
        (from..).inspect(move |_| {
            let _ = &ends;
            self.count(BEGUN);
        })
    }

    pub(crate) fn few(&mut self, count: u64, milliseconds: u64) -> Box<dyn Iterator<Item = u64> + '_> {
        Box::new((0..count).inspect(move |_| std::thread::sleep(Duration::from_millis(milliseconds))))
    }

    /// Some at once; the next one when it is allowed.
    pub(crate) fn bursts(&self, length: u64, goes_on: Gate) -> impl Iterator<Item = u64> {
        let ends = Ends(self.tally.clone());
        let mut passed = goes_on.posted();
        (0..).inspect(move |number| {
            let _ = &ends;
            if *number > 0 && number % length == 0 {
                goes_on.wait(&mut passed);
            }
        })
    }

    pub(crate) fn texts(&self, lengths: Vec<usize>) -> impl Iterator<Item = String> {
        lengths.into_iter().map(|length| "x".repeat(length))
    }

    pub(crate) fn bytes(&self, length: usize, count: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(move |number| vec![number as u8; length])
    }

    pub(crate) fn panics(&self, at: u64) -> impl Iterator<Item = u64> {
        let ends = Ends(self.tally.clone());
        (0..).inspect(move |number| {
            let _ = &ends;
            assert_ne!(*number, at, "that number");
        })
    }

    pub(crate) fn panics_at_once(&self) -> impl Iterator<Item = u64> + use<> {
        if self.tally.get(BEGUN).is_ok() {
            panic!("before the first item");
        }
        0..1
    }

    pub(crate) fn panics_when_dropped(&self) -> impl Iterator<Item = u64> {
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

    pub(crate) fn awkward(&self, at: u64, item: Awkward) -> impl Iterator<Item = Awkward> {
        (0..).map(move |number| if number == at { item.clone() } else { Awkward::Plain })
    }

    /// Of an item that only this process knows.
    pub(crate) fn awkward_items(&self, at: u64, kind: u8) -> impl Iterator<Item = Awkward> {
        (0..).map(move |number| match kind {
            _ if number != at => Awkward::Plain,
            1 => Awkward::CannotBeWritten,
            2 => Awkward::PanicsWhenWritten,
            _ => Awkward::CannotBeRead,
        })
    }

    /// They can be arguments and results.
    pub(crate) fn ends(&self) -> impl Iterator<Item = Connection<u8, u8>> {
        std::iter::from_fn(|| Connection::pair().ok().map(|(end, _)| end))
    }

    pub(crate) fn dies(&self, at: u64, death: Death) -> impl Iterator<Item = u64> + '_ {
        (0..).inspect(move |number| {
            if *number == at {
                self.count(BEGUN);
                die(death);
            }
        })
    }

    pub(crate) fn dies_at_once(&self, death: Death) -> impl Iterator<Item = u64> + use<> {
        self.count(BEGUN);
        die(death);
        0..1
    }

    pub(crate) fn opens_slowly(&self, milliseconds: u64) -> impl Iterator<Item = u64> + use<> {
        let ends = Ends(self.tally.clone());
        std::thread::sleep(Duration::from_millis(milliseconds));
        (0..).inspect(move |_| {
            let _ = &ends;
        })
    }

    pub(crate) fn perhaps(&self, count: u64) -> Result<impl Iterator<Item = (u64, Vec<u8>)>, ProbeError> {
        if count == 0 {
            return Err(ProbeError::Missing("any".to_owned()));
        }
        Ok((0..count).map(|number| (number, vec![7; number as usize])))
    }

    #[bridge(remote_error)]
    pub(crate) fn lines(&self, path: &std::path::Path) -> std::io::Result<impl Iterator<Item = String>> {
        let text = std::fs::read_to_string(path)?;
        Ok(text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter())
    }

    /// Each made by a process of its own.
    pub(crate) fn forks(&self, count: u32) -> impl Iterator<Item = u32> {
        (0..count).map(|number| {
            let child = Launch::new(&LaunchOptions::new()).start(move || number * 2).unwrap();
            child.output::<u32>().unwrap()
        })
    }

    pub(crate) fn count_up() -> impl ExactSizeIterator<Item = u8> {
        [1, 2, 3].into_iter()
    }
}

pub(crate) fn each(check: impl Fn(&SourceBridge, &Tally)) -> Outcome {
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

pub(crate) fn values<T>(stream: BridgeStream<T>) -> Vec<T> {
    stream.collect::<Result<_, _>>().unwrap()
}

pub(crate) fn ended(tally: &Tally, count: u64) {
    assert!(proc::eventually(|| tally.get(ENDED).unwrap() >= count), "{:?}", tally.get(ENDED));
}

pub(crate) fn is_busy<T>(called: Result<T, BridgeError>) -> bool {
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

fn an_iterator_that_starts_processes() -> Outcome {
    each(|source, _| {
        let mut made = source.forks(20).unwrap();
        let others = std::thread::scope(|scope| {
            // The process has something to do beside each fork.
            let others = scope.spawn(|| (0..500).filter(|number| is_busy(source.echo(*number))).count());
            for number in 0..10 {
                assert_eq!(made.next().unwrap().unwrap(), number * 2);
            }
            others.join().unwrap()
        });
        assert_eq!(others, 500);
        assert!(made.map(Result::unwrap).eq((10..20).map(|number| number * 2)));
    })
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
