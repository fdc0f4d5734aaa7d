//! What came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use multiprocess::pkit::Statistics;

use crate::decode::Tile;
use crate::reason::Reason;

/// So many failed files are named for each reason.
const NAMED: usize = 5;

pub(crate) struct Summary {
    out: PathBuf,
    pub(crate) decoded: u64,
    /// By the kind of the reason: how many, and some of them with what exactly.
    reasons: BTreeMap<&'static str, (u64, Vec<String>)>,
    /// The most memory that a worker has had, in KiB.
    peak: u64,
    pub(crate) workers: Statistics,
    /// By chaos.
    pub(crate) kills: u64,
    pub(crate) took: Duration,
}

impl Summary {
    pub(crate) fn new(out: &Path) -> Summary {
        Summary {
            out: out.to_owned(),
            decoded: 0,
            reasons: BTreeMap::new(),
            peak: 0,
            workers: Statistics::default(),
            kills: 0,
            took: Duration::ZERO,
        }
    }

    pub(crate) fn count(&mut self, name: &str, result: &Result<Tile, Reason>) {
        match result {
            Ok(tile) => {
                self.decoded += 1;
                self.peak = self.peak.max(tile.peak);
            }
            Err(reason) => {
                let (count, named) = self.reasons.entry(reason.kind()).or_default();
                *count += 1;
                if named.len() < NAMED {
                    named.push(format!("{}: {}", harmless(name), harmless(&reason.to_string())));
                }
            }
        }
    }

    pub(crate) fn failed(&self) -> u64 {
        self.reasons.values().map(|(count, _)| count).sum()
    }
}

/// Names and texts may hold anything, and a terminal obeys it.
fn harmless(text: &str) -> String {
    let shown = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    text.trim_end().chars().take(120).map(shown).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.decoded + self.failed();
        writeln!(f, "{:>6} of {all} files are on the sheet {}", self.decoded, self.out.display())?;
        for (kind, (count, named)) in &self.reasons {
            writeln!(f, "{count:>6} {kind}")?;
            for name in named {
                writeln!(f, "         {name}")?;
            }
            if *count > named.len() as u64 {
                writeln!(f, "         and {} more", count - named.len() as u64)?;
            }
        }
        let replaced = self.workers.started.saturating_sub(self.workers.workers as u64);
        let chaos =
            if self.kills > 0 { format!(", {} of them killed by chaos", self.kills) } else { String::new() };
        writeln!(f, "{replaced:>6} workers replaced{chaos}")?;
        writeln!(f, "{:>6.0} files a second", all as f64 / self.took.as_secs_f64())?;
        write!(f, "{:>6.0} MB of memory in a worker at most", self.peak as f64 * 1.024e-3)
    }
}
