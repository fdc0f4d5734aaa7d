//! What the inner process tells the outer one in the end, and the table that is made of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::blocked::Quantiles;
use crate::model::tally::{Count, Tally};

/// What has happened.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) blocked: BTreeMap<String, Quantiles>,
    /// The slowest of those, in microseconds, and what they were.
    pub(crate) slowest: Vec<(u32, String)>,
    /// What must not be.
    pub(crate) wrongs: BTreeMap<String, u64>,
    pub(crate) seconds: f64,
    /// Resident KiB and mappings, when all had begun and in the end.
    pub(crate) memory: [(u64, u64); 2],
}

/// The wrongs, in the order of the table.
pub(crate) const LOST: &str = "lost";
pub(crate) const HUNG: &str = "hung";
pub(crate) const ZOMBIES: &str = "zombies";
pub(crate) const ORPHANS: &str = "orphans";
pub(crate) const LEFT: &str = "children left";
pub(crate) const DESCRIPTORS: &str = "leaked descriptors";
pub(crate) const SHM: &str = "/dev/shm entries";
pub(crate) const FAILED: &str = "other failures";
const WRONGS: [&str; 10] =
    [LOST, "double", "inconsistent", HUNG, ZOMBIES, ORPHANS, LEFT, DESCRIPTORS, SHM, FAILED];

const COUNTS: [(&str, Count); 13] = [
    ("processes started", Count::Started),
    ("processes seen to end", Count::Ended),
    ("starts that failed", Count::NotStarted),
    ("calls", Count::Calls),
    ("  ok", Count::Fine),
    ("  an error, and it ran", Count::Ran),
    ("  an error, unknown", Count::Unknown),
    ("  an error, not run", Count::NotRun),
    ("messages", Count::Messages),
    ("streams and closures", Count::Streams),
    ("exit callbacks", Count::Callbacks),
    ("given up", Count::GivenUp),
    ("rounds looked at", Count::Rounds),
];

impl Report {
    /// What was counted so far.
    pub(crate) fn of(tally: &Tally) -> Report {
        let counts = COUNTS.map(|(name, count)| (name.to_owned(), tally.get(count)));
        let wrongs = [
            (LOST, Count::Lost),
            ("double", Count::Double),
            ("inconsistent", Count::Inconsistent),
            (HUNG, Count::Hung),
        ];
        let wrongs = wrongs.map(|(name, count)| (name.to_owned(), tally.get(count)));
        Report { counts: counts.into(), wrongs: wrongs.into(), ..Report::default() }
    }

    pub(crate) fn wrong(&mut self, name: &str, count: u64) {
        *self.wrongs.entry(name.to_owned()).or_default() += count;
    }

    pub(crate) fn is_right(&self) -> bool {
        self.wrongs.values().all(|count| *count == 0)
    }
}

fn milliseconds(micros: u32) -> f64 {
    f64::from(micros) / 1_000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds.max(0.001);
        for (name, _) in COUNTS {
            let count = self.counts.get(name).copied().unwrap_or(0);
            writeln!(f, "{name:28}{count:>12}{:>12.1} a second", count as f64 / seconds)?;
        }
        writeln!(f, "faults")?;
        for (name, count) in &self.faults {
            writeln!(f, "  {name:26}{count:>12}{:>12.1} a second", *count as f64 / seconds)?;
        }
        writeln!(f, "from a kill to the end of a call that was blocked on it, in milliseconds")?;
        writeln!(f, "  {:26}{:>12}{:>12}{:>12}{:>12}", "", "calls", "p50", "p99", "max")?;
        for (who, Quantiles { count, p50, p99, max }) in &self.blocked {
            let [p50, p99, max] = [*p50, *p99, *max].map(milliseconds);
            writeln!(f, "  {who:26}{count:>12}{p50:>12.2}{p99:>12.2}{max:>12.2}")?;
        }
        for (micros, what) in &self.slowest {
            writeln!(f, "  one of the slowest: {:.2} ({what})", milliseconds(*micros))?;
        }
        let [(before, maps_before), (after, maps_after)] = self.memory;
        writeln!(
            f,
            "resident memory: {before} KiB, {after} KiB in the end; mappings: {maps_before}, {maps_after}"
        )?;
        writeln!(f)?;
        for name in WRONGS {
            let count = self.wrongs.get(name).copied().unwrap_or(0);
            writeln!(f, "{name:28}{count:>12}")?;
        }
        Ok(())
    }
}
