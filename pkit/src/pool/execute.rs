//! Starting a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use common_ipc::process::{Child, Launch, Portable, StartError, Zygote};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pool::ProcessPool;
use crate::pool::errors::PoolError;
use crate::pool::running::{Place, next_id};
use crate::pool::task::{Core, Task};

/// What a task without a name is named after.
const KIND: &str = "task";

impl ProcessPool {
    /// Starts a task by a fork, when a slot is free: it waits for that as long as it takes.
    ///
    /// What the task returns is serialised. What it captures exists twice: see
    /// [`Launch::start`](common_ipc::process::Launch::start).
    ///
    /// # Errors
    ///
    /// [`PoolError::Closed`], also while it waits; [`PoolError::Start`], above all beside other threads;
    /// [`PoolError::WrongProcess`], [`PoolError::Slots`], [`PoolError::Child`], [`PoolError::Clock`]. The task
    /// didn't run.
    #[doc(alias = "apply_async")]
    pub fn execute<O, F>(&self, task: F) -> Result<Task<O>, PoolError>
    where
        F: FnOnce() -> O,
        O: Serialize + DeserializeOwned,
    {
        self.fork(self.place()?, task)
    }

    /// As [`execute`](ProcessPool::execute), without waiting. `Ok(None)`: no slot was free, and the task is dropped.
    ///
    /// # Errors
    ///
    /// As for [`execute`](ProcessPool::execute).
    pub fn try_execute<O, F>(&self, task: F) -> Result<Option<Task<O>>, PoolError>
    where
        F: FnOnce() -> O,
        O: Serialize + DeserializeOwned,
    {
        self.execute_timeout(Duration::ZERO, task)
    }

    /// As [`execute`](ProcessPool::execute), waiting for a slot for up to `timeout`. `Ok(None)`: none came free, and
    /// the task is dropped.
    ///
    /// # Errors
    ///
    /// As for [`execute`](ProcessPool::execute).
    pub fn execute_timeout<O, F>(&self, timeout: Duration, task: F) -> Result<Option<Task<O>>, PoolError>
    where
        F: FnOnce() -> O,
        O: Serialize + DeserializeOwned,
    {
        self.place_timeout(timeout)?.map(|place| self.fork(place, task)).transpose()
    }

    /// Starts a task from a zygote, when a slot is free: `task` is a plain function, or a closure that captures
    /// nothing, and is called on a copy of `argument`, which is serialised. It returns when the task is about to
    /// run.
    ///
    /// ```
    /// use pkit::{ProcessPool, Zygote};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// pkit::init()?; // on the first line of main
    /// let pool = ProcessPool::new(2)?;
    /// std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(1)));
    /// let task = pool.execute_in(&Zygote::global(), |words: Vec<String>| words.len(), &vec!["one".into()])?;
    /// assert_eq!(task.join()?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`execute`](ProcessPool::execute).
    pub fn execute_in<A, O>(
        &self,
        zygote: &Zygote,
        task: fn(A) -> O,
        argument: &A,
    ) -> Result<Task<O>, PoolError>
    where
        A: Portable,
        O: Serialize + DeserializeOwned,
    {
        self.start_in(self.place()?, zygote, task, argument)
    }

    /// As [`execute_in`](ProcessPool::execute_in), without waiting for a slot. `Ok(None)`: none was free.
    ///
    /// # Errors
    ///
    /// As for [`execute`](ProcessPool::execute).
    pub fn try_execute_in<A, O>(
        &self,
        zygote: &Zygote,
        task: fn(A) -> O,
        argument: &A,
    ) -> Result<Option<Task<O>>, PoolError>
    where
        A: Portable,
        O: Serialize + DeserializeOwned,
    {
        self.execute_timeout_in(Duration::ZERO, zygote, task, argument)
    }

    /// As [`execute_in`](ProcessPool::execute_in), waiting for a slot for up to `timeout`. `Ok(None)`: none came free.
    ///
    /// # Errors
    ///
    /// As for [`execute`](ProcessPool::execute).
    pub fn execute_timeout_in<A, O>(
        &self,
        timeout: Duration,
        zygote: &Zygote,
        task: fn(A) -> O,
        argument: &A,
    ) -> Result<Option<Task<O>>, PoolError>
    where
        A: Portable,
        O: Serialize + DeserializeOwned,
    {
        let place = self.place_timeout(timeout)?;
        place.map(|place| self.start_in(place, zygote, task, argument)).transpose()
    }

    /// A place, however long that takes.
    pub(crate) fn place(&self) -> Result<Place<'_>, PoolError> {
        loop {
            if let Some(place) = self.running.place(None)? {
                return Ok(place);
            }
        }
    }

    fn place_timeout(&self, timeout: Duration) -> Result<Option<Place<'_>>, PoolError> {
        // Further away than time can tell is never.
        self.running.place(Instant::now().checked_add(timeout))
    }

    pub(crate) fn fork<O, F>(&self, place: Place<'_>, task: F) -> Result<Task<O>, PoolError>
    where
        F: FnOnce() -> O,
        O: Serialize + DeserializeOwned,
    {
        self.start(place, |launch| launch.start(task))
    }

    pub(crate) fn start_in<A, O>(
        &self,
        place: Place<'_>,
        zygote: &Zygote,
        task: fn(A) -> O,
        argument: &A,
    ) -> Result<Task<O>, PoolError>
    where
        A: Portable,
        O: Serialize + DeserializeOwned,
    {
        self.start(place, |launch| launch.start_in(zygote, task, argument))
    }

    fn start<O>(
        &self,
        mut place: Place<'_>,
        start: impl FnOnce(Launch<'_>) -> Result<Child, StartError>,
    ) -> Result<Task<O>, PoolError> {
        if self.limit.is_some() {
            self.running.wind_clock().map_err(PoolError::Clock)?;
        }
        let child = start(Launch::new(&self.options).kind(KIND).announce_ready(true))?;
        let core = Arc::new(Core {
            id: next_id(),
            child,
            limit: self.limit,
            until: self.limit.and_then(|limit| Instant::now().checked_add(limit)),
            timed_out: AtomicBool::new(false),
            in_background: AtomicBool::new(false),
            handles: AtomicUsize::new(0),
            slot: place.slot.take().map(|slot| Arc::new(Mutex::new(Some(slot)))),
            pool: Arc::downgrade(&self.running),
        });
        let task = Task::new(Arc::clone(&core));
        self.running.take_in(place, &core);
        Ok(task)
    }
}
