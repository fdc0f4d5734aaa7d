//! Exit callbacks: each once, on threads of their own, so that a slow one delays neither anybody's reaping nor the
//! callbacks of other children.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use crate::link::poll::Deadline;
use crate::process::fork_rule;
use crate::process::gate;
use crate::process::state;
use crate::process::status::ExitStatus;

/// What an exit callback is told.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exit {
    /// The child's process id, which may be another process's by now.
    pub pid: u32,
    /// The child's name.
    pub name: OsString,
    /// How it ended.
    pub status: ExitStatus,
}

pub(crate) type Callback = Box<dyn FnOnce(&Exit) + Send>;

/// The callbacks of one child that are due.
pub(crate) struct Queue {
    exit: Exit,
    due: Mutex<Due>,
}

#[derive(Default)]
struct Due {
    callbacks: VecDeque<Callback>,
    /// A thread is about them, and takes what comes meanwhile as well.
    taken: bool,
}

/// The threads that run callbacks.
pub(crate) struct Threads {
    sender: Sender<Arc<Queue>>,
    receiver: Receiver<Arc<Queue>>,
    count: usize,
    /// How many queues are with them, or on their way.
    queues: usize,
}

/// So many children's callbacks run side by side.
const THREADS_MAX: usize = 16;
/// A thread that has had nothing to do for this long ends, unless it is the last one.
const IDLE_MAX: Duration = Duration::from_secs(5);

impl Queue {
    pub(crate) fn new(exit: Exit) -> Queue {
        Queue { exit, due: Mutex::default() }
    }

    /// The next one; `None` if there is none, and then whoever brings one has to see to it.
    fn next(&self) -> Option<Callback> {
        let mut due = self.due.lock();
        let next = due.callbacks.pop_front();
        due.taken = next.is_some();
        next
    }
}

/// Hands callbacks to a thread, which is started if need be. So many of them count as due already.
pub(crate) fn enqueue(queue: &Arc<Queue>, callbacks: Vec<Callback>, announced: usize) {
    let mut process = state::lock();
    process.callbacks_pending += callbacks.len() - announced;
    {
        let mut due = queue.due.lock();
        due.callbacks.extend(callbacks);
        if std::mem::replace(&mut due.taken, true) {
            return;
        }
    }
    let threads = process.callbacks.get_or_insert_with(|| {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Threads { sender, receiver, count: 0, queues: 0 }
    });
    threads.queues += 1;
    let (sender, receiver, count) = (threads.sender.clone(), threads.receiver.clone(), threads.count);
    if threads.queues > count && count < THREADS_MAX {
        let started = fork_rule::start_library_thread("exit-callbacks", &mut process, move || run(&receiver));
        match (started, &mut process.callbacks) {
            (Ok(()), Some(threads)) => threads.count += 1,
            (Err(error), Some(threads)) if count == 0 => {
                threads.queues -= 1;
                drop(process);
                // Late and in the wrong place is better than never: they are promised.
                log::warn!("no thread for exit callbacks ({error}): they run where the child was collected");
                while let Some(callback) = queue.next() {
                    call(callback, &queue.exit);
                    is_done();
                }
                return;
            }
            // One of those that there are comes to it.
            _ => {}
        }
    }
    drop(process);
    // There is a receiver for as long as the process has its state.
    let _ = sender.send(Arc::clone(queue));
}

fn is_done() {
    state::lock().callbacks_pending -= 1;
    state::CALLBACK_DONE.notify_all();
}

thread_local! {
    /// This thread runs exit callbacks: whoever asks on it is one of those that are pending.
    static CALLS_BACK: Cell<bool> = const { Cell::new(false) };
}

fn run(queues: &Receiver<Arc<Queue>>) {
    CALLS_BACK.set(true);
    loop {
        // Waiting is outside of the gate: the channel and the thread's parking are known to this process
        // alone, and a child starts with new ones.
        let queue = queues.recv_timeout(IDLE_MAX);
        let mut inside = gate::enter();
        let Ok(queue) = queue else {
            let mut process = state::lock();
            let Some(threads) = &mut process.callbacks else { return };
            // Otherwise one is on its way, or may be.
            if threads.queues < threads.count && threads.count > 1 {
                threads.count -= 1;
                process.library_threads -= 1;
                return;
            }
            continue;
        };
        while let Some(callback) = queue.next() {
            inside = fork_rule::outside_the_gate(inside, || call(callback, &queue.exit));
            is_done();
        }
        if let Some(threads) = &mut state::lock().callbacks {
            threads.queues -= 1;
        }
        drop(inside);
    }
}

/// A callback that panics has been reported by the panic hook; the next one isn't its business.
pub(crate) fn call(callback: Callback, exit: &Exit) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| callback(exit))) {
        // Its drop could panic again.
        std::mem::forget(payload);
    }
}

/// Waits until all exit callbacks that are due have been called, for up to `timeout` if there is
/// one, and says whether they have. Called from a callback, or on another thread of the library's, it doesn't
/// wait, since others may come after that one, but says whether there are none.
///
/// A callback is due once its child was collected: by a wait, or by the reaper soon after the
/// child's end.
#[must_use]
pub fn join_callbacks(timeout: Option<Duration>) -> bool {
    let deadline = Deadline::optional(timeout);
    let mut process = state::lock();
    if fork_rule::on_library_thread() {
        return process.callbacks_pending <= usize::from(CALLS_BACK.get());
    }
    while process.callbacks_pending > 0 {
        if deadline.has_passed() {
            return false;
        }
        let pause = deadline.left().unwrap_or(Duration::from_secs(3600));
        process = process.wait_for_callback(pause);
    }
    true
}
