//! Tasks in processes of their own, so many at once.
//!
//! ```text
//! execute   starting one
//! running   the tasks that run, and the places for more
//! task      the handles of one               (Task, TaskInfo)
//! map       one for each item                (Map, MapUnordered)
//! clock     what is due at a time
//! errors    why there is none, or no result  (PoolError, TaskError)
//! ```

mod clock;
mod errors;
mod execute;
mod map;
mod running;
mod task;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::process::{LaunchOptions, stop_all};
use common_ipc::sync::Semaphore;

use crate::slots::SlotPool;
pub use errors::{PoolError, TaskError};
pub use map::{Map, MapUnordered};
use running::{Running, START_PATIENCE, Slots};
pub use task::{Task, TaskInfo, TaskStatus};

/// Runs each task in a process of its own, no more than so many at once.
///
/// ```
/// use pkit::ProcessPool;
///
/// let pool = ProcessPool::new(2)?;
/// let tasks: Vec<_> = (1..=4u64)
///     .map(|number| pool.execute(move || number * number)) // waits until one of two is free
///     .collect::<Result<_, _>>()?;
/// let sum: u64 = tasks.iter().map(|task| task.join().unwrap()).sum();
/// assert_eq!(sum, 30);
/// pool.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A task that crashes, panics or exits fails alone: its [`join`](Task::join) says why, its slot is free again, and
/// the others go on. Tasks are started by fork, so they may capture anything, in a program without other threads;
/// beside threads, or of large programs, from a zygote: [`execute_in`](ProcessPool::execute_in).
///
/// Whoever asks for more than there are slots waits: [`execute`](ProcessPool::execute) is the queue's bound. For a
/// result for each item of an iterator there are [`map`](ProcessPool::map) and
/// [`map_unordered`](ProcessPool::map_unordered).
///
/// Clones are the same pool, and any thread may use them; what is set on one ([`options`](ProcessPool::options),
/// [`task_timeout`](ProcessPool::task_timeout)) goes with that one alone. In a forked child of its creator, a task
/// for one, every method is [`PoolError::WrongProcess`]; a pool of its own works there.
///
/// **Dropping** the last handle leaves the tasks alone: they run on, and are collected when they end. The program's
/// exit stops those that still run.
///
/// With slots of its own a pool does nothing in the background, but that a task that lost its last handle is
/// collected within some 50 ms of its end, and one that has a time-out is ended.
#[derive(Clone)]
pub struct ProcessPool {
    running: Arc<Running>,
    options: Arc<LaunchOptions>,
    limit: Option<Duration>,
}

/// The most at once, with whatever slots.
const SIZE_MAX: usize = Semaphore::MAX_PERMITS;

impl ProcessPool {
    /// A pool of its own slots, so many.
    ///
    /// # Errors
    ///
    /// [`PoolError::Size`] for none, and for more than 65,536.
    pub fn new(size: usize) -> Result<ProcessPool, PoolError> {
        if !(1..=SIZE_MAX).contains(&size) {
            return Err(PoolError::Size { size });
        }
        Ok(ProcessPool::of(Slots::Own(size)))
    }

