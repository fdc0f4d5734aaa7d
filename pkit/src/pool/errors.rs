//! Why a task wasn't started, and why it has no result.

use std::fmt;
use std::io;
use std::time::Duration;

use common_ipc::process::{ChildError, JoinError, StartError, WrongProcess};

use crate::slots::SlotError;

/// Why there is no pool, or why a task wasn't started.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool runs from 1 to 65,536 tasks at once.
    #[error("a pool for {size} tasks at once was asked for; it runs from 1 to 65,536")]
    Size {
        /// How many were asked for.
        size: usize,
    },
    /// The pool was closed or terminated, and takes no more tasks.
    #[error("the pool was closed and takes no more tasks: make another one")]
    Closed,
    /// The pool belongs to another process. A child makes one of its own.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The task's process couldn't be started. Its slot is free again.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A slot of the shared slots couldn't be had.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// The pool's tasks couldn't be waited for, or be stopped.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// There is no thread that could end a task when its time is over, so it wasn't started.
    #[error("could not start the thread that ends tasks whose time is over: {0}")]
    Clock(#[source] io::Error),
}

/// Why there is no result of a task.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It ran for longer than its pool's tasks may, and was killed.
    #[error("the task had not ended after {limit:?} and was killed (ProcessPool::task_timeout)")]
    TimedOut {
        /// The time it had.
        limit: Duration,
    },
    /// It wasn't started.
    #[error(transparent)]
    Start(#[from] PoolError),
    /// It panicked, exited or died, or its result couldn't be sent.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl From<ChildError> for TaskError {
    fn from(error: ChildError) -> TaskError {
        TaskError::Join(error.into())
    }
}

impl fmt::Debug for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Its text, and after a panic the task's backtrace, if there is one.
impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskError::Join(error) => fmt::Debug::fmt(error, f),
            other => fmt::Display::fmt(other, f),
        }
    }
}
