//! Bytes and values between processes.

pub(crate) mod attachments;
mod bytes;
mod calls;
pub mod codec;
pub mod connection;
pub(crate) mod control;
mod door;
mod error;
mod frame;
mod guard;
#[cfg(test)]
pub(crate) mod in_transit;
pub(crate) mod jobs;
pub mod pipe;
pub mod poll;
mod poller;
pub mod queue;
mod ring;
pub(crate) mod sealed;
pub(crate) mod spin;
#[cfg(feature = "tokio")]
mod watched;

pub use bytes::Bytes;
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use calls::{AsyncOpenCaller, AsyncOpenServer};
#[doc(inline)]
pub use calls::{
    CallError, CallProgress, Caller, Execution, KeptRequest, OpenCaller, OpenReply, OpenRequest,
    OpenResponder, OpenServer, Received, ReplyError, Responder, Server, calls, open_calls,
};
#[cfg(feature = "tokio")]
#[doc(inline)]
pub use connection::AsyncConnection;
#[doc(inline)]
pub use connection::{Connection, DEFAULT_RING, Receiver, Sender};
#[doc(inline)]
pub use door::{Arrival, ConnectError, Connector, Listener, listener};
pub use error::LinkError;
pub use frame::{DEFAULT_MAX_FRAME, FrameTooLarge};
#[doc(inline)]
pub use pipe::{PipeReader, PipeWriter, pipe};
#[doc(inline)]
pub use poll::safe_select;
pub use poller::Poller;
#[doc(inline)]
pub use queue::Queue;
#[doc(hidden)]
pub use spin::Spinner;