    /// A pool whose tasks take slots that others take as well: other pools, other processes, other code. A task's
    /// slot is this process's, and is free again when the task has ended, also if this program is busy elsewhere or
    /// is gone.
    ///
    /// ```
    /// use pkit::{ProcessPool, SlotPool};
    ///
    /// let slots = SlotPool::new(2)?;
    /// let (one, other) = (ProcessPool::with_slots(slots.clone()), ProcessPool::with_slots(slots.clone()));
    /// let first = one.execute(|| 1)?;
    /// let second = other.execute(|| 2)?;
    /// // Of both pools together, two tasks run at once.
    /// let third = one.execute(|| 3)?;
    /// assert_eq!((first.join()?, second.join()?, third.join()?), (1, 2, 3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_slots(slots: SlotPool) -> ProcessPool {
        ProcessPool::of(Slots::Shared(slots))
    }

    fn of(slots: Slots) -> ProcessPool {
        ProcessPool { running: Arc::new(Running::new(slots)), options: Arc::default(), limit: None }
    }

    /// This handle, whose tasks are started with these options. What belongs to one process only and is
    /// [given](LaunchOptions::give) by them is the first task's.
    ///
    /// ```
    /// use pkit::{LaunchOptions, ProcessPool};
    ///
    /// let pool = ProcessPool::new(2)?;
    /// let in_root = pool.clone().options(LaunchOptions::new().cwd("/"));
    /// let directory = in_root.execute(|| std::env::current_dir().unwrap())?.join()?;
    /// assert_eq!(directory.to_str(), Some("/"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn options(self, options: LaunchOptions) -> ProcessPool {
        ProcessPool { options: Arc::new(options), ..self }
    }

    /// This handle, whose tasks are killed when they haven't ended after `limit`, with their whole group if they lead
    /// one ([`LaunchOptions::process_group`]), whatever they or this program are doing. Their result is then
    /// [`TaskError::TimedOut`].
    ///
    /// With `RUST_BACKTRACE` a task that panics reads the program's symbols for its report, 0.1 to 0.3 s in a debug build:
    /// with a limit below that its panic is a `TimedOut`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pkit::{ProcessPool, TaskError};
    ///
    /// let pool = ProcessPool::new(2)?.task_timeout(Duration::from_millis(20));
    /// let hangs = pool.execute(|| std::thread::sleep(Duration::from_secs(600)))?;
    /// assert!(matches!(hangs.join(), Err(TaskError::TimedOut { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn task_timeout(self, limit: Duration) -> ProcessPool {
        ProcessPool { limit: Some(limit), ..self }
    }

    /// The tasks that run, the oldest first.
    ///
    /// # Errors
    ///
    /// [`PoolError::Child`].
    #[doc(alias = "processes")]
    pub fn tasks(&self) -> Result<Vec<TaskInfo>, PoolError> {
        Ok(self.running.running()?.into_iter().map(TaskInfo::new).collect())
    }

    /// The task of this number, if it is one of this pool's and runs.
    ///
    /// # Errors
    ///
    /// [`PoolError::Child`].
    pub fn task(&self, id: u64) -> Result<Option<TaskInfo>, PoolError> {
        let running = self.running.running()?;
        Ok(running.into_iter().find(|core| core.id == id).map(TaskInfo::new))
    }

    /// How many tasks may run at once: the number of slots.
    #[must_use]
    pub fn size(&self) -> usize {
        self.running.size()
    }

    /// How many slots are free.
    ///
    /// # Errors
    ///
    /// [`PoolError::WrongProcess`], [`PoolError::Child`].
    pub fn free(&self) -> Result<usize, PoolError> {
        self.running.check()?;
        self.running.free()
    }

    /// Takes no more tasks, and waits for those that run, for as long as it takes. A call that waits for a slot
    /// meanwhile is [`PoolError::Closed`] when the next task ends.
    ///
    /// # Errors
    ///
    /// [`PoolError::WrongProcess`], [`PoolError::Child`].
    #[doc(alias = "join")]
    pub fn close(&self) -> Result<(), PoolError> {
        self.running.close()?;
        while !self.running.wait_for_all(None)? {}
        Ok(())
    }

    /// As [`close`](ProcessPool::close), waiting for up to `timeout`; says whether all have ended. It can be called
    /// again.
    ///
    /// # Errors
    ///
    /// As for [`close`](ProcessPool::close).
    pub fn close_timeout(&self, timeout: Duration) -> Result<bool, PoolError> {
        self.running.close()?;
        self.running.wait_for_all(Instant::now().checked_add(timeout))
    }

    /// Takes no more tasks, and ends those that run, all at the same time: SIGTERM, up to `grace` of waiting, then
    /// SIGKILL. When it returns, all have ended.
    ///
    /// # Errors
    ///
    /// As for [`close`](ProcessPool::close).
    pub fn terminate(&self, grace: Duration) -> Result<(), PoolError> {
        self.running.close()?;
        loop {
            let running = self.running.running()?;
            stop_all(running.iter().map(|core| &core.child), grace)?;
            // A start that was under way may have brought another one.
            if self.running.wait_for_all(Some(Instant::now() + START_PATIENCE))? {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPool").field("size", &self.size()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_from_1_to_65536() {
        for size in [0, 65_537, usize::MAX] {
            let error = ProcessPool::new(size).unwrap_err();
            assert!(matches!(error, PoolError::Size { size: said } if said == size), "{error}");
        }
        let pool = ProcessPool::new(65_536).unwrap();
        assert_eq!((pool.size(), pool.free().unwrap()), (65_536, 65_536));
    }

    #[test]
    fn a_closed_pool_takes_no_tasks() {
        let shared = ProcessPool::with_slots(SlotPool::new(2).unwrap());
        for pool in [ProcessPool::new(1).unwrap(), shared] {
            pool.close().unwrap();
            assert!(pool.close_timeout(Duration::ZERO).unwrap());
            assert!(matches!(pool.execute(|| ()), Err(PoolError::Closed)));
            assert!(matches!(pool.try_execute(|| ()), Err(PoolError::Closed)));
            let results: Vec<_> = pool.map(0..2, |_| ()).collect();
            assert!(
                results.iter().all(|result| { matches!(result, Err(TaskError::Start(PoolError::Closed))) })
            );
            assert_eq!(results.len(), 2, "one for each item");
            pool.terminate(Duration::ZERO).unwrap();
        }
    }
}
