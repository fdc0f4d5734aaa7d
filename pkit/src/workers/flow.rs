//! What all maps have in common: batches of items on their way, each of which is a task.

use std::collections::{BTreeMap, VecDeque};
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
    /// By their places: the order in which they were drawn.
    window: BTreeMap<usize, Batch<K>>,
    /// The place of the one that is drawn next.
    place: usize,
    basket: Arc<Basket>,
    /// Places of those that are done and weren't taken.
    done: VecDeque<usize>,
    ordered: bool,
    pub(crate) ahead: Option<usize>,
    /// What was drawn and had no room, and how many items that is.
    waiting: Option<(Arc<Task>, K, usize)>,
    pub(crate) exhausted: bool,
    pub(crate) follower: Option<Follower<'a>>,
    pub(crate) progress: MapProgress,
}

impl<'a, K> Flow<'a, K> {
    pub(crate) fn new(workers: Workers, ordered: bool) -> Flow<'a, K> {
        Flow {
            workers,
            window: BTreeMap::new(),
            place: 0,
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

    /// How many batches may be on their way, and with how many of them more are drawn: with half of that, so that a worker
    /// that sleeps is woken once for many; but not with so few that some worker has nothing to do meanwhile.
    fn bounds(&self) -> (usize, usize) {
        let plenty = self.workers.core().plenty.load(Ordering::Relaxed);
        let most = self.ahead.unwrap_or(plenty).max(1);
        (most, (most / 2).max(plenty / 2))
    }

    /// Draws batches and sends them, as long as there is room.
    pub(crate) fn fill(&mut self, mut draw: impl FnMut() -> Option<(Result<Work, LinkError>, K, usize)>) {
        let (most, few) = self.bounds();
        if self.window.len() > few {
            return;
        }
        while self.window.len() < most {
            let (task, kept, items) = match self.waiting.take() {
                Some((task, kept, items)) => (Ok(task), kept, items),
                None => {
                    let drawn = if self.exhausted { None } else { draw() };
                    let Some((work, kept, items)) = drawn else {
                        self.exhausted = true;
                        return;
                    };
                    self.progress.under_way += items as u64;
                    let basket = Some((Arc::clone(&self.basket), self.place));
                    let task = work.map(|work| self.workers.core().task(work, self.workers.terms(), basket));
                    (task.map_err(WorkError::from), kept, items)
                }
            };
            // While there are results to be waited for, there is no need to wait for room: the pool's is shared with others.
            let patience = if self.window.is_empty() { Patience::Until(None) } else { Patience::None };
            let sent = task.and_then(|task| match self.workers.core().submit(&task, patience) {
                Ok(()) => Ok((task, true)),
                Err(WorkError::Full) => Ok((task, false)),
                Err(error) => Err(error),
            });
            let task = match sent {
                Ok((task, true)) => Ok(task),
                Ok((task, false)) => {
                    self.waiting = Some((task, kept, items));
                    return;
                }
                Err(error) => Err(error),
            };
            let is_done = task.is_err();
            if is_done {
                self.progress.done += items as u64;
                self.progress.under_way -= items as u64;
                self.done.push_back(self.place);
            }
            self.window.insert(self.place, Batch { task, kept, items, is_done });
            self.place += 1;
            self.tell();
        }
    }

    /// The next batch that is done, waited for: the first one, or any.
    pub(crate) fn next(&mut self) -> Option<Batch<K>> {
        self.note_done();
        let place = loop {
            let first = *self.window.first_key_value()?.0;
            if self.ordered {
                if self.window.get(&first).is_some_and(|batch| batch.is_done) {
                    break first;
                }
            } else if let Some(place) = self.done.pop_front() {
                break place;
            }
            if let Err(error) = self.wait() {
                // It can't be waited for: whoever asks is told why.
                let mut batch = self.window.remove(&first)?;
                batch.task = Err(error);
                return Some(batch);
            }
            self.note_done();
        };
        self.window.remove(&place)
    }

    fn wait(&self) -> Result<(), WorkError> {
        let core = self.workers.core();
        core.check()?;
        if self.ordered {
            if let Some((_, Batch { task: Ok(task), .. })) = self.window.first_key_value() {
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
            if let Some(batch) = self.window.get_mut(place) {
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
        self.window.values()
    }

    /// How many items are drawn that had no room.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.as_ref().map_or(0, |(_, _, items)| *items)
    }
}

impl<K> Batch<K> {
    /// What became of it.
    pub(crate) fn outcome(self) -> (Outcome, K) {
        let outcome = match self.task {
            Ok(task) => task.take().unwrap_or_else(|| Outcome::none(WorkError::Taken)),
            Err(error) => Outcome::none(error),
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
        for batch in self.window.values().rev().filter(|batch| !batch.is_done) {
            if let Ok(task) = &batch.task {
                // In a forked copy they are the parent's.
                let _ = self.workers.core().cancel(task, false);
            }
        }
    }
}
