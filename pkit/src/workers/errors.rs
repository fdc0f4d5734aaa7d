//! Why a task has no result, or wasn't taken.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::link::{Execution, LinkError};
use common_ipc::process::{ChildError, ExitStatus, PanicReport, StartError, WorkFailure, WrongProcess};

/// Why a task of a [`WorkerPool`](crate::WorkerPool) has no result, or wasn't taken at all.
/// [`execution`](WorkError::execution) says whether it ran. Its `Debug` is its text.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// It panicked. Its worker goes on.
    #[error("the task {0}")]
    Panicked(PanicReport),
    /// Its worker died while it was at it.
    #[error(
        "the worker {status} while it was at the task{}{}",
        if *out_of_memory { ", while the kernel killed processes for want of memory" } else { "" },
        if *attempts > 1 { format!(", at the {attempts}. attempt") } else { String::new() }
    )]
    Died {
        /// How the worker ended.
        status: ExitStatus,
        /// It was killed by SIGKILL, not by this pool, and while it lived the kernel killed at least one process of this
        /// machine for want of memory.
        out_of_memory: bool,
        /// How many workers have begun it.
        attempts: u32,
    },
    /// Its worker cut itself off while it was at it - by executing another program, by closing its descriptors - or wrote
    /// what makes no sense, and was killed.
    #[error("the worker was lost while it was at the task, and killed: {why}")]
    Lost {
        /// What was found.
        why: Arc<str>,
        /// How many workers have begun it.
        attempts: u32,
    },
    /// It took longer than it may, and its worker was killed.
    #[error("the task had not ended {limit:?} after it was begun, and its worker was killed")]
    TimedOut {
        /// The time that it had.
        limit: Duration,
    },
    /// It was cancelled, and its worker killed if it had begun.
    #[error("the task was cancelled{}", match execution { Execution::NotRun => " before it was begun", _ => "" })]
    Cancelled {
        /// Whether it had begun.
        execution: Execution,
    },
    /// Its argument can't be sent, or what belongs to one process went with it to a worker that died before it began.
    #[error("the task's argument could not be sent: {0}")]
    Argument(#[source] Arc<LinkError>),
    /// Something that belongs to one process, an end of a connection, say, went with its argument to a worker that didn't
    /// begin it: it can't be sent again.
    #[error("what belongs to one process went with the task's argument to a worker that did not begin it")]
    Gone,
    /// Its worker answered, but not with a result.
    #[error(transparent)]
    Failed(WorkFailure),
    /// A pool has from 1 to 65,536 workers.
    #[error("a pool of {size} workers was asked for; it has from 1 to 65,536")]
    Size {
        /// How many were asked for.
        size: usize,
    },
    /// There is no worker, and none could be started, three times in a row.
    #[error("no worker could be started: {0}")]
    Start(#[source] Arc<StartError>),
    /// There is no worker, and each that was started failed before it was ready, three times in a row: the function that
    /// makes its state panicked.
    #[error("no worker gets ready, since its state can't be made: the function {0}")]
    Init(PanicReport),
    /// There is no worker, and each that was started ended, or was lost, before it was ready, three times in a row.
    #[error("no worker gets ready: {why}")]
    NotReady {
        /// What became of the last one.
        why: Arc<str>,
    },
    /// The pool was closed, and takes no more tasks.
    #[error("the pool was closed and takes no more tasks: make another one")]
    Closed,
    /// The pool was ended, or its last handle dropped, before the task was done.
    #[error(
        "the pool was ended before the task was done; {}{}",
        match execution { Execution::NotRun => "it had not begun", _ => "it had begun" },
        why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    )]
    Ended {
        /// Whether it had begun.
        execution: Execution,
        /// What has ended it, if that wasn't the program.
        why: Option<Arc<str>>,
    },
    /// So many tasks are waiting that another one has no room, now or in time.
    #[error("the pool has no room for another waiting task (WorkerPoolBuilder::max_waiting)")]
    Full,
    /// The result was given out before, and with it whether the task ran.
    #[error("the task's result was given out before")]
    Taken,
    /// The pool belongs to another process. A child makes one of its own.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The pool's processes couldn't be waited for, or be stopped.
    #[error("the pool's workers could not be waited for: {0}")]
    Child(#[source] Arc<ChildError>),
}

impl WorkError {
    /// Whether the task ran: [`Execution::Unknown`] if it had begun and may have done all, some or nothing of what it does.
    #[must_use]
    pub fn execution(&self) -> Execution {
        match self {
            WorkError::Panicked(_) => Execution::Ran,
            WorkError::Died { .. }
            | WorkError::Lost { .. }
            | WorkError::TimedOut { .. }
            | WorkError::Child(_)
            | WorkError::Taken => Execution::Unknown,
            WorkError::Cancelled { execution } | WorkError::Ended { execution, .. } => *execution,
            WorkError::Failed(WorkFailure::Argument { .. } | WorkFailure::OtherState) => Execution::NotRun,
            WorkError::Failed(_) => Execution::Ran,
            _ => Execution::NotRun,
        }
    }
}

impl From<WorkFailure> for WorkError {
    fn from(failure: WorkFailure) -> WorkError {
        match failure {
            WorkFailure::Panicked(report) => WorkError::Panicked(report),
            failure => WorkError::Failed(failure),
        }
    }
}

impl From<LinkError> for WorkError {
    fn from(error: LinkError) -> WorkError {
        match error {
            LinkError::WrongProcess(error) => error.into(),
            error => WorkError::Argument(Arc::new(error)),
        }
    }
}

impl From<ChildError> for WorkError {
    fn from(error: ChildError) -> WorkError {
        match error {
            ChildError::WrongProcess(error) => error.into(),
            error => WorkError::Child(Arc::new(error)),
        }
    }
}

/// Its text, and after a panic the worker's backtrace, if there is one.
impl fmt::Debug for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match self {
            WorkError::Panicked(PanicReport { backtrace: Some(backtrace), .. })
            | WorkError::Init(PanicReport { backtrace: Some(backtrace), .. }) => write!(f, "\n{backtrace}"),
            _ => Ok(()),
        }
    }
}
