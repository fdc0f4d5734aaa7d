//! Which process this is.

use std::ffi::OsString;

use common_ipc::process::current_name;

/// The process that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Current {
    /// Its process id.
    pub pid: u32,
    /// Its name, as its [`Process`](crate::Process) has it, in full; `None` in the program itself, and in whatever
    /// this library hasn't started.
    pub name: Option<OsString>,
}

impl Current {
    /// Whether this is the program itself rather than a process that this library has started.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.name.is_none()
    }
}

/// The process that asks: the program, or one that it has started. (Python's `current_process`.)
///
/// ```
/// use pkit::Process;
///
/// assert!(pkit::current().is_main());
/// let process = Process::builder().name("worker").build(|| pkit::current().name);
/// process.start()?;
/// assert_eq!(process.join()?.unwrap(), "worker");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[doc(alias = "current_process")]
pub fn current() -> Current {
    Current { pid: std::process::id(), name: current_name() }
}
