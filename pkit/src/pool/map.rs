//! A task for each item.

use std::collections::VecDeque;
use std::fmt;
use std::iter::Fuse;
use std::time::Instant;

use common_ipc::process::{Portable, Zygote, wait_any};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pool::ProcessPool;
use crate::pool::errors::{PoolError, TaskError};
use crate::pool::running::{LOOK_AGAIN, Place};
use crate::pool::task::Task;

type Start<'a, A, O> = Box<dyn FnMut(&ProcessPool, Place<'_>, A) -> Result<Task<O>, PoolError> + 'a>;

/// What both kinds of map have in common: the tasks that were started, and whose results weren't returned.
struct Flow<'a, I: Iterator, O> {
    pool: ProcessPool,
    items: Fuse<I>,
    exhausted: bool,
    /// Drawn, and without a place yet.
    item: Option<I::Item>,
    start: Start<'a, I::Item, O>,
    drawn: usize,
    window: VecDeque<Entry<O>>,
}

struct Entry<O> {
    index: usize,
    task: Result<Task<O>, PoolError>,
    ended: bool,
}

impl<O: DeserializeOwned> Entry<O> {
    fn result(self) -> Result<O, TaskError> {
        self.task?.join()
    }
}

impl<I: Iterator, O> Flow<'_, I, O> {
    /// A place for the next item; the first one is waited for. `None`: there is none now.
    fn place<'a>(&self, pool: &'a ProcessPool) -> Option<Result<Place<'a>, PoolError>> {
        if self.window.is_empty() {
            return Some(pool.place());
        }
        pool.running.place(Some(Instant::now())).transpose()
    }

    /// Starts what can be started now; the first one it waits for.
    fn fill(&mut self) {
        let pool = self.pool.clone();
        while !self.exhausted && self.window.len() < pool.size() {
            let Some(mut place) = self.place(&pool) else { return };
            if self.item.is_none() {
                // Without the place: the items may come from tasks that need it, and may take their time.
                drop(place);
                self.item = self.items.next();
                self.exhausted = self.item.is_none();
                match self.place(&pool) {
                    Some(again) if !self.exhausted => place = again,
                    _ => continue,
                }
            }
            let Some(item) = self.item.take() else { return };
            let task = place.and_then(|place| (self.start)(&self.pool, place, item));
            self.window.push_back(Entry { index: self.drawn, ended: task.is_err(), task });
            self.drawn += 1;
        }
    }

    /// Waits until one more of the tasks has ended, or another may be started.
    fn wait(&mut self) -> Result<(), TaskError> {
        let is_full = self.exhausted || self.window.len() >= self.pool.size();
        let running = self.window.iter_mut().filter(|entry| !entry.ended);
        let mut running: Vec<_> = running.collect();
        let children = running.iter().filter_map(|entry| entry.task.as_ref().ok()).map(|task| task.child());
        let ended = wait_any(children, (!is_full).then_some(LOOK_AGAIN))?;
        for place in ended {
            running[place].ended = true;
        }
        Ok(())
    }

    /// The place of the first in the window that has ended, among so many.
    fn ended(&mut self, among: usize) -> Result<Option<usize>, TaskError> {
        loop {
            self.fill();
            if self.window.is_empty() {
                return Ok(None);
            }
            if let Some(place) = self.window.iter().take(among).position(|entry| entry.ended) {
                return Ok(Some(place));
            }
            self.wait()?;
        }
    }

    fn next(&mut self, among: usize) -> Option<Result<Entry<O>, TaskError>> {
        match self.ended(among) {
            Ok(place) => self.window.remove(place?).map(Ok),
            Err(error) => {
                // It can't be waited for: whoever joins it is told why.
                self.window.pop_front().map(|_| Err(error))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.items.size_hint();
        let more = self.window.len() + usize::from(self.item.is_some());
        (least.saturating_add(more), most.and_then(|most| most.checked_add(more)))
    }
}

impl<I: Iterator, O> Drop for Flow<'_, I, O> {
    fn drop(&mut self) {
        for task in
            self.window.iter().filter(|entry| !entry.ended).filter_map(|entry| entry.task.as_ref().ok())
        {
            // In a forked copy they are the parent's.
            let _ = task.kill();
        }
    }
}

impl ProcessPool {
    /// A task for each item: `function` is called in it, and what it returns is given back, in the order of the
    /// items.
    ///
    /// It is lazy: an item is drawn from `items` when a slot is free for it, while the next result is asked for. No
    /// more results than the pool has slots are held back for the one before them. So `items` may be endless. An
    /// iterator that waits for its next item (a channel's, say) holds up results that are there; it holds no slot
    /// meanwhile, so the items may be the results of a map on the same slots.
    ///
    /// Each item has its result, an error if its task failed or couldn't be started. **Dropping** the iterator
    /// kills the tasks that are under way; what has ended is lost.
    ///
    /// ```
    /// use pkit::ProcessPool;
    ///
    /// let pool = ProcessPool::new(2)?;
    /// let mut squares = pool.map(1.., |number: u64| number * number);
    /// assert_eq!(squares.next().unwrap()?, 1);
    /// let next = squares.take(3).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(next, [4, 9, 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "imap")]
    pub fn map<'a, I, O, F>(&self, items: I, function: F) -> Map<'a, I::IntoIter, O>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> O + 'a,
        O: Serialize + DeserializeOwned,
    {
        Map { flow: self.flow(items, by_fork(function)) }
    }

