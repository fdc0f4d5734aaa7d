//! A thread that does what is due at a time, for a pool that nobody may be calling.
//!
//! It is the library's: it sleeps but for the moments in which something is due, and stands in the way of no fork. It
//! ends when its pool is gone and nothing is due any more.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Instant;

use common_ipc::process::{LibraryThread, start_library_thread};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use crate::pool::running::Running;
use crate::pool::task::Core;

/// What to do.
pub(crate) enum Due {
    /// The time of a task is over. Whoever lists or asks for the task keeps it; what it returned isn't kept here.
    TimeOut(Weak<Core>),
    /// As before, of a task that its pool has left behind.
    TimeOutOfLeft(Arc<Core>),
    /// Tasks without handles are to be collected where they end.
    Orphans(Weak<Running>),
}

impl Due {
    fn is_worth_waiting_for(&self) -> bool {
        match self {
            Due::TimeOut(core) => core.upgrade().is_some_and(|core| !core.has_ended()),
            Due::TimeOutOfLeft(core) => !core.has_ended(),
            Due::Orphans(_) => true,
        }
    }

    fn happen(&self) {
        match self {
            Due::TimeOut(core) => drop(core.upgrade().map(|core| core.time_out())),
            Due::TimeOutOfLeft(core) => core.time_out(),
            Due::Orphans(pool) => drop(pool.upgrade().map(|pool| pool.hand_over_orphans())),
        }
    }
}

/// The way to the thread.
pub(crate) struct Clock {
    entries: Arc<Mutex<Entries>>,
    wake: Sender<()>,
}

#[derive(Default)]
struct Entries {
    heap: BinaryHeap<Reverse<Entry>>,
    /// With so many, those of tasks that have ended are thrown away.
    crowded: usize,
}

struct Entry {
    at: Instant,
    due: Due,
}

/// Fewer entries aren't worth a look.
const NOT_CROWDED: usize = 64;

impl Clock {
    pub(crate) fn start() -> io::Result<Clock> {
        let entries = Arc::new(Mutex::new(Entries { heap: BinaryHeap::new(), crowded: NOT_CROWDED }));
        let (wake, woken) = bounded(1);
        let of_thread = Arc::clone(&entries);
        start_library_thread("pool-clock", move |thread| run(thread, &of_thread, &woken))?;
        Ok(Clock { entries, wake })
    }

    pub(crate) fn add(&self, at: Instant, due: Due) {
        let mut entries = self.entries.lock();
        let is_first = entries.heap.peek().is_none_or(|Reverse(first)| at < first.at);
        entries.heap.push(Reverse(Entry { at, due }));
        let crowded = entries.heap.len() >= entries.crowded;
        if crowded {
            entries.heap.retain(|Reverse(entry)| entry.due.is_worth_waiting_for());
            entries.crowded = NOT_CROWDED.max(2 * entries.heap.len());
        }
        drop(entries);
        if is_first {
            // If it is full, the thread wakes in any case.
            let _ = self.wake.try_send(());
        }
    }
}

fn run(thread: &mut LibraryThread, entries: &Mutex<Entries>, woken: &Receiver<()>) {
    let mut has_pool = true;
    loop {
        let next = loop {
            let mut entries = entries.lock();
            let Some(Reverse(first)) = entries.heap.peek() else { break None };
            if first.at > Instant::now() {
                break Some(first.at);
            }
            let entry = entries.heap.pop();
            drop(entries);
            if let Some(Reverse(Entry { due, .. })) = entry {
                due.happen();
            }
        };
        let slept = match next {
            Some(at) if has_pool => thread.sleep(|| woken.recv_deadline(at)),
            None if has_pool => thread.sleep(|| woken.recv().map_err(|_| RecvTimeoutError::Disconnected)),
            Some(at) => {
                thread.sleep(|| std::thread::sleep(at.saturating_duration_since(Instant::now())));
                Ok(())
            }
            None => return,
        };
        if has_pool && matches!(slept, Err(RecvTimeoutError::Disconnected)) {
            has_pool = false;
            entries.lock().heap.retain(|Reverse(entry)| entry.due.is_worth_waiting_for());
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        self.at.cmp(&other.at)
    }
}
