//! What the kinds of events have in common.

use std::io;
use std::time::Duration;

use crate::link::poll::Deadline;
use crate::process::{Child, ChildError};
use crate::sync::words::LOOK_AGAIN;

/// A flag that processes set, clear and wait for: an [`Event`](crate::sync::Event), an
/// [`EventFd`](crate::sync::EventFd), or a kind of one's own.
///
/// ```
/// use common_ipc::sync::{Event, EventFd, EventFlag};
///
/// fn announce(to: &[Box<dyn EventFlag>]) -> std::io::Result<()> {
///     to.iter().try_for_each(|flag| flag.set())
/// }
///
/// let (event, event_fd) = (Event::new()?, EventFd::new()?);
/// announce(&[Box::new(event.clone()), Box::new(event_fd.clone())])?;
/// assert!(event.is_set() && event_fd.is_set()?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait EventFlag {
    /// Sets it and wakes everyone who waits.
    ///
    /// # Errors
    ///
    /// In a process that doesn't have it, a [`WrongProcess`](crate::process::WrongProcess) inside the
    /// `io::Error`; so for the others.
    fn set(&self) -> io::Result<()>;

    /// Takes back [`set`](EventFlag::set).
    ///
    /// # Errors
    ///
    /// As for [`set`](EventFlag::set).
    fn clear(&self) -> io::Result<()>;

    /// Whether it is set at this moment.
    ///
    /// # Errors
    ///
    /// As for [`set`](EventFlag::set).
    fn is_set(&self) -> io::Result<bool>;

    /// Waits until it is set, for as long as that takes.
    ///
    /// # Errors
    ///
    /// As for [`set`](EventFlag::set).
    fn wait(&self) -> io::Result<()>;

    /// Waits until it is set, for up to `timeout`, and says whether it is.
    ///
    /// # Errors
    ///
    /// As for [`set`](EventFlag::set).
    fn wait_timeout(&self, timeout: Duration) -> io::Result<bool>;

    /// Waits until it is set or `child` has ended, for up to `timeout` if there is one, and says whether it is set.
    ///
    /// A kind of one's own has it by [`wait_timeout`](EventFlag::wait_timeout), and notices the death of the child
    /// within 50 ms.
    ///
    /// # Errors
    ///
    /// [`ChildError`] if the child is another process's, or can't be looked at; [`ChildError::Os`] with what
    /// [`wait_timeout`](EventFlag::wait_timeout) fails with.
    fn wait_or_death(&self, child: &Child, timeout: Option<Duration>) -> Result<bool, ChildError> {
        let deadline = Deadline::optional(timeout);
        loop {
            let alive = child.is_alive()?;
            let slice = deadline.left().map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN));
            // In this order: it may have set the event with its last breath.
            let set = self
                .wait_timeout(if alive { slice } else { Duration::ZERO })
                .map_err(|source| ChildError::Os { step: "wait for an event", source })?;
            if set || !alive || deadline.has_passed() {
                return Ok(set);
            }
        }
    }
}
