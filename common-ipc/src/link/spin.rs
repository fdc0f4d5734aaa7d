//! Waiting a little before sleeping.
//!
//! A wake-up costs 2 us on one core and 17 to 65 us across cores, whose halted processor has to start
//! again; whoever looks again and again has an answer from another core in a fraction of a microsecond.
//! But on one core looking keeps the other side from answering, so each look ends with `sched_yield`. And
//! beside a third process that wants the core a yield lasts as long as that one's time slice, milliseconds:
//! a yield that took [`SLOW`] ends it, for eight times as many waits as the last time.

use std::time::{Duration, Instant};

/// So long it lasts at the most: about what the wake-up would cost that it may save.
const BUDGET: Duration = Duration::from_micros(50);
/// A yield that takes so long was somebody else's time slice.
const SLOW: Duration = Duration::from_micros(50);
/// Looks between two yields.
const LOOKS: u32 = 6;
/// After a first failure so many waits go to sleep at once, after the next one eight times as many, and so on.
const FIRST_SKIP: u32 = 16;
/// After slow yields up to so many waits go to sleep at once: then a time slice now and then, a few milliseconds,
/// is below a microsecond for each. ...
const SKIP_AFTER_SLOW: u32 = 1 << 13;
/// ... and so many after it was in vain.
const SKIP_AFTER_MISS: u32 = 64;

/// What was learnt from earlier waits for the same thing.
#[derive(Debug, Default)]
pub(crate) struct Spinner {
    /// So many waits don't spin.
    skip: u32,
    /// How many the last failure skipped.
    skipped: u32,
}

impl Spinner {
    /// Looks for a while whether it is there, if earlier experience makes that worth its time.
    #[inline]
    pub(crate) fn spin(&mut self, mut is_there: impl FnMut() -> bool) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let begin = Instant::now();
        let mut last = begin;
        loop {
            for _ in 0..LOOKS {
                if is_there() {
                    // What was there before the first yield says nothing about yields.
                    if last > begin {
                        self.skipped -= self.skipped.div_ceil(8);
                    }
                    return true;
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
            let now = Instant::now();
            if now - last > SLOW {
                self.fail(SKIP_AFTER_SLOW);
                return is_there();
            }
            if now - begin > BUDGET {
                let there = is_there();
                if !there {
                    self.fail(SKIP_AFTER_MISS);
                }
                return there;
            }
            last = now;
        }
    }

    fn fail(&mut self, most: u32) {
        self.skipped = self.skipped.max((self.skipped * 8).clamp(FIRST_SKIP, most));
        self.skip = self.skipped;
    }
}
