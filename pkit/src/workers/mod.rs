//! Many tasks in a few processes that stay: pools of workers.
//!
//! ```text
//! builder, settings    what a pool is like                          (WorkerPoolBuilder)
//! state_pool           workers that keep something from task to task   (StatePool)
//! core                 what the handles share: tasks in, results out
//!   task                 one, and those who wait for it
//!   deal                 which worker gets which
//!   wait, cancel         for its result, and without it
//!   member, pace         one worker, and how much it is sent ahead
//!   life                 how workers come and go, and what becomes of their tasks
//!   end                  of all of it
//!   thread               who looks after all of it when nobody waits
//! handle               one task's                                   (TaskHandle)
//! map, chunks          a task for each item, or for many            (WorkerMap, WorkerChunks)
//!   flow                 what both have in common
//! statistics, errors                                               (Statistics, WorkError)
//! ```

mod builder;
mod cancel;
mod chunks;
mod core;
mod deal;
mod end;
mod errors;
mod flow;
mod handle;
mod life;
mod map;
mod member;
mod pace;
mod settings;
mod state_pool;
mod statistics;
mod task;
mod thread;
mod wait;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::link::LinkError;
use common_ipc::process::{Portable, Work};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use builder::WorkerPoolBuilder;
pub use chunks::{Chunk, WorkerChunks};
use core::{Core, Patience, Phase};
pub use errors::WorkError;
pub use flow::MapProgress;
pub use handle::TaskHandle;
pub use map::WorkerMap;
use member::Place;
pub use state_pool::StatePool;
pub use statistics::Statistics;
use task::Terms;

/// Runs tasks in a few processes that stay: a task costs a message each way, where one in a process of its own
/// ([`ProcessPool`](crate::ProcessPool)) costs a start.
///
/// ```
/// use pkit::WorkerPool;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     pkit::init()?; // on the first line: the workers come from a zygote
///     let pool = WorkerPool::new(4)?;
///     let task = pool.submit(|n: u64| n * n, 12)?;
///     assert_eq!(task.join()?, 144);
///     let squares = pool.map(1.., |n: u64| n * n); // the items may have no end
///     assert_eq!(squares.take(3).collect::<Result<Vec<_>, _>>()?, [1, 4, 9]);
///     pool.close()?; // waits until all is done
///     Ok(())
/// }
/// ```
///
/// # What a task is
///
/// A function, or a closure that captures nothing, and one argument: a tuple for several. What it needs beside an item of a
/// map goes along with the item: `pool.map(items.map(|n| (n, factor)), |(n, factor)| n * factor)`. The argument and what the function
/// returns are serialised; connections, queues, events, locks and memory of this family of crates may be in both. The worker
/// has none of the program's memory, and its statics are what they were when the program called [`init`](crate::init), and
/// what earlier tasks of the same worker made of them. For what is to be there from task to task there is [`StatePool`].
///
/// # What goes wrong
///
/// | a task that | is | its worker |
/// |---|---|---|
/// | panics | [`WorkError::Panicked`], with message and place | goes on |
/// | crashes, aborts, exits, is killed | [`WorkError::Died`], with the signal or code, and whether memory ran out | is replaced |
/// | takes too long ([`task_timeout`](WorkerPool::task_timeout)), or is [cancelled](TaskHandle::cancel) | [`WorkError::TimedOut`], [`WorkError::Cancelled`] | is killed and replaced |
/// | wants more memory than it may have ([`Resource::Data`](crate::Resource), [`LaunchOptions::limit`](crate::LaunchOptions::limit)) | [`WorkError::Died`] by SIGABRT, as in any Rust program | is replaced |
/// | closes its descriptors, executes a program, writes nonsense to the pool | [`WorkError::Lost`], unless its result has come before | is killed and replaced |
/// | returns what can't be serialised, or takes what can't be read | [`WorkError::Failed`] | goes on |
///
/// Each of that is an error of that one task. Tasks that were sent to the same worker and not begun are done by another
/// one: a word in shared memory says which were. A task that may be done more than once can have
/// [attempts](WorkerPool::attempts). A worker that begins nothing for five seconds, for somebody has stopped it, is killed, and
/// its tasks are done by others.
///
/// # Where tasks wait
///
/// A worker is sent a few tasks ahead, as many as it does in 0.2 ms: one at the least, 256 at the most, and four as long as
/// nothing is known of it; if it then takes long over one of them, the others are given to workers that have nothing to do.
/// All others wait in this process. When they take more memory than [`max_waiting`](WorkerPoolBuilder::max_waiting),
/// [`submit`](WorkerPool::submit) waits, and [`try_submit`](WorkerPool::try_submit) refuses. Tasks are begun in the order in
/// which they were submitted, nearly.
///
/// # Its end
///
/// [`close`](Workers::close) takes no more tasks and waits for those that there are. **Dropping** the last handle of the pool
/// ends it at once: tasks that wait aren't begun, workers are killed and collected, and what is left of handles and maps says
/// [`WorkError::Ended`]. A map is a handle, too. Clones are the same pool, and any thread may use them; what is set on one
/// ([`task_timeout`](WorkerPool::task_timeout), [`attempts`](WorkerPool::attempts)) goes with that one alone. In a forked
/// child, every method is [`WorkError::WrongProcess`]. A task may have a pool of its own: it calls [`init`](crate::init) and
/// makes one, and the end of the worker is the end of that, too.
///
/// Workers ignore Ctrl-C, unless their options say otherwise: their pool decides. A SIGTERM that goes to the program's whole
/// process group ends them as well; with [`ProcessGroup::New`](crate::ProcessGroup::New) they aren't in it.
///
/// # What it costs
///
/// One thread, beside which the program may go on to fork, and which sleeps when nothing happens; for each worker some 60 KiB
/// of private memory, and four descriptors. The zygote that they come from stays when the pool has ended, for the next one.
#[derive(Clone)]
pub struct WorkerPool {
    workers: Workers,
}

