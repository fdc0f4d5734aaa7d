//! What goes over between the two ends: two connections, one for each direction.

use common_ipc::link::{OpenCaller, OpenServer};
use serde::{Deserialize, Serialize};

/// To the back end: its number and the command. If a reply is wanted, it is one of the two below.
pub(crate) const COMMAND: u32 = 0;
/// To the back end: handle what came before, and end.
pub(crate) const STOP: u32 = 1;

/// From the back end: an event.
pub(crate) const EVENT: u32 = 0;
/// From the back end: a [`Failure`](super::Failure).
pub(crate) const FAILED: u32 = 1;

/// The reply to a request: what its `Reply` was sent.
pub(crate) const VALUE: u32 = 0;
/// The reply to a request: a [`Failure`](super::Failure).
pub(crate) const REFUSED: u32 = 1;

/// What a back end starts with, apart from itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct BackEnds {
    pub(crate) commands: OpenServer,
    pub(crate) events: OpenCaller,
    /// The process's name.
    pub(crate) name: String,
}
