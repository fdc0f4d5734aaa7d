//! Why there is no picture.

use std::fmt;

use multiprocess::WorkError;
use serde::{Deserialize, Serialize};

/// Why a file has no picture on the sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    /// It can't be opened or read.
    Unreadable(String),
    /// It is in none of the formats.
    NoPicture(String),
    /// What is in it isn't as its format says.
    Corrupt(String),
    /// It would take more memory than a worker has.
    TooLarge(String),
    /// The decoder panicked.
    Panicked(String),
    /// The worker died of it.
    Crashed(String),
    /// It took longer than it may.
    TooSlow,
    /// There was no worker, or its answer makes no sense.
    Failed(String),
}

impl Reason {
    /// In a few words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Reason::Unreadable(_) => "can't be read",
            Reason::NoPicture(_) => "no picture",
            Reason::Corrupt(_) => "corrupt",
            Reason::TooLarge(_) => "too large",
            Reason::Panicked(_) => "decoder panicked",
            Reason::Crashed(_) => "decoder crashed",
            Reason::TooSlow => "took too long",
            Reason::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::TooSlow => f.write_str(self.kind()),
            Reason::Unreadable(why)
            | Reason::NoPicture(why)
            | Reason::Corrupt(why)
            | Reason::TooLarge(why)
            | Reason::Panicked(why)
            | Reason::Crashed(why)
            | Reason::Failed(why) => write!(f, "{}: {why}", self.kind()),
        }
    }
}

/// What the pool says of a task, in words that don't depend on how often it was tried.
impl From<WorkError> for Reason {
    fn from(error: WorkError) -> Reason {
        match error {
            WorkError::TimedOut { .. } => Reason::TooSlow,
            WorkError::Panicked(report) => Reason::Panicked(report.message),
            WorkError::Died { status, out_of_memory: true, .. } => {
                Reason::TooLarge(format!("{status}, out of memory"))
            }
            WorkError::Died { status, .. } => Reason::Crashed(status.to_string()),
            WorkError::Lost { why, .. } => Reason::Crashed(why.to_string()),
            other => Reason::Failed(other.to_string()),
        }
    }
}
