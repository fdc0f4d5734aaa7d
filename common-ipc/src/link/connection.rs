//! Typed messages both ways between two processes.

use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::codec::{self, DecodeError, EncodeError};
use crate::link::frame::{self, Assembler, DEFAULT_MAX_FRAME, FrameTooLarge};
use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::WrongProcess;
use crate::ownership::give::{Give, Giver, How, private};

/// Why a message couldn't be sent or received.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The other end is closed: its process dropped it or ended. All whole messages that it had sent
    /// were received before.
    #[error("the other end of the connection is closed: its process has dropped it or has ended")]
    Closed,
    /// The other end was closed in the midst of a message.
    #[error("the other end of the connection was closed in the midst of a message")]
    Truncated,
    /// A message is larger than the connection allows. When sending, nothing was sent and the
    /// connection goes on; when receiving, it is broken.
    #[error(transparent)]
    TooLarge(#[from] FrameTooLarge),
    /// The message couldn't be written. Nothing was sent, and the connection goes on.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A message came that isn't of the expected type. It is gone, and the connection is broken.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An earlier error left the stream at an unknown place. Make a new connection.
    #[error("the connection is broken by an earlier error ({0}); make a new one")]
    Broken(String),
    /// A message that was tried to be sent found no room; nothing of it was delivered.
    #[error("there is no room for the message now")]
    Full,
    /// A message that was sent with a time-out found no room in time.
    #[error("there was no room for the message in time; nothing of it was delivered")]
    TimedOut,
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

/// One end of a two-way connection: sends `Out`, receives `In`.
///
/// An end belongs to one process. The end for a child is given to it
/// ([`LaunchOptions::give`](crate::process::LaunchOptions::give)) and is of no more use here; an end
/// that isn't given doesn't exist in any child, so that the death of the process at the other end is
/// always seen here, as [`LinkError::Closed`].
///
/// Clones share one end within a process. Any number of threads may send and receive at once: a
/// message is always sent and received whole. Dropping the last clone closes the end; what was sent
/// is still received by the other side.
///
/// ```
/// use common_ipc::link::Connection;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let (here, there) = Connection::<u32, u64>::pair()?;
/// let options = LaunchOptions::new().give(&there);
/// let child = Launch::new(&options).start(move || {
///     while let Ok(number) = there.recv() {
///         there.send(&u64::from(number).pow(2)).unwrap();
///     }
/// })?;
/// here.send(&12)?;
/// assert_eq!(here.recv()?, 144);
/// drop(here); // ends the child's loop
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection<Out, In> {
    end: Arc<End>,
    types: PhantomData<fn(Out) -> In>,
}

struct End {
    fd: Arc<PrivateFd>,
    max_frame: usize,
    sender: Mutex<Sender>,
    receiver: Mutex<Receiver>,
}

/// One thread at a time sends.
struct Sender {
    broken: Option<String>,
}

/// One thread at a time receives.
struct Receiver {
    assembler: Assembler,
    broken: Option<String>,
}

impl<Out, In> Clone for Connection<Out, In> {
    fn clone(&self) -> Self {
        Connection { end: Arc::clone(&self.end), types: PhantomData }
    }
}

impl<Out, In> fmt::Debug for Connection<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("fd", &self.end.fd).finish_non_exhaustive()
    }
}

