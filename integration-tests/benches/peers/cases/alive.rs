//! Starts and stops beside many children that are alive.

use std::time::Duration;

use common_ipc::process::{Child, Launch, LaunchOptions, Zygote};
use integration_tests::raw::zygote::{Bare, BareZygote, Body};

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::needs::{Needs, raise_descriptors};
use crate::place::Place;
use crate::support::timed;

/// Children sleep until they are killed. They are started, and ended and collected, one after the other.
pub(crate) const CASE: Case = Case {
    name: "alive",
    task: "children of a zygote beside others that are alive: each start, and each stop, of 500",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::Free],
    contenders: &[
        Contender::ours(FIRST, starts::<0>).needs(files(500)),
        Contender::limit(FIRST_BARE, bare_starts::<0>).needs(files(500)),
        Contender::peer("start beside 500", starts::<500>).needs(files(1000)),
        Contender::peer("start beside 1000", starts::<1000>).needs(files(1500)),
        Contender::peer("start beside 1500", starts::<1500>).needs(files(2000)),
        Contender::peer("start beside 2000", starts::<2000>).needs(files(2500)),
        Contender::peer("start beside 2500", starts::<2500>).needs(files(3000)),
        Contender::peer("start beside 3000", starts::<3000>).needs(files(3500)),
        Contender::peer(LAST, starts::<3500>).needs(files(4000)),
        Contender::peer(LAST_BARE, bare_starts::<3500>).needs(files(4000)),
        Contender::peer(STOP_FIRST, stops::<500>).needs(files(500)),
        Contender::peer("stop the oldest 500 of 1000", stops::<1000>).needs(files(1000)),
        Contender::peer("stop the oldest 500 of 2000", stops::<2000>).needs(files(2000)),
        Contender::peer(STOP_LAST, stops::<4000>).needs(files(4000)),
        Contender::peer("bare zygote: stop the oldest 500 of 4000", bare_stops::<4000>).needs(files(4000)),
    ],
    // As much as the kernel's own part may move, and the noise.
    bounds: &[
        Bound::ratio(LAST, FIRST, 1.3),
        Bound::ratio(LAST_BARE, FIRST_BARE, 1.3),
        Bound::ratio(STOP_LAST, STOP_FIRST, 1.3),
    ],
};

const FIRST: &str = "start the first";
const FIRST_BARE: &str = "bare zygote: start the first";
const LAST: &str = "start beside 3500";
const LAST_BARE: &str = "bare zygote: start beside 3500";
const STOP_FIRST: &str = "stop all of 500";
const STOP_LAST: &str = "stop the oldest 500 of 4000";

const BLOCK: usize = 500;

/// Two descriptors for each child, and some for the program.
const fn files(children: u64) -> Needs {
    Needs::Descriptors(2 * children + 100)
}

/// Those that were started. When this is dropped, they are killed and collected.
struct Alive<T> {
    children: Vec<T>,
    end: fn(&T),
}

impl<T> Alive<T> {
    fn new(end: fn(&T)) -> Alive<T> {
        raise_descriptors();
        Alive { children: Vec::new(), end }
    }

    /// The time of each start of the next ones, in microseconds.
    fn start(&mut self, count: usize, mut one: impl FnMut() -> T) -> f64 {
        let children = &mut self.children;
        children.reserve(count);
        timed(|| (0..count).for_each(|_| children.push(one()))) / count as f64
    }

    /// The time of each end of the oldest ones, in microseconds.
    fn stop(&mut self, count: usize) -> f64 {
        let oldest: Vec<T> = self.children.drain(..count).collect();
        timed(|| oldest.iter().for_each(self.end)) / count as f64
    }
}

impl<T> Drop for Alive<T> {
    fn drop(&mut self) {
        self.stop(self.children.len());
    }
}

fn ours() -> (Alive<Child>, impl FnMut() -> Child) {
    let mut alive = Alive::new(|child: &Child| {
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let options = LaunchOptions::new();
    let one = move || {
        let sleep = |()| std::thread::sleep(Duration::from_secs(600));
        Launch::new(&options).start_in(&Zygote::global(), sleep, &()).unwrap()
    };
    // The first one has the zygote made.
    alive.start(1, &one);
    alive.stop(1);
    (alive, one)
}

fn bare() -> (Alive<Bare>, impl FnMut() -> Bare) {
    let alive = Alive::new(|child: &Bare| {
        child.kill();
        child.wait();
    });
    let zygote = BareZygote::new();
    (alive, move || zygote.start(Body::Sleep))
}

fn starts<const BESIDE: usize>(_: Setting) -> f64 {
    let (mut alive, mut one) = ours();
    alive.start(BESIDE, &mut one);
    alive.start(BLOCK, &mut one)
}

fn stops<const OF: usize>(_: Setting) -> f64 {
    let (mut alive, mut one) = ours();
    alive.start(OF, &mut one);
    alive.stop(BLOCK)
}

fn bare_starts<const BESIDE: usize>(_: Setting) -> f64 {
    let (mut alive, mut one) = bare();
    alive.start(BESIDE, &mut one);
    alive.start(BLOCK, &mut one)
}

fn bare_stops<const OF: usize>(_: Setting) -> f64 {
    let (mut alive, mut one) = bare();
    alive.start(OF, &mut one);
    alive.stop(BLOCK)
}
