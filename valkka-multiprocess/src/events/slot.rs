//! The algorithm of a reservation: a word that says what is, and an event that wakes who waits for it.
//!
//! The word holds the generation, whether its reservation is open, and whether it is set:
//!
//! ```text
//! bit   0         open: somebody has it reserved
//!       1         set
//!       2 to 63   the generation: it grows by one with each reservation
//! ```
//!
//! Whether a reservation is set is the word's to say alone. It is set by one compare-and-exchange from "open in this
//! generation", which fails if the reservation is over, however late it comes. Only then the event, the *bell*, is
//! rung. Nothing keeps a setter from being slow between the two, so a bell may ring for a reservation that is over
//! while somebody waits for the next one. Therefore:
//!
//! 1. Who wakes looks at the word. If that isn't set, the bell rang for somebody before: they clear it, and look again.
//! 2. If the word has changed by then, its setter's ring may be what they cleared: they ring themselves, so that others
//!    who wait wake as well. If it hasn't, then whoever changes it rings after the clear, and is heard.
//! 3. A setter that is killed before it rings isn't heard: who waits looks at the word every 50 ms at the latest.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common_ipc::sync::EventFlag;

/// Whoever sleeps looks at the word this often.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

const OPEN: u64 = 1;
const SET: u64 = 2;
const GENERATION: u32 = 2;
/// The largest generation that there is.
pub(super) const GENERATION_MAX: u64 = u64::MAX >> GENERATION;

/// A word in shared memory, or a model of one.
pub(super) trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64>;
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
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

/// A reservation, as the word has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Set,
    NotSet,
    Over,
}

/// One reservation of one event, for whoever has its index.
#[derive(Debug)]
pub(super) struct Slot<'a, W, E> {
    pub(super) word: &'a W,
    pub(super) bell: &'a E,
    pub(super) generation: u64,
}

