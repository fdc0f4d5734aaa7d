//! Signals by their names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signal: a number from 1 to 64.
///
/// ```
/// use common_ipc::process::Signal;
///
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// assert_eq!(Signal::from_raw(40).map(|signal| signal.to_string()).as_deref(), Some("signal 40"));
/// assert_eq!(Signal::from_raw(0), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Signal(i32);

impl From<Signal> for i32 {
    fn from(signal: Signal) -> i32 {
        signal.0
    }
}

/// # Errors
///
/// A number outside of 1 to 64.
impl TryFrom<i32> for Signal {
    type Error = NoSuchSignal;

    fn try_from(number: i32) -> Result<Signal, NoSuchSignal> {
        Signal::from_raw(number).ok_or(NoSuchSignal(number))
    }
}

/// A number that is no signal's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no signal {0}")]
pub struct NoSuchSignal(pub i32);

impl Signal {
    /// The terminal or the session is gone.
    pub const HUP: Signal = Signal(libc::SIGHUP);
    /// Ctrl-C at the terminal.
    pub const INT: Signal = Signal(libc::SIGINT);
    /// Ctrl-\ at the terminal.
    pub const QUIT: Signal = Signal(libc::SIGQUIT);
    /// `abort` was called.
    pub const ABRT: Signal = Signal(libc::SIGABRT);
    /// The end, without a chance to do anything about it.
    pub const KILL: Signal = Signal(libc::SIGKILL);
    /// A use of memory that isn't there.
    pub const SEGV: Signal = Signal(libc::SIGSEGV);
    /// For the program's own purposes.
    pub const USR1: Signal = Signal(libc::SIGUSR1);
    /// For the program's own purposes.
    pub const USR2: Signal = Signal(libc::SIGUSR2);
    /// The polite request to end.
    pub const TERM: Signal = Signal(libc::SIGTERM);
    /// Go on after a stop.
    pub const CONT: Signal = Signal(libc::SIGCONT);
    /// Stop until SIGCONT; can't be refused.
    pub const STOP: Signal = Signal(libc::SIGSTOP);

    /// The signal with this number, if there can be one: 1 to 64.
    #[must_use]
    pub const fn from_raw(number: i32) -> Option<Signal> {
        if 1 <= number && number <= crate::sys::signals::LAST { Some(Signal(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(known) => f.write_str(known.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

/// Its name.
impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_signals_if_the_kernel_has_them() {
        assert_eq!(Signal::try_from(15), Ok(Signal::TERM));
        assert_eq!(Signal::try_from(0).unwrap_err().to_string(), "there is no signal 0");
        assert_eq!(Signal::try_from(65), Err(NoSuchSignal(65)));
        assert_eq!(format!("{} {:?}", Signal::KILL, Signal::KILL), "SIGKILL SIGKILL");
        // Those that programs give a meaning have none of their own.
        let real_time = Signal::try_from(40).unwrap();
        assert_eq!((real_time.to_string(), i32::from(real_time)), ("signal 40".to_owned(), 40));
    }
}
