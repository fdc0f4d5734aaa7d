//! The handle of a task.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::workers::Owner;
use crate::workers::core::Core;
use crate::workers::errors::WorkError;
use crate::workers::task::{Outcome, Sleeper, Task};

/// A task of a [`WorkerPool`](crate::WorkerPool) that returns an `R`. It is also a future, of any runtime.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # pkit::init()?;
/// let pool = pkit::WorkerPool::new(2)?;
/// let task = pool.submit(|text: String| text.len(), "nine chars".to_owned())?;
/// assert_eq!(task.join()?, 10);
/// # Ok(())
/// # }
/// ```
///
/// **Dropping** it leaves the task alone: it is done, and its result is dropped. [`cancel`](TaskHandle::cancel) ends it, and
/// with [`cancel_on_drop`](TaskHandle::cancel_on_drop) its drop does. The handle doesn't keep the pool: when that is dropped,
/// the task is [`WorkError::Ended`].
///
/// As a future it can be waited for by whatever a runtime has: `tokio::time::timeout` bounds the time of waiting and running
/// together, which [`task_timeout`](crate::WorkerPool::task_timeout) doesn't.
pub struct TaskHandle<R> {
    core: Arc<Core>,
    task: Arc<Task>,
    cancels: bool,
    result: PhantomData<fn() -> R>,
}

impl<R> TaskHandle<R> {
    pub(crate) fn new(owner: &Owner, task: Arc<Task>) -> TaskHandle<R> {
        TaskHandle { core: Arc::clone(&owner.core), task, cancels: false, result: PhantomData }
    }

    /// Its number, which no other task of its pool has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.task.number
    }

    /// Whether it is done, in whatever way.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.task.is_done()
    }

    /// Ends it: one that waits is not begun; the worker of one that was begun is killed, and replaced, and its result
    /// is [`WorkError::Cancelled`]. No other task suffers for it. Returns whether there was something to end; otherwise it
    /// was done before. Doesn't wait.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pkit::{WorkError, WorkerPool};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # pkit::init()?;
    /// let pool = WorkerPool::new(1)?;
    /// let hangs = pool.submit(|()| std::thread::sleep(Duration::from_secs(600)), ())?;
    /// let next = pool.submit(|n: u32| n + 1, 41)?;
    /// assert!(hangs.cancel()?);
    /// assert!(matches!(hangs.join(), Err(WorkError::Cancelled { .. })));
    /// assert_eq!(next.join()?, 42);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`WorkError::WrongProcess`].
    pub fn cancel(&self) -> Result<bool, WorkError> {
        self.core.cancel(&self.task, true)
    }

    /// This handle, whose drop [cancels](TaskHandle::cancel) the task if it isn't done: for a service whose clients may
    /// hang up, which drops the future that waits.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # pkit::init()?;
    /// let pool = pkit::WorkerPool::new(1)?;
    /// let forever = |()| std::thread::sleep(std::time::Duration::from_secs(600));
    /// drop(pool.submit(forever, ())?.cancel_on_drop());
    /// assert_eq!(pool.submit(|n: u32| n + 1, 41)?.join()?, 42);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cancel_on_drop(mut self) -> TaskHandle<R> {
        self.cancels = true;
        self
    }
}

impl<R> Drop for TaskHandle<R> {
    fn drop(&mut self) {
        if self.cancels && !self.is_done() {
            // In a forked copy it is the parent's.
            let _ = self.core.cancel(&self.task, true);
        }
    }
}

impl<R: DeserializeOwned> TaskHandle<R> {
    /// Waits until it is done, for as long as it takes, and returns what it returned.
    ///
    /// # Errors
    ///
    /// Why there is no result: see [`WorkError`].
    pub fn join(self) -> Result<R, WorkError> {
        self.wait_until(None)?;
        self.read()
    }

    /// Its result, if it is done; that is given out once. `Ok(None)`: it isn't done.
    ///
    /// # Errors
    ///
    /// As for [`join`](TaskHandle::join); [`WorkError::Taken`].
    pub fn try_join(&mut self) -> Result<Option<R>, WorkError> {
        self.join_timeout(Duration::ZERO)
    }

    /// As [`try_join`](TaskHandle::try_join), waiting for up to `timeout`. `Ok(None)`: it isn't done, and goes on.
    ///
    /// # Errors
    ///
    /// As for [`try_join`](TaskHandle::try_join).
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<Option<R>, WorkError> {
        if self.wait_until(Instant::now().checked_add(timeout))? { self.read().map(Some) } else { Ok(None) }
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<bool, WorkError> {
        self.core.check()?;
        Ok(self.core.wait_for(self.task.bell(), deadline, || self.task.is_done()))
    }

    fn read(&self) -> Result<R, WorkError> {
        let Outcome { result, .. } = self.task.take().ok_or(WorkError::Taken)?;
        Ok(result?.decode()?)
    }
}

/// Its result. Ready once; polled again, it is [`WorkError::Taken`]. It needs no runtime: the pool's thread wakes it.
impl<R: DeserializeOwned> Future for TaskHandle<R> {
    type Output = Result<R, WorkError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Err(error) = self.core.check() {
            return Poll::Ready(Err(error.into()));
        }
        if !self.task.is_done() {
            self.task.bell().add(Sleeper::Task(context.waker().clone()));
            // It may have been done before that.
            if !self.task.is_done() {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.read())
    }
}

impl<R> fmt::Debug for TaskHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_done = self.is_done();
        f.debug_struct("TaskHandle")
            .field("id", &self.id())
            .field("is_done", &is_done)
            .finish_non_exhaustive()
    }
}