impl<'a, W: Word, E: EventFlag> Slot<'a, W, E> {
    /// Opens the next reservation. Only who has the permit may do it.
    pub(super) fn open(word: &'a W, bell: &'a E) -> io::Result<Slot<'a, W, E>> {
        bell.clear()?;
        let before = word.load(Ordering::Relaxed) >> GENERATION;
        // What a hostile process wrote there may be the last one.
        let generation = (before + 1) & GENERATION_MAX;
        let slot = Slot { word, bell, generation };
        // Who gets the index gets it after this; and setters of the dead are overtaken.
        word.store(slot.open_word(), Ordering::Release);
        Ok(slot)
    }

    fn open_word(&self) -> u64 {
        self.generation << GENERATION | OPEN
    }

    /// Ends the reservation, if it is still this one that is open: from then on nobody sets it.
    pub(super) fn close(&self) {
        let closed = self.generation << GENERATION;
        for open in [self.open_word(), self.open_word() | SET] {
            if self.word.compare_exchange(open, closed, Ordering::Release, Ordering::Relaxed).is_ok() {
                break;
            }
        }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        match self.word.load(Ordering::Acquire) {
            word if word == self.open_word() => State::NotSet,
            word if word == self.open_word() | SET => State::Set,
            _ => State::Over,
        }
    }

    /// Sets the reservation, unless it is over, and says whether it is set. What this thread wrote before is seen by
    /// who then finds it set, unless somebody has set it before.
    #[inline]
    pub(super) fn set(&self) -> io::Result<bool> {
        let open = self.open_word();
        match self.word.compare_exchange(open, open | SET, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => {}
            // Who set it may have been killed before it rang.
            Err(now) if now == open | SET => {}
            Err(_) => return Ok(false),
        }
        self.bell.set()?;
        Ok(true)
    }

    /// As [`state`](Slot::state); a bell that rings for nothing doesn't afterwards.
    pub(super) fn look(&self) -> io::Result<State> {
        match self.state() {
            State::NotSet if self.bell.is_set()? => self.hush(),
            state => Ok(state),
        }
    }

    /// Steps 1 and 2.
    fn hush(&self) -> io::Result<State> {
        if self.state() == State::NotSet {
            self.bell.clear()?;
            // Not for this reservation alone: the one after it may have been rung for.
            if self.state() != State::NotSet {
                self.bell.set()?;
            }
        }
        Ok(self.state())
    }

    /// Waits until it is set, or over, or `is_end` says that this is the end. `sleep` says whether the bell rings.
    ///
    /// `is_end` is asked after every sleep in vain, also if the bell rings and rings for nothing.
    pub(super) fn wait<X: From<io::Error>>(
        &self,
        mut sleep: impl FnMut(&E) -> Result<bool, X>,
        mut is_end: impl FnMut() -> Result<bool, X>,
    ) -> Result<State, X> {
        loop {
            let state = self.state();
            if state != State::NotSet {
                return Ok(state);
            }
            let state = if sleep(self.bell)? { self.hush()? } else { State::NotSet };
            if state != State::NotSet {
                return Ok(state);
            }
            if is_end()? {
                return Ok(self.state());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::model::{Model, explore};
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_a_waiter_wakes_and_sees_what_came_before() {
        explore(|| {
            let model = Model::new();
            let generation = model.open();
            let setter = Model::setter(&model, generation);
            model.must_wait(generation);
            assert!(model.saw(generation));
            assert!(setter.join().unwrap());
        });
    }

    #[test]
    fn loom_a_late_set_satisfies_nobody_and_hides_no_set() {
        explore(|| {
            let model = Model::new();
            let old = model.open();
            let late = Model::setter(&model, old);
            model.slot(old).close();
            let new = model.open();
            let setter = Model::setter(&model, new);
            model.must_wait(new);
            assert!(model.saw(new), "woken by the late one");
            assert!(setter.join().unwrap());
            // It may have come before the release.
            late.join().unwrap();
            assert_eq!(model.slot(old).state(), State::Over);
        });
    }

    #[test]
    fn loom_all_who_wait_wake_beside_a_late_ring() {
        explore(|| {
            let model = Model::new();
            // A setter of the reservation before is between its two steps.
            let generation = model.open();
            let late = {
                let model = Arc::clone(&model);
                thread::spawn(move || model.bell.set().unwrap())
            };
            let other = {
                let model = Arc::clone(&model);
                thread::spawn(move || model.must_wait(generation))
            };
            let setter = Model::setter(&model, generation);
            model.must_wait(generation);
            assert!(setter.join().unwrap());
            other.join().unwrap();
            late.join().unwrap();
        });
    }

    #[test]
    fn loom_who_looks_at_one_that_is_over_hides_no_set() {
        explore(|| {
            let model = Model::new();
            let old = model.open();
            model.bell.set().unwrap();
            let owner = {
                let model = Arc::clone(&model);
                thread::spawn(move || {
                    model.slot(old).close();
                    let new = model.open();
                    let setter = Model::setter(&model, new);
                    model.must_wait(new);
                    assert!(setter.join().unwrap());
                })
            };
            // A forked copy of the process, say, that polls what isn't its own; and the bell rings for nothing.
            let seen = model.slot(old).look().unwrap();
            owner.join().unwrap();
            assert_ne!(seen, State::Set);
        });
    }

    #[test]
    fn loom_a_set_comes_before_the_release_or_is_over() {
        explore(|| {
            let model = Model::new();
            let generation = model.open();
            let setter = Model::setter(&model, generation);
            let seen = model.slot(generation).state();
            model.slot(generation).close();
            let word = model.word.load(Ordering::Relaxed);
            assert_eq!(word, generation << GENERATION, "closed, whoever set it");
            let was_set = setter.join().unwrap();
            assert!(was_set || seen == State::NotSet);
            assert_eq!(model.word.load(Ordering::Relaxed), word);
        });
    }

    #[test]
    fn whatever_a_hostile_process_writes_is_a_state() {
        let bell = common_ipc::sync::Event::new().unwrap();
        for before in [0, 1, 2, 3, u64::MAX, u64::MAX - 3, 1 << 63, 7 << 60 | 2] {
            let word = AtomicU64::new(before);
            let slot = Slot::open(&word, &bell).unwrap();
            assert_eq!(slot.state(), State::NotSet, "{before:x}");
            assert!(slot.set().unwrap() && slot.set().unwrap());
            assert_eq!(slot.look().unwrap(), State::Set);
            slot.close();
            assert_eq!((slot.state(), slot.set().unwrap()), (State::Over, false));
            let next = Slot::open(&word, &bell).unwrap();
            assert_ne!(next.generation, slot.generation);
            slot.close();
            assert_eq!((slot.state(), next.state()), (State::Over, State::NotSet), "{before:x}");
            // Generations that no reservation has: an index that was made up.
            for generation in [GENERATION_MAX, next.generation + 1, next.generation.wrapping_sub(1)] {
                let made_up = Slot { generation: generation & GENERATION_MAX, ..next };
                assert_eq!(made_up.set().unwrap(), made_up.generation == next.generation, "{generation:x}");
            }
        }
    }
}
