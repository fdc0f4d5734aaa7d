//! Who may fork when: the rule that keeps a child from inheriting locks that nobody will ever unlock.

use std::cell::Cell;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;

use crate::ownership::generation::Generation;
use crate::ownership::per_process::PerProcess;
use crate::process::gate;
use crate::process::signals;
use crate::process::state::{self, State};
use crate::sys;

/// What happens when a fork is asked for while other threads are running.
///
/// Setting anything but the default is `unsafe`: see [`set_fork_rule`](crate::process::set_fork_rule).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ForkRule {
    /// The start is an error that says what to do instead: [`Refusal`].
    #[default]
    Refuse,
    /// The fork is done, and a warning goes to the `log` crate.
    Warn,
    /// The fork is done.
    Allow,
}

/// Why a fork was refused. Nothing was started.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Threads that don't belong to this library are running. In the child the locks that they
    /// hold at this moment - of standard output, of the environment, of the allocator - would stay
    /// locked for ever.
    #[error(
        "refused to fork: {count} other thread(s) are running, whose locks the child would inherit locked. \
         Start processes before the first thread; in a program with an async runtime, in a plain `fn main` \
         that builds the runtime afterwards; under `cargo test`, in a doc test, in a test with \
         `harness = false` or in a helper binary, since the test harness has threads of its own, also \
         with --test-threads=1. Beside threads a zygote starts what is serialisable: call init() on the first line \
         of main (in a file of tests: init_before_main!()), then spawn_in a Zygote; and what was made restartable \
         before them can be restarted. Where the threads are known to be harmless, process::set_fork_rule or \
         LaunchOptions::fork_rule allows it"
    )]
    OtherThreads {
        /// How many.
        count: usize,
    },
    /// The number of threads can't be found out: neither unshare(2) nor /proc is usable here.
    #[error(
        "refused to fork: can't tell whether other threads are running (unshare is filtered and /proc is \
         not mounted). Mount /proc, or set another rule by process::set_fork_rule"
    )]
    ThreadsUnknown,
    /// The call came from an exit callback, which runs on a library thread beside the program's own.
    #[error(
        "refused to fork from an exit callback: the program's other threads go on beside it. Let the \
         callback tell the main thread (by a channel, say), and start the process there"
    )]
    OnLibraryThread,
    /// An exit callback has been running for a second or more, on a library thread.
    #[error(
        "refused to fork: an exit callback is still running on its own thread after {} ms of waiting for \
         it. Keep callbacks short, or call `join_callbacks` before the start",
        CALLBACK_PATIENCE.as_millis()
    )]
    CallbackRunning,
    /// A zygote's preload has started threads, which its children would lack.
    #[error(
        "refused to make children of a zygote whose preload has started {count} thread(s): a preload loads and \
         computes, and leaves no thread behind"
    )]
    ThreadsOfPreload {
        /// How many.
        count: usize,
    },
    /// The calling thread is panicking: in the child the panic would never end.
    #[error("refused to fork while panicking: start processes before or after the unwinding")]
    Panicking,
}

crate::error::debug_is_display!(Refusal);

/// A thread that has just been joined may still be counted, for up to 62 us as measured on Linux 6.18.
const JOINED_THREADS_PATIENCE: Duration = Duration::from_millis(5);
/// The same on a busy machine, before a fork is refused: the scheduler may keep one that is on its way out, as the
/// library's own are at times, from its last steps.
const LEAVING_THREADS_PATIENCE: Duration = Duration::from_millis(100);
/// How long a fork waits for a callback to return.
const CALLBACK_PATIENCE: Duration = Duration::from_secs(1);

/// 0, 1, 2 as [`ForkRule`]'s variants.
static PROGRAM_RULE: AtomicU8 = AtomicU8::new(0);
/// What a library thread knows of itself.
#[derive(Clone, Copy)]
struct LibraryThread {
    /// Its process: in a forked child the copy of this thread is the child's own.
    home: Generation,
    /// The signals that were blocked where it was started.
    program_mask: SigSet,
}

thread_local! {
    static LIBRARY_THREAD: Cell<Option<LibraryThread>> = const { Cell::new(None) };
}

fn library_thread() -> Option<LibraryThread> {
    LIBRARY_THREAD.get().filter(|thread| thread.home == Generation::current())
}

/// Whether the calling thread is the library's.
pub(crate) fn on_library_thread() -> bool {
    library_thread().is_some()
}

pub(crate) fn set_program_rule(rule: ForkRule) {
    PROGRAM_RULE.store(rule as u8, Ordering::Relaxed);
}

fn program_rule() -> ForkRule {
    match PROGRAM_RULE.load(Ordering::Relaxed) {
        1 => ForkRule::Warn,
        2 => ForkRule::Allow,
        _ => ForkRule::Refuse,
    }
}

/// The leave to fork.
pub(crate) struct Leave {
    pub(crate) gate: gate::Closed,
    /// There may be threads that don't belong to the library.
    pub(crate) others: bool,
}