/// The workers of a pool, whatever they do: what [`WorkerPool`] and [`StatePool`] have in common.
#[derive(Clone)]
pub struct Workers {
    owner: Arc<Owner>,
    terms: Terms,
}

/// The last one ends the pool.
pub(crate) struct Owner {
    pub(crate) core: Arc<Core>,
}

impl WorkerPool {
    /// A pool of so many workers, each of which is started by this.
    ///
    /// # Errors
    ///
    /// [`WorkError::Start`]: the program hasn't called [`init`](crate::init), say. [`WorkError::Size`] for none, and for more than
    /// 65,536.
    pub fn new(size: usize) -> Result<WorkerPool, WorkError> {
        WorkerPool::builder(size).build()
    }

    /// A pool of so many workers that is like this and that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pkit::{LaunchOptions, WorkerPool};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # pkit::init()?;
    /// let pool = WorkerPool::builder(2)
    ///     .options(LaunchOptions::new().name("resize").nice(5))
    ///     .task_timeout(Duration::from_secs(10))
    ///     .recycle_after_tasks(1_000)
    ///     .build()?;
    /// let name = pool.submit(|()| pkit::process::current_name(), ())?.join()?;
    /// assert_eq!(name.unwrap(), "resize");
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(size: usize) -> WorkerPoolBuilder {
        WorkerPoolBuilder::new(size)
    }

