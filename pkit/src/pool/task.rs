//! The handles of a task.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use common_ipc::process::{Child, ChildError, ExitStatus, JoinError, Signal, Stopped};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::pool::errors::TaskError;
use crate::pool::running::Running;
use crate::slots::Slot;

/// How far a task has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// Its process was started, and isn't on its way to the task yet: for the first moments.
    Ready,
    /// It is under way.
    Running,
    /// Its process has ended, in whatever way.
    Finished,
}

/// What its handles, the pool and the clock share.
pub(crate) struct Core {
    pub(crate) id: u64,
    pub(crate) child: Child,
    pub(crate) limit: Option<Duration>,
    /// When its time is over. What is further away than time can tell is never.
    pub(crate) until: Option<Instant>,
    pub(crate) timed_out: AtomicBool,
    /// It is collected where it ends.
    pub(crate) in_background: AtomicBool,
    /// Handles of users, without which nobody may ever wait for it.
    pub(crate) handles: AtomicUsize,
    /// Its slot, if that is a shared one.
    pub(crate) slot: Option<Arc<Mutex<Option<Slot>>>>,
    pub(crate) pool: Weak<Running>,
}

impl Core {
    pub(crate) fn has_no_handle(&self) -> bool {
        self.handles.load(Ordering::SeqCst) == 0
    }

    /// Whatever becomes of its handles, it is collected when it ends.
    pub(crate) fn leave_to_background(&self) {
        if self.in_background.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.child.on_collected(|_| ()) {
            // In a forked copy it is the parent's.
            Ok(()) | Err(ChildError::WrongProcess(_)) => {}
            Err(error) => log::warn!("task {} is collected at the program's exit: {error}", self.id),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// What a look at its process, or waiting for that, has told. If that has ended, its slot is free from here on:
    /// whoever collects it gives the slot back, but may be a moment behind.
    pub(crate) fn told<T>(&self, told: T) -> T {
        if let Some(slot) = &self.slot {
            if self.has_ended() {
                drop(slot.lock().take());
            }
        }
        told
    }

    /// Its time is over.
    pub(crate) fn time_out(&self) {
        // One that has ended by itself is collected by this, and nothing more.
        if self.has_ended() {
            return;
        }
        self.timed_out.store(true, Ordering::Release);
        if let Err(error) = self.child.kill() {
            log::error!("task {} can't be ended, though its time is over: {error}", self.id);
        }
    }
}

/// A task of a [`ProcessPool`](crate::ProcessPool), whatever it returns. Clones are handles of the same task, and any
/// thread may use them.
///
/// **Dropping** all handles doesn't stop the task. In a forked copy of the process every method that asks or
/// tells something of the task's process is [`ChildError::WrongProcess`].
pub struct TaskInfo {
    core: Arc<Core>,
}

impl TaskInfo {
    pub(crate) fn new(core: Arc<Core>) -> TaskInfo {
        core.handles.fetch_add(1, Ordering::Relaxed);
        TaskInfo { core }
    }

    pub(crate) fn child(&self) -> &Child {
        &self.core.child
    }

    /// Its number, which no other task of this process has, of whatever pool.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.core.id
    }

    /// The name of its process: that of the pool's options, or one with a number.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        self.core.child.name()
    }

    /// Its process id. It isn't another process's before the task was collected; afterwards it may be.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.core.child.id()
    }

    /// How far it has got.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn status(&self) -> Result<TaskStatus, ChildError> {
        let child = &self.core.child;
        if self.try_wait()?.is_some() {
            return Ok(TaskStatus::Finished);
        }
        Ok(if child.is_ready()? { TaskStatus::Running } else { TaskStatus::Ready })
    }

    /// Waits for the end of its process, for as long as it takes. Every caller gets the same.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait(&self) -> Result<ExitStatus, ChildError> {
        self.core.told(self.core.child.wait())
    }

    /// How its process ended. `Ok(None)`: it runs.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    #[doc(alias = "exitcode")]
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, ChildError> {
        self.core.told(self.core.child.try_wait())
    }

    /// As [`wait`](TaskInfo::wait), for up to `timeout`. `Ok(None)`: it runs on.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>, ChildError> {
        self.core.told(self.core.child.wait_timeout(timeout))
    }

    /// Asks it to end, by SIGTERM, with its whole group if it leads one; doesn't wait.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn terminate(&self) -> Result<(), ChildError> {
        self.core.child.terminate()
    }

    /// Ends it by SIGKILL, with its whole group if it leads one; doesn't wait.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn kill(&self) -> Result<(), ChildError> {
        self.core.child.kill()
    }

    /// Ends it and waits for that: SIGTERM, up to `grace` of waiting, then SIGKILL.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn stop(&self, grace: Duration) -> Result<Stopped, ChildError> {
        self.core.told(self.core.child.stop(grace))
    }

    fn error(&self, error: JoinError) -> TaskError {
        match (&error, self.core.limit) {
            // It may have ended by itself at the same moment, and then not by that signal.
            (JoinError::Died(status), Some(limit))
                if status.signal() == Some(Signal::KILL) && self.core.timed_out.load(Ordering::Acquire) =>
            {
                TaskError::TimedOut { limit }
            }
            _ => TaskError::Join(error),
        }
    }
}

