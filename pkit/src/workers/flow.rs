//! What all maps have in common: batches of items on their way, each of which is a task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common_ipc::link::LinkError;
use common_ipc::process::Work;

use crate::workers::Workers;
use crate::workers::core::Patience;
use crate::workers::errors::WorkError;
use crate::workers::task::{Basket, Outcome, Task};

/// How far a map has got: see [`Map::follow`](crate::WorkerMap::follow).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapProgress {
    /// Items that are done, whether their results were returned already or not.
    pub done: u64,
    /// Items that are on their way: drawn, and not done.
    pub under_way: u64,
    /// How many items there are in all, if the iterator knows.
    pub total: Option<u64>,
}

pub(crate) type Follower<'a> = Box<dyn FnMut(&MapProgress) + 'a>;

/// A batch that is on its way, and what is kept of it.
pub(crate) struct Batch<K> {
    pub(crate) task: Result<Arc<Task>, WorkError>,
    pub(crate) kept: K,
    items: usize,
    is_done: bool,
}

pub(crate) struct Flow<'a, K> {
    pub(crate) workers: Workers,
    /// By their places; those in the midst that were taken are `None`.
    window: VecDeque<Option<Batch<K>>>,
    /// The place of the first.
    first: usize,
    basket: Arc<Basket>,
    /// Places of those that are done and weren't taken.
    done: VecDeque<usize>,
    ordered: bool,
    pub(crate) ahead: Option<usize>,
    /// What had no room.
    waiting: Option<(Work, K, usize)>,
    pub(crate) exhausted: bool,
    pub(crate) follower: Option<Follower<'a>>,
    pub(crate) progress: MapProgress,
}

impl<'a, K> Flow<'a, K> {
    pub(crate) fn new(workers: Workers, ordered: bool) -> Flow<'a, K> {
        Flow {
            workers,
            window: VecDeque::new(),
            first: 0,
            basket: Arc::default(),
            done: VecDeque::new(),
            ordered,
            ahead: None,
            waiting: None,
            exhausted: false,
            follower: None,
            progress: MapProgress::default(),
        }
    }

    /// How many batches may be on their way.
    fn most(&self) -> usize {
        self.ahead.unwrap_or_else(|| self.workers.core().plenty.load(Ordering::Relaxed)).max(1)
    }

    /// Draws batches and sends them, as long as there is room.
    pub(crate) fn fill(&mut self, mut draw: impl FnMut() -> Option<(Result<Work, LinkError>, K, usize)>) {
        let most = self.most();
        // Many at once: a worker that sleeps is woken once for them.
        if self.window.len() > most / 2 {
            return;
        }
        while self.window.len() < most {
            let drawn = self.waiting.take().map(|(work, kept, items)| (Ok(work), kept, items));
            let is_new = drawn.is_none();
            let drawn = drawn.or_else(|| if self.exhausted { None } else { draw() });
            let Some((work, kept, items)) = drawn else {
                self.exhausted = true;
                return;
            };
            if is_new {
                self.progress.under_way += items as u64;
                self.tell();
            }
            let place = self.first + self.window.len();
            let task = match work {
                Ok(work) => self.send(work, place),
                Err(error) => Err(error.into()),
            };
            if task.is_err() {
                self.progress.done += items as u64;
                self.progress.under_way -= items as u64;
                self.done.push_back(place);
            }
            let is_done = task.is_err();
            self.window.push_back(Some(Batch { task, kept, items, is_done }));
        }
    }

    fn send(&self, work: Work, place: usize) -> Result<Arc<Task>, WorkError> {
        let basket = Some((Arc::clone(&self.basket), place));
        // The pool's room is shared with others; a batch that has waited for it is one of few.
        self.workers.core().submit(work, self.workers.terms(), basket, Patience::Until(None))
    }

    /// The next batch that is done, waited for: the first one, or any.
    pub(crate) fn next(&mut self) -> Option<Batch<K>> {
        self.note_done();
        let place = loop {
            if self.window.is_empty() {
                return None;
            }
            if self.ordered {
                if self.window.front().is_some_and(|batch| batch.as_ref().is_some_and(|batch| batch.is_done))
                {
                    break self.first;
                }
            } else if let Some(place) = self.done.pop_front() {
                break place;
            }
            if let Err(error) = self.wait() {
                // It can't be waited for: whoever asks is told why.
                let mut batch = self.window.pop_front().flatten()?;
                self.first += 1;
                batch.task = Err(error);
                return Some(batch);
            }
            self.note_done();
        };
        let batch = self.window.get_mut(place - self.first).and_then(Option::take);
        while matches!(self.window.front(), Some(None)) {
            self.window.pop_front();
            self.first += 1;
        }
        batch
    }

    fn wait(&self) -> Result<(), WorkError> {
        let core = self.workers.core();
        core.check()?;
        if self.ordered {
            if let Some(Some(Batch { task: Ok(task), .. })) = self.window.front() {
                core.wait_for(task.bell(), None, || task.is_done());
                return Ok(());
            }
        }
        core.wait_for(&self.basket.bell, None, || self.basket.has_some());
        Ok(())
    }

    /// Counts what was done meanwhile.
    fn note_done(&mut self) {
        if !self.basket.has_some() {
            return;
        }
        let before = self.done.len();
        self.basket.empty_into(&mut self.done);
        let mut items = 0;
        for place in self.done.iter().skip(before) {
            if let Some(Some(batch)) = place.checked_sub(self.first).and_then(|at| self.window.get_mut(at)) {
                batch.is_done = true;
                items += batch.items as u64;
            }
        }
        if self.ordered {
            self.done.clear();
        }
        self.progress.done += items;
        self.progress.under_way = self.progress.under_way.saturating_sub(items);
        self.tell();
    }

    pub(crate) fn tell(&mut self) {
        if let Some(follower) = &mut self.follower {
            follower(&self.progress);
        }
    }

    /// How many batches are drawn and not returned.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Batch<K>> {
        self.window.iter().flatten()
    }
}

impl<K> Batch<K> {
    /// What became of it.
    pub(crate) fn outcome(self) -> (Outcome, K) {
        let outcome = match self.task {
            Ok(task) => task.take().unwrap_or(Outcome { result: Err(WorkError::Taken), item: 0 }),
            Err(error) => Outcome { result: Err(error), item: 0 },
        };
        (outcome, self.kept)
    }

    pub(crate) fn items(&self) -> usize {
        self.items
    }
}

/// What wasn't begun isn't; what was is done, for nobody.
impl<K> Drop for Flow<'_, K> {
    fn drop(&mut self) {
        // The last first: those before it would only be dealt out again.
        for batch in self.window.iter().rev().flatten().filter(|batch| !batch.is_done) {
            if let Ok(task) = &batch.task {
                // In a forked copy they are the parent's.
                let _ = self.workers.core().cancel(task, false);
            }
        }
    }
}
