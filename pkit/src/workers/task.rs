//! A task, as the pool and its handle share it, and how those who wait for it are told.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;

use common_ipc::process::{Reply, Work};
use parking_lot::Mutex;

use crate::workers::errors::WorkError;

/// What is common to the tasks of one handle of a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// From when it is begun.
    pub(crate) limit: Option<Duration>,
    /// So many workers may begin it.
    pub(crate) attempts: u32,
}

pub(crate) struct Task {
    /// Never zero; of one pool no two have the same.
    pub(crate) number: u64,
    pub(crate) terms: Terms,
    /// What belongs to one process goes with it: once sent, it can't be taken back.
    pub(crate) is_bound: bool,
    is_done: AtomicBool,
    inner: Mutex<Inner>,
    bell: Bell,
    /// Where it is told besides: by its place among the tasks of a map.
    basket: Option<(Arc<Basket>, usize)>,
}

struct Inner {
    work: Option<Work>,
    /// How many workers have begun it.
    attempts: u32,
    outcome: Option<Outcome>,
}

/// What became of a task.
pub(crate) struct Outcome {
    pub(crate) result: Result<Reply, WorkError>,
    /// In a task of many items: which one it was at when it was lost.
    pub(crate) item: usize,
}

impl Outcome {
    /// There is no result, for this reason.
    pub(crate) fn none(why: WorkError) -> Outcome {
        Outcome { result: Err(why), item: 0 }
    }
}

impl Task {
    pub(crate) fn new(
        number: u64,
        work: Work,
        terms: Terms,
        basket: Option<(Arc<Basket>, usize)>,
    ) -> Arc<Task> {
        let is_bound = work.moves_something();
        let inner = Mutex::new(Inner { work: Some(work), attempts: 0, outcome: None });
        Arc::new(Task {
            number,
            terms,
            is_bound,
            is_done: AtomicBool::new(false),
            inner,
            bell: Bell::default(),
            basket,
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        const OVERHEAD: usize = 256;
        OVERHEAD + self.with_work(|work| work.as_ref().map_or(0, Work::size))
    }

    pub(crate) fn with_work<R>(&self, use_it: impl FnOnce(&mut Option<Work>) -> R) -> R {
        use_it(&mut self.inner.lock().work)
    }

    /// Whether it can be sent to a worker, or to another one.
    pub(crate) fn can_be_sent(&self) -> bool {
        self.inner.lock().work.as_ref().is_some_and(Work::can_be_sent)
    }

    /// A worker that had begun it is lost. Says how many have been, and whether it is to have another one.
    pub(crate) fn count_attempt(&self) -> (u32, bool) {
        let mut inner = self.inner.lock();
        inner.attempts += 1;
        (inner.attempts, inner.attempts < self.terms.attempts)
    }

    /// It is done, in whatever way. Those who are to be told are added to `told`.
    pub(crate) fn finish(&self, result: Result<Reply, WorkError>, item: usize, told: &mut Told) {
        let mut inner = self.inner.lock();
        inner.outcome = Some(Outcome { result, item });
        inner.work = None;
        drop(inner);
        self.is_done.store(true, Ordering::Release);
        self.bell.ring(told);
        if let Some((basket, place)) = &self.basket {
            basket.put(*place, told);
        }
    }

    /// What became of it, once.
    pub(crate) fn take(&self) -> Option<Outcome> {
        self.inner.lock().outcome.take()
    }
}

/// The places of those tasks of a map that are done, in the order in which they were.
#[derive(Default)]
pub(crate) struct Basket {
    done: Mutex<Vec<usize>>,
    count: AtomicUsize,
    pub(crate) bell: Bell,
}

impl Basket {
    fn put(&self, place: usize, told: &mut Told) {
        self.done.lock().push(place);
        self.count.fetch_add(1, Ordering::Release);
        self.bell.ring(told);
    }

    pub(crate) fn has_some(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    pub(crate) fn empty_into(&self, places: &mut impl Extend<usize>) {
        let done = std::mem::take(&mut *self.done.lock());
        self.count.fetch_sub(done.len(), Ordering::AcqRel);
        places.extend(done);
    }
}

/// Those who sleep until something is done.
#[derive(Default)]
pub(crate) struct Bell {
    sleepers: Mutex<Vec<Sleeper>>,
}

pub(crate) enum Sleeper {
    Thread(Thread),
    Task(Waker),
}

impl Bell {
    /// Adds somebody who looks once more afterwards, and only then sleeps.
    pub(crate) fn add(&self, sleeper: Sleeper) {
        let mut sleepers = self.sleepers.lock();
        // A task has one handle, of whose wakers the last one counts.
        let is_waker = |sleeper: &Sleeper| matches!(sleeper, Sleeper::Task(_));
        let known = if is_waker(&sleeper) { sleepers.iter().position(is_waker) } else { None };
        let known = known.map(|place| sleepers.swap_remove(place));
        sleepers.push(sleeper);
        drop(sleepers);
        // It is other people's code, which may come back here.
        drop(known);
    }

    pub(crate) fn remove_this_thread(&self) {
        let this = std::thread::current().id();
        self.sleepers.lock().retain(|known| !matches!(known, Sleeper::Thread(thread) if thread.id() == this));
    }

    fn ring(&self, told: &mut Told) {
        told.0.append(&mut self.sleepers.lock());
    }
}

/// Those who are to be woken when no lock is held.
#[derive(Default)]
pub(crate) struct Told(Vec<Sleeper>);

impl Told {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn wake(self) {
        for sleeper in self.0 {
            match sleeper {
                Sleeper::Thread(thread) => thread.unpark(),
                Sleeper::Task(waker) => {
                    // It is other people's code. Its panic, which the hook has told of, is no reason for others to sleep on.
                    let woken = panic::catch_unwind(AssertUnwindSafe(|| waker.wake()));
                    // The payload's drop could panic again.
                    std::mem::forget(woken);
                }
            }
        }
    }
}
