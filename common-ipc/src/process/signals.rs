//! Signals around a fork: blocked across it, then the child's own from scratch.

use std::io;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

use crate::process::options::Sigint;
use crate::sys::signals::{self, Disposition};

/// Blocks every signal on this thread and returns what was blocked before.
pub(crate) fn block_all() -> io::Result<SigSet> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    Ok(before)
}

/// Undoes [`block_all`].
pub(crate) fn restore(before: &SigSet) {
    // It fails only for a `how` that doesn't exist.
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(before), None);
}

/// In a child, while everything is blocked: its parent's handlers must not run in it, nor its
/// parent's indifference be inherited. Two stay ignored where they are: SIGPIPE, as every Rust
/// program has it, and SIGHUP, by which nohup asks that a whole program survive its terminal.
pub(crate) fn reset_dispositions(sigint: Sigint) {
    for signal in 1..=signals::LAST {
        let reset = match signals::disposition(signal) {
            Some(Disposition::Handled) => true,
            Some(Disposition::Ignored) => signal != libc::SIGPIPE && signal != libc::SIGHUP,
            Some(Disposition::Default) | None => false,
        };
        if reset {
            // It fails only for a number that `disposition` has just said doesn't exist.
            let _ = signals::set_disposition(signal, false);
        }
    }
    if sigint == Sigint::Ignore {
        let _ = signals::set_disposition(libc::SIGINT, true);
    }
}

/// In a child, as the last step before its body: unblocks all signals but those that the body
/// takes itself.
pub(crate) fn unblock_all_but(held: &[i32]) {
    let mut mask = SigSet::empty();
    for signal in held {
        if let Ok(signal) = nix::sys::signal::Signal::try_from(*signal) {
            mask.add(signal);
        }
    }
    restore(&mask);
}

/// The requests to stop that a child takes between two steps of its work: SIGTERM, and SIGINT
/// unless its options say to ignore that.
///
/// Both stay blocked from before the fork on, so that one which comes during the start-up isn't
/// lost and none interrupts the work; there is no handler and no flag. To be made and used in the
/// body of a child that was started with
/// [`Launch::hold_stop_signals`](crate::process::Launch::hold_stop_signals).
#[derive(Debug)]
pub struct StopSignals {
    signals: &'static [i32],
}

impl StopSignals {
    /// Those that this process holds.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if this process doesn't hold SIGTERM.
    pub fn held() -> io::Result<StopSignals> {
        let mut mask = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, None, Some(&mut mask))?;
        if !mask.contains(nix::sys::signal::Signal::SIGTERM) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this process doesn't hold its stop signals: start it with Launch::hold_stop_signals",
            ));
        }
        Ok(StopSignals { signals: held_for(mask.contains(nix::sys::signal::Signal::SIGINT)) })
    }

    /// Waits for a request to stop for up to `timeout` (zero just looks) and says whether one came.
    /// Each request is told once.
    ///
    /// # Errors
    ///
    /// What sigtimedwait(2) fails with; none of its errors is expected here.
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        Ok(signals::wait_for(self.signals, timeout)?.is_some())
    }
}

/// What a child holds.
pub(crate) fn held_for(sigint: bool) -> &'static [i32] {
    if sigint { &[libc::SIGTERM, libc::SIGINT] } else { &[libc::SIGTERM] }
}