    /// This handle, whose tasks are ended when they take longer than `limit` from when they are begun: their worker is
    /// killed, and replaced. The time for which they wait doesn't count.
    ///
    /// With `RUST_BACKTRACE` the first task of a worker that panics reads the program's symbols for its report, 0.1 to 0.3 s
    /// in a debug build: with a limit below that its panic is a [`WorkError::TimedOut`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use pkit::{WorkError, WorkerPool};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # pkit::init()?;
    /// let pool = WorkerPool::new(2)?;
    /// let hasty = pool.clone().task_timeout(Duration::from_millis(20));
    /// let hangs = hasty.submit(|()| std::thread::sleep(Duration::from_secs(600)), ())?;
    /// assert!(matches!(hangs.join(), Err(WorkError::TimedOut { .. })));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn task_timeout(mut self, limit: Duration) -> WorkerPool {
        self.workers.terms.limit = Some(limit);
        self
    }

    /// This handle, whose tasks are begun by up to so many workers, one after another, if those are lost while they are at
    /// it; one without this. For tasks that do no harm when they are done twice. A time-out or a cancel is final.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> WorkerPool {
        self.workers.terms.attempts = attempts.max(1);
        self
    }

    /// Has a worker call `function` with `argument`. Waits if there is no room for another waiting task.
    ///
    /// # Errors
    ///
    /// [`WorkError::Argument`]: it can't be serialised, or is too long. [`WorkError::Closed`], [`WorkError::WrongProcess`].
    pub fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<TaskHandle<R>, WorkError>
    where
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        self.workers.take(Work::call(function, &argument, self.max()), Patience::Until(None))
    }

    /// As [`submit`](WorkerPool::submit), without waiting.
    ///
    /// # Errors
    ///
    /// As for [`submit`](WorkerPool::submit); [`WorkError::Full`].
    pub fn try_submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<TaskHandle<R>, WorkError>
    where
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        self.workers.take(Work::call(function, &argument, self.max()), Patience::None)
    }

    /// As [`submit`](WorkerPool::submit), waiting for up to `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`try_submit`](WorkerPool::try_submit).
    pub fn submit_timeout<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
        timeout: Duration,
    ) -> Result<TaskHandle<R>, WorkError>
    where
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        let patience = Patience::Until(Instant::now().checked_add(timeout));
        self.workers.take(Work::call(function, &argument, self.max()), patience)
    }

    /// A task for each item: what `function` makes of it, in the order of the items. It is lazy: items are drawn while a
    /// result is asked for, some [ahead](WorkerMap::ahead) of that, so they may be without an end. Each item has its result,
    /// or the error of its task.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # pkit::init()?;
    /// let pool = pkit::WorkerPool::new(2)?;
    /// let words = ["some", "words", "here"].map(str::to_owned);
    /// let lengths: Result<Vec<usize>, _> = pool.map(words, |word: String| word.len()).collect();
    /// assert_eq!(lengths?, [4, 5, 4]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<'a, I, R>(&self, items: I, function: fn(I::Item) -> R) -> WorkerMap<'a, I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Serialize + DeserializeOwned + 'static,
    {
        let pack = Box::new(move |item: &_, max| Work::call(function, item, max));
        WorkerMap::new(self.workers.clone(), items.into_iter(), pack, true)
    }

    /// As [`map`](WorkerPool::map), in the order in which the tasks are done.
    pub fn map_unordered<'a, I, R>(
        &self,
        items: I,
        function: fn(I::Item) -> R,
    ) -> WorkerMap<'a, I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Serialize + DeserializeOwned + 'static,
    {
        let pack = Box::new(move |item: &_, max| Work::call(function, item, max));
        WorkerMap::new(self.workers.clone(), items.into_iter(), pack, false)
    }

    /// As [`map`](WorkerPool::map), with a task for many items at once, which is several times as fast where they are small.
    /// An item that panics has its error, and so has one at which its worker is lost or the time-out ends the task; the
    /// items of the same chunk that follow it are sent once more, and so are those before it, **which are done twice**, as are
    /// all items whose results are too long together. The time-out is for a chunk; with [attempts](WorkerPool::attempts), so
    /// are they.
    ///
    /// ```
    /// use pkit::{Chunk, WorkerPool};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # pkit::init()?;
    /// let pool = WorkerPool::new(2)?;
    /// let sum: u64 = pool.map_chunked(0..100_000u64, Chunk::Measured, |n| n % 7).map(Result::unwrap).sum();
    /// assert_eq!(sum, (0..100_000).map(|n| n % 7).sum());
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_chunked<'a, I, R>(
        &self,
        items: I,
        chunk: Chunk,
        function: fn(I::Item) -> R,
    ) -> WorkerChunks<'a, I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Serialize + DeserializeOwned + 'static,
    {
        let pack = Box::new(move |items: &[_], max| Work::each(function, items, max));
        WorkerChunks::new(self.workers.clone(), items.into_iter(), chunk, pack, true)
    }

    /// As [`map_chunked`](WorkerPool::map_chunked), in the order in which the chunks are done.
    pub fn map_chunked_unordered<'a, I, R>(
        &self,
        items: I,
        chunk: Chunk,
        function: fn(I::Item) -> R,
    ) -> WorkerChunks<'a, I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Serialize + DeserializeOwned + 'static,
    {
        let pack = Box::new(move |items: &[_], max| Work::each(function, items, max));
        WorkerChunks::new(self.workers.clone(), items.into_iter(), chunk, pack, false)
    }

    fn max(&self) -> usize {
        self.workers.core().settings.max_frame
    }
}

