//! `worker_chaos [SECONDS]`: maps endless iterators by pools of workers, again and again for so long, while workers are
//! killed at random, and ends the pools in the midst of it. Prints how often what happened; exit code 1 if anything is
//! wrong:
//!
//! - each result is right, and in its order, whichever worker was lost over it,
//! - a map whose pool is ended says so, and never waits in vain (if nothing gets on for 20 s, the program says so and
//!   aborts),
//! - after each pool no process of it is left, no thread, no descriptor, and nothing in /dev/shm.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use multiprocess::{Chunk, WorkError, WorkerPool};
use multiprocess::{Execution, LaunchOptions, Stdio};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

const WORKERS: usize = 4;
const RESULTS: u64 = 10_000;
/// Enough for anybody who isn't always the one that is killed.
const ATTEMPTS: u32 = 1_000;
/// Longer nobody waits for the next thing.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happened, in all rounds.
struct Tally {
    results: AtomicU64,
    kills: AtomicU64,
    retried: AtomicU64,
    moved: AtomicU64,
    started: AtomicU64,
    ended: AtomicU64,
}

static TALLY: Tally = Tally {
    results: AtomicU64::new(0),
    kills: AtomicU64::new(0),
    retried: AtomicU64::new(0),
    moved: AtomicU64::new(0),
    started: AtomicU64::new(0),
    ended: AtomicU64::new(0),
};

fn add(what: &AtomicU64, count: u64) {
    what.fetch_add(count, Ordering::Relaxed);
}

/// What a task returns.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Walk {
    start: u64,
    steps: u32,
    highest: u64,
    /// So that some results are longer than others.
    tail: Vec<u64>,
}

/// How a number gets to 1 by halves and triples.
fn walk(start: u64) -> Walk {
    let next = |n: &u64| Some(if n % 2 == 1 { 3 * n + 1 } else { n / 2 });
    let steps = std::iter::successors(Some(start + 1), next).take_while(|n| *n != 1);
    let path: Vec<u64> = steps.collect();
    let tail = path.iter().rev().take(start as usize % 100).copied().collect();
    Walk { start, steps: path.len() as u32, highest: path.iter().copied().max().unwrap_or(1), tail }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    multiprocess::init()?;
    let seconds = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let end = Instant::now() + Duration::from_secs(seconds);
    thread::spawn(watch);
    // It brings what each program with children has from then on: a zygote, and what asks for its help.
    new_pool()?.close()?;
    let before = Holdings::now();
    let mut wrong = Vec::new();
    let mut rounds = 0;
    // Each kind of map, and each kind of end, at the least.
    while wrong.is_empty() && (rounds < 6 || Instant::now() < end) {
        wrong.extend(round(rounds).err());
        wrong.extend(before.what_is_left());
        rounds += 1;
    }
    let Tally { results, kills, retried, moved, started, ended } = &TALLY;
    for (count, what) in [
        (results, "results, each of them right"),
        (kills, "workers killed"),
        (started, "workers started"),
        (retried, "tasks begun once more"),
        (moved, "tasks taken back and given to others"),
        (ended, "maps that were told that their pool was ended"),
    ] {
        println!("{:8} {what}", count.load(Ordering::Relaxed));
        if count.load(Ordering::Relaxed) == 0 {
            wrong.push(format!("no {what}: nothing was tried"));
        }
    }
    println!("{rounds:8} rounds in {seconds} s");
    wrong.iter().for_each(|what| println!("WRONG: {what}"));
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn new_pool() -> Result<WorkerPool, String> {
    // What a worker that is killed has to say nobody wants to read.
    let options = LaunchOptions::new().name("chaos").stderr(Stdio::Null).core_limit(0);
    let pool = WorkerPool::builder(WORKERS).options(options).attempts(ATTEMPTS).build();
    pool.map_err(|error| format!("a pool can't be made: {error}"))
}

fn round(number: u64) -> Result<(), String> {
    let pool = new_pool()?;
    let is_over = AtomicBool::new(false);
    let checked = thread::scope(|scope| {
        scope.spawn(|| kill_now_and_then(&pool, &is_over));
        let checked = match number % 3 {
            0 => check(pool.map(0.., walk).take(RESULTS as usize), 0),
            1 => check(pool.map_chunked(0.., Chunk::Measured, walk).take(RESULTS as usize), 0),
            _ => check(pool.map_chunked(0.., Chunk::Of(7), walk).take(RESULTS as usize), 0),
        };
        is_over.store(true, Ordering::Relaxed);
        checked
    });
    let statistics = pool.statistics().map_err(|error| error.to_string())?;
    if checked? != RESULTS {
        return Err(format!("an endless map has ended; {statistics}"));
    }
    add(&TALLY.retried, statistics.retried);
    add(&TALLY.moved, statistics.moved);
    add(&TALLY.started, statistics.started);
    end_in_the_midst(pool, number % 4 < 2)
}

/// Checks results from this one on, and says which one would be the next.
fn check(results: impl Iterator<Item = Result<Walk, WorkError>>, from: u64) -> Result<u64, String> {
    let mut place = from;
    for result in results {
        let found = result.map_err(|error| format!("the result of {place}: {error}"))?;
        let expected = walk(place);
        if found != expected {
            return Err(format!("{found:?} instead of {expected:?}"));
        }
        add(&TALLY.results, 1);
        place += 1;
    }
    Ok(place)
}

/// Ends the pool while a map of it goes on: by dropping both, or by a thread that terminates it.
fn end_in_the_midst(pool: WorkerPool, by_drop: bool) -> Result<(), String> {
    let mut results = pool.map(0.., walk);
    let place = check(results.by_ref().take(fastrand::usize(1..500)), 0)?;
    if by_drop {
        // The map is a handle of the pool like any other: the second one is the end of it.
        drop(pool);
        check(results.by_ref().take(fastrand::usize(0..20)), place)?;
        drop(results);
        return Ok(());
    }
    let pids = pool.pids().map_err(|error| error.to_string())?;
    thread::scope(|scope| {
        let terminated = scope.spawn(|| {
            thread::sleep(Duration::from_micros(fastrand::u64(0..5_000)));
            pool.terminate(Duration::ZERO).map_err(|error| format!("terminate: {error}"))?;
            // When it returns they have ended.
            match pids.iter().find(|pid| Process::read(**pid as i32).is_some()) {
                Some(pid) => Err(format!("worker {pid} is there after its pool's end")),
                None => Ok(()),
            }
        });
        let told = expect_the_end(&mut results, place);
        let terminated = terminated.join().unwrap_or_else(|_| Err("the one who terminates panicked".into()));
        told.and(terminated)
    })?;
    match pool.submit(walk, 1) {
        Err(WorkError::Closed) => Ok(()),
        other => Err(format!("submitted to a pool that has ended: {other:?}")),
    }
}

/// Results that are right, and then the end, for as many tasks as were on their way.
fn expect_the_end(
    results: &mut impl Iterator<Item = Result<Walk, WorkError>>,
    mut place: u64,
) -> Result<(), String> {
    let mut is_ended = false;
    loop {
        match results.next() {
            Some(Ok(found)) if found == walk(place) => add(&TALLY.results, 1),
            // Begun by a worker, or waiting; the next one wouldn't be taken any more.
            Some(Err(WorkError::Ended { execution, .. })) if execution != Execution::Ran => {
                is_ended = true;
            }
            Some(Err(WorkError::Closed)) => {
                add(&TALLY.ended, 1);
                return Ok(());
            }
            None if is_ended => {
                add(&TALLY.ended, 1);
                return Ok(());
            }
            other => return Err(format!("{place}, as its pool ends: {other:?}")),
        }
        place += 1;
    }
}

fn kill_now_and_then(pool: &WorkerPool, is_over: &AtomicBool) {
    let me = std::process::id() as i32;
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(fastrand::u64(100..5_000)));
        let Some(pid) = pool.pids().ok().and_then(fastrand::choice) else { continue };
        let pid = pid as i32;
        // Its number may be another process's by now.
        let is_ours = descendants(me).contains(&pid);
        if is_ours && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
            add(&TALLY.kills, 1);
        }
    }
}

