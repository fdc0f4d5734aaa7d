//! What is counted, by all processes of the soak together.

use std::sync::atomic::Ordering::Relaxed;

use common_ipc::link::Execution;
use common_ipc::memory::{MemoryError, SharedAtomics};
use serde::{Deserialize, Serialize};

/// What can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Started,
    Ended,
    NotStarted,
    Calls,
    Fine,
    Ran,
    Unknown,
    NotRun,
    Messages,
    Callbacks,
    Streams,
    Rounds,
    GivenUp,
    Lost,
    Double,
    Inconsistent,
    Hung,
    Last,
}

/// The counts. They are the same in each process that has them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tally {
    counts: SharedAtomics,
}

/// So many wrongs are told in full.
const TOLD: u64 = 100;

impl Tally {
    pub(crate) fn new() -> Result<Tally, MemoryError> {
        Ok(Tally { counts: SharedAtomics::new(Count::Last as usize)? })
    }

    pub(crate) fn add(&self, count: Count, number: u64) {
        self.counts[count as usize].fetch_add(number, Relaxed);
    }

    pub(crate) fn one(&self, count: Count) {
        self.add(count, 1);
    }

    pub(crate) fn add_both(&self, one: Count, other: Count) {
        self.one(one);
        self.one(other);
    }

    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Relaxed)
    }

    /// A call has failed: what it said of whether it ran.
    pub(crate) fn failed(&self, execution: Execution) {
        self.one(Count::Calls);
        self.one(match execution {
            Execution::Ran => Count::Ran,
            Execution::NotRun => Count::NotRun,
            Execution::Unknown => Count::Unknown,
        });
    }

    pub(crate) fn fine(&self) {
        self.one(Count::Calls);
        self.one(Count::Fine);
    }

    /// Something that must not be.
    pub(crate) fn wrong(&self, count: Count, what: impl FnOnce() -> String) {
        let before = self.counts[count as usize].fetch_add(1, Relaxed);
        if before < TOLD {
            eprintln!("\rWRONG ({count:?}): {}", what());
        }
    }

    /// Something that must be.
    pub(crate) fn check(&self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.wrong(Count::Inconsistent, what);
        }
    }
}
