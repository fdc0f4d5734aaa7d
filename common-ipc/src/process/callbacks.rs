//! Exit callbacks: each once, on a thread of their own, so that a slow one delays nobody's reaping.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

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

/// A callback that is due.
pub(crate) struct Job {
    callback: Callback,
    exit: Exit,
}

/// Hands callbacks to their thread, which is started if need be.
pub(crate) fn enqueue(callbacks: Vec<Callback>, exit: &Exit) {
    if callbacks.is_empty() {
        return;
    }
    let mut process = state::lock();
    let sender = match &process.callbacks {
        Some(sender) => sender.clone(),
        None => {
            let (sender, receiver) = crossbeam_channel::unbounded();
            match fork_rule::start_library_thread("exit-callbacks", &mut process, move || run(&receiver)) {
                Ok(()) => {
                    process.callbacks = Some(sender.clone());
                    sender
                }
                Err(error) => {
                    drop(process);
                    // Late and in the wrong place is better than never: they are promised.
                    log::warn!(
                        "no thread for exit callbacks ({error}): they run where the child was collected"
                    );
                    for callback in callbacks {
                        call(callback, exit);
                    }
                    return;
                }
            }
        }
    };
    process.callbacks_pending += callbacks.len();
    drop(process);
    for callback in callbacks {
        // The receiver lives as long as its thread, which never ends.
        let _ = sender.send(Job { callback, exit: exit.clone() });
    }
}

fn run(jobs: &crossbeam_channel::Receiver<Job>) {
    // Waiting for a job is outside of the gate: the queue and the thread's parking are known to
    // this process alone, and a child starts with new ones.
    for Job { callback, exit } in jobs {
        let inside = gate::enter();
        let inside = fork_rule::outside_the_gate(inside, || call(callback, &exit));
        state::lock().callbacks_pending -= 1;
        state::CALLBACK_DONE.notify_all();
        drop(inside);
    }
}

/// A callback that panics has been reported by the panic hook; the next one isn't its business.
fn call(callback: Callback, exit: &Exit) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| callback(exit))) {
        // Its drop could panic again.
        std::mem::forget(payload);
    }
}

/// Waits until all exit callbacks that are due have been called, for up to `timeout` if there is
/// one, and says whether they have. Called from a callback, it doesn't wait, since the others come
/// after that one, but says whether there are others.
///
/// A callback is due once its child was collected: by a wait, or by the reaper soon after the
/// child's end.
#[must_use]
pub fn join_callbacks(timeout: Option<Duration>) -> bool {
    let deadline = Deadline::optional(timeout);
    let mut process = state::lock();
    if fork_rule::on_library_thread() {
        return process.callbacks_pending <= 1;
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
