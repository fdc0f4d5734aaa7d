//! Looking a few times before sleeping.
//!
//! To be woken on another processor takes some 20 us, to see a word change there a tenth of one. On one processor
//! nothing changes while this thread looks, so each few looks it offers the processor to whoever makes the
//! change. If it doesn't get it back soon, somebody else has work to do, and looking on would only
//! be in the way.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::link::poll::Deadline;

/// Looks between two offers of the processor.
const LOOKS: u32 = 16;
/// An offer that took longer was taken, by somebody with a lot to do.
const TAKEN: Duration = Duration::from_micros(50);
/// So long is spun at the most, about as long as it takes to sleep and be woken ...
const LONGEST: u32 = 50_000;
/// ... and so long where it has been in vain again and again. In nanoseconds.
const SHORTEST: u32 = 1_000;

/// How long it is worth looking, as the last times have shown.
#[derive(Debug)]
pub(crate) struct Spin {
    nanoseconds: AtomicU32,
}

impl Spin {
    pub(crate) const fn new() -> Spin {
        Spin { nanoseconds: AtomicU32::new(LONGEST) }
    }

    /// Looks until it is there, and says whether it is; not for long, nor past the deadline.
    pub(crate) fn until(&self, deadline: Deadline, mut is_there: impl FnMut() -> bool) -> bool {
        let budget = self.nanoseconds.load(Ordering::Relaxed);
        let mut longest = Duration::from_nanos(budget.into());
        if let Some(left) = deadline.left() {
            longest = longest.min(left);
        }
        let begin = Instant::now();
        let mut before = begin;
        loop {
            for _ in 0..LOOKS {
                if is_there() {
                    if budget < LONGEST {
                        self.nanoseconds.store((budget * 2).min(LONGEST), Ordering::Relaxed);
                    }
                    return true;
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
            let now = Instant::now();
            if now - begin > longest || now - before > TAKEN {
                break;
            }
            before = now;
        }
        self.nanoseconds.store((budget / 2).max(SHORTEST), Ordering::Relaxed);
        is_there()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_spins_for_as_long_as_that_is_worth_it() {
        let spin = Spin::new();
        for _ in 0..20 {
            assert!(!spin.until(Deadline::NEVER, || false));
        }
        assert_eq!(spin.nanoseconds.load(Ordering::Relaxed), SHORTEST);
        for _ in 0..20 {
            assert!(spin.until(Deadline::NEVER, || true));
        }
        assert_eq!(spin.nanoseconds.load(Ordering::Relaxed), LONGEST);
    }

    #[test]
    fn the_last_look_counts() {
        let looks = std::cell::Cell::new(0);
        let spin = Spin::new();
        assert!(!spin.until(Deadline::after(Duration::ZERO), || {
            looks.set(looks.get() + 1);
            false
        }));
        assert!(looks.get() > 1);
    }
}
