//! How often each call has run, which whoever carries it out counts in shared memory, and what its caller was told.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use common_ipc::link::Execution;
use common_ipc::memory::{MemoryError, SharedAtomics};

use super::tally::{Count, Tally};

/// Counts a run. The first thing that a call does.
pub(crate) fn mark(marks: &SharedAtomics, slot: u32) {
    if let Some(mark) = marks.get(slot as usize) {
        mark.fetch_add(1, SeqCst);
    }
}

/// A slot for each call of a round. They are reused in the next one, when nobody is left who could carry out one of this:
/// so a call that was never to run, and does so later, is found as well.
pub(crate) struct Ledger {
    marks: SharedAtomics,
    /// How often each may have run: the least in the lower half, the most in the upper one.
    bounds: Vec<AtomicU32>,
    next: AtomicUsize,
    /// What was said of those that failed last.
    why: Mutex<VecDeque<(u32, String)>>,
}

/// So many of them are kept.
const WHY: usize = 2_000;
const LEAST: u32 = 0xffff;

fn bounds(least: u32, most: u32) -> u32 {
    least.min(LEAST) | most.min(LEAST) << 16
}

impl Ledger {
    pub(crate) fn new(slots: usize) -> Result<Ledger, MemoryError> {
        let marks = SharedAtomics::new(slots)?;
        let bounds = (0..slots).map(|_| AtomicU32::new(0)).collect();
        Ok(Ledger { marks, bounds, next: AtomicUsize::new(0), why: Mutex::default() })
    }

    /// What whoever carries out calls is given.
    pub(crate) fn marks(&self) -> SharedAtomics {
        self.marks.clone()
    }

    /// A slot for a call, which may run once until something else is said. `None`: the round is over.
    pub(crate) fn take(&self) -> Option<u32> {
        let slot = self.next.fetch_add(1, Relaxed);
        self.say(slot as u32, 0, 1);
        (slot < self.bounds.len()).then_some(slot as u32)
    }

    /// How often it has run by now.
    pub(crate) fn ran(&self, slot: u32) -> u64 {
        self.marks.get(slot as usize).map_or(0, |mark| mark.load(SeqCst))
    }

    /// How often it may have run when the round is over.
    pub(crate) fn say(&self, slot: u32, least: u32, most: u32) {
        if let Some(bound) = self.bounds.get(slot as usize) {
            bound.store(bounds(least, most), Relaxed);
        }
    }

    /// It has failed so: for whoever reads of it.
    pub(crate) fn note(&self, slot: u32, why: &dyn Display) {
        let mut all = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == WHY {
            all.pop_front();
        }
        all.push_back((slot, why.to_string()));
    }

    /// Its caller was told this.
    pub(crate) fn told(&self, slot: u32, execution: Execution) {
        match execution {
            Execution::Ran => self.say(slot, 1, 1),
            Execution::NotRun => self.say(slot, 0, 0),
            Execution::Unknown => self.say(slot, 0, 1),
        }
    }

    /// The end of a round: nobody is left who could carry out any of its calls.
    pub(crate) fn settle(&self, who: &str, tally: &Tally) {
        let why = std::mem::take(&mut *self.why.lock().unwrap_or_else(PoisonError::into_inner));
        let why = |slot: usize| {
            let why = why.iter().find(|(of, _)| *of as usize == slot).map(|(_, why)| &**why);
            why.unwrap_or("no error is known")
        };
        let taken = self.next.load(Relaxed).min(self.bounds.len());
        for (slot, bound) in self.bounds.iter().enumerate().take(taken) {
            let (bound, ran) = (bound.swap(0, Relaxed), self.marks[slot].swap(0, SeqCst));
            let (least, most) = (u64::from(bound & LEAST), u64::from(bound >> 16));
            if ran < least {
                tally.wrong(Count::Lost, || {
                    format!("{who}: call {slot} ran {ran} times, not {least}; {}", why(slot))
                });
            } else if ran > most && most == 0 {
                tally.wrong(Count::Inconsistent, || {
                    format!("{who}: call {slot} was said not to run, and ran; {}", why(slot))
                });
            } else if ran > most {
                tally.wrong(Count::Double, || {
                    format!("{who}: call {slot} ran {ran} times, not {most}; {}", why(slot))
                });
            }
        }
        self.next.store(0, Relaxed);
        tally.one(Count::Rounds);
    }
}