impl Clone for TaskInfo {
    fn clone(&self) -> TaskInfo {
        TaskInfo::new(Arc::clone(&self.core))
    }
}

impl Drop for TaskInfo {
    fn drop(&mut self) {
        if self.core.handles.fetch_sub(1, Ordering::SeqCst) == 1 {
            match self.core.pool.upgrade() {
                Some(pool) => pool.has_orphan(&self.core),
                None => self.core.leave_to_background(),
            }
        }
    }
}

impl fmt::Debug for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid();
        f.debug_struct("Task").field("id", &self.id()).field("pid", &pid).finish_non_exhaustive()
    }
}

/// A task of a [`ProcessPool`](crate::ProcessPool) that returns an `O`. Clones are handles of the same task, and any
/// thread may use them; whatever doesn't concern its result is in [`TaskInfo`].
///
/// **Dropping** all handles doesn't stop the task: it goes on, and gives its slot back when it ends.
pub struct Task<O> {
    info: TaskInfo,
    output: PhantomData<fn() -> O>,
}

impl<O> Task<O> {
    pub(crate) fn new(core: Arc<Core>) -> Task<O> {
        Task { info: TaskInfo::new(core), output: PhantomData }
    }

    /// A handle of it that doesn't name what it returns.
    #[must_use]
    pub fn info(&self) -> TaskInfo {
        self.info.clone()
    }
}

impl<O: DeserializeOwned> Task<O> {
    /// Waits for its end, and returns what it returned. Each call decodes a copy of its own, so that every caller
    /// gets the same, however often and from however many threads.
    ///
    /// # Errors
    ///
    /// [`TaskError::TimedOut`]; [`TaskError::Join`] if it panicked, exited or died.
    pub fn join(&self) -> Result<O, TaskError> {
        self.core.told(self.child().output()).map_err(|error| self.error(error))
    }

    /// As [`join`](Task::join), without waiting. `Ok(None)`: it runs.
    ///
    /// # Errors
    ///
    /// As for [`join`](Task::join).
    pub fn try_join(&self) -> Result<Option<O>, TaskError> {
        self.core.told(self.child().try_output()).map_err(|error| self.error(error))
    }

    /// As [`join`](Task::join), waiting for up to `timeout`. `Ok(None)`: it runs on.
    ///
    /// # Errors
    ///
    /// As for [`join`](Task::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<O>, TaskError> {
        self.core.told(self.child().output_timeout(timeout)).map_err(|error| self.error(error))
    }
}

#[cfg(feature = "tokio")]
impl<O: DeserializeOwned> Task<O> {
    /// As [`join`](Task::join), in a task of tokio's, without blocking a thread. If the future is dropped, nothing has
    /// changed.
    ///
    /// # Errors
    ///
    /// As for [`join`](Task::join).
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio's, or in one without I/O.
    pub async fn join_async(&self) -> Result<O, TaskError> {
        let output = self.child().output_async().await;
        self.core.told(output).map_err(|error| self.error(error))
    }
}

impl<O> Deref for Task<O> {
    type Target = TaskInfo;

    fn deref(&self) -> &TaskInfo {
        &self.info
    }
}

impl<O> Clone for Task<O> {
    fn clone(&self) -> Task<O> {
        Task { info: self.info.clone(), output: PhantomData }
    }
}

impl<O> fmt::Debug for Task<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.info, f)
    }
}
