//! A task for many items at once.

use std::collections::VecDeque;
use std::fmt;
use std::iter::Fuse;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::link::LinkError;
use common_ipc::process::{Each, Work, WorkFailure};
use serde::de::DeserializeOwned;

use crate::workers::Workers;
use crate::workers::core::Patience;
use crate::workers::errors::WorkError;
use crate::workers::flow::{Flow, MapProgress};
use crate::workers::map::total;
use crate::workers::task::{Outcome, Task};

/// Makes the task of many items.
pub(crate) type PackEach<A> = Box<dyn Fn(&[A], usize) -> Result<Work, LinkError> + Send + Sync>;

/// How many items make a task of a [chunked map](crate::WorkerPool::map_chunked).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunk {
    /// As many as take about a millisecond, which is measured as it goes: one at first, 4,096 at the most, and no more
    /// once they take more than a MiB together.
    #[default]
    Measured,
    /// So many; one at the least.
    Of(usize),
}

/// So long a task takes if its size is measured: the way to and fro is then some percent of it.
const TARGET: Duration = Duration::from_millis(1);
/// So many items at the most.
const MOST: usize = 4096;
/// So many bytes a task may have until no larger ones are made.
const LONG: usize = 1 << 20;
/// So many of those whose size is measured are under way, or done and not returned, for each worker: one that it is at, one
/// that it has got, and as many on their way to and fro.
const AHEAD: usize = 4;
/// So much larger than the last one a task is at the most.
const GROWTH: usize = 8;

/// The results of a [chunked map](crate::WorkerPool::map_chunked), while they are asked for.
///
/// **Dropping** it is as for [`WorkerMap`](crate::WorkerMap).
#[must_use = "an iterator does nothing before it is asked for something"]
pub struct WorkerChunks<'a, I: Iterator, R> {
    items: Fuse<I>,
    pack: PackEach<I::Item>,
    flow: Flow<'a, Vec<I::Item>>,
    chunk: Chunk,
    /// The size of the next one.
    size: usize,
    /// The largest that may be, as far as it is measured.
    most: usize,
    /// Of chunks that are done.
    ready: VecDeque<Result<R, WorkError>>,
    /// What is left of a chunk whose worker was lost, in order.
    rest: VecDeque<Rest<I::Item>>,
}

enum Rest<A> {
    Again(Result<Arc<Task>, WorkError>, Vec<A>),
    Failed(WorkError),
}

impl<'a, I: Iterator, R> WorkerChunks<'a, I, R> {
    pub(crate) fn new(
        workers: Workers,
        items: I,
        chunk: Chunk,
        pack: PackEach<I::Item>,
        ordered: bool,
    ) -> Self {
        let mut flow = Flow::new(workers, ordered);
        flow.progress.total = total(&items);
        let size = match chunk {
            Chunk::Measured => {
                // Few at first, so that those after them are larger; and then they take their time.
                flow.ahead = Some(AHEAD * flow.workers.size());
                1
            }
            Chunk::Of(size) => size.max(1),
        };
        let items = items.fuse();
        let (ready, rest) = (VecDeque::new(), VecDeque::new());
        WorkerChunks { items, pack, flow, chunk, size, most: MOST, ready, rest }
    }

    /// Has no more than so many chunks under way, or done and not returned; one at the least. Without this it is as for
    /// [`WorkerMap`](crate::WorkerMap::ahead), and four for each worker if their size is measured.
    pub fn ahead(mut self, chunks: usize) -> Self {
        self.flow.ahead = Some(chunks);
        self
    }

    /// As [`WorkerMap::follow`](crate::WorkerMap::follow).
    pub fn follow(mut self, follower: impl FnMut(&MapProgress) + 'a) -> Self {
        self.flow.follower = Some(Box::new(follower));
        self
    }

    /// Sends once more what was lost beside the item that its worker was lost with.
    fn send_rest(&self, items: Vec<I::Item>) -> Option<Rest<I::Item>> {
        if items.is_empty() {
            return None;
        }
        let workers = &self.flow.workers;
        let work = (self.pack)(&items, workers.core().settings.max_frame);
        let task = work.map_err(WorkError::from).and_then(|work| {
            let task = workers.core().task(work, workers.terms(), None);
            workers.core().submit(&task, Patience::Until(None)).map(|()| task)
        });
        Some(Rest::Again(task, items))
    }

    fn measure(&mut self, nanos: u64, items: usize) {
        if self.chunk == Chunk::Measured && items > 0 {
            let each = (nanos / items as u64).max(1);
            let wanted = (TARGET.as_nanos() as u64 / each) as usize;
            self.size = if items < self.size {
                // One of those before the size grew: it knows less.
                self.size.min(wanted.max(1))
            } else {
                wanted.clamp(1, self.most.min(items.saturating_mul(GROWTH)))
            };
        }
    }
}

