//! What comes back from an object in another process bit by bit, and what it calls here.

use std::time::Instant;

use cross_process_bridge::bridge;

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;
use crate::support::{median, pin};

/// Of a stream that is measured.
const ITEMS: u64 = 200_000;

const STREAM: &str = "bridge: impl Iterator<Item = u64>";
const VEC: &str = "bridge: Vec<u64>";
const CALLS: &str = "bridge: a call for each u64";

pub(crate) const CASE: Case = Case {
    name: "bridge_beyond",
    task: "200,000 numbers out of an object: for each second",
    unit: "M/s",
    better: Better::Higher,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[Contender::ours(STREAM, stream), Contender::limit(VEC, vec), Contender::peer(CALLS, calls)],
    bounds: &[Bound::at_least(STREAM, CALLS, 4.0)],
};

const CALLBACK: &str = "bridge: a closure's call";
const CALL: &str = "bridge: a call";

pub(crate) const CALLBACKS: Case = Case {
    name: "bridge_beyond_callback",
    task: "a method's call of a closure in the calling process, and its result",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[Contender::ours(CALLBACK, callback), Contender::limit(CALL, call)],
    bounds: &[Bound::ratio(CALLBACK, CALL, 4.0)],
};

const OPEN: &str = "bridge: a stream of one item";

pub(crate) const OPENING: Case = Case {
    name: "bridge_beyond_opening",
    task: "a stream that is opened, read and ended",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[Contender::ours(OPEN, opening), Contender::limit(CALL, call)],
    bounds: &[],
};

struct Numbers;

#[bridge]
impl Numbers {
    fn new(core: Option<usize>) -> Numbers {
        if let Some(core) = core {
            pin(core);
        }
        Numbers
    }

    fn one(&self, number: u64) -> u64 {
        number
    }

    fn all(&self, count: u64) -> Vec<u64> {
        (0..count).collect()
    }

    fn each(&self, count: u64) -> impl Iterator<Item = u64> {
        0..count
    }

    fn visit(&self, count: u64, mut visit: impl FnMut(u64) -> u64) -> u64 {
        (0..count).map(&mut visit).sum()
    }
}

fn numbers(setting: Setting) -> NumbersBridge {
    let numbers = NumbersBridge::new(setting.place.second_core());
    numbers.start().unwrap();
    numbers
}

/// How many microseconds one of `count` takes, of all of which `round` does.
fn each(setting: Setting, count: u64, mut round: impl FnMut(u64) -> u64) -> f64 {
    let expected = count * (count - 1) / 2;
    let mut figures = Vec::new();
    let begin = Instant::now();
    while figures.is_empty() || begin.elapsed() < setting.time {
        let begin = Instant::now();
        assert_eq!(round(count), expected);
        figures.push(begin.elapsed().as_nanos() as f64 / 1e3 / count as f64);
    }
    median(&mut figures)
}

fn stream(setting: Setting) -> f64 {
    let numbers = numbers(setting);
    1.0 / each(setting, ITEMS, |count| numbers.each(count).unwrap().map(Result::unwrap).sum())
}

fn vec(setting: Setting) -> f64 {
    let numbers = numbers(setting);
    1.0 / each(setting, ITEMS, |count| numbers.all(count).unwrap().into_iter().sum())
}

fn calls(setting: Setting) -> f64 {
    let numbers = numbers(setting);
    1.0 / each(setting, ITEMS / 10, |count| (0..count).map(|number| numbers.one(number).unwrap()).sum())
}

fn callback(setting: Setting) -> f64 {
    let numbers = numbers(setting);
    each(setting, ITEMS / 10, |count| numbers.visit(count, |number| number).unwrap())
}

fn call(setting: Setting) -> f64 {
    let numbers = numbers(setting);
    setting.time_of(|| {
        numbers.one(7).unwrap();
    })
}

fn opening(setting: Setting) -> f64 {
    let numbers = numbers(setting);
    setting.time_of(|| {
        assert_eq!(numbers.each(1).unwrap().map(Result::unwrap).sum::<u64>(), 0);
    })
}
