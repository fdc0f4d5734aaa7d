//! A model of words in shared memory: every order in which threads may meet, and every value that a load
//! may then find, is played. Nobody looks again by itself here, unless a test is about that, so a wake-up that is
//! lost is a deadlock, which fails the test.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
use loom::sync::{Arc, Condvar, Mutex};

use crate::link::poll::Deadline;
use crate::sync::permits::{Asks, Table, Taken, acquire};
use crate::sync::words::{FutexWord, LongWord, Wake};

/// Plays a model, with so many switches of a thread that could go on.
pub(crate) fn explore(play: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Set by LOOM_MAX_PREEMPTIONS; two is what every fault that was tried takes, and what a moment is enough for.
    builder.preemption_bound.get_or_insert(2);
    builder.check(play);
}

/// A word, and the kernel's queue of those who sleep on it.
pub(crate) struct Word {
    value: AtomicU32,
    queue: Mutex<()>,
    woken: Condvar,
    is_restless: bool,
}

impl Word {
    pub(crate) fn new(value: u32) -> Word {
        let (queue, woken) = (Mutex::new(()), Condvar::new());
        Word { value: AtomicU32::new(value), queue, woken, is_restless: false }
    }

    /// On which nobody sleeps long.
    pub(crate) fn restless(value: u32) -> Word {
        Word { is_restless: true, ..Word::new(value) }
    }
}

impl FutexWord for Word {
    fn load(&self, order: Ordering) -> u32 {
        self.value.load(order)
    }

    fn store(&self, value: u32, order: Ordering) {
        self.value.store(value, order);
    }

    fn swap(&self, value: u32, order: Ordering) -> u32 {
        self.value.swap(value, order)
    }

    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.value.fetch_add(value, order)
    }

    fn compare_exchange(
        &self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        self.value.compare_exchange(current, new, success, failure)
    }

    fn sleep(&self, expected: u32, _: Duration) -> io::Result<bool> {
        if self.is_restless {
            loom::thread::yield_now();
            return Ok(true);
        }
        // The comparison and the way into the queue are one step, as in the kernel.
        let queue = self.queue.lock().unwrap();
        if self.value.load(Ordering::Relaxed) == expected {
            drop(self.woken.wait(queue).unwrap());
        }
        Ok(false)
    }

    fn wake(&self, how_many: Wake) {
        let _queue = self.queue.lock().unwrap();
        match how_many {
            Wake::One => self.woken.notify_one(),
            Wake::All => self.woken.notify_all(),
        }
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

impl LongWord for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.compare_exchange(current, new, success, failure)
    }
}

/// Memory beside the words: a read that isn't ordered after a write by them may find what was there before.
pub(crate) struct Shared(AtomicU32);

impl Shared {
    pub(crate) fn new() -> Shared {
        Shared(AtomicU32::new(0))
    }

    /// For those who keep each other out: a step that got lost was taken by two at once.
    pub(crate) fn step(&self) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before + 1, Ordering::Relaxed);
    }

    pub(crate) fn steps(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A table of permits.
pub(crate) struct Model {
    sleepers: Word,
    sequence: Word,
    epoch: Word,
    pub(crate) permits: Vec<AtomicU64>,
    pub(crate) data: Shared,
}

impl Model {
    pub(crate) fn new(owners: &[u64]) -> Arc<Model> {
        Arc::new(Model {
            sleepers: Word::new(0),
            sequence: Word::new(0),
            epoch: Word::new(0),
            permits: owners.iter().map(|owner| AtomicU64::new(*owner)).collect(),
            data: Shared::new(),
        })
    }

    /// Whose sleepers wake by themselves.
    pub(crate) fn restless(owners: &[u64]) -> Arc<Model> {
        let sleepers = Word::new(0);
        let permits = owners.iter().map(|owner| AtomicU64::new(*owner)).collect();
        let epoch = Word::new(0);
        Arc::new(Model { sleepers, sequence: Word::restless(0), epoch, permits, data: Shared::new() })
    }
}

impl Table for Model {
    type Word = Word;
    type Long = AtomicU64;

    fn sleepers(&self) -> &Word {
        &self.sleepers
    }

    fn sequence(&self) -> &Word {
        &self.sequence
    }

    fn epoch(&self) -> &Word {
        &self.epoch
    }

    fn permit(&self, index: usize) -> &AtomicU64 {
        &self.permits[index]
    }

    fn count(&self) -> usize {
        self.permits.len()
    }
}

/// An owner that isn't alive.
pub(crate) const DEAD: u64 = 99;

pub(crate) fn must_acquire(model: &Model, owner: u64) -> Taken {
    let is_dead = |owner| owner == DEAD;
    let asks = Asks { owner, first: 0, deadline: Deadline::NEVER, spin: None, is_dead: &is_dead };
    acquire(model, &asks).unwrap().unwrap()
}
