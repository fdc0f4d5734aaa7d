//! A model of a word and its bell: every order in which threads may meet, and every value that a load may then find, is
//! played.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common_ipc::sync::EventFlag;
use loom::sync::atomic::AtomicU64;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::events::slot::{Slot, State, Word};

impl Word for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
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

/// An event that hides whether it orders anything: what is seen is seen by way of the word alone. Nobody who sleeps on
/// it looks by itself, so a ring that is lost is a deadlock, which fails the test.
pub(super) struct Bell {
    rings: Mutex<bool>,
    woken: Condvar,
}

impl EventFlag for Bell {
    fn set(&self) -> io::Result<()> {
        *self.rings.lock().unwrap() = true;
        self.woken.notify_all();
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        *self.rings.lock().unwrap() = false;
        Ok(())
    }

    fn is_set(&self) -> io::Result<bool> {
        Ok(*self.rings.lock().unwrap())
    }

    fn wait(&self) -> io::Result<()> {
        let mut rings = self.rings.lock().unwrap();
        while !*rings {
            rings = self.woken.wait(rings).unwrap();
        }
        Ok(())
    }

    fn wait_timeout(&self, _: Duration) -> io::Result<bool> {
        unimplemented!("there is no time here")
    }
}

/// One event of a group.
pub(super) struct Model {
    pub(super) word: AtomicU64,
    pub(super) bell: Bell,
    /// Written by each setter before it sets.
    before: [AtomicU64; 2],
}

impl Model {
    pub(super) fn new() -> Arc<Model> {
        Arc::new(Model {
            word: AtomicU64::new(0),
            bell: Bell { rings: Mutex::new(false), woken: Condvar::new() },
            before: [AtomicU64::new(0), AtomicU64::new(0)],
        })
    }

    pub(super) fn open(&self) -> u64 {
        Slot::open(&self.word, &self.bell).unwrap().generation
    }

    pub(super) fn slot(&self, generation: u64) -> Slot<'_, AtomicU64, Bell> {
        Slot { word: &self.word, bell: &self.bell, generation }
    }

    pub(super) fn must_wait(&self, generation: u64) {
        let sleep = |bell: &Bell| bell.wait().map(|()| true);
        assert_eq!(self.slot(generation).wait(sleep, || Ok(false)).unwrap(), State::Set);
    }

    /// In a thread of its own.
    pub(super) fn setter(model: &Arc<Model>, generation: u64) -> thread::JoinHandle<bool> {
        let model = Arc::clone(model);
        thread::spawn(move || {
            model.before[generation as usize % 2].store(1, Ordering::Relaxed);
            model.slot(generation).set().unwrap()
        })
    }

    pub(super) fn saw(&self, generation: u64) -> bool {
        self.before[generation as usize % 2].load(Ordering::Relaxed) == 1
    }
}

/// Plays it, with so many switches of a thread that could go on.
pub(super) fn explore(play: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(play);
}
