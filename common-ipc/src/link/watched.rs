//! A descriptor of the library's as a tokio runtime watches it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::runtime::Handle;

use crate::link::connection::End;
use crate::link::error::LinkError;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::{Generation, WrongProcess};
use crate::sys;
use crate::sys::readiness::Number;

/// Whether there is something to be received, or room to send, as the current runtime watches it.
pub(crate) struct Watched {
    /// Dropped before the descriptor that it watches.
    watch: Option<AsyncFd<Number>>,
    /// A copy: a runtime takes each number only once.
    _watched: PrivateFd,
    interest: Interest,
    home: Generation,
}

impl Watched {
    /// Has the current runtime watch a descriptor, for [`Interest::READABLE`] or [`Interest::WRITABLE`].
    ///
    /// # Errors
    ///
    /// Outside of a runtime; no descriptors left.
    ///
    /// # Panics
    ///
    /// In a runtime without I/O.
    pub(crate) fn new(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Watched> {
        Handle::try_current().map_err(|error| {
            let text = "outside of a tokio runtime: call this within block_on, or in a task";
            io::Error::other(format!("{text} ({error})"))
        })?;
        let watched = PrivateFd::new(|| sys::descriptors::duplicate_above(fd, 2))?;
        let number = watched.get().map_err(io::Error::other)?.as_raw_fd();
        let watch = sys::readiness::watch(number, interest)?;
        Ok(Watched { watch: Some(watch), _watched: watched, interest, home: Generation::current() })
    }

    /// The same of what comes to a connection's end, which is pollable from then on.
    ///
    /// # Errors
    ///
    /// As for [`new`](Watched::new), and for an end of another process.
    pub(crate) fn incoming(end: &End) -> io::Result<Watched> {
        Watched::new(end.epoll().map_err(io::Error::other)?, Interest::READABLE)
    }

    /// Waits until it may be so. Whoever then finds that it isn't clears it.
    pub(crate) async fn wait(&self) -> Result<AsyncFdReadyGuard<'_, Number>, LinkError> {
        self.home.check()?;
        let watch = self.watch.as_ref().ok_or(WrongProcess)?;
        Ok(watch.ready(self.interest).await?)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A forked child has a copy of the runtime's epoll, the parent's: it mustn't take anything off that.
        if self.home.check().is_err() {
            std::mem::forget(self.watch.take());
        }
    }
}
