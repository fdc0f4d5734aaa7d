//! Which failures of starts the faults explain. Any other one is a wrong.

use std::time::{Duration, Instant};

use common_ipc::process::{ChildError, Signal, StartError};
use common_ipc::testing::Record;

use crate::faults;

/// So long after a fault something may still fail for it.
const AFTERMATH: Duration = Duration::from_secs(20);

fn was_lately(record: &Record, what: &str) -> bool {
    record.last(what).is_some_and(|at| at.elapsed() < AFTERMATH)
}

/// Whether this process had no descriptors lately.
pub(crate) fn descriptors(record: &Record) -> bool {
    was_lately(record, faults::DESCRIPTORS)
}

/// Whether the faults explain that something wasn't started.
pub(crate) fn start(record: &Record, error: &StartError) -> bool {
    match error {
        StartError::ServerDied { .. } => was_lately(record, faults::ZYGOTE),
        StartError::Os { .. } | StartError::Setup { .. } | StartError::Argument { .. } => descriptors(record),
        StartError::Child(error) => child(record, error),
        // Killed before it was ready.
        StartError::EndedEarly { status } => {
            status.signal().is_some() || was_lately(record, faults::DESCRIPTORS)
        }
        _ => false,
    }
}

/// Whether the faults explain that a child couldn't be waited for.
pub(crate) fn child(record: &Record, error: &ChildError) -> bool {
    matches!(error, ChildError::Os { .. }) && descriptors(record)
}

/// Whether somebody has killed the process with this number since then, by this signal.
pub(crate) fn death(record: &Record, pid: u32, since: Instant, signal: i32) -> bool {
    Signal::from_raw(signal).is_some_and(|signal| record.was_killed(pid, signal, since))
}
