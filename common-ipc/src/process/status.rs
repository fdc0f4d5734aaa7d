//! How a child ended.

use std::fmt;
use std::sync::Arc;

use crate::link::Connector;
use crate::process::panic_report::PanicReport;
use crate::process::signal::Signal;
use crate::sys::pidfd::{self, RawStatus};

/// The exit code of a child whose body panicked: the one with which Rust's own `main` ends.
pub const PANIC_EXIT_CODE: i32 = 101;

/// How a child ended. An exit code is never confused with a signal, nor "nobody knows" with success.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It ended by itself, with this code (0 to 255): 0 when its body returned, otherwise the one
    /// that its code passed to `exit`.
    Exited(i32),
    /// A signal ended it.
    Signaled {
        /// Which one.
        signal: Signal,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
    },
    /// Its body panicked.
    Panicked(Arc<PanicReport>),
    /// It has ended, but somebody else collected its status (a `waitpid(-1)` elsewhere in the
    /// program, or SIGCHLD set to be ignored), the kernel is older than 6.15, and the child had
    /// not reported that its body was done.
    Unknown,
}

impl ExitStatus {
    /// How the process behind a connector ended, for those whose child it isn't: `None` before its end was seen by its
    /// parent, and before Linux 6.15.
    #[must_use]
    pub fn of_server(connector: &Connector) -> Option<ExitStatus> {
        pidfd::status_after_theft(connector.owner()?).map(ExitStatus::from_raw)
    }

    /// Whether it ended by itself with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        matches!(self, ExitStatus::Exited(0))
    }

    /// The exit code, if it ended by itself: 101 after a panic.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            ExitStatus::Exited(code) => Some(*code),
            ExitStatus::Panicked(_) => Some(PANIC_EXIT_CODE),
            ExitStatus::Signaled { .. } | ExitStatus::Unknown => None,
        }
    }

    /// The signal that ended it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self {
            ExitStatus::Signaled { signal, .. } => Some(*signal),
            _ => None,
        }
    }

    /// The one number that Python's `Popen.returncode` would be: the exit code, or the negative number of the signal.
    /// `None` if nobody knows. It is for those who need a number; the enum says more.
    ///
    /// ```
    /// use common_ipc::process::{Launch, LaunchOptions};
    ///
    /// let child = Launch::new(&LaunchOptions::new()).start(|| -> () { std::process::abort() })?;
    /// assert_eq!(child.wait()?.returncode(), Some(-6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "exitcode")]
    pub fn returncode(&self) -> Option<i32> {
        self.code().or_else(|| Some(-self.signal()?.as_raw()))
    }

    pub(crate) fn from_raw(raw: RawStatus) -> ExitStatus {
        match raw {
            RawStatus::Exited(code) => ExitStatus::Exited(code),
            RawStatus::Signaled { signal, core_dumped } => match Signal::from_raw(signal) {
                Some(signal) => ExitStatus::Signaled { signal, core_dumped },
                None => ExitStatus::Unknown,
            },
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "exited with code {code}"),
            ExitStatus::Signaled { signal, core_dumped } => {
                write!(f, "was ended by {signal}")?;
                f.write_str(usual_cause(*signal))?;
                f.write_str(if *core_dumped { " (core dumped)" } else { "" })
            }
            ExitStatus::Panicked(report) => write!(f, "{report}"),
            ExitStatus::Unknown => f.write_str("ended, but its status was collected by somebody else"),
        }
    }
}

/// What such an end comes from as a rule, for the reader of an error.
fn usual_cause(signal: Signal) -> &'static str {
    match signal.as_raw() {
        libc::SIGSEGV | libc::SIGBUS => ", a bad use of memory or a stack overflow",
        libc::SIGABRT => ", as after abort() or for want of memory",
        libc::SIGKILL => ", killed by somebody or by the kernel for want of memory",
        libc::SIGXCPU => ", its limit of processor time",
        libc::SIGSYS => ", a system call that is forbidden to it",
        _ => "",
    }
}
