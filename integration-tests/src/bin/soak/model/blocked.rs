//! From a kill to the end of each call that was blocked on who was killed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::monkey::Record;

/// How long such calls took to end.
#[derive(Default)]
pub(crate) struct Blocked {
    micros: Mutex<Vec<u32>>,
}

/// Half of them, 99 of a hundred, and all of them had ended after so many microseconds.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    pub(crate) max: u32,
}

impl Blocked {
    /// A call that began at this time has ended now, since the process with this number did.
    pub(crate) fn note(&self, record: &Record, pid: u32, began: Instant) {
        let now = Instant::now();
        let Some((killed, _)) = record.killed(pid) else { return };
        if killed > began {
            let took = now.saturating_duration_since(killed);
            self.add(took);
        }
    }

    fn add(&self, took: Duration) {
        let mut micros = self.micros.lock().unwrap_or_else(PoisonError::into_inner);
        micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let mut micros = self.micros.lock().unwrap_or_else(PoisonError::into_inner).clone();
        micros.sort_unstable();
        let at =
            |percent: usize| micros.get((micros.len() * percent / 100).min(micros.len().saturating_sub(1)));
        let at = |percent| at(percent).copied().unwrap_or(0);
        Quantiles { count: micros.len() as u64, p50: at(50), p99: at(99), max: at(100) }
    }
}
