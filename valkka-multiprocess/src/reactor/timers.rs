//! Times at which something is due.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use slotmap::{DefaultKey, SecondaryMap};

/// Timers by their keys, the next one first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    line: BTreeSet<(Instant, DefaultKey)>,
    set: SecondaryMap<DefaultKey, Timer>,
}

#[derive(Debug, Clone, Copy)]
struct Timer {
    at: Instant,
    every: Option<Duration>,
}

impl Timers {
    pub(super) fn set(&mut self, key: DefaultKey, at: Instant, every: Option<Duration>) {
        self.set.insert(key, Timer { at, every });
        self.line.insert((at, key));
    }

    pub(super) fn unset(&mut self, key: DefaultKey) {
        if let Some(timer) = self.set.remove(key) {
            self.line.remove(&(timer.at, key));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.line.first().map(|(at, _)| *at)
    }

    /// Appends those that are due, the earliest first, and sets those again that have a period.
    pub(super) fn take_due(&mut self, due: &mut Vec<DefaultKey>) {
        // Asks for the time only if it matters.
        let Some(now) = self.next().map(|_| Instant::now()) else { return };
        let began = due.len();
        while let Some(&(at, key)) = self.line.first().filter(|(at, _)| *at <= now) {
            self.line.pop_first();
            due.push(key);
            debug_assert!(self.set.get(key).is_some_and(|timer| timer.at == at));
        }
        for &key in &due[began..] {
            let Some(timer) = self.set.remove(key) else { continue };
            let again = timer.every.and_then(|every| Some((every, next_of(timer.at, every, now)?)));
            if let Some((every, at)) = again {
                self.set(key, at, Some(every));
            }
        }
    }
}

/// The first time after `now` in the rhythm of `every` that began at `at`; `None` past the end of time.
fn next_of(at: Instant, every: Duration, now: Instant) -> Option<Instant> {
    let every = every.max(Duration::from_nanos(1));
    let late = now.saturating_duration_since(at).as_nanos() % every.as_nanos();
    // A remainder of a period of more than 584 years is of no interest.
    now.checked_add(every)?.checked_sub(Duration::from_nanos(u64::try_from(late).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_timer_goes_on_in_its_rhythm() {
        let at = Instant::now();
        let after = |now: u64| {
            let next = next_of(at, Duration::from_secs(10), at + Duration::from_secs(now)).unwrap();
            (next - at).as_secs()
        };
        assert_eq!([after(0), after(3), after(10), after(59), after(60)], [10, 10, 20, 60, 70]);
        assert!(next_of(at, Duration::ZERO, at).unwrap() > at);
        assert_eq!(next_of(at, Duration::MAX, at), None);
    }

    #[test]
    fn what_is_due_comes_in_order_and_once() {
        let mut keys = slotmap::SlotMap::<DefaultKey, ()>::new();
        let (one, two, three) = (keys.insert(()), keys.insert(()), keys.insert(()));
        let (now, mut timers, mut due) = (Instant::now(), Timers::default(), Vec::new());
        timers.set(one, now, Some(Duration::from_secs(1000)));
        timers.set(two, now - Duration::from_millis(1), None);
        timers.set(three, now + Duration::from_secs(1000), None);
        timers.take_due(&mut due);
        assert_eq!(due, [two, one]);
        assert_eq!(timers.next(), Some(now + Duration::from_secs(1000)));
        timers.unset(one);
        timers.unset(three);
        assert_eq!(timers.next(), None);
    }
}
