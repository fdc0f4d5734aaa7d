//! Signals around a fork: blocked across it, then the child's own from scratch.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::uio::pread;
use once_cell::unsync::OnceCell;
use serde::{Deserialize, Serialize};

use crate::ownership::descriptors::PrivateFd;
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

/// The signals, one bit each, that a child has to reset: its parent's handlers must not run in it,
/// nor its parent's indifference be inherited. Two stay ignored where they are: SIGPIPE, as every
/// Rust program has it, and SIGHUP, by which nohup asks that a whole program survive its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ToReset(u64);

const STAY_IGNORED: u64 = bit(libc::SIGPIPE) | bit(libc::SIGHUP);
/// What libc keeps for itself (nptl(7)) and doesn't let anybody ask for.
const OF_LIBC: u64 = bit(32) | bit(33);

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

impl ToReset {
    /// In a child of a process that has none set.
    pub(crate) const NOTHING: ToReset = ToReset(0);

    /// Asks the kernel for all signals at once, by reading `/proc/self/status` through `status`, a
    /// descriptor of it. That takes half the time of one question for each signal, which is what is
    /// done where it doesn't work. Nothing can be remembered from one fork to the next: whoever
    /// installs a handler tells nobody.
    pub(crate) fn find(status: Option<BorrowedFd<'_>>) -> ToReset {
        let from_status = status.and_then(|status| {
            // Where the lines were the last time: they move only when something before them gets
            // longer or shorter.
            let place = LINES_AT.load(Ordering::Relaxed);
            let mut lines = [0; LINES];
            let length = pread(status, &mut lines, place as libc::off_t).ok()?;
            if let Some(found) = parse_lines(&lines[..length]) {
                return Some(found);
            }
            search_lines(status)
        });
        from_status.unwrap_or_else(ToReset::ask_for_each)
    }

    fn ask_for_each() -> ToReset {
        let mut found = ToReset(0);
        for signal in 1..=signals::LAST {
            found.0 |= match signals::disposition(signal) {
                Some(Disposition::Handled) => bit(signal),
                Some(Disposition::Ignored) => bit(signal) & !STAY_IGNORED,
                Some(Disposition::Default) | None => 0,
            };
        }
        found
    }

    /// In the child, while everything is blocked.
    #[inline]
    pub(crate) fn reset(self, sigint: Sigint) {
        let mut left = self.0;
        while left != 0 {
            let signal = left.trailing_zeros() as i32 + 1;
            left &= left - 1;
            // It fails only for signals that nobody can have set.
            let _ = signals::set_disposition(signal, false);
        }
        if sigint == Sigint::Ignore {
            let _ = signals::set_disposition(libc::SIGINT, true);
        }
    }
}

/// Two neighbouring lines of proc_pid_status(5), with the end of the one before: a label and 16
/// hexadecimal digits each.
const LABEL: &[u8] = b"\nSigIgn:\t";
const NEXT_LABEL: &[u8] = b"\nSigCgt:\t";
const DIGITS: usize = 16;
const LINES: usize = LABEL.len() + DIGITS + NEXT_LABEL.len() + DIGITS;

/// Where they begin in the file.
static LINES_AT: AtomicUsize = AtomicUsize::new(0);

/// Reads the whole file. Kept apart, so that its buffer is on the stack only when it is needed.
#[cold]
#[inline(never)]
fn search_lines(status: BorrowedFd<'_>) -> Option<ToReset> {
    let mut text = [0; 4096];
    let length = pread(status, &mut text, 0).ok()?;
    let text = &text[..length];
    let place = text.windows(LABEL.len()).position(|window| window == LABEL)?;
    LINES_AT.store(place, Ordering::Relaxed);
    parse_lines(text.get(place..place + LINES)?)
}

