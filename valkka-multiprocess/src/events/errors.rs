//! Why there is no event, or it isn't set.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use common_ipc::process::{ChildError, ExitStatus};
use common_ipc::sync::AcquireError;

use crate::events::index::EventIndex;

/// Why an event of a group can't be had, named, set or waited for.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Every event of the group is reserved.
    #[error(
        "all {size} events of the group are reserved; release one by dropping it, wait for one with \
         reserve_timeout, or make the group larger"
    )]
    NotEnoughEvents {
        /// How many the group has.
        size: usize,
    },
    /// The index is another group's, or was made up.
    #[error("event {index} is not of this group; an index is used with the group that it was reserved from")]
    NotInGroup {
        /// The index.
        index: EventIndex,
    },
    /// The reservation that the index names is over: it was released, or its process has died and somebody else
    /// has the event now.
    #[error("the reservation {index} of an event is over; nobody waits for it any more")]
    StaleIndex {
        /// The index.
        index: EventIndex,
    },
    /// The process that was to set the event has ended, and hasn't set it.
    #[error("the process that was to set event {index} ended before it did: it {status}")]
    DiedBeforeSet {
        /// The index.
        index: EventIndex,
        /// How it ended.
        status: ExitStatus,
    },
    /// The process lives, and the event wasn't set in time. The event is released: that it is set later hurts nobody.
    #[error("event {index} was not set within {after:?}; the process that was to set it is alive")]
    TimedOut {
        /// The index.
        index: EventIndex,
        /// The time that it had.
        after: Duration,
    },
    /// The function that was to tell the other process failed. Nothing was waited for.
    #[error("could not tell the other process of the event: {0}")]
    Call(#[source] Box<dyn Error + Send + Sync>),
    /// The child can't be looked at.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// Events can't be reserved here.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// What the event itself failed with: an [`EventFd`](common_ipc::sync::EventFd), say, in a process that wasn't
    /// given it.
    #[error("can't use an event of the group: {0}")]
    Event(#[from] io::Error),
}

/// Its text: this is what `main` and `unwrap` print.
impl fmt::Debug for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
