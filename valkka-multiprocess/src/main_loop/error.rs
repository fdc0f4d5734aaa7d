//! Why a loop can't go on.

use std::fmt;
use std::io;

use common_ipc::process::WrongProcess;

use crate::reactor::WatchError;

/// Why a [`MainLoop`](crate::MainLoop) can't be made, or doesn't tell the next event.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LoopError {
    /// The loop belongs to another process. Make one here.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// Nothing is watched any more, and nobody has a handle by which to end the loop: it would wait for ever. The loop is
    /// as good as before.
    #[error("the loop watches nothing, and nobody can stop it: it would wait for ever")]
    NothingWatched,
    /// The signals that are to end the loop can't be caught.
    #[error("the signals that are to end the loop can't be caught: {0}")]
    StopSignals(#[source] WatchError),
    /// The kernel refused: no descriptors or no memory left. Nothing that came is lost; it can be tried again.
    #[error("the loop can't {step}: {source}")]
    Os {
        /// What was to be done.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Its text: this is what `main` and `unwrap` print.
impl fmt::Debug for LoopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
