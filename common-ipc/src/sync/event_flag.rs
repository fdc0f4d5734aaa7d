//! What the kinds of events have in common.

use std::io;
use std::time::Duration;

/// A flag that processes set, clear and wait for: an [`Event`](crate::sync::Event) or an
/// [`EventFd`](crate::sync::EventFd).
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
}
