//! A panic in a child, carried to the parent as data.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use serde::{Deserialize, Serialize};

use crate::ownership::per_process::PerProcess;

/// What a panic said, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PanicReport {
    /// The message, or a note on the type of a payload that is neither `&str` nor `String`.
    pub message: String,
    /// `file:line:column`; empty when the child's panic hook was replaced by the body.
    pub location: String,
    /// The name of the thread that panicked; empty if it had none.
    pub thread: String,
    /// The stack, if the child ran with `RUST_BACKTRACE` (or `RUST_LIB_BACKTRACE`) set.
    pub backtrace: Option<String>,
}

impl fmt::Display for PanicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked")?;
        if !self.location.is_empty() {
            write!(f, " at {}", self.location)?;
        }
        write!(f, ": {}", self.message)
    }
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Which of the hooks made here notes what it sees: in a child the one that was put in place for it,
/// elsewhere none. A child's child has its parent's hook in the chain of its own.
static NOTING: AtomicU64 = AtomicU64::new(u64::MAX);
static NEXT: AtomicU64 = AtomicU64::new(1);
/// What the hook saw, oldest first. More than one when the body catches panics itself.
type Seen = Mutex<Vec<(ThreadId, PanicReport)>>;
static SEEN: PerProcess<Seen> = PerProcess::new(Mutex::new(Vec::new()), Seen::default);
/// How many are kept.
const SEEN_MAX: usize = 8;

fn seen() -> MutexGuard<'static, Vec<(ThreadId, PanicReport)>> {
    SEEN.own().lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last one on this thread that is `like` this.
fn last_seen(like: impl Fn(&PanicReport) -> bool) -> Option<PanicReport> {
    let this_thread = thread::current().id();
    let seen = seen();
    let found = seen.iter().rev().find(|(thread, report)| *thread == this_thread && like(report));
    found.map(|(_, report)| report.clone())
}

/// A hook for the child, put in place before a fork; dropping it, in the parent, undoes that.
///
/// The hook is exchanged in the parent because the same exchange in the child costs it the copies
/// of several pages. Must not be made while panicking.
pub(crate) struct ChildHook {
    number: u64,
    /// The hook that was there before; it still prints what it always printed.
    previous: Option<Arc<Hook>>,
}

impl ChildHook {
    pub(crate) fn install() -> ChildHook {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let previous = Arc::new(std::panic::take_hook());
        let passed_on = Arc::clone(&previous);
        std::panic::set_hook(Box::new(move |info| {
            if NOTING.load(Ordering::Relaxed) == number {
                note(info);
            }
            passed_on(info);
        }));
        ChildHook { number, previous: Some(previous) }
    }

    /// In the child: the hook stays, and from now on notes what it sees.
    #[inline]
    pub(crate) fn keep_in_child(self) {
        NOTING.store(self.number, Ordering::Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for ChildHook {
    fn drop(&mut self) {
        // Ours is dropped; should another thread have set one of its own meanwhile, that one is lost.
        drop(std::panic::take_hook());
        let Some(previous) = self.previous.take() else { return };
        // Nobody else has it unless a panic of another thread is being printed at this moment.
        let hook = Arc::try_unwrap(previous).unwrap_or_else(|shared| Box::new(move |info| shared(info)));
        std::panic::set_hook(hook);
    }
}

fn note(info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let report = PanicReport {
        message: message_of(info.payload()),
        location: info.location().map(ToString::to_string).unwrap_or_default(),
        thread: thread::current().name().unwrap_or_default().to_owned(),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    };
    if cfg!(panic = "abort") {
        // Nothing will catch it: this is the last that is heard of this process.
        crate::process::child_side::report_panic_before_abort(&report);
    }
    let mut seen = seen();
    if seen.len() == SEEN_MAX {
        seen.remove(0);
    }
    seen.push((thread::current().id(), report));
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(message) = payload.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message.clone()
    } else {
        "(the payload is not a string)".to_owned()
    }
}

/// What the hook saw last of the panic that this thread is in, if it is in one.
pub(crate) fn while_panicking() -> Option<PanicReport> {
    if thread::panicking() { last_seen(|_| true) } else { None }
}

impl PanicReport {
    /// Runs `body`, and returns a report of its panic if it panics. In a child the report has what the panic hook saw,
    /// elsewhere the message alone. What `body` shares with others may be left as the panic left it.
    ///
    /// ```
    /// use common_ipc::process::{Launch, LaunchOptions, PanicReport};
    ///
    /// let child = Launch::new(&LaunchOptions::new()).start(|| {
    ///     PanicReport::catch(|| panic!("caught")).unwrap_err().location
    /// })?;
    /// assert!(child.output::<String>()?.contains(".rs:"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The report.
    pub fn catch<R>(body: impl FnOnce() -> R) -> Result<R, PanicReport> {
        panic::catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
            let report = report_of(payload.as_ref());
            // Its drop could panic again.
            std::mem::forget(payload);
            report
        })
    }

    /// The same in so few bytes that it needs no memory beyond the link's own.
    pub(crate) fn shortened(&self) -> PanicReport {
        PanicReport {
            message: cut(&self.message, 256),
            location: cut(&self.location, 128),
            thread: cut(&self.thread, 64),
            backtrace: None,
        }
    }
}

/// Up to `max` bytes of the text's beginning.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let ends = text.char_indices().map(|(begin, letter)| begin + letter.len_utf8());
    text[..ends.take_while(|end| *end <= max).last().unwrap_or(0)].to_owned()
}

/// The report of a panic that was caught on this thread: what the hook saw of it, else what the
/// payload alone tells.
pub(crate) fn report_of(payload: &(dyn Any + Send)) -> PanicReport {
    let message = message_of(payload);
    let noted = last_seen(|report| report.message == message);
    noted.unwrap_or_else(|| PanicReport {
        message,
        location: String::new(),
        thread: String::new(),
        backtrace: None,
    })
}
