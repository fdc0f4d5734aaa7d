//! What happens to children, as it is told: events, causes, ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::{ExitStatus, StartError, StopStep};

use super::errors::SupervisorError;
use super::policy::RecycleReason;

/// Why a child isn't running any more, though nobody has stopped it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// It could not be started.
    #[error("could not be started: {0}")]
    NotStarted(#[source] Arc<StartError>),
    /// It ended before it called [`ready`](crate::ready).
    #[error("was not ready yet when it {0}")]
    EndedEarly(ExitStatus),
    /// It didn't call [`ready`](crate::ready) in time, and was killed.
    #[error("was not ready after {timeout:?} and was killed (ChildSpec::ready_timeout)")]
    NotReady {
        /// The time it had.
        timeout: Duration,
    },
    /// It called [`progress`](crate::progress) too seldom, and was killed.
    #[error("made no progress for {timeout:?} and was killed (ChildSpec::hang_timeout)")]
    Hung {
        /// The time it had.
        timeout: Duration,
    },
    /// It returned this error.
    #[error("returned an error: {0}")]
    Returned(Arc<str>),
    /// It was ready, and ended.
    #[error("{0}")]
    Ended(ExitStatus),
}

impl Cause {
    /// How its process ended by itself, if it did.
    #[must_use]
    pub fn status(&self) -> Option<&ExitStatus> {
        match self {
            Cause::EndedEarly(status) | Cause::Ended(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the child had done its work: a [`Transient`](super::Restart::Transient) one isn't started again.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        self.status().is_some_and(ExitStatus::success)
    }
}

/// One failure that led, or would have led, to a restart.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The child's name.
    pub child: Arc<str>,
    /// Why it failed.
    pub cause: Cause,
    /// When: so long after the supervisor's start.
    pub at: Duration,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:?} {} {}", self.at, self.child, self.cause)
    }
}

/// What it took to stop a child.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoppedChild {
    /// Its name.
    pub child: Arc<str>,
    /// Its process id, which may be another process's by now.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// What ended it.
    pub by: StopStep,
}

/// How a supervisor ended. All its children have ended then.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Ended {
    /// It was told to: by [`stop`](super::Supervisor::stop), or by being dropped.
    Stopped {
        /// The children that ran, in the order in which they were stopped.
        children: Vec<StoppedChild>,
    },
    /// There were more failures in a short time than are allowed.
    Failed {
        /// The failures within that time, the oldest first.
        history: Vec<Failure>,
        /// The children that ran then, in the order in which they were stopped.
        children: Vec<StoppedChild>,
    },
}

impl Ended {
    /// An error of it if it has failed, else the children that ran and were stopped: for a program that is to end then,
    /// `supervisor.wait()?.into_result()?`.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::Failed`].
    pub fn into_result(self) -> Result<Vec<StoppedChild>, SupervisorError> {
        match self {
            Ended::Stopped { children } => Ok(children),
            Ended::Failed { history, .. } => Err(SupervisorError::Failed { history }),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Stopped { .. } => f.write_str("the supervisor was stopped"),
            Ended::Failed { history, .. } => write!(f, "{}", GaveUp(history)),
        }
    }
}

/// What is said of that many failures.
pub(super) struct GaveUp<'a>(pub(super) &'a [Failure]);

impl fmt::Display for GaveUp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the supervisor gave up: its children failed more often than is allowed")?;
        self.0.iter().try_for_each(|failure| write!(f, "; {failure}"))
    }
}

/// What a supervisor tells its subscribers, and the `log` crate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A process of the child was started.
    Started {
        /// The child's name.
        child: Arc<str>,
        /// The process.
        pid: u32,
        /// Which of the child's processes it is: 1 for the first. A start that fails uses up a number.
        generation: u64,
    },
    /// A process of the child is ready.
    Ready {
        /// The child's name.
        child: Arc<str>,
        /// The process.
        pid: u32,
    },
    /// A process of the child has ended, though nobody has stopped it.
    Exited {
        /// The child's name.
        child: Arc<str>,
        /// The process, which is gone.
        pid: u32,
        /// Why.
        cause: Cause,
    },
    /// The child could not be started.
    StartFailed {
        /// The child's name.
        child: Arc<str>,
        /// Why.
        error: Arc<StartError>,
    },
    /// The child wasn't ready in time; it is killed now.
    NotReady {
        /// The child's name.
        child: Arc<str>,
        /// The process.
        pid: u32,
        /// The time it had.
        timeout: Duration,
    },
    /// The child made no progress for too long; it is killed now.
    Hung {
        /// The child's name.
        child: Arc<str>,
        /// The process.
        pid: u32,
        /// The time it had.
        timeout: Duration,
    },
    /// The child has failed and will be started again.
    Restarting {
        /// The child's name.
        child: Arc<str>,
        /// How long that waits.
        after: Duration,
    },
    /// The child is well, and is replaced now.
    Recycling {
        /// The child's name.
        child: Arc<str>,
        /// Why.
        why: RecycleReason,
    },
    /// A new process of the child that should have replaced the old one failed; the old one goes on.
    NotReplaced {
        /// The child's name.
        child: Arc<str>,
        /// Why.
        cause: Cause,
    },
    /// A process of the child was stopped, and has ended.
    Stopped(StoppedChild),
    /// The children failed more often than is allowed; those that run are stopped now.
    Failed {
        /// The failures, the oldest first.
        history: Vec<Failure>,
    },
    /// The subscriber didn't keep up: at this place so many events are missing.
    Lost {
        /// How many.
        count: u64,
    },
}

impl Event {
    pub(crate) fn level(&self) -> log::Level {
        match self {
            Event::Failed { .. } => log::Level::Error,
            Event::Exited { cause, .. } if cause.is_normal() => log::Level::Info,
            Event::Exited { .. }
            | Event::StartFailed { .. }
            | Event::NotReady { .. }
            | Event::Hung { .. }
            | Event::NotReplaced { .. }
            | Event::Lost { .. } => log::Level::Warn,
            Event::Stopped(stopped) if stopped.by == StopStep::Killed => log::Level::Warn,
            _ => log::Level::Info,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Started { child, pid, generation } => {
                write!(f, "{child} was started (process {pid}, its number {generation})")
            }
            Event::Ready { child, pid } => write!(f, "{child} is ready (process {pid})"),
            Event::Exited { child, pid, cause } => write!(f, "{child} {cause} (process {pid})"),
            Event::StartFailed { child, error } => write!(f, "{child} could not be started: {error}"),
            Event::NotReady { child, pid, timeout } => {
                write!(f, "{child} is not ready after {timeout:?} and is killed (process {pid})")
            }
            Event::Hung { child, pid, timeout } => {
                write!(f, "{child} made no progress for {timeout:?} and is killed (process {pid})")
            }
            Event::Restarting { child, after } => write!(f, "{child} is started again in {after:?}"),
            Event::Recycling { child, why } => write!(f, "{child} is replaced: {why}"),
            Event::NotReplaced { child, cause } => {
                write!(f, "{child} goes on as it is: the process that was to replace it {cause}")
            }
            Event::Stopped(StoppedChild { child, pid, status, by }) => {
                let how = if *by == StopStep::Killed { "was killed after its grace" } else { "was stopped" };
                write!(f, "{child} {how}: it {status} (process {pid})")
            }
            Event::Failed { history } => write!(f, "{}", GaveUp(history)),
            Event::Lost { count } => write!(f, "{count} events are missing here: they were not read in time"),
        }
    }
}