/// Closes the gate for a fork, if the rule allows the fork.
pub(crate) fn close_gate(rule_of_launch: Option<ForkRule>) -> Result<Leave, Refusal> {
    if thread::panicking() {
        return Err(Refusal::Panicking);
    }
    let rule = rule_of_launch.unwrap_or_else(program_rule);
    if rule == ForkRule::Allow {
        return Ok(Leave { gate: gate::close(), others: true });
    }
    let refusal = if on_library_thread() {
        Refusal::OnLibraryThread
    } else {
        let begin = Instant::now();
        let mut waits_for_callback = None;
        loop {
            let closed = gate::close();
            let Some(refusal) = other_threads() else { return Ok(Leave { gate: closed, others: false }) };
            drop(closed);
            let patience = match refusal {
                Refusal::CallbackRunning => {
                    waits_for_callback.get_or_insert_with(WaitsForCallback::new);
                    CALLBACK_PATIENCE
                }
                // Where it isn't the end of the start, each start would pay for it.
                _ if rule == ForkRule::Warn => JOINED_THREADS_PATIENCE,
                _ => LEAVING_THREADS_PATIENCE,
            };
            if begin.elapsed() >= patience {
                break refusal;
            }
            thread::sleep(Duration::from_micros(50));
        }
    };
    if rule == ForkRule::Warn {
        log::warn!("forking all the same: {refusal}");
        return Ok(Leave { gate: gate::close(), others: true });
    }
    Err(refusal)
}

/// How many forks wait for a callback to return. One that is over when a child is forked isn't among them there.
static WAITING: PerProcess<AtomicUsize> = PerProcess::new(AtomicUsize::new(0), AtomicUsize::default);

/// A fork that waits so.
struct WaitsForCallback;

impl WaitsForCallback {
    fn new() -> WaitsForCallback {
        WAITING.own().fetch_add(1, Ordering::Relaxed);
        WaitsForCallback
    }
}

impl Drop for WaitsForCallback {
    fn drop(&mut self) {
        WAITING.own().fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a fork waits for a callback to return: a library thread that calls one after the other lets it pass.
pub(crate) fn a_fork_waits() -> bool {
    WAITING.own().load(Ordering::Relaxed) > 0
}

/// Looks for threads that a fork would cut off in the midst of something. The gate is closed.
fn other_threads() -> Option<Refusal> {
    if sys::threads::is_alone() == Some(true) {
        return None;
    }
    // Locked first: a library thread that is being started is either in both counts or in none.
    let process = state::lock();
    // The link count of a directory is 2 and its subdirectories: here one for each thread.
    let Ok(tasks) = std::fs::metadata("/proc/self/task") else { return Some(Refusal::ThreadsUnknown) };
    let threads = (tasks.nlink() as usize).saturating_sub(2);
    let (in_callback, parked) = (process.in_callback, process.library_threads - process.in_callback);
    match threads.saturating_sub(1 + parked) {
        0 => None,
        count if count <= in_callback => Some(Refusal::CallbackRunning),
        count => Some(Refusal::OtherThreads { count: count - in_callback }),
    }
}

/// How many threads a user's code that has returned has left running beside the calling one, if any.
pub(crate) fn threads_left_behind() -> Option<usize> {
    let begin = Instant::now();
    while sys::threads::is_alone() != Some(true) {
        let Ok(tasks) = std::fs::metadata("/proc/self/task") else { return None };
        let count = (tasks.nlink() as usize).saturating_sub(3);
        if count == 0 || begin.elapsed() >= JOINED_THREADS_PATIENCE {
            return (count > 0).then_some(count);
        }
        thread::sleep(Duration::from_micros(50));
    }
    None
}

/// Starts a library thread: all signals blocked, so that none of the program's is handled there,
/// and counted before anybody can ask.
pub(crate) fn start_library_thread(
    name: &str,
    process: &mut State,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let before = signals::block_all()?;
    // A library thread that starts another has all of them blocked itself.
    let program_mask = library_thread().map_or(before, |thread| thread.program_mask);
    let (arrived, wait_for_it) = std::sync::mpsc::sync_channel(1);
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
        LIBRARY_THREAD.set(Some(LibraryThread { home: Generation::current(), program_mask }));
        let _ = arrived.send(());
        body();
    });
    signals::restore(&before);
    started?;
    // A fork in the midst of a thread's own beginnings would copy the locks that those take. The
    // caller holds the state, without which nobody forks.
    let _ = wait_for_it.recv();
    process.library_threads += 1;
    Ok(())
}

/// Runs a user's callback on a library thread that is inside the gate, and outside of it meanwhile;
/// with the signals of the program's own threads, so that what it executes can be ended by them.
pub(crate) fn outside_the_gate(inside: gate::Inside, callback: impl FnOnce()) -> gate::Inside {
    state::lock().in_callback += 1;
    drop(inside);
    if let Some(thread) = library_thread() {
        signals::restore(&thread.program_mask);
    }
    callback();
    // It fails only for a `how` that doesn't exist.
    let _ = signals::block_all();
    let inside = gate::enter();
    state::lock().in_callback -= 1;
    inside
}
