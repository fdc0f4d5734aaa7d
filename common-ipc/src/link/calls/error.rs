//! Why a call, or a reply, failed.

use std::fmt;

use crate::link::calls::server::OpenResponder;
use crate::link::error::LinkError;

/// Why a call failed, and how far it had come.
#[derive(thiserror::Error)]
#[non_exhaustive]
#[error("{cause} ({progress})")]
pub struct CallError {
    /// Why.
    #[source]
    pub cause: LinkError,
    /// How far it had come: whether it may have been carried out.
    pub progress: CallProgress,
}

crate::error::debug_is_display!(CallError);

/// How far a call had come that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallProgress {
    /// It wasn't sent: the argument can't be encoded, is too large, or had no room in time; the other side was
    /// gone; or this is the wrong process. It isn't carried out.
    NotSent,
    /// It was sent, and the other side is gone and had never taken it. It was never begun.
    NotTaken,
    /// It was sent, and the other side may have taken it. It may have been carried out, in part or whole, or may
    /// yet be.
    Taken,
}

impl fmt::Display for CallProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallProgress::NotSent => "the call wasn't sent",
            CallProgress::NotTaken => "the call was sent, and never begun",
            CallProgress::Taken => "the call may have been begun",
        })
    }
}

/// Whether what a failed call asked for was carried out: what decides whether to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Execution {
    /// It wasn't, and won't be. Asking again repeats nothing.
    NotRun,
    /// Nobody can tell: it may have been carried out, in part or whole. If the other process has ended, nothing more
    /// comes of it; else it may yet be carried out.
    Unknown,
    /// It was begun, and has returned or panicked. What is missing is its result.
    Ran,
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Execution::NotRun => "it wasn't carried out",
            Execution::Unknown => "it may have been carried out, in part or whole",
            Execution::Ran => "it was carried out",
        })
    }
}

impl CallError {
    /// Whether the call was carried out, as far as its connection tells.
    #[must_use]
    pub fn execution(&self) -> Execution {
        match self.progress {
            CallProgress::NotSent | CallProgress::NotTaken => Execution::NotRun,
            CallProgress::Taken => Execution::Unknown,
        }
    }

    pub(super) fn not_sent(cause: impl Into<LinkError>) -> CallError {
        CallError { cause: cause.into(), progress: CallProgress::NotSent }
    }

    pub(super) fn taken(cause: LinkError) -> CallError {
        CallError { cause, progress: CallProgress::Taken }
    }
}

/// Why a reply couldn't be sent, and what can still answer.
///
/// After [`LinkError::Encode`] and [`LinkError::TooLarge`] nothing was sent and the connection goes on: reply
/// something else with the `responder`. If that is dropped, the caller has [`LinkError::Unanswered`].
#[derive(thiserror::Error)]
#[non_exhaustive]
#[error("the reply couldn't be sent: {cause}")]
pub struct ReplyError {
    /// Why.
    #[source]
    pub cause: LinkError,
    /// What can answer once more.
    pub responder: OpenResponder,
}

crate::error::debug_is_display!(ReplyError);
