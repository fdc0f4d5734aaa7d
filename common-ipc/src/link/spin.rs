//! Waiting a little before sleeping.
//!
//! A wake-up costs 2 us on one core and 17 to 65 us across cores, whose halted processor has to start
//! again; whoever looks again and again has an answer from another core in a fraction of a microsecond.
//! But on one core looking keeps the other side from answering, so each look ends with `sched_yield`. And
//! beside a third process that wants the core a yield lasts as long as that one's time slice, milliseconds:
//! a yield that took [`SLOW`] ends it, for eight times as many waits as the last time.
//!
//! A yield also takes longer than an answer from another core: two sides that both yield keep each other at it, and
//! take three times as long. So the first look is a long one, unless that was in vain lately.

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

/// So much time that others have used a wait bears: then whoever waits looks at its deadline, or sleeps.
const USED: Duration = Duration::from_millis(20);
/// Longer than an answer takes from another core that is at work on it at once.
const LONG_LOOK: Duration = Duration::from_micros(2);
/// After a long look in vain so many waits look briefly, after the next one twice as many, ...
const FIRST_BRIEF: u32 = 8;
/// ... up to this.
const MOST_BRIEF: u32 = 256;

/// What was learnt from earlier waits for the same thing.
#[derive(Debug, Default)]
pub struct Spinner {
    /// So many waits don't spin.
    skip: u32,
    /// How many the last failure skipped.
    skipped: u32,
    /// So many waits don't look for long before the first yield.
    brief: u32,
    /// How many the last failure of that made so.
    briefed: u32,
}

impl Spinner {
    /// Looks for a while whether it is there, if earlier experience makes that worth its time.
    #[inline]
    pub fn spin(&mut self, is_there: impl FnMut() -> bool) -> bool {
        self.spin_among(0, is_there, |_| false)
    }

    /// As [`spin`](Spinner::spin), where so many other threads of this process wait in the same way for what the same
    /// side brings: on a core that they share, each yield lasts for the turns of all of them.
    ///
    /// `is_used` is asked about long yields: whether others have used that time for what is waited for here, too.
    #[inline]
    pub(crate) fn spin_among(
        &mut self,
        others: usize,
        mut is_there: impl FnMut() -> bool,
        mut is_used: impl FnMut(Duration) -> bool,
    ) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let patience = 1 + others.min(64) as u32 / 4;
        let mut last = Instant::now();
        if self.brief > 0 {
            self.brief -= 1;
        } else if self.looks_for_long(last, &mut is_there) {
            return true;
        } else {
            last = Instant::now();
        }
        let (mut spent, mut used, mut is_first) = (Duration::ZERO, Duration::ZERO, true);
        loop {
            for _ in 0..LOOKS {
                if is_there() {
                    // What was there before the first yield says nothing about yields.
                    if !is_first {
                        self.skipped -= self.skipped.div_ceil(8);
                    }
                    return true;
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
            is_first = false;
            let now = Instant::now();
            let took = now - last;
            last = now;
            if took <= SLOW * patience {
                spent += took;
            } else if !is_used(took) {
                self.fail(SKIP_AFTER_SLOW);
                return is_there();
            } else {
                used += took;
                if used > USED {
                    return is_there();
                }
            }
            if spent > BUDGET * patience {
                let there = is_there();
                if !there {
                    self.fail(SKIP_AFTER_MISS);
                }
                return there;
            }
        }
    }

    /// Before the first yield.
    fn looks_for_long(&mut self, begin: Instant, is_there: &mut impl FnMut() -> bool) -> bool {
        loop {
            for _ in 0..LOOKS {
                if is_there() {
                    self.briefed = 0;
                    return true;
                }
                std::hint::spin_loop();
            }
            if begin.elapsed() > LONG_LOOK {
                self.briefed = (self.briefed * 2).clamp(FIRST_BRIEF, MOST_BRIEF);
                self.brief = self.briefed;
                return false;
            }
        }
    }

    fn fail(&mut self, most: u32) {
        self.skipped = self.skipped.max((self.skipped * 8).clamp(FIRST_SKIP, most));
        self.skip = self.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_however_long_others_use_the_time() {
        let mut looks = 0;
        let is_there = || {
            looks += 1;
            assert!(looks < 1000, "no end of it");
            std::thread::sleep(Duration::from_millis(1));
            false
        };
        assert!(!Spinner::default().spin_among(8, is_there, |_| true));
        assert!(looks > 6, "{looks}");
    }
}