impl<Out, In> Connection<Out, In>
where
    Out: Serialize + DeserializeOwned,
    In: Serialize + DeserializeOwned,
{
    /// A pair of ends, for messages of up to [`DEFAULT_MAX_FRAME`] bytes.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn pair() -> io::Result<(Connection<Out, In>, Connection<In, Out>)> {
        Connection::pair_with_max(DEFAULT_MAX_FRAME)
    }

    /// A pair of ends, for messages whose encoding has up to `max_frame` bytes, 4 GiB at the most.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn pair_with_max(max_frame: usize) -> io::Result<(Connection<Out, In>, Connection<In, Out>)> {
        let max_frame = max_frame.min(u32::MAX as usize);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) =
            PrivateFd::pair(|| Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?))?;
        Ok((Connection::from_fd(one, max_frame), Connection::from_fd(other, max_frame)))
    }

    /// Sends a message, waiting for room as long as it takes.
    ///
    /// The message is encoded whole before its first byte is sent.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] once the other end is closed; [`LinkError::Encode`] and
    /// [`LinkError::TooLarge`] with nothing sent; [`LinkError::Broken`] after an error in the midst
    /// of an earlier message; [`LinkError::WrongProcess`].
    pub fn send(&self, message: &Out) -> Result<(), LinkError> {
        let payload = codec::encode_checked(message)?;
        let header = frame::header(payload.len(), self.end.max_frame)?;
        let fd = self.end.fd.get()?;
        let mut sender = self.end.sender.lock();
        if let Some(why) = &sender.broken {
            return Err(LinkError::Broken(why.clone()));
        }
        let mut sent = 0;
        let total = header.len() + payload.len();
        while sent < total {
            let (rest_of_header, rest) =
                (&header[sent.min(header.len())..], &payload[sent.saturating_sub(header.len())..]);
            let parts = [IoSlice::new(rest_of_header), IoSlice::new(rest)];
            match sendmsg::<()>(fd.as_raw_fd(), &parts, &[], MsgFlags::MSG_NOSIGNAL, None) {
                Ok(count) => sent += count,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => {
                    wait_until(&mut [PollFd::new(fd, PollFlags::POLLOUT)], Deadline::NEVER)?;
                }
                Err(nix::Error::EPIPE | nix::Error::ECONNRESET) => return Err(LinkError::Closed),
                Err(errno) => {
                    if sent > 0 {
                        sender.broken = Some(errno.to_string());
                    }
                    return Err(errno.into());
                }
            }
        }
        Ok(())
    }

    /// Receives a message, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] once the other end is closed and all that it sent was received;
    /// [`LinkError::Truncated`], [`LinkError::TooLarge`] and [`LinkError::Decode`], after which the
    /// connection is [`LinkError::Broken`]; [`LinkError::WrongProcess`].
    pub fn recv(&self) -> Result<In, LinkError> {
        loop {
            if let Some(message) = self.recv_until(Deadline::NEVER)? {
                return Ok(message);
            }
        }
    }

    /// Receives a message if one is there. `Ok(None)`: none is there yet.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Connection::recv).
    pub fn try_recv(&self) -> Result<Option<In>, LinkError> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Receives a message, waiting for up to `timeout`. `Ok(None)`: none came; one that had arrived
    /// in part isn't lost.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Connection::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<In>, LinkError> {
        self.recv_until(Deadline::after(timeout))
    }

    fn recv_until(&self, deadline: Deadline) -> Result<Option<In>, LinkError> {
        let fd = self.end.fd.get()?;
        loop {
            // Another thread may be in the midst of receiving: it lets go whenever it has to wait.
            let mut receiver = self.end.receiver.lock();
            match receiver.advance(fd) {
                Ok(Some(payload)) => {
                    // It may take a while, or call whatever a type's Deserialize calls.
                    drop(receiver);
                    return codec::decode(&payload)
                        .map(Some)
                        .map_err(|error| self.end.receiver.lock().fail(error.into()));
                }
                Ok(None) => {}
                Err(error) => return Err(receiver.fail(error)),
            }
            drop(receiver);
            if !wait_until(&mut [PollFd::new(fd, PollFlags::POLLIN)], deadline)? {
                return Ok(None);
            }
        }
    }
}

impl<Out, In> Connection<Out, In> {
    fn from_fd(fd: PrivateFd, max_frame: usize) -> Connection<Out, In> {
        let end = End {
            fd: Arc::new(fd),
            max_frame,
            sender: Mutex::new(Sender { broken: None }),
            receiver: Mutex::new(Receiver { assembler: Assembler::new(max_frame), broken: None }),
        };
        Connection { end: Arc::new(end), types: PhantomData }
    }
}

