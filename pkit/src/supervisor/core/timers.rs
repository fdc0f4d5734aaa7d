//! What is due when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Id, Time};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The group's backoff is over.
    Sequence,
    /// A child's backoff is over.
    Restart(usize),
    /// A grace is over.
    Kill(Id),
    /// A look is due.
    Ready(Id),
    Progress(Id),
    Memory(Id),
    /// An incarnation is old.
    Age(Id),
}

/// Timers aren't taken back: whoever is told of one that no longer matters does nothing.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Time, u64, Timer)>>,
    /// Those for the same time come in the order in which they were set.
    set_so_far: u64,
    /// So many were left when it was tidied last.
    kept: usize,
}

impl Timers {
    pub(super) fn push(&mut self, at: Time, timer: Timer) {
        self.set_so_far += 1;
        self.heap.push(Reverse((at, self.set_so_far, timer)));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn pop(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((.., timer))| timer)
    }

    /// Throws away what doesn't matter, once that may be the greater part: the work is shared by those that were set.
    pub(super) fn tidy(&mut self, expected: usize, matters: impl Fn(Time, &Timer) -> bool) {
        if self.heap.len() > 64 + expected + 2 * self.kept {
            self.heap.retain(|Reverse((at, _, timer))| matters(*at, timer));
            self.kept = self.heap.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn they_come_in_the_order_of_their_time_then_of_their_setting() {
        let mut timers = Timers::default();
        for (at, child) in [(5, 1), (3, 9), (3, 2), (7, 0)] {
            timers.push(Duration::from_secs(at), Timer::Restart(child));
        }
        let due: Vec<_> = std::iter::from_fn(|| timers.pop(Duration::from_secs(5))).collect();
        assert_eq!(due, [9, 2, 1].map(Timer::Restart));
        assert_eq!(timers.next(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn what_no_longer_matters_is_thrown_away() {
        let mut timers = Timers::default();
        for child in 0..100_000 {
            timers.push(Duration::from_secs(1), Timer::Restart(child));
            timers.tidy(8, |_, timer| matches!(timer, Timer::Restart(0..10)));
            assert!(timers.heap.len() <= 100);
        }
        assert_eq!((0..10).filter(|_| timers.pop(Duration::MAX).is_some()).count(), 10);
    }
}
