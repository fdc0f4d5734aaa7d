//! What handlers have begun: tasks, and who looks after them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use common_ipc::RemoteError;
use common_ipc::process::PanicReport;
use tokio::task::{AbortHandle, JoinSet};

use crate::async_process::race::{Either, either};
use crate::message_process::Cause;

/// The tasks of a back end. They tell of their failures themselves.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    of_commands: RefCell<JoinSet<()>>,
    background: RefCell<JoinSet<()>>,
    /// They are being dropped, and so is what is begun by that.
    is_over: Cell<bool>,
}

impl Tasks {
    pub(crate) fn begin(&self, task: impl Future<Output = ()> + 'static) -> AbortHandle {
        self.begin_in(&self.of_commands, task)
    }

    pub(crate) fn begin_in_background(&self, task: impl Future<Output = ()> + 'static) -> AbortHandle {
        self.begin_in(&self.background, task)
    }

    fn begin_in(&self, set: &RefCell<JoinSet<()>>, task: impl Future<Output = ()> + 'static) -> AbortHandle {
        let task = set.borrow_mut().spawn_local(task);
        if self.is_over.get() {
            task.abort();
        }
        task
    }

    /// Forgets those that are over; the task of `context` is woken when more are.
    pub(crate) fn forget_ended(&self, context: &mut Context<'_>) {
        for set in [&self.of_commands, &self.background] {
            while let Poll::Ready(Some(ended)) = set.borrow_mut().poll_join_next(context) {
                drop(ended);
            }
        }
    }

    /// Waits until those of commands are over, or `enough` is; then drops all.
    pub(crate) async fn end(&self, enough: impl Future<Output = ()>) {
        if let Either::Right(()) = either(all_ended(&self.of_commands), enough).await {
            log::debug!("{} tasks are dropped", self.of_commands.borrow().len());
        }
        self.is_over.set(true);
        // What is dropped may begin tasks of both kinds.
        while !self.of_commands.borrow().is_empty() || !self.background.borrow().is_empty() {
            for set in [&self.of_commands, &self.background] {
                set.borrow_mut().abort_all();
                all_ended(set).await;
            }
        }
        // For `async_post`.
        self.is_over.set(false);
    }
}

async fn all_ended(set: &RefCell<JoinSet<()>>) {
    // Borrowed for the look alone: a task that ends may begin another one.
    while poll_fn(|context| set.borrow_mut().poll_join_next(context)).await.is_some() {}
}

/// A future whose panic is a failure.
pub(crate) async fn guarded(work: impl Future<Output = Result<(), RemoteError>>) -> Result<(), Cause> {
    let mut work = pin!(work);
    poll_fn(|context| match PanicReport::catch(|| work.as_mut().poll(context)) {
        Ok(polled) => polled.map_err(Cause::Error),
        Err(report) => Poll::Ready(Err(Cause::Panicked(report))),
    })
    .await
}
