//! What the body of a child tells its parent while it runs, and what it knows of itself.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ownership::generation::Generation;
use crate::ownership::per_process::PerProcess;
use crate::process::child_side;
use crate::process::options::COMM_MAX;
use crate::process::report::{self, Report};
use crate::sys;

/// In a child: says that it is ready for what it is there for. The parent hears it by
/// [`Child::wait_ready`](crate::process::Child::wait_ready).
///
/// It counts once; another call does nothing, and so does one in a process that this library hasn't started.
pub fn ready() {
    /// Which process has said it.
    static SAID_BY: AtomicU64 = AtomicU64::new(0);
    let here = Generation::current().number();
    if SAID_BY.swap(here, Ordering::Relaxed) == here {
        return;
    }
    if let Some(link) = child_side::report_link() {
        // It fails only if the parent is gone.
        let _ = report::send(link, &Report::Announced);
    }
}

/// How often progress is told at the most.
const PROGRESS_PERIOD: Duration = Duration::from_millis(1);

/// With so much that its parent hasn't taken a child tells no more of its progress. A packet takes some 800 bytes, so
/// that these are fewer than the parent takes at once.
const UNHEARD_MAX: usize = 4096;

/// The process of which a thread is telling of its progress. A forked copy of a telling one isn't this process.
static TELLER: AtomicU64 = AtomicU64::new(NOBODY);
const NOBODY: u64 = u64::MAX;

/// In a child: says that it gets on with its work. The parent asks by
/// [`Child::progressed`](crate::process::Child::progressed).
///
/// A child that is watched for it has to call it while it waits for work as well: by waits with a time-out.
///
/// It can be called often, from any thread: a call takes some 50 ns as a rule, and one in each millisecond asks the
/// kernel. In a process that this library hasn't started it does nothing.
pub fn progress() {
    thread_local! {
        static TOLD: Cell<Option<(Generation, Instant)>> = const { Cell::new(None) };
    }
    let (here, now) = (Generation::current(), Instant::now());
    if TOLD.get().is_some_and(|(by, at)| by == here && now.duration_since(at) < PROGRESS_PERIOD) {
        return;
    }
    TOLD.set(Some((here, now)));
    let Some(link) = child_side::report_link() else { return };
    // Of threads that all found room at once each would send. What another one is telling says the same.
    if TELLER.swap(here.number(), Ordering::Acquire) == here.number() {
        return;
    }
    // What nobody has taken yet says it as well, and the last word needs its room.
    if sys::socket::not_received(link).is_some_and(|bytes| bytes < UNHEARD_MAX) {
        let _ = report::send(link, &Report::Progress);
    }
    TELLER.store(NOBODY, Ordering::Release);
}

/// The name of this process for the kernel, as two words that need no lock. Not zero at first: those would lie on
/// another page, which each child would have to copy.
static COMM: [AtomicU64; 2] = [AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)];
/// The whole name, if it is longer. There is no lock that a child could inherit locked.
static LONG_NAME: PerProcess<OnceLock<OsString>> = PerProcess::new(OnceLock::new(), OnceLock::new);

/// In a new child.
#[inline]
pub(crate) fn set_current_name(comm: &[u8; COMM_MAX + 1], long: Option<&OsStr>) {
    let (front, back) = comm.split_at(8);
    for (word, bytes) in COMM.iter().zip([front, back]) {
        word.store(bytes.try_into().map_or(0, u64::from_ne_bytes), Ordering::Relaxed);
    }
    if let Some(long) = long {
        let _ = LONG_NAME.own().set(long.to_owned());
    }
}

/// The name of this child, in full, as its start gave it or made it up; `None` in a process that this library hasn't
/// started. In a child that other code forked it is that of its parent, cut to 15 bytes.
///
/// ```
/// use common_ipc::process::{self, Launch, LaunchOptions};
///
/// assert_eq!(process::current_name(), None);
/// let options = LaunchOptions::new().name("a name longer than ps shows");
/// let child = Launch::new(&options).start(|| process::current_name())?;
/// assert_eq!(child.output::<Option<std::ffi::OsString>>()?.unwrap(), "a name longer than ps shows");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn current_name() -> Option<OsString> {
    if !child_side::is_child() {
        return None;
    }
    if let Some(long) = LONG_NAME.own().get() {
        return Some(long.clone());
    }
    let comm: Vec<u8> = COMM.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
    let short = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(OsString::from_vec(short.to_vec()))
}
