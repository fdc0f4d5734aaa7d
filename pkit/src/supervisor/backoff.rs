//! How long a restart waits.

use std::time::Duration;

/// How long a child that has failed waits for its restart: the longer, the more often it has failed in a row.
///
/// The n-th wait is `initial * factor^(n-1)`, `max` at the most, and then varied by up to `jitter` of itself, so that
/// children that failed together don't all come back at the same moment. A child that was ready for `reset_after`
/// before it failed begins with `initial` again.
///
/// Without any setting: 0.1 s, factor 2, at most 30 s, jitter 0.1, reset after 10 s.
///
/// ```
/// use std::time::Duration;
/// use pkit::supervisor::Backoff;
///
/// // 1 s, 3 s, 9 s, 27 s, 60 s, 60 s, ...
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).factor(3.0).jitter(0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl Backoff {
    /// The first wait, and the longest one. Two zeroes mean no wait at all.
    pub fn new(initial: Duration, max: Duration) -> Backoff {
        Backoff { initial, max, factor: 2.0, jitter: 0.1, reset_after: Duration::from_secs(10) }
    }

    /// By what each wait is longer than the one before it: 1 or more; 2 without this. Anything else is an error of
    /// the supervisor's start.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// By which part of itself a wait is made longer or shorter at random: 0 to 1; 0.1 without this. Anything else is
    /// an error of the supervisor's start.
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// For how long a child has to be ready for its next failure to count as the first one; 10 s without this.
    pub fn reset_after(mut self, healthy: Duration) -> Self {
        self.reset_after = healthy;
        self
    }

    /// What is wrong with it, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if !(self.factor >= 1.0 && self.factor.is_finite()) {
            return Some("the factor of its backoff isn't a number from 1 on");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Some("the jitter of its backoff isn't between 0 and 1");
        }
        (self.initial > self.max).then_some("the first wait of its backoff is longer than the longest one")
    }

    pub(crate) fn resets_after(&self) -> Duration {
        self.reset_after
    }

    /// The wait after `failures` earlier ones in a row; `random` is from 0 to 1.
    pub(crate) fn delay(&self, failures: u32, random: f64) -> Duration {
        let power = i32::try_from(failures).unwrap_or(i32::MAX);
        let longest = self.max.as_secs_f64();
        // Infinite at some point, and cut then. Zero times that is no number, which `min` leaves out: zero comes first.
        let base = match self.initial.is_zero() {
            true => 0.0,
            false => (self.initial.as_secs_f64() * self.factor.powi(power)).min(longest),
        };
        let varied = base * (1.0 + self.jitter * (2.0 * random - 1.0));
        Duration::try_from_secs_f64(varied).unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn waits_grow_to_the_longest_one() {
        let backoff = Backoff::new(MS(100), MS(1500)).jitter(0.0);
        let waits: Vec<_> = (0..6).map(|failures| backoff.delay(failures, 0.7)).collect();
        assert_eq!(waits, [MS(100), MS(200), MS(400), MS(800), MS(1500), MS(1500)]);
        assert_eq!(backoff.delay(u32::MAX, 0.0), MS(1500));
        assert_eq!(backoff.factor(1.0).delay(9, 0.0), MS(100));
    }

    #[test]
    fn jitter_is_a_part_of_the_wait_on_either_side() {
        let backoff = Backoff::new(MS(1000), MS(1000)).jitter(0.25);
        assert_eq!([0.0, 0.5, 1.0].map(|random| backoff.delay(3, random)), [MS(750), MS(1000), MS(1250)]);
    }

    #[test]
    fn no_wait_is_no_wait() {
        let none = Backoff::new(Duration::ZERO, Duration::ZERO).factor(1e300);
        assert_eq!([0, 1, 5000].map(|failures| none.delay(failures, 1.0)), [Duration::ZERO; 3]);
        assert_eq!(Backoff::new(MS(1), Duration::MAX).jitter(1.0).delay(9999, 1.0), Duration::MAX);
    }

    #[test]
    fn what_cannot_be_meant_is_found() {
        let good = Backoff::default();
        assert_eq!(good.fault(), None);
        for bad in [
            good.factor(0.5),
            good.factor(f64::NAN),
            good.factor(f64::INFINITY),
            good.jitter(1.5),
            good.jitter(f64::NAN),
            Backoff::new(MS(2), MS(1)),
        ] {
            assert!(bad.fault().is_some(), "{bad:?}");
        }
    }
}
