//! Threads for libraries that stand on this one: they don't stand in the way of forks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::process::fork_rule;
use crate::process::gate;
use crate::process::state;

/// A thread that belongs to the library, as seen from itself: made by [`start_library_thread`].
///
/// A fork waits until it sleeps, and isn't refused because of it. So what it does, it does in moments; what may take
/// its time it does in [`call`](LibraryThread::call).
#[derive(Debug)]
pub struct LibraryThread {
    /// There but for the time of a sleep or a call.
    inside: Option<gate::Inside>,
}

impl LibraryThread {
    /// Runs `sleep`, beside which the program may fork: it only waits - for a channel, for a descriptor - and what it
    /// touches is never used in a child.
    pub fn sleep<R>(&mut self, sleep: impl FnOnce() -> R) -> R {
        self.inside = None;
        let slept = sleep();
        self.inside = Some(gate::enter());
        slept
    }

    /// Runs other people's code, or what may take its time: with the signals that the program's own threads take. A fork
    /// waits for it for up to a second, and is then
    /// [`Refusal::CallbackRunning`](crate::process::Refusal::CallbackRunning).
    pub fn call<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let inside = self.inside.take().unwrap_or_else(gate::enter);
        let mut result = None;
        // A panic goes on when this thread is counted as it was before.
        let work = || result = Some(catch_unwind(AssertUnwindSafe(work)));
        self.inside = Some(fork_rule::outside_the_gate(inside, work));
        #[expect(clippy::expect_used, reason = "it was called right above")]
        result.expect("the work was done").unwrap_or_else(|payload| resume_unwind(payload))
    }
}

/// Starts a thread beside which the program can go on to fork. All signals are blocked in it.
///
/// It is for libraries that stand on this one and watch over processes. Starting processes by a fork is refused on it
/// ([`Refusal::OnLibraryThread`](crate::process::Refusal::OnLibraryThread)); from zygotes and templates it isn't.
///
/// ```
/// use std::sync::mpsc::channel;
/// use common_ipc::process::{Launch, LaunchOptions, start_library_thread};
///
/// let (tell, told) = channel();
/// let (answer, answered) = channel();
/// start_library_thread("watcher", move |thread| {
///     while let Ok(number) = thread.sleep(|| told.recv()) {
///         answer.send(number + 1).unwrap();
///     }
/// })?;
/// tell.send(41u32)?;
/// assert_eq!(answered.recv()?, 42);
/// Launch::new(&LaunchOptions::new()).start(|| ())?.wait()?; // isn't refused
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The thread can't be had.
pub fn start_library_thread(
    name: &str,
    body: impl FnOnce(&mut LibraryThread) + Send + 'static,
) -> io::Result<()> {
    // Kept here as well: where there is no thread to be had, what the body owns is dropped when the state isn't locked any
    // more, for which it may ask.
    let body = Arc::new(Mutex::new(Some(body)));
    let its = Arc::clone(&body);
    let started = fork_rule::start_library_thread(name, &mut state::lock(), move || {
        // Dropped after everything else, also by a panic.
        let mut thread = Leaving(LibraryThread { inside: Some(gate::enter()) });
        let body = its.lock().take();
        drop(its);
        if let Some(body) = body {
            body(&mut thread.0);
        }
    });
    drop(body);
    started
}

/// Takes the thread out of the count at its end.
struct Leaving(LibraryThread);

impl Drop for Leaving {
    fn drop(&mut self) {
        let inside = self.0.inside.take().unwrap_or_else(gate::enter);
        state::lock().library_threads -= 1;
        drop(inside);
    }
}