    /// As [`map`](ProcessPool::map), but results are given back as they come, each with the place of its item.
    ///
    /// ```
    /// use pkit::ProcessPool;
    ///
    /// let pool = ProcessPool::new(2)?;
    /// let mut lengths = [0; 3];
    /// for (place, length) in pool.map_unordered(["a", "bc", "def"], |word: &str| word.len()) {
    ///     lengths[place] = length?;
    /// }
    /// assert_eq!(lengths, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "imap_unordered")]
    pub fn map_unordered<'a, I, O, F>(&self, items: I, function: F) -> MapUnordered<'a, I::IntoIter, O>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> O + 'a,
        O: Serialize + DeserializeOwned,
    {
        MapUnordered { flow: self.flow(items, by_fork(function)) }
    }

    /// As [`map`](ProcessPool::map), with tasks from a zygote: also beside other threads.
    pub fn map_in<'a, I, O>(
        &self,
        zygote: &Zygote,
        items: I,
        function: fn(I::Item) -> O,
    ) -> Map<'a, I::IntoIter, O>
    where
        I: IntoIterator<Item: Portable>,
        O: Serialize + DeserializeOwned + 'a,
    {
        Map { flow: self.flow(items, in_zygote(zygote, function)) }
    }

    /// As [`map_unordered`](ProcessPool::map_unordered), with tasks from a zygote: also beside other threads.
    pub fn map_unordered_in<'a, I, O>(
        &self,
        zygote: &Zygote,
        items: I,
        function: fn(I::Item) -> O,
    ) -> MapUnordered<'a, I::IntoIter, O>
    where
        I: IntoIterator<Item: Portable>,
        O: Serialize + DeserializeOwned + 'a,
    {
        MapUnordered { flow: self.flow(items, in_zygote(zygote, function)) }
    }

    fn flow<'a, I: IntoIterator, O>(
        &self,
        items: I,
        start: Start<'a, I::Item, O>,
    ) -> Flow<'a, I::IntoIter, O> {
        Flow {
            pool: self.clone(),
            items: items.into_iter().fuse(),
            exhausted: false,
            item: None,
            start,
            drawn: 0,
            window: VecDeque::new(),
        }
    }
}

fn by_fork<'a, A, O, F>(function: F) -> Start<'a, A, O>
where
    F: Fn(A) -> O + 'a,
    O: Serialize + DeserializeOwned,
{
    Box::new(move |pool, place, item| pool.fork(place, || function(item)))
}

fn in_zygote<'a, A, O>(zygote: &Zygote, function: fn(A) -> O) -> Start<'a, A, O>
where
    A: Portable,
    O: Serialize + DeserializeOwned + 'a,
{
    let zygote = zygote.clone();
    Box::new(move |pool, place, item| pool.start_in(place, &zygote, function, &item))
}

/// The results of [`ProcessPool::map`]. Dropping it kills the tasks that are under way.
pub struct Map<'a, I: Iterator, O> {
    flow: Flow<'a, I, O>,
}

impl<I: Iterator, O: DeserializeOwned> Iterator for Map<'_, I, O> {
    type Item = Result<O, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.flow.next(1)?;
        Some(entry.and_then(Entry::result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.flow.size_hint()
    }
}

impl<I: ExactSizeIterator, O: DeserializeOwned> ExactSizeIterator for Map<'_, I, O> {}

impl<I: Iterator, O> fmt::Debug for Map<'_, I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("drawn", &self.flow.drawn).finish_non_exhaustive()
    }
}

/// The results of [`ProcessPool::map_unordered`]. Dropping it kills the tasks that are under way.
pub struct MapUnordered<'a, I: Iterator, O> {
    flow: Flow<'a, I, O>,
}

impl<I: Iterator, O: DeserializeOwned> Iterator for MapUnordered<'_, I, O> {
    type Item = (usize, Result<O, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.flow.window.front().map_or(self.flow.drawn, |entry| entry.index);
        Some(match self.flow.next(usize::MAX)? {
            Ok(entry) => (entry.index, entry.result()),
            Err(error) => (first, Err(error)),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.flow.size_hint()
    }
}

impl<I: ExactSizeIterator, O: DeserializeOwned> ExactSizeIterator for MapUnordered<'_, I, O> {}

impl<I: Iterator, O> fmt::Debug for MapUnordered<'_, I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapUnordered").field("drawn", &self.flow.drawn).finish_non_exhaustive()
    }
}
