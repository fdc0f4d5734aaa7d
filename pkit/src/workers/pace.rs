//! How fast a worker is, and so how many tasks it is sent ahead.

use std::time::{Duration, Instant};

/// So much work is on its way to a worker beyond what it is doing: long enough that it seldom waits for more, short
/// enough that what is sent to it doesn't come late.
const AHEAD: Duration = Duration::from_micros(200);
/// So many tasks are sent ahead as long as nothing is known.
const AT_FIRST: usize = 4;
/// So many at the most.
const MOST: usize = 256;

/// An average over the last tasks.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Nanoseconds for each; `None` before the first.
    each: Option<u64>,
    /// When it was known last that the worker had something to do.
    since: Option<Instant>,
}

impl Pace {
    /// The worker has something to do from now on.
    pub(crate) fn begins(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// So many tasks were done by now, and there are more if it `goes_on`.
    pub(crate) fn did(&mut self, count: u64, now: Instant, goes_on: bool) {
        if let (Some(since), 1..) = (self.since, count) {
            let each = (now - since).as_nanos() as u64 / count;
            // The old average counts for as much as the last seven tasks do.
            let weight = count.min(8);
            self.each = Some(self.each.map_or(each, |before| (before * (8 - weight) + each * weight) / 8));
        }
        self.since = goes_on.then_some(now);
    }

    /// How many tasks it may have at once, the one that it does included.
    pub(crate) fn depth(&self) -> usize {
        let ahead = match self.each {
            None => AT_FIRST,
            Some(each) => (AHEAD.as_nanos() as u64 / each.max(1)) as usize,
        };
        1 + ahead.clamp(1, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_the_less_is_sent_ahead() {
        let begin = Instant::now();
        let depth = |count, after| {
            let mut pace = Pace::default();
            pace.begins(begin);
            pace.did(count, begin + after, true);
            pace.depth()
        };
        assert_eq!(Pace::default().depth(), 5);
        assert_eq!(depth(1, Duration::from_secs(60)), 2);
        assert_eq!(depth(10, Duration::from_micros(100)), 21);
        assert_eq!(depth(1, Duration::ZERO), 257);
        assert_eq!(depth(0, Duration::from_secs(1)), 5);
    }

    #[test]
    fn an_idle_time_counts_for_nothing() {
        let begin = Instant::now();
        let mut pace = Pace::default();
        pace.begins(begin);
        pace.did(1, begin + Duration::from_micros(10), false);
        pace.begins(begin + Duration::from_secs(9));
        pace.did(1, begin + Duration::from_secs(9) + Duration::from_micros(10), false);
        assert_eq!(pace.depth(), 21);
    }
}