impl Workers {
    fn new(core: Arc<Core>, terms: Terms) -> Workers {
        Workers { owner: Arc::new(Owner { core }), terms }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.owner.core
    }

    pub(crate) fn terms(&self) -> Terms {
        self.terms
    }

    fn take<R>(&self, work: Result<Work, LinkError>, patience: Patience) -> Result<TaskHandle<R>, WorkError> {
        let task = self.core().task(work?, self.terms, None);
        self.core().submit(&task, patience)?;
        Ok(TaskHandle::new(&self.owner, task))
    }

    /// How many workers the pool has: the number that it was made with, also while one is being replaced.
    #[must_use]
    pub fn size(&self) -> usize {
        self.core().settings.size
    }

    /// What the pool has done so far, and is at.
    ///
    /// # Errors
    ///
    /// [`WorkError::WrongProcess`].
    pub fn statistics(&self) -> Result<Statistics, WorkError> {
        self.core().check()?;
        Ok(self.core().with(|state| {
            let up = || {
                state.places.iter().filter_map(|place| match place {
                    Place::Up(member) => Some(member),
                    _ => None,
                })
            };
            Statistics {
                waiting: state.queue.len(),
                under_way: up().map(|member| member.tasks.len()).sum(),
                workers: up().count(),
                idle: up().filter(|member| member.is_idle()).count(),
                ..state.statistics.clone()
            }
        }))
    }

    /// The process ids of the workers that are there at this moment. To signal one there is
    /// [`active_children`](crate::process::active_children), whose handles never reach another process.
    ///
    /// # Errors
    ///
    /// [`WorkError::WrongProcess`].
    pub fn pids(&self) -> Result<Vec<u32>, WorkError> {
        self.core().check()?;
        Ok(self.core().with(|state| {
            let up = state.places.iter().filter_map(|place| match place {
                Place::Up(member) => Some(member.worker.child().id()),
                _ => None,
            });
            up.collect()
        }))
    }

    /// Takes no more tasks, waits until those that there are are done, for as long as it takes, and has the workers end.
    /// Those have [so much time](WorkerPoolBuilder::grace) for that.
    ///
    /// # Errors
    ///
    /// [`WorkError::WrongProcess`]; [`WorkError::Child`].
    pub fn close(&self) -> Result<(), WorkError> {
        self.core().close(None).map(drop)
    }

    /// As [`close`](Workers::close), waiting for the tasks for up to `timeout`; says whether all is done and has ended. It
    /// can be called again.
    ///
    /// # Errors
    ///
    /// As for [`close`](Workers::close).
    pub fn close_timeout(&self, timeout: Duration) -> Result<bool, WorkError> {
        self.core().close(Instant::now().checked_add(timeout))
    }

    /// Takes no more tasks, and ends the workers: SIGTERM, up to `grace` of waiting, then SIGKILL. Tasks that wait aren't
    /// begun. When it returns, all workers have ended.
    ///
    /// # Errors
    ///
    /// As for [`close`](Workers::close).
    pub fn terminate(&self, grace: Duration) -> Result<(), WorkError> {
        self.core().end(grace)
    }
}

impl Deref for WorkerPool {
    type Target = Workers;

    fn deref(&self) -> &Workers {
        &self.workers
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // In a forked copy it is the parent's.
        if self.core.check().is_err() || self.core.with(|state| state.phase == Phase::Ended) {
            return;
        }
        if let Err(error) = self.core.end(Duration::ZERO) {
            log::warn!("the workers of a dropped pool go on: {error}");
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool").field("size", &self.size()).finish_non_exhaustive()
    }
}
