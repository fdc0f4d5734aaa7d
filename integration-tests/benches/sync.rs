//! What it costs to set an event, to take a permit, to lock: alone, and between two processes.
//!
//! `cargo bench -p integration-tests --bench sync` prints a table. Absolute figures move with the machine and
//! with what else it does; the ratios, whose two sides are measured turn by turn, are what counts.
#![allow(clippy::unwrap_used, reason = "a benchmark is a program of its own")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use common_ipc::process::{Launch, LaunchOptions};
use common_ipc::sync::{Event, EventFd, Mutex, Semaphore};
use integration_tests::raw::FutexPair;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

fn main() {
    alone();
    let processors = std::thread::available_parallelism().unwrap().get();
    let mut first = CpuSet::new();
    first.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &first).unwrap();
    // The child's processor, and what the two have then.
    for (processor, what) in [(0, "one core"), (1, "two cores")] {
        if processor < processors {
            between_two(processor, what);
        }
    }
}

/// Nanoseconds of one round, the median of many batches.
fn each(mut round: impl FnMut()) -> f64 {
    const BATCH: u32 = 1000;
    let mut figures: Vec<f64> = (0..1000)
        .map(|_| {
            let begin = Instant::now();
            (0..BATCH).for_each(|_| round());
            begin.elapsed().as_nanos() as f64 / f64::from(BATCH)
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn alone() {
    println!("alone (ns)");
    let semaphore = Semaphore::new(4).unwrap();
    println!("  {:44} {:>10.1}", "Semaphore: acquire, release", each(|| drop(semaphore.acquire().unwrap())));
    let mutex = Mutex::new(0u64).unwrap();
    println!("  {:44} {:>10.1}", "Mutex<u64>: lock, unlock", each(|| drop(black_box(mutex.lock().unwrap()))));
    println!("  {:44} {:>10.1}", "Mutex<u64>: lock, change, unlock", each(|| *mutex.lock().unwrap() += 1));
    let event = Event::new().unwrap();
    let round = || {
        event.set();
        event.clear();
    };
    println!("  {:44} {:>10.1}", "Event: set, clear, nobody waits", each(round));
    let event_fd = EventFd::new().unwrap();
    let round = || {
        event_fd.set().unwrap();
        event_fd.clear().unwrap();
    };
    println!("  {:44} {:>10.1}", "EventFd: set, clear", each(round));
}

/// A way to and fro.
trait Court: Clone {
    fn serve(&self);
    fn give_back(&self);
    fn options(&self) -> LaunchOptions;
}

#[derive(Clone)]
struct Events(Event, Event);

impl Court for Events {
    fn serve(&self) {
        self.0.set();
        self.1.wait().unwrap();
        self.1.clear();
    }

    fn give_back(&self) {
        self.0.wait().unwrap();
        self.0.clear();
        self.1.set();
    }

    fn options(&self) -> LaunchOptions {
        LaunchOptions::new()
    }
}

#[derive(Clone)]
struct EventFds(EventFd, EventFd);

impl Court for EventFds {
    fn serve(&self) {
        self.0.set().unwrap();
        self.1.wait().unwrap();
        self.1.clear().unwrap();
    }

    fn give_back(&self) {
        self.0.wait().unwrap();
        self.0.clear().unwrap();
        self.1.set().unwrap();
    }

    fn options(&self) -> LaunchOptions {
        LaunchOptions::new().give(&self.0).give(&self.1)
    }
}

#[derive(Clone)]
struct Futexes(std::rc::Rc<FutexPair>);

impl Court for Futexes {
    fn serve(&self) {
        self.0.post(0);
        self.0.wait(1);
    }

    fn give_back(&self) {
        self.0.wait(0);
        self.0.post(1);
    }

    fn options(&self) -> LaunchOptions {
        LaunchOptions::new()
    }
}

/// Microseconds of a round trip: the median over a while.
fn play(court: &impl Court, processor: usize) -> f64 {
    let theirs = court.clone();
    let options = court.options().affinity([processor]);
    let child = Launch::new(&options).start::<(), _>(move || {
        loop {
            theirs.give_back();
        }
    });
    let child = child.unwrap();
    (0..1000).for_each(|_| court.serve());
    let (mut figures, begin) = (Vec::new(), Instant::now());
    while begin.elapsed() < Duration::from_millis(500) {
        let round = Instant::now();
        (0..20).for_each(|_| court.serve());
        figures.push(round.elapsed().as_nanos() as f64 / 2e4);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn between_two(processor: usize, what: &str) {
    println!("\nto and fro between two processes, {what} (us)");
    // Turn by turn, as the machine is moody.
    let mut figures = [[0.0; 3]; 5];
    for turn in &mut figures {
        *turn = [
            play(&Futexes(std::rc::Rc::default()), processor),
            play(&Events(Event::new().unwrap(), Event::new().unwrap()), processor),
            play(&EventFds(EventFd::new().unwrap(), EventFd::new().unwrap()), processor),
        ];
    }
    let medians = [0, 1, 2].map(|which| {
        let mut column = figures.map(|turn| turn[which]);
        column.sort_by(f64::total_cmp);
        column[2]
    });
    for (name, figure) in
        ["raw futex pair, always sleeping", "two Events", "two EventFds"].iter().zip(medians)
    {
        println!("  {:44} {:>10.2} {:>8.2} x", name, figure, figure / medians[0]);
    }
}
