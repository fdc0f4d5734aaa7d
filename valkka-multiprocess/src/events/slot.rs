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
        let generation = before.wrapping_add(1) << GENERATION >> GENERATION;
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
