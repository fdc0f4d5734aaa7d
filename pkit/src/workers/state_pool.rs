//! Workers that keep something from task to task.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, Instant};

use common_ipc::process::{Portable, Work};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::workers::core::Patience;
use crate::workers::{Chunk, TaskHandle, WorkError, WorkerChunks, WorkerMap, WorkerPool, Workers};

/// A [`WorkerPool`] each of whose workers has a state of its own: a connection to a database, a model, a cache.
///
/// ```
/// use pkit::StatePool;
///
/// struct Cache {
///     hits: u32,
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     pkit::init()?;
///     let pool = StatePool::with_state(1, || Cache { hits: 0 })?;
///     let look = |cache: &mut Cache, _: String| {
///         cache.hits += 1;
///         cache.hits
///     };
///     assert_eq!(pool.submit(look, "one".to_owned())?.join()?, 1);
///     assert_eq!(pool.submit(look, "other".to_owned())?.join()?, 2);
///     pool.close()?; // each worker drops its state
///     Ok(())
/// }
/// ```
///
/// The state is made when a worker is started, and made anew when it is replaced; so it is no place for what must not be
/// lost. After a panic of a task it stays as the panic left it. It is dropped when the worker ends by itself: when the pool
/// is closed, or the worker is recycled; not when it is killed. Tasks that don't need it can be submitted to a pool of their
/// own.
///
/// While `init` panics, tasks wait, and the other workers do them; if there are none, and it panics three times in a row,
/// they are [`WorkError::Init`].
///
/// For all the rest, see [`WorkerPool`].
pub struct StatePool<S> {
    workers: Workers,
    state: PhantomData<fn(S)>,
}

impl<S: 'static> StatePool<S> {
    /// A pool of so many workers, each of which calls `init` for its state. More can be said to a
    /// [builder](WorkerPool::builder).
    ///
    /// # Errors
    ///
    /// As for [`WorkerPool::new`].
    pub fn with_state(size: usize, init: fn() -> S) -> Result<StatePool<S>, WorkError> {
        WorkerPool::builder(size).with_state(init)
    }

    pub(crate) fn of(workers: Workers) -> StatePool<S> {
        StatePool { workers, state: PhantomData }
    }

    /// As [`WorkerPool::task_timeout`].
    #[must_use]
    pub fn task_timeout(mut self, limit: Duration) -> StatePool<S> {
        self.workers.terms.limit = Some(limit);
        self
    }

    /// As [`WorkerPool::attempts`].
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> StatePool<S> {
        self.workers.terms.attempts = attempts.max(1);
        self
    }

    /// Has a worker call `function` with its state and `argument`. Waits if there is no room for another waiting task.
    ///
    /// # Errors
    ///
    /// As for [`WorkerPool::submit`].
    pub fn submit<A, R>(&self, function: fn(&mut S, A) -> R, argument: A) -> Result<TaskHandle<R>, WorkError>
    where
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        self.workers.take(Work::call_with(function, &argument, self.max()), Patience::Until(None))
    }

    /// As [`submit`](StatePool::submit), without waiting.
    ///
    /// # Errors
    ///
    /// As for [`WorkerPool::try_submit`].
    pub fn try_submit<A, R>(
        &self,
        function: fn(&mut S, A) -> R,
        argument: A,
    ) -> Result<TaskHandle<R>, WorkError>
    where
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        self.workers.take(Work::call_with(function, &argument, self.max()), Patience::None)
    }

    /// As [`submit`](StatePool::submit), waiting for up to `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`WorkerPool::try_submit`].
    pub fn submit_timeout<A, R>(
        &self,
        function: fn(&mut S, A) -> R,
        argument: A,
        timeout: Duration,
    ) -> Result<TaskHandle<R>, WorkError>
    where
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        let patience = Patience::Until(Instant::now().checked_add(timeout));
        self.workers.take(Work::call_with(function, &argument, self.max()), patience)
    }

    /// As [`WorkerPool::map`].
    pub fn map<'a, I, R>(&self, items: I, function: fn(&mut S, I::Item) -> R) -> WorkerMap<'a, I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Serialize + DeserializeOwned + 'static,
    {
        let pack = Box::new(move |item: &_, max| Work::call_with(function, item, max));
        WorkerMap::new(self.workers.clone(), items.into_iter(), pack, true)
    }

    /// As [`WorkerPool::map_unordered`].
    pub fn map_unordered<'a, I, R>(
        &self,
        items: I,
        function: fn(&mut S, I::Item) -> R,
    ) -> WorkerMap<'a, I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Serialize + DeserializeOwned + 'static,
    {
        let pack = Box::new(move |item: &_, max| Work::call_with(function, item, max));
        WorkerMap::new(self.workers.clone(), items.into_iter(), pack, false)
    }

    /// As [`WorkerPool::map_chunked`].
    pub fn map_chunked<'a, I, R>(
        &self,
        items: I,
        chunk: Chunk,
        function: fn(&mut S, I::Item) -> R,
    ) -> WorkerChunks<'a, I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Serialize + DeserializeOwned + 'static,
    {
        let pack = Box::new(move |items: &[_], max| Work::each_with(function, items, max));
        WorkerChunks::new(self.workers.clone(), items.into_iter(), chunk, pack, true)
    }

    /// As [`WorkerPool::map_chunked_unordered`].
    pub fn map_chunked_unordered<'a, I, R>(
        &self,
        items: I,
        chunk: Chunk,
        function: fn(&mut S, I::Item) -> R,
    ) -> WorkerChunks<'a, I::IntoIter, R>
    where
        I: IntoIterator,
        I::Item: Portable,
        R: Serialize + DeserializeOwned + 'static,
    {
        let pack = Box::new(move |items: &[_], max| Work::each_with(function, items, max));
        WorkerChunks::new(self.workers.clone(), items.into_iter(), chunk, pack, false)
    }

    fn max(&self) -> usize {
        self.workers.core().settings.max_frame
    }
}

impl<S> Deref for StatePool<S> {
    type Target = Workers;

    fn deref(&self) -> &Workers {
        &self.workers
    }
}

impl<S> Clone for StatePool<S> {
    fn clone(&self) -> StatePool<S> {
        StatePool { workers: self.workers.clone(), state: PhantomData }
    }
}

impl<S> fmt::Debug for StatePool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatePool").field("size", &self.size()).finish_non_exhaustive()
    }
}
