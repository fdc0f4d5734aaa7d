//! Typed messages both ways between two processes.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod bell;
mod end;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod halves;
pub(crate) mod moving;
mod raw;
mod receiving;
pub(crate) mod room;
pub(crate) mod scratch;
mod sending;
mod travel;
pub(crate) mod waiting;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, iter};

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncConnection;
pub(crate) use end::End;
pub use halves::{Receiver, Sender};
pub(crate) use raw::Came;

use crate::link::connection::end::Wires;
use crate::link::connection::room::Patience;
use crate::link::error::LinkError;
use crate::link::frame::DEFAULT_MAX_FRAME;
use crate::link::poll::Deadline;
use crate::link::ring;
use crate::ownership::generation::WrongProcess;
use crate::ownership::give::{Give, Giver, How, private};

/// How many bytes may be on their way in each direction, unless a connection is told otherwise: 256 KiB.
pub const DEFAULT_RING: usize = 256 << 10;

/// One end of a two-way connection: sends `Out`, receives `In`.
///
/// Messages go through memory that the two processes share, so a small one takes a fraction of a microsecond
/// while both are awake, and a system call only when one of them sleeps. [`Bytes`](crate::link::Bytes), alone or
/// within a message, cross at the speed of two copies; descriptors can be sent along by sending what has them:
/// shared memory, events, queues, and ends of other connections.
///
/// # Whose an end is
///
/// An end belongs to one process. The end for a child is given to it
/// ([`LaunchOptions::give`](crate::process::LaunchOptions::give)), or sent over another connection, and is of
/// no more use here; an end that isn't given doesn't exist in any child. So the death of the process at the
/// other end is always seen here, as [`LinkError::Closed`], however it died and whoever else has copies of
/// its descriptors: by whoever waits at once, and by whoever sends without waiting within 10 ms. What it
/// had sent by then is received before.
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
///     for number in there.iter() {
///         there.send(&u64::from(number.unwrap()).pow(2)).unwrap();
///     }
/// })?;
/// here.send(&12)?;
/// assert_eq!(here.recv()?, 144);
/// drop(here); // ends the child's loop
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What can be sent
///
/// What is `Serialize` and `DeserializeOwned`, but for what only a self-describing format carries: untagged or
/// internally tagged enums, `flatten`, `skip_serializing_if`. Debug builds notice that at the sender, by name.
///
/// # Room
///
/// What is sent and not yet received is bounded by the ring's bytes in each direction; beyond that
/// [`send`](Connection::send) waits. A longer message streams through the ring while the other side receives
/// it. While a send waits, it takes in up to one message of the longest kind of what the other side sends. So
/// two sides that send each other one such message at once don't wait for each other for ever; if both go
/// on sending and neither receives, they do, and a time-out ends it.
///
/// # Trust
///
/// The other process may write anything into the shared memory at any time. Nothing that it writes is
/// believed before it was copied and checked: the worst that it can cause is an error of this connection.
pub struct Connection<Out, In> {
    end: Arc<End>,
    types: PhantomData<fn(Out) -> In>,
}

impl<Out, In> Clone for Connection<Out, In> {
    fn clone(&self) -> Self {
        Connection { end: Arc::clone(&self.end), types: PhantomData }
    }
}

impl<Out, In> fmt::Debug for Connection<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("control", &self.end.wires.control).finish_non_exhaustive()
    }
}

