//! Bytes and values between processes.

pub mod codec;
pub mod connection;
pub mod frame;
mod guard;
pub mod pipe;
pub mod poll;

pub use connection::{Connection, LinkError};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use poll::safe_select;
