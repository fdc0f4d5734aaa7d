//! A task for each item.

use std::fmt;
use std::iter::Fuse;

use common_ipc::link::LinkError;
use common_ipc::process::Work;
use serde::de::DeserializeOwned;

use crate::workers::Workers;
use crate::workers::errors::WorkError;
use crate::workers::flow::{Flow, MapProgress};

/// Makes the task of an item.
pub(crate) type Pack<A> = Box<dyn Fn(&A, usize) -> Result<Work, LinkError> + Send + Sync>;

/// The results of a [`map`](crate::WorkerPool::map), while they are asked for.
///
/// It is a handle of its pool: as long as it is there, dropping the others doesn't end that.
/// [`terminate`](crate::Workers::terminate) does.
///
/// **Dropping** it draws no more items. Tasks that weren't begun aren't; those that were are done, and their results are
/// dropped, unless this was the pool's last handle, whose drop ends the pool.
#[must_use = "an iterator does nothing before it is asked for something"]
pub struct WorkerMap<'a, I: Iterator, R> {
    items: Fuse<I>,
    pack: Pack<I::Item>,
    flow: Flow<'a, ()>,
    result: std::marker::PhantomData<fn() -> R>,
}

impl<'a, I: Iterator, R> WorkerMap<'a, I, R> {
    pub(crate) fn new(workers: Workers, items: I, pack: Pack<I::Item>, ordered: bool) -> Self {
        let mut flow = Flow::new(workers, ordered);
        flow.progress.total = total(&items);
        WorkerMap { items: items.fuse(), pack, flow, result: std::marker::PhantomData }
    }

    /// Draws no more than so many items beyond those whose results were returned; one at the least. Without this it draws
    /// what keeps all workers busy for a while: two tasks for each, and up to some five hundred if they are short.
    pub fn ahead(mut self, items: usize) -> Self {
        self.flow.ahead = Some(items);
        self
    }

    /// Tells `follower` how far it has got, whenever that has changed while a result is asked for: for a progress bar.
    ///
    /// ```
    /// use indicatif::ProgressBar;
    /// use pkit::WorkerPool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # pkit::init()?;
    /// let pool = WorkerPool::new(2)?;
    /// let bar = ProgressBar::new(100);
    /// let results = pool.map(0..100u32, |n| n * 2).follow(|progress| bar.set_position(progress.done));
    /// assert_eq!(results.map(Result::unwrap).sum::<u32>(), 9900);
    /// assert_eq!(bar.position(), 100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow(mut self, follower: impl FnMut(&MapProgress) + 'a) -> Self {
        self.flow.follower = Some(Box::new(follower));
        self
    }
}

/// Of how many items an iterator knows.
pub(crate) fn total(items: &impl Iterator) -> Option<u64> {
    match items.size_hint() {
        (least, Some(most)) if least == most => Some(most as u64),
        _ => None,
    }
}

impl<I: Iterator, R: DeserializeOwned> Iterator for WorkerMap<'_, I, R> {
    type Item = Result<R, WorkError>;

    fn next(&mut self) -> Option<Self::Item> {
        let WorkerMap { items, pack, flow, .. } = self;
        let max = flow.workers.core().settings.max_frame;
        flow.fill(|| items.next().map(|item| (pack(&item, max), (), 1)));
        let (outcome, ()) = flow.next()?.outcome();
        Some(outcome.result.and_then(|reply| Ok(reply.decode()?)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.items.size_hint();
        let held = self.flow.held().count() + self.flow.waiting();
        (least.saturating_add(held), most.and_then(|most| most.checked_add(held)))
    }
}

impl<I: Iterator, R> fmt::Debug for WorkerMap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerMap").field("progress", &self.flow.progress).finish_non_exhaustive()
    }
}
