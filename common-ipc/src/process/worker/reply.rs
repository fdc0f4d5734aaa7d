//! What became of a job.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::link::codec::DecodeError;
use crate::link::jobs::Arrived;
use crate::process::panic_report::PanicReport;
use crate::process::worker::kind;

/// The reply to a job, not read yet.
#[derive(Debug)]
pub struct Reply(pub(super) Arrived);

/// Why a job that a worker has answered has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum WorkFailure {
    /// The function panicked. The worker goes on.
    #[error("the task {0}")]
    Panicked(PanicReport),
    /// The argument couldn't be read in the worker; the function wasn't called.
    #[error("the worker could not read the argument, a {type_name}: {message}")]
    Argument {
        /// What it was to be read as.
        type_name: String,
        /// What its `Deserialize` said.
        message: String,
    },
    /// The result couldn't be written, though the function has returned.
    #[error("the result, a {type_name}, could not be sent: {message}")]
    Result {
        /// Its type.
        type_name: String,
        /// What its `Serialize` said, or why it couldn't be sent.
        message: String,
    },
    /// The result is longer than a reply may be, though the function has returned.
    #[error("the result has {length} bytes, {max} are allowed")]
    TooLarge {
        /// Of its encoding, in bytes.
        length: u64,
        /// The most, in bytes.
        max: u64,
    },
    /// The result couldn't be read here, though the function has returned.
    #[error("the result can't be read as a {type_name}: {message}")]
    Unreadable {
        /// What it was to be read as.
        type_name: String,
        /// What its `Deserialize` said.
        message: String,
    },
    /// The job is for workers with another kind of state.
    #[error("the worker has another kind of state than the task is for")]
    OtherState,
}

impl Reply {
    /// Reads the result, which was a function's return value.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn decode<R: DeserializeOwned>(self) -> Result<R, WorkFailure> {
        let arrived = self.0;
        let unreadable = |DecodeError { type_name, message }| {
            let type_name = type_name.to_owned();
            WorkFailure::Unreadable { type_name, message }
        };
        if arrived.kind == kind::RESULT {
            return arrived.decode().map_err(unreadable);
        }
        Err(arrived.decode().unwrap_or_else(unreadable))
    }
}

/// The results of a job of many items: see [`Work::each`](crate::process::Work::each).
#[derive(Debug, Serialize, Deserialize)]
pub struct Each<R> {
    /// One for each item, in their order.
    pub results: Vec<Result<R, WorkFailure>>,
    /// How long all of them together took, in nanoseconds.
    pub nanos: u64,
}