impl<I: Iterator, R: DeserializeOwned> WorkerChunks<'_, I, R> {
    fn take(&mut self, outcome: Outcome, mut items: Vec<I::Item>) {
        let count = items.len();
        let error = match outcome.result.map(|reply| reply.decode::<Each<R>>()) {
            Ok(Ok(each)) if each.results.len() == count => {
                self.measure(each.nanos, count);
                self.ready.extend(each.results.into_iter().map(|result| result.map_err(WorkError::from)));
                return;
            }
            Ok(Ok(_)) => {
                WorkError::Lost { why: "its answer has another number of results".into(), attempts: 1 }
            }
            Ok(Err(failure)) => failure.into(),
            Err(error @ (WorkError::Died { .. } | WorkError::Lost { .. } | WorkError::TimedOut { .. }))
                if count > 1 =>
            {
                // The item that it was at fails; the results of those before it are lost with the worker.
                let after = items.split_off((outcome.item + 1).min(count));
                items.pop();
                let parts = [self.send_rest(items), Some(Rest::Failed(error)), self.send_rest(after)];
                for part in parts.into_iter().rev().flatten() {
                    self.rest.push_front(part);
                }
                return;
            }
            Err(error) => error,
        };
        if count > 1 && is_too_long(&error) {
            let second = items.split_off(count / 2);
            if self.chunk == Chunk::Measured {
                self.most = self.most.min(items.len());
                self.size = self.size.min(self.most);
            }
            for part in [self.send_rest(items), self.send_rest(second)].into_iter().rev().flatten() {
                self.rest.push_front(part);
            }
            return;
        }
        self.ready.extend((0..count).map(|_| Err(error.clone())));
    }
}

impl<I: Iterator, R: DeserializeOwned> Iterator for WorkerChunks<'_, I, R> {
    type Item = Result<R, WorkError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            match self.rest.pop_front() {
                Some(Rest::Failed(error)) => return Some(Err(error)),
                Some(Rest::Again(Ok(task), items)) => {
                    let core = self.flow.workers.core();
                    let waited = core.check().map(|()| core.wait_for(task.bell(), None, || task.is_done()));
                    let outcome = match waited {
                        Ok(_) => task.take().unwrap_or_else(|| Outcome::none(WorkError::Taken)),
                        Err(error) => Outcome::none(error.into()),
                    };
                    self.take(outcome, items);
                    continue;
                }
                Some(Rest::Again(Err(error), items)) => {
                    self.take(Outcome::none(error), items);
                    continue;
                }
                None => {}
            }
            let WorkerChunks { items, pack, flow, chunk, size, most, .. } = self;
            let max = flow.workers.core().settings.max_frame;
            flow.fill(|| {
                let some: Vec<_> = items.by_ref().take(*size).collect();
                let count = some.len();
                (count > 0).then(|| {
                    let work = pack(&some, max);
                    if *chunk == Chunk::Measured && work.as_ref().is_ok_and(|work| work.size() > LONG) {
                        *most = (*most).min(count);
                    }
                    (work, some, count)
                })
            });
            let (outcome, items) = flow.next()?.outcome();
            self.take(outcome, items);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.items.size_hint();
        let of_rest = self.rest.iter().map(|rest| match rest {
            Rest::Again(_, items) => items.len(),
            Rest::Failed(_) => 1,
        });
        let held = self.flow.held().map(|batch| batch.items());
        let held = self.ready.len() + self.flow.waiting() + of_rest.chain(held).sum::<usize>();
        (least.saturating_add(held), most.and_then(|most| most.checked_add(held)))
    }
}

/// Whether fewer items at once may do.
fn is_too_long(error: &WorkError) -> bool {
    match error {
        WorkError::Argument(error) => matches!(**error, LinkError::TooLarge(_)),
        WorkError::Failed(failure) => matches!(failure, WorkFailure::TooLarge { .. }),
        _ => false,
    }
}

/// As of a flow.
impl<I: Iterator, R> Drop for WorkerChunks<'_, I, R> {
    fn drop(&mut self) {
        for rest in self.rest.iter().rev() {
            if let Rest::Again(Ok(task), _) = rest {
                let _ = self.flow.workers.core().cancel(task, false);
            }
        }
    }
}

impl<I: Iterator, R> fmt::Debug for WorkerChunks<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerChunks").field("progress", &self.flow.progress).finish_non_exhaustive()
    }
}
