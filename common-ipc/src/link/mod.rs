//! Bytes and values between processes.

pub(crate) mod attachments;
mod bytes;
mod calls;
pub mod codec;
pub mod connection;
pub(crate) mod control;
mod error;
mod frame;
mod guard;
#[cfg(test)]
pub(crate) mod in_transit;
pub mod pipe;
pub mod poll;
pub mod queue;
mod ring;
pub(crate) mod sealed;
pub(crate) mod spin;

pub use bytes::Bytes;
pub use calls::{Caller, Responder, Server, calls};
#[cfg(feature = "tokio")]
pub use connection::AsyncConnection;
pub use connection::{Connection, Receiver, Sender};
pub use error::LinkError;
pub use frame::{DEFAULT_MAX_FRAME, FrameTooLarge};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use poll::safe_select;
pub use queue::Queue;
