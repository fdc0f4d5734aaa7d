//! What is restarted when, and how often.

use std::time::Duration;

/// Who else is started again when a child is.
///
/// The others are stopped first, in the reverse order of their declaration; then all are started in that order, each
/// when the one before it is ready. Two kinds of them stay as they are: children that are
/// [`Temporary`](Restart::Temporary), which are stopped and not started again, and those that somebody has stopped by
/// name. A [`Transient`](Restart::Transient) one that had done its work begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// Nobody: the children don't depend on each other.
    #[default]
    OneForOne,
    /// All others: none can do without any other.
    OneForAll,
    /// Those that were declared after it: each needs those before it.
    RestForOne,
}

/// Whether a child that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Restart {
    /// Always, also after exit code 0.
    #[default]
    Permanent,
    /// After an abnormal end: anything but exit code 0.
    Transient,
    /// Never, not even when a sibling's failure has stopped it.
    Temporary,
}

/// How many restarts are allowed within which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Intensity {
    pub(crate) restarts: u32,
    pub(crate) window: Duration,
}

impl Default for Intensity {
    fn default() -> Intensity {
        Intensity { restarts: 3, window: Duration::from_secs(5) }
    }
}

/// Why a child is replaced though it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecycleReason {
    /// It has run for [`max_age`](crate::supervisor::ChildSpec::max_age).
    Age {
        /// For how long it has been ready.
        age: Duration,
    },
    /// It takes more than [`max_memory`](crate::supervisor::ChildSpec::max_memory).
    Memory {
        /// What it takes, in bytes of its resident set.
        resident: u64,
    },
}

impl std::fmt::Display for RecycleReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecycleReason::Age { age } => write!(f, "it has run for {age:?}"),
            RecycleReason::Memory { resident } => write!(f, "it takes {resident} bytes of memory"),
        }
    }
}

/// What the core knows of a child's spec.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) backoff: super::Backoff,
    pub(crate) grace: Duration,
    pub(crate) ready_by_target: bool,
    pub(crate) ready_timeout: Duration,
    pub(crate) hang_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
    pub(crate) recycle_overlapping: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            restart: Restart::default(),
            backoff: super::Backoff::default(),
            grace: Duration::from_secs(5),
            ready_by_target: false,
            ready_timeout: Duration::from_secs(30),
            hang_timeout: None,
            max_age: None,
            max_memory: None,
            recycle_overlapping: false,
        }
    }
}
