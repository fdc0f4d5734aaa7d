//! From a kill to the end of each call that was blocked on who was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use common_ipc::testing::Record;

/// How long such calls took to end, by the actor that made them.
#[derive(Default)]
pub(crate) struct Blocked {
    micros: Mutex<BTreeMap<&'static str, Vec<u32>>>,
    slowest: Mutex<BTreeSet<(u32, String)>>,
}

/// So many of the slowest are told one by one.
const SLOWEST: usize = 5;

/// Half of them, 99 of a hundred, and all of them had ended after so many microseconds.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    pub(crate) max: u32,
}

impl Blocked {
    /// A call of this actor's that began at this time has ended now, since the process with this number did.
    pub(crate) fn note(&self, who: &'static str, record: &Record, pid: u32, began: Instant) {
        let now = Instant::now();
        let Some((killed, _)) = record.killed(pid) else { return };
        if killed > began {
            let took = now.saturating_duration_since(killed);
            let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            self.micros.lock().unwrap_or_else(PoisonError::into_inner).entry(who).or_default().push(took);
            let what = record.last_to(pid).map_or("?", |deed| deed.what);
            let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
            slowest.insert((took, format!("{who}, {what}")));
            if slowest.len() > SLOWEST {
                slowest.pop_first();
            }
        }
    }

    /// The slowest ones, the slowest first: after how many microseconds, and what it was.
    pub(crate) fn slowest(&self) -> Vec<(u32, String)> {
        self.slowest.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// Of each actor, and of all of them.
    pub(crate) fn quantiles(&self) -> BTreeMap<String, Quantiles> {
        let micros = self.micros.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = micros.values().flatten().copied().collect();
        let each = micros.into_iter().map(|(who, micros)| (who.to_owned(), Quantiles::of(micros)));
        each.chain([(ALL.to_owned(), Quantiles::of(all))]).collect()
    }
}

/// What all of them are called.
pub(crate) const ALL: &str = "all";

impl Quantiles {
    fn of(mut micros: Vec<u32>) -> Quantiles {
        micros.sort_unstable();
        let at =
            |percent: usize| micros.get((micros.len() * percent / 100).min(micros.len().saturating_sub(1)));
        let at = |percent| at(percent).copied().unwrap_or(0);
        Quantiles { count: micros.len() as u64, p50: at(50), p99: at(99), max: at(100) }
    }
}
