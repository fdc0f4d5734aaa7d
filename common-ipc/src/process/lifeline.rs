//! A child's tie to its parent's life.
//!
//! The child's end of its report socket doubles as the lifeline: only the parent process holds the
//! other end (every other child closes its copy before it does anything else), so that end is gone
//! when the parent is, however it ended. The child's end is set to send the child a signal then.
//! The kernel does that, so it works in the midst of a computation, takes no thread, and doesn't
//! depend on which thread started the child; each child's end is an open file of its own, which
//! matters because the signal's owner belongs to the open file.
//!
//! In addition, where the starting thread is the program's main one, the kernel is asked for the
//! same signal by PR_SET_PDEATHSIG: that survives a body that closes all its descriptors. From any
//! other thread it would fire when only that thread ends.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::{getpid, gettid};

use crate::process::options::ParentDeath;
use crate::sys;

/// In the parent, before the fork: whatever can fail. `end` is the child's.
pub(crate) fn prepare(end: BorrowedFd<'_>, policy: ParentDeath) -> io::Result<()> {
    signal_of(policy).map_or(Ok(()), |signal| sys::descriptors::arm_signal(end, signal))
}

/// What the kernel sends.
fn signal_of(policy: ParentDeath) -> Option<i32> {
    match policy {
        ParentDeath::Signal(signal) => Some(signal.as_raw()),
        ParentDeath::Stop { .. } => Some(sys::parent_death::POLITE_END),
        ParentDeath::Survive => None,
    }
}

/// In the parent, before the fork: whether the calling thread is the one whose end is the program's.
pub(crate) fn on_main_thread() -> bool {
    gettid() == getpid()
}

/// Whether the parent's thread that started this process, whose death PR_SET_PDEATHSIG is about, is the
/// program's main one.
static OF_MAIN_THREAD: AtomicBool = AtomicBool::new(true);

/// In a fork server: what [`on_main_thread`] said where it was forked. Its children are that thread's as well.
pub(crate) fn parent_is_the_main_thread() -> bool {
    OF_MAIN_THREAD.load(Ordering::Relaxed)
}

/// In the child, first of all: from now on its parent's death ends it. Without a signal that is of no consequence,
/// but the link is marked all the same. (Linux remembers whose rights are behind the signal: those of now.)
#[inline]
pub(crate) fn own(end: BorrowedFd<'_>) -> io::Result<()> {
    sys::descriptors::arm_owner(end)
}

/// In the child, when it is set up: the rest, and a look whether the parent has gone before that.
#[inline]
pub(crate) fn arm(end: BorrowedFd<'_>, policy: ParentDeath, forked_by_main_thread: bool) -> io::Result<()> {
    if OF_MAIN_THREAD.load(Ordering::Relaxed) != forked_by_main_thread {
        OF_MAIN_THREAD.store(forked_by_main_thread, Ordering::Relaxed);
    }
    let Some(signal) = signal_of(policy) else { return Ok(()) };
    if let ParentDeath::Stop { grace } = policy {
        sys::parent_death::handle_polite_end(grace)?;
    }
    // After any change of user, which clears it.
    if forked_by_main_thread {
        sys::parent_death::set_signal(signal)?;
    }
    if sys::socket::has_hung_up(end)? {
        sys::signals::raise(signal)?;
    }
    Ok(())
}

/// In the child: whether this is still the open file that it armed.
#[inline]
pub(crate) fn is_armed(end: BorrowedFd<'_>) -> bool {
    sys::descriptors::is_owner(end)
}
