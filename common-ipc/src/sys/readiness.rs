//! A descriptor as a tokio runtime watches it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor by its number; what it is a number of is kept elsewhere.
#[derive(Debug)]
pub(crate) struct Number(RawFd);

impl AsRawFd for Number {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Has the current runtime watch a descriptor. The caller keeps that descriptor open for
/// longer than what this returns.
///
/// # Errors
///
/// The kernel refuses.
///
/// # Panics
///
/// Without a current runtime, or in one without I/O.
pub(crate) fn watch(number: RawFd, interest: Interest) -> io::Result<AsyncFd<Number>> {
    // SAFETY: the number is always the same, and that it stays open is the caller's promise, as above.
    let watched = unsafe { AsyncFd::register_with_interest(Number(number), interest) };
    Ok(watched?)
}