impl Receiver {
    /// Takes in what is there, up to the end of the current frame.
    fn advance(&mut self, fd: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, LinkError> {
        if let Some(why) = &self.broken {
            return Err(LinkError::Broken(why.clone()));
        }
        loop {
            if let Some(payload) = self.assembler.take() {
                return Ok(Some(payload));
            }
            match recv(fd.as_raw_fd(), self.assembler.space(), MsgFlags::empty()) {
                Ok(0) | Err(nix::Error::ECONNRESET) => {
                    let midway = self.assembler.is_midway();
                    return Err(if midway { LinkError::Truncated } else { LinkError::Closed });
                }
                Ok(count) => self.assembler.filled(count)?,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Remembers an error after which the place in the stream, or the peer's good sense, is lost.
    fn fail(&mut self, error: LinkError) -> LinkError {
        if matches!(error, LinkError::Truncated | LinkError::TooLarge(_) | LinkError::Decode(_)) {
            self.broken = Some(error.to_string());
        }
        error
    }
}

/// For poll, select and epoll: readable when there is something to receive, or the other end is
/// closed. It stays readable until that was received.
impl<Out, In> AsFd for Connection<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.fd.expose()
    }
}

impl<Out, In> private::Sealed for Connection<Out, In> {}

impl<Out, In> Give for Connection<Out, In> {
    fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.end.fd, How::Moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// A connection of strings whose other end speaks plain bytes.
    fn with_raw_peer(max: usize) -> (Connection<String, String>, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        (Connection::from_fd(PrivateFd::new(|| Ok(one.into())).unwrap(), max), other)
    }

    #[test]
    fn messages_go_both_ways_between_threads() {
        let (one, other) = Connection::<String, usize>::pair().unwrap();
        let echo = std::thread::spawn(move || {
            while let Ok(text) = other.recv() {
                other.send(&text.len()).unwrap();
            }
        });
        for length in [0, 1, 1000, 1 << 20] {
            one.send(&"x".repeat(length)).unwrap();
            assert_eq!(one.recv().unwrap(), length);
        }
        drop(one);
        echo.join().unwrap();
    }

    #[test]
    fn what_was_sent_before_the_end_is_received_before_the_error() {
        let (one, other) = Connection::<u8, u8>::pair().unwrap();
        one.send(&1).unwrap();
        drop(one);
        assert_eq!(other.recv().unwrap(), 1);
        assert!(matches!(other.recv(), Err(LinkError::Closed)));
        assert!(matches!(other.send(&1), Err(LinkError::Closed)));
    }

    #[test]
    fn a_hostile_length_breaks_the_link_and_takes_no_memory() {
        let (one, mut other) = with_raw_peer(1024);
        other.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(matches!(one.recv(), Err(LinkError::TooLarge(_))));
        assert!(matches!(one.recv(), Err(LinkError::Broken(_))));
    }

    #[test]
    fn a_truncated_frame_breaks_the_link() {
        let (one, mut other) = with_raw_peer(1024);
        other.write_all(&[10, 0, 0, 0, 1, 2]).unwrap();
        assert!(one.try_recv().unwrap().is_none());
        drop(other);
        assert!(matches!(one.recv(), Err(LinkError::Truncated)));
        assert!(matches!(one.try_recv(), Err(LinkError::Broken(_))));
    }

    #[test]
    fn garbage_breaks_the_link() {
        let (one, mut other) = with_raw_peer(1024);
        other.write_all(&[3, 0, 0, 0, 2, 0xff, 0xfe]).unwrap();
        assert!(matches!(one.recv(), Err(LinkError::Decode(_))));
        assert!(matches!(one.recv(), Err(LinkError::Broken(_))));
    }

    #[test]
    fn too_large_a_message_is_refused_whole() {
        let (one, other) = Connection::<String, u8>::pair_with_max(100).unwrap();
        assert!(matches!(one.send(&"x".repeat(200)), Err(LinkError::TooLarge(_))));
        one.send(&"fits".to_owned()).unwrap();
        assert_eq!(other.recv().unwrap(), "fits");
    }

    #[test]
    fn four_threads_send_large_messages_unmixed() {
        let (one, other) = Connection::<Vec<u32>, ()>::pair().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let one = one.clone();
                scope.spawn(move || {
                    for _ in 0..10 {
                        one.send(&vec![thread; 50_000]).unwrap();
                    }
                });
            }
            for _ in 0..40 {
                let message = other.recv().unwrap();
                assert_eq!(message.len(), 50_000);
                assert!(message.iter().all(|word| *word == message[0]));
            }
        });
    }
}