fn parse_lines(lines: &[u8]) -> Option<ToReset> {
    let mask = |line: &[u8], label: &[u8]| {
        let digits = line.strip_prefix(label).filter(|digits| digits.len() == DIGITS)?;
        let digits = std::str::from_utf8(digits).ok()?;
        u64::from_str_radix(digits, 16).ok()
    };
    let (ignored, handled) = lines.split_at_checked(LABEL.len() + DIGITS)?;
    let (ignored, handled) = (mask(ignored, LABEL)?, mask(handled, NEXT_LABEL)?);
    Some(ToReset((ignored & !STAY_IGNORED | handled) & !OF_LIBC))
}

/// Which signals stay blocked in a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Held {
    Nothing,
    /// Those that ask it to stop: its body takes them itself.
    StopSignals,
    /// All, in a process that runs nothing of the user's.
    All,
}

/// In a child, as the last step before its body: unblocks all signals but those that are held.
#[inline]
pub(crate) fn unblock_all_but(held: Held, sigint: Sigint) {
    match held {
        Held::Nothing => signals::set_mask(&[]),
        Held::StopSignals => signals::set_mask(held_for(sigint == Sigint::Default)),
        Held::All => {}
    }
}

/// The requests to stop that a child takes between two steps of its work: SIGTERM, and SIGINT
/// unless its options say to ignore that.
///
/// Both stay blocked from before the fork on, so that one which comes during the start-up isn't
/// lost and none interrupts the work; there is no handler and no flag. To be made and used in the
/// body of a child that was started with
/// [`Launch::hold_stop_signals`](crate::process::Launch::hold_stop_signals), or with the setting of that name that
/// `pkit`'s processes and supervised children have.
#[derive(Debug)]
pub struct StopSignals {
    signals: &'static [i32],
    pollable: OnceCell<PrivateFd>,
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
                "this process doesn't hold its stop signals: have it started with hold_stop_signals",
            ));
        }
        let signals = held_for(mask.contains(nix::sys::signal::Signal::SIGINT));
        Ok(StopSignals { signals, pollable: OnceCell::new() })
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

    /// For poll, select and epoll: a descriptor that is readable while a request to stop is there to be told by
    /// [`wait_timeout`](StopSignals::wait_timeout). Nothing is to be read from it.
    ///
    /// # Errors
    ///
    /// No descriptors left; in another process, a [`WrongProcess`](crate::process::WrongProcess) inside the `io::Error`.
    pub fn pollable(&self) -> io::Result<BorrowedFd<'_>> {
        let make = || {
            let held =
                self.signals.iter().filter_map(|signal| nix::sys::signal::Signal::try_from(*signal).ok());
            let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
            Ok(SignalFd::with_flags(&held.collect(), flags)?.into())
        };
        self.pollable.get_or_try_init(|| PrivateFd::new(make))?.get().map_err(io::Error::other)
    }
}

/// What a child holds.
fn held_for(sigint: bool) -> &'static [i32] {
    if sigint { &[libc::SIGTERM, libc::SIGINT] } else { &[libc::SIGTERM] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_status_file_and_the_kernel_agree() {
        let status = std::fs::File::open("/proc/self/status").unwrap();
        // Other tests of this process catch signals in between, for a moment.
        let agree = || {
            let found = ToReset::find(Some(status.as_fd()));
            (found == ToReset::ask_for_each()).then_some(found)
        };
        let in_a_while = || {
            (0..1_000).find_map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                agree()
            })
        };
        let found = in_a_while().expect("the first time they are looked for");
        // Rust's runtime has a handler for stack overflows.
        assert_ne!(found.0 & bit(libc::SIGSEGV), 0);
        assert!(in_a_while().is_some(), "from where they were the first time");
    }

    #[test]
    fn lines_that_are_not_there_are_no_answer() {
        assert_eq!(parse_lines(b"Name:\tx\nSigCgt:\t00"), None);
        assert_eq!(parse_lines(b""), None);
        let lines = b"\nSigIgn:\t0000000000001001\nSigCgt:\t8000000000000000";
        assert_eq!(lines.len(), LINES);
        assert_eq!(parse_lines(lines), Some(ToReset(1 << 63)));
        assert_eq!(parse_lines(&lines[..LINES - 1]), None);
    }
}
