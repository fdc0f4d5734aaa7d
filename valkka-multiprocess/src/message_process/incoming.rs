//! What comes from a back end.

use std::fmt;

use common_ipc::process::ExitStatus;

use crate::message_process::failure::Failure;

/// What comes from a back end: its events, what failed in it, and at last its end.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming<E> {
    /// It has sent this.
    Event(E),
    /// A handler of its has failed. The back end goes on, unless its policy says otherwise.
    Failed(Failure),
    /// It has ended, for whatever cause. Nothing more comes until its next start.
    Ended(Ended),
}

/// How a back end has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The process's name.
    pub name: String,
    /// How its process ended.
    pub status: ExitStatus,
    /// After which failure it ended by itself, if that was why.
    pub failure: Option<Failure>,
}

impl Ended {
    /// Whether it ended because it was asked to, or wanted to: by itself, and without a failure.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.status.success() && self.failure.is_none()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            None => write!(f, "the back end {} {}", self.name, self.status),
            Some(Failure { during, cause, .. }) => {
                write!(f, "the back end {} has given up: {during} {cause}", self.name)
            }
        }
    }
}