/// A line of /proc.
struct Process {
    pid: i32,
    parent: i32,
}

impl Process {
    /// `None`: it is gone.
    fn read(pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Its name, before that, may hold anything.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        Some(Process { pid, parent })
    }
}

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.file_name().to_str()?.to_owned())).collect()
}

/// Children, and theirs, and so on, zombies as well.
fn descendants(of: i32) -> BTreeSet<i32> {
    let pids = names_in("/proc").into_iter().filter_map(|name| name.parse().ok());
    let all: Vec<Process> = pids.filter_map(Process::read).collect();
    let mut found = BTreeSet::from([of]);
    loop {
        let known = found.len();
        found.extend(
            all.iter().filter(|one| found.contains(&one.parent)).map(|one| one.pid).collect::<Vec<_>>(),
        );
        if found.len() == known {
            found.remove(&of);
            return found;
        }
    }
}

/// What this program has.
struct Holdings {
    processes: BTreeSet<i32>,
    threads: usize,
    descriptors: usize,
    shared_memory: BTreeSet<String>,
}

impl Holdings {
    fn now() -> Holdings {
        let threads = names_in("/proc/self/task");
        let is_reaper = |thread: &&String| {
            let name = fs::read_to_string(format!("/proc/self/task/{thread}/comm"));
            name.is_ok_and(|name| name.trim_end() == "reaper")
        };
        // The library's, started when it is first needed, for good. It has one descriptor.
        let reapers = threads.iter().filter(is_reaper).count();
        Holdings {
            processes: descendants(std::process::id() as i32),
            threads: threads.len() - reapers,
            descriptors: names_in("/proc/self/fd").len() - reapers,
            shared_memory: names_in("/dev/shm"),
        }
    }

    /// What is more now than it was, after a moment in which it could go.
    fn what_is_left(&self) -> Vec<String> {
        let begin = Instant::now();
        loop {
            let now = Holdings::now();
            let mut left = Vec::new();
            left.extend(now.processes.difference(&self.processes).map(|pid| format!("left: process {pid}")));
            if now.threads > self.threads {
                left.push(format!("left: {} threads instead of {}", now.threads, self.threads));
            }
            if now.descriptors > self.descriptors {
                left.push(format!("left: {} descriptors instead of {}", now.descriptors, self.descriptors));
            }
            let shared = now.shared_memory.difference(&self.shared_memory);
            left.extend(shared.map(|name| format!("left: /dev/shm/{name}")));
            if left.is_empty() || begin.elapsed() > Duration::from_secs(2) {
                return left;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Ends the program when nothing gets on: by force, since it wouldn't get there by itself.
fn watch() {
    let mut last = (0, Instant::now());
    while last.1.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(100));
        let results = TALLY.results.load(Ordering::Relaxed);
        if results != last.0 {
            last = (results, Instant::now());
        }
    }
    println!("WRONG: no result for {PATIENCE:?}, after {} of them", last.0);
    std::process::abort();
}
