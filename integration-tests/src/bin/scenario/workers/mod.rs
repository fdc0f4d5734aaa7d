//! Pools of workers; here, what most of their scenarios need.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod close;
mod ends;
mod faults;
mod hostile;
mod limits;
mod maps;
pub(crate) mod programs;
mod rare;
mod replaced;
mod states;
mod tasks;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use common_ipc::memory::SharedAtomics;
use common_ipc::sync::Event;
use integration_tests::proc;
use pkit::{TaskHandle, WorkError, WorkerPool};
use serde::de::DeserializeOwned;

use crate::Scenario;
use crate::servers::zygote;

pub(crate) const TABLES: &[&[Scenario]] = &[
    close::ALL,
    ends::ALL,
    faults::ALL,
    hostile::ALL,
    limits::ALL,
    maps::ALL,
    programs::ALL,
    rare::ALL,
    replaced::ALL,
    states::ALL,
    tasks::ALL,
];

/// A test that fails waits no longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A pool whose workers come from this program's zygote.
pub(crate) fn pool(size: usize) -> WorkerPool {
    zygote();
    WorkerPool::new(size).unwrap()
}

/// Counts in a place of shared memory, and returns the place.
pub(crate) fn count((counts, place): (SharedAtomics, usize)) -> usize {
    counts[place].fetch_add(1, Ordering::SeqCst);
    place
}

/// Waits for it, not for ever.
pub(crate) fn result<R: DeserializeOwned>(mut task: TaskHandle<R>) -> Result<R, WorkError> {
    task.join_timeout(PATIENCE).map(|result| result.expect("a task that hangs"))
}

/// So many tasks in a row, and as many at once, are done.
pub(crate) fn goes_on(pool: &WorkerPool, tasks: u64) {
    for number in 0..tasks / 2 {
        assert_eq!(result(pool.submit(|number: u64| number + 1, number).unwrap()).unwrap(), number + 1);
    }
    let all: Vec<_> =
        (0..tasks / 2).map(|number| pool.submit(|number: u64| number * 2, number).unwrap()).collect();
    for (number, task) in (0..).zip(all) {
        assert_eq!(result(task).unwrap(), number * 2);
    }
}

/// Sleeps until somebody ends it.
pub(crate) fn hang(_: ()) {
    std::thread::sleep(Duration::from_secs(600));
}

pub(crate) fn hang_after(begun: Event) {
    begun.set();
    hang(());
}

struct Unpark(Thread, AtomicU64);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// The smallest executor.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark(std::thread::current(), AtomicU64::new(0)));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut future = pin!(future);
    let begin = Instant::now();
    loop {
        let before = unpark.1.load(Ordering::SeqCst);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while unpark.1.load(Ordering::SeqCst) == before {
            assert!(begin.elapsed() < PATIENCE, "nobody wakes it");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

pub(crate) fn no_children_but_servers() -> bool {
    proc::children(std::process::id() as i32).iter().all(|child| proc::name(child.pid).starts_with("mp-"))
}
