//! Bytes and values between processes.

pub(crate) mod attachments;
mod bytes;
pub mod codec;
pub mod connection;
pub(crate) mod control;
pub mod frame;
mod guard;
pub mod pipe;
pub mod poll;
pub mod queue;
pub(crate) mod sealed;

pub use bytes::Bytes;
pub use connection::{Connection, LinkError};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use poll::safe_select;
pub use queue::Queue;
