//! Why something can't be watched.

use std::io;

use common_ipc::link::LinkError;
use common_ipc::process::{CatchError, WrongProcess};
use nix::errno::Errno;

/// Why a loop doesn't watch what it was told to. The loop goes on without.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The same descriptor, or the same front end, is watched by this loop already. Keep the first watch, or end it
    /// before.
    #[error("it is watched by this loop already; end that watch first, or keep it")]
    AlreadyWatched,
    /// A kind of file that is never waited for, since it can always be read: a regular file, a directory.
    #[error(
        "this kind of file can't be waited for: it can always be read, as a regular file or a directory can"
    )]
    NotPollable,
    /// Nothing stands behind the number: the descriptor was closed.
    #[error("the descriptor is closed")]
    BadDescriptor,
    /// The front end has no back end at this moment: start it first.
    #[error("there is no process to watch: start it first")]
    NotStarted,
    /// A signal that can't be caught.
    #[error(transparent)]
    Signal(#[from] CatchError),
    /// The loop belongs to another process.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The kernel refused: no memory or descriptors, too many watches of this user, a loop that would watch itself.
    #[error("the kernel doesn't watch it: {0}")]
    Os(#[source] io::Error),
}

impl From<LinkError> for WatchError {
    fn from(error: LinkError) -> WatchError {
        match error {
            LinkError::WrongProcess(error) => error.into(),
            LinkError::Io(error) => WatchError::Os(error),
            other => WatchError::Os(io::Error::other(other)),
        }
    }
}

impl From<io::Error> for WatchError {
    fn from(error: io::Error) -> WatchError {
        if let Some(&wrong) = error.get_ref().and_then(|inner| inner.downcast_ref::<WrongProcess>()) {
            return WatchError::WrongProcess(wrong);
        }
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EEXIST) => WatchError::AlreadyWatched,
            Some(Errno::EPERM) => WatchError::NotPollable,
            Some(Errno::EBADF) => WatchError::BadDescriptor,
            _ => WatchError::Os(error),
        }
    }
}

/// Its text: this is what `main` and `unwrap` print.
impl std::fmt::Debug for WatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
