//! How fast a worker is, and so how many tasks it is sent ahead.

use std::time::{Duration, Instant};

/// So much work is on its way to a worker beyond what it is doing: long enough that it seldom waits for more, short
/// enough that what is sent to it doesn't come late.
const AHEAD: Duration = Duration::from_micros(200);
/// So many tasks are sent ahead as long as nothing is known.
const AT_FIRST: usize = 4;
/// So many at the most.
const MOST: usize = 256;

/// What was learnt from the last tasks.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How many tasks it may have beyond the one that it does.
    ahead: usize,
    /// When it was known last that the worker had something to do.
    since: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { ahead: AT_FIRST, since: None }
    }
}

impl Pace {
    /// The worker has something to do from now on.
    pub(crate) fn begins(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// So many tasks were done by now, and it has more if it `goes_on`.
    pub(crate) fn did(&mut self, count: u64, now: Instant, goes_on: bool) {
        let since = std::mem::replace(&mut self.since, goes_on.then_some(now));
        let (Some(since), 1..) = (since, count) else { return };
        let each = ((now - since).as_nanos() as u64 / count).max(1);
        let fits = usize::try_from(AHEAD.as_nanos() as u64 / each).unwrap_or(MOST).clamp(1, MOST);
        self.ahead = if goes_on {
            // Half of the way there: some of the time others may have had the processor.
            if fits > self.ahead { (self.ahead + fits).div_ceil(2) } else { (self.ahead + fits) / 2 }
        } else if fits > 1 {
            // It had nothing left, who knows since when: it could have had more.
            (2 * self.ahead).min(MOST)
        } else {
            self.ahead
        };
    }

    /// How many tasks it may have at once, the one that it does included.
    pub(crate) fn depth(&self) -> usize {
        1 + self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After this many rounds of so many tasks each, each round taking so long.
    fn depth(rounds: u32, count: u64, took: Duration, goes_on: bool) -> usize {
        let (mut now, mut pace) = (Instant::now(), Pace::default());
        for _ in 0..rounds {
            pace.begins(now);
            now += took;
            pace.did(count, now, goes_on);
        }
        pace.depth()
    }

    #[test]
    fn the_slower_the_less_is_sent_ahead() {
        assert_eq!(depth(0, 0, Duration::ZERO, true), 1 + AT_FIRST);
        assert_eq!(depth(9, 1, Duration::from_secs(60), true), 2);
        assert_eq!(depth(20, 10, Duration::from_micros(100), true), 21);
        assert_eq!(depth(20, 1, Duration::ZERO, true), 257);
        assert_eq!(depth(9, 0, Duration::from_secs(1), true), 1 + AT_FIRST);
    }

    #[test]
    fn who_has_nothing_left_gets_more_the_next_time() {
        assert_eq!(depth(2, 5, Duration::from_micros(100), false), 1 + 4 * AT_FIRST);
        assert_eq!(depth(20, 5, Duration::from_micros(100), false), 257);
        assert_eq!(depth(9, 1, Duration::from_secs(1), false), 1 + AT_FIRST);
    }
}
