//! What happens how often, what must not happen, and whether the loop comes round.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A loop that takes longer for a round hangs.
const ROUND: Duration = Duration::from_secs(10);

pub struct Tally {
    begin: Instant,
    /// When the loop came round last, in milliseconds from the beginning.
    beat: AtomicU64,
    slowest_round: AtomicU64,
    is_closing: AtomicBool,
    pub frames: AtomicU64,
    pub runs: AtomicU64,
    pub killed: AtomicU64,
    pub replaced: AtomicU64,
    pub clients: AtomicU64,
    pub answers: AtomicU64,
    /// Requests to a worker that was dead, or died meanwhile.
    pub asked_of_the_dead: AtomicU64,
    /// Requests that took too long.
    pub unanswered: AtomicU64,
    pub kills: AtomicU64,
    pub stops: AtomicU64,
    pub continues: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

pub fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    pub fn new() -> Tally {
        let [frames, runs, killed, replaced, clients, answers] = [const { AtomicU64::new(0) }; 6];
        let [asked_of_the_dead, unanswered, kills, stops, continues] = [const { AtomicU64::new(0) }; 5];
        Tally {
            begin: Instant::now(),
            beat: AtomicU64::new(0),
            slowest_round: AtomicU64::new(0),
            is_closing: AtomicBool::new(false),
            frames,
            runs,
            killed,
            replaced,
            clients,
            answers,
            asked_of_the_dead,
            unanswered,
            kills,
            stops,
            continues,
            wrong: Mutex::default(),
        }
    }

    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    pub fn wrong(&self, what: String) {
        lock(&self.wrong).push(what);
    }

    pub fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong(what());
        }
    }

    pub fn is_right(&self) -> bool {
        lock(&self.wrong).is_empty()
    }

    pub fn print_wrong(&self) {
        lock(&self.wrong).iter().for_each(|what| println!("WRONG: {what}"));
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// The loop has come round.
    pub fn beat(&self) {
        let now = self.now();
        let before = self.beat.swap(now, Ordering::Relaxed);
        self.slowest_round.fetch_max(now - before, Ordering::Relaxed);
    }

    /// Ends the program when the loop hangs, or the close does: by force, since it wouldn't get there by itself.
    pub fn watch(&self) {
        loop {
            thread::sleep(Duration::from_millis(100));
            let silent = self.now().saturating_sub(self.beat.load(Ordering::Relaxed));
            if silent > ROUND.as_millis() as u64 {
                println!("{self}\nthe loop hasn't come round for {silent} ms");
                std::process::abort();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (&self.frames, "frames"),
            (&self.runs, "runs"),
            (&self.killed, "killed"),
            (&self.replaced, "replaced"),
            (&self.clients, "clients"),
            (&self.answers, "answers"),
            (&self.asked_of_the_dead, "asked of the dead"),
            (&self.unanswered, "unanswered"),
            (&self.kills, "kills"),
            (&self.stops, "stops"),
            (&self.continues, "continues"),
        ];
        for (number, name) in counts {
            write!(f, "{} {name}, ", number.load(Ordering::Relaxed))?;
        }
        write!(f, "{} ms for the slowest round", self.slowest_round.load(Ordering::Relaxed))
    }
}