impl<Out, In> Connection<Out, In>
where
    Out: Serialize + DeserializeOwned,
    In: Serialize + DeserializeOwned,
{
    /// A pair of ends, for messages of up to [`DEFAULT_MAX_FRAME`] bytes.
    /// It takes three descriptors and, as it is used, 516 KiB of memory.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn pair() -> io::Result<(Connection<Out, In>, Connection<In, Out>)> {
        Connection::pair_with_max(DEFAULT_MAX_FRAME)
    }

    /// A pair of ends, for messages whose encoding, with what is sent beside it, has up to `max_frame`
    /// bytes; above 4 GiB is taken for that.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn pair_with_max(max_frame: usize) -> io::Result<(Connection<Out, In>, Connection<In, Out>)> {
        Connection::pair_with(max_frame, DEFAULT_RING)
    }

    /// As [`pair_with_max`](Connection::pair_with_max), with room for about `ring` bytes on their way in
    /// each direction: made a power of two of 4 KiB to 64 MiB. A larger ring makes long messages faster, up to
    /// some 1 MiB.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn pair_with(
        max_frame: usize,
        ring: usize,
    ) -> io::Result<(Connection<Out, In>, Connection<In, Out>)> {
        let (least, most) = (*ring::CAPACITY.start() as usize, *ring::CAPACITY.end() as usize);
        let capacity = ring.clamp(least, most).next_power_of_two() as u32;
        let (one, other) = Wires::pair(capacity, max_frame.min(u32::MAX as usize))?;
        Ok((Connection::from_end(End::new(one)), Connection::from_end(End::new(other))))
    }

    /// Sends a message, waiting for room as long as it takes.
    ///
    /// The message is encoded whole before its first byte is sent.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] once the other end is closed; [`LinkError::Encode`] and
    /// [`LinkError::TooLarge`] with nothing sent; [`LinkError::Garbled`] if the other side wrote nonsense;
    /// [`LinkError::Io`] if descriptors that the message has can't be sent, with nothing sent;
    /// [`LinkError::WrongProcess`].
    pub fn send(&self, message: &Out) -> Result<(), LinkError> {
        self.send_until(message, Deadline::NEVER)
    }

    /// Sends a message if there is room for all of it.
    ///
    /// # Errors
    ///
    /// [`LinkError::Full`] if there isn't, or another thread is in the midst of sending;
    /// [`LinkError::TooLarge`] also for what never has room in the ring at once; else as for
    /// [`send`](Connection::send).
    pub fn try_send(&self, message: &Out) -> Result<(), LinkError> {
        self.end.send(message, Patience::None)
    }

    /// Sends a message, waiting for room for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`LinkError::TimedOut`]: the message isn't delivered, not in part either, and the connection goes
    /// on; else as for [`send`](Connection::send).
    pub fn send_timeout(&self, message: &Out, timeout: Duration) -> Result<(), LinkError> {
        self.send_until(message, Deadline::after(timeout))
    }

    /// Receives a message, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] once the other end is closed and all that it sent was received;
    /// [`LinkError::Truncated`], [`LinkError::TooLarge`], [`LinkError::Garbled`] and
    /// [`LinkError::Decode`], after which the connection is [`LinkError::Broken`]; [`LinkError::Io`] while
    /// there is no room for the descriptors that came with a message, which isn't lost;
    /// [`LinkError::WrongProcess`].
    pub fn recv(&self) -> Result<In, LinkError> {
        self.end.recv_forever()
    }

    /// Receives a message if one is there. `Ok(None)`: none is there yet, or another thread is receiving.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Connection::recv).
    pub fn try_recv(&self) -> Result<Option<In>, LinkError> {
        self.recv_until(Deadline::after(Duration::ZERO))
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

    /// The messages that come, until the other end is closed; any other error is the last item. A peer that was
    /// killed between two messages ends it as one does that had no more to say: ask
    /// [`Child::wait`](crate::process::Child::wait), or have the last message say that it is the last.
    ///
    /// ```
    /// use common_ipc::link::Connection;
    ///
    /// let (here, there) = Connection::<u8, ()>::pair()?;
    /// for number in 1..=3 {
    ///     here.send(&number)?;
    /// }
    /// drop(here);
    /// assert_eq!(there.iter().sum::<Result<u8, _>>()?, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Result<In, LinkError>> + '_ {
        let mut ended = false;
        iter::from_fn(move || {
            let received = if ended { Err(LinkError::Closed) } else { self.recv() };
            ended = received.is_err();
            match received {
                Err(LinkError::Closed) => None,
                received => Some(received),
            }
        })
    }

    /// The two directions as handles of their own. They, and clones of this end, go on sharing it: it is
    /// closed when the last of them is dropped.
    #[must_use]
    pub fn split(self) -> (Sender<Out>, Receiver<In>) {
        halves::split(self.end)
    }
}

impl<Out, In> Connection<Out, In>
where
    Out: Serialize + DeserializeOwned,
    In: Serialize + DeserializeOwned,
{
    pub(crate) fn send_until(&self, message: &Out, deadline: Deadline) -> Result<(), LinkError> {
        self.end.send(message, Patience::Until(deadline))
    }

    pub(crate) fn recv_until(&self, deadline: Deadline) -> Result<Option<In>, LinkError> {
        self.end.recv(deadline)
    }

    /// Whether the end belongs to this process.
    pub(crate) fn check_home(&self) -> Result<(), WrongProcess> {
        self.end.wires.control.get().map(drop)
    }
}

impl<Out, In> Connection<Out, In> {
    /// For those who encode by themselves.
    pub(crate) fn end(&self) -> &Arc<End> {
        &self.end
    }

    fn from_end(end: End) -> Connection<Out, In> {
        Connection { end: Arc::new(end), types: PhantomData }
    }
}

/// For poll, select and epoll: readable while there is something to receive, and when the other end is
/// closed. Once in a while it is readable for nothing, so receive with
/// [`try_recv`](Connection::try_recv). There is nothing to write to: it is about receiving only.
///
/// From the first call on, the other side makes a system call for each message that finds this end
/// without any. In a process that the end doesn't belong to, it is a descriptor of /dev/null.
impl<Out, In> AsFd for Connection<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.pollable()
    }
}

impl<Out, In> Connection<Out, In> {
    /// As [`as_fd`](AsFd::as_fd), but where there is no descriptor left for that, it says so: what that lends then is
    /// always readable, so that a loop which polls it never sleeps.
    ///
    /// # Errors
    ///
    /// [`LinkError::Io`]; [`LinkError::WrongProcess`].
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, LinkError> {
        self.end.try_pollable()
    }

    pub(crate) fn remind(&self) {
        self.end.polled().inspect(|polled| polled.remind());
    }
}

impl<Out, In> private::Sealed for Connection<Out, In> {}

impl<Out, In> Give for Connection<Out, In> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.end.list(giver);
    }
}

impl End {
    fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.wires.control, How::MovedWithNotice);
        giver.add(&self.wires.memory, How::Shared);
    }

    fn recv_forever<T: Serialize + DeserializeOwned>(&self) -> Result<T, LinkError> {
        loop {
            if let Some(message) = self.recv(Deadline::NEVER)? {
                return Ok(message);
            }
        }
    }
}
