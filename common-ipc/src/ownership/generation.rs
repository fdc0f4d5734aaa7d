//! Whose a handle is.

use std::num::NonZeroU64;

use crate::sys;

/// The error of a handle that is used in another process than the one it belongs to.
///
/// A forked child has a copy of its parent's memory, handles included, but the children,
/// connections and descriptors behind them stay the parent's. What a child shall have is given to
/// it at its start: [`LaunchOptions::give`](crate::process::LaunchOptions::give).
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this handle belongs to another process, or was given away to one; a process uses only what it made \
     itself, what it was given at its start (LaunchOptions::give), or what it received"
)]
pub struct WrongProcess;

crate::error::debug_is_display!(WrongProcess);

/// A process, told apart from all its ancestors and descendants: for handles that are to know whose
/// they are.
///
/// ```
/// use common_ipc::process::{Generation, Launch, LaunchOptions};
///
/// let home = Generation::current();
/// assert!(home.check().is_ok());
/// let child = Launch::new(&LaunchOptions::new()).start(move || home.check().is_ok())?;
/// assert!(!child.output::<bool>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(NonZeroU64);

impl Generation {
    /// The process that runs this call.
    #[must_use]
    pub fn current() -> Generation {
        Generation(sys::generation::current())
    }

    /// Checks that this is the process that runs this call.
    ///
    /// # Errors
    ///
    /// [`WrongProcess`] in any other.
    pub fn check(self) -> Result<(), WrongProcess> {
        if self == Generation::current() { Ok(()) } else { Err(WrongProcess) }
    }

    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }
}
