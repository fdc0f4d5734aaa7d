//! Why a message couldn't be sent or received.

use std::io;

use crate::link::codec::{DecodeError, EncodeError};
use crate::link::frame::{FrameTooLarge, Unframed};
use crate::link::ring::Garbled;
use crate::ownership::generation::WrongProcess;

/// Why a message couldn't be sent or received.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The other end is closed: its process dropped it or ended. All whole messages that it had sent
    /// were received before. How it ended is told by the child's handle
    /// ([`Child::wait`](crate::process::Child::wait)), where this process has that.
    #[error("the other end of the connection is closed: its process has dropped it or has ended")]
    Closed,
    /// The other end was closed in the midst of a message.
    #[error("the other end of the connection was closed in the midst of a message")]
    Truncated,
    /// There was no room at the moment. Nothing was sent.
    #[error("there is no room for the message now")]
    Full,
    /// There was no room in time. The receiver never sees any of the message, and the connection goes on.
    #[error("there was no room for the message in time; nothing of it was delivered")]
    TimedOut,
    /// No reply to a call came in time. The request may have been carried out, or may yet be; its reply will be
    /// dropped.
    #[error("no reply came in time; the request may have been carried out, or may yet be")]
    NoReply,
    /// Whoever had taken the request dropped it without a reply, or panicked. It may have been carried out in
    /// part.
    #[error("the other side has dropped the request without a reply to it")]
    Unanswered,
    /// A message is larger than the connection allows. When sending, nothing was sent and the
    /// connection goes on; when receiving, it is broken.
    #[error(transparent)]
    TooLarge(#[from] FrameTooLarge),
    /// The message couldn't be written. Nothing was sent, and the connection goes on.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A message came that isn't of the expected type. It is gone, and the connection is broken; where it belongs to a
    /// call, the connection goes on.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The other end wrote what no honest one does. The connection is broken.
    #[error("the other end of the connection wrote what makes no sense ({0})")]
    Garbled(&'static str),
    /// An earlier error left the stream at an unknown place. Make a new connection.
    #[error("the connection is broken by an earlier error ({0}); make a new one")]
    Broken(String),
    /// A message was taken from a [`Queue`](crate::link::Queue), and is gone: there was no room for the
    /// descriptors that it came with. The queue goes on.
    #[error("a message was lost: this process had no room for the descriptors that came with it")]
    Lost,
    /// This end belongs to another process.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The kernel refused.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

crate::error::debug_is_display!(LinkError);

impl From<nix::Error> for LinkError {
    fn from(errno: nix::Error) -> LinkError {
        LinkError::Io(errno.into())
    }
}

impl From<Garbled> for LinkError {
    fn from(garbled: Garbled) -> LinkError {
        LinkError::Garbled(garbled.0)
    }
}

impl From<Unframed> for LinkError {
    fn from(unframed: Unframed) -> LinkError {
        match unframed {
            Unframed::TooLarge(error) => error.into(),
            Unframed::Garbled(error) => error.into(),
        }
    }
}
