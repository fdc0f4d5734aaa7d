//! Typed items from many processes to many, each to one of them.

#[cfg(feature = "tokio")]
mod asynchronous;
mod packet;
mod take;
#[cfg(test)]
mod tests;
mod travel;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, setsockopt, socketpair, sockopt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::attachments;
use crate::link::codec::{DecodeError, EncodeError};
use crate::link::error::LinkError;
use crate::link::frame::DEFAULT_MAX_FRAME;
use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::How;
use crate::sys;
use packet::{Parcel, Unreadable};
use take::{Caution, Scratch, take};

/// What a queue's socket holds, in the kernel's own count, and half of it: the kernel doubles what it is
/// told. It is the usual default, made sure of, so that the bounds are the same on every machine.
const ROOM_TO_ASK_FOR: usize = 106_496;

/// A queue that any number of processes put items in and take items out of.
///
/// Every process that has it can do both: the one that made it, each child that is given it
/// ([`LaunchOptions::give`](crate::process::LaunchOptions::give); the giver keeps it, and may give it to
/// any number of children), and whoever receives it, for a queue may itself be a message, or part of one.
/// A child that only captures it has nothing: every call says
/// [`WrongProcess`](crate::process::WrongProcess).
///
/// ```
/// use common_ipc::link::Queue;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let (numbers, squares) = (Queue::<Option<u32>>::new()?, Queue::<u64>::new()?);
/// let options = LaunchOptions::new().give(&numbers).give(&squares);
/// let workers: Vec<_> = (0..2)
///     .map(|_| {
///         Launch::new(&options).start(|| {
///             while let Some(number) = numbers.recv().unwrap() {
///                 squares.send(&u64::from(number).pow(2)).unwrap();
///             }
///         })
///     })
///     .collect::<Result<_, _>>()?;
/// for number in 1..=10 {
///     numbers.send(&Some(number))?;
/// }
/// let sum: u64 = (1..=10).map(|_| squares.recv()).sum::<Result<u64, _>>()?;
/// assert_eq!(sum, 385);
/// for _ in &workers {
///     numbers.send(&None)?; // ends one of them
/// }
/// for worker in workers {
///     worker.output::<()>()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Tasks of a tokio runtime wait by `send_async` and `recv_async` (feature `tokio`).
///
/// An item is received once, by one process, whole. Items of one sender's thread come in the order in which
/// they were sent, to each receiver those that it gets. Clones are the same queue, and any number of threads
/// may use it.
///
/// # There is no end
///
/// Everybody holds both ends, so nobody's death or drop ends the queue, and a [`recv`](Queue::recv) from
/// those who are dead doesn't return. A consumer ends by an item that says so, as above, or by a time-out;
/// or it waits for an item and for the end of a child at once:
///
/// ```
/// use std::os::fd::AsFd;
/// use common_ipc::link::{Queue, safe_select};
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let queue = Queue::<String>::new()?;
/// let child = Launch::new(&LaunchOptions::new().give(&queue)).start(|| {
///     queue.send(&"the only one".to_owned()).unwrap();
/// })?;
/// let mut received = Vec::new();
/// loop {
///     safe_select(&[queue.as_fd(), child.as_fd()], None)?;
///     // In this order: it may have sent something with its last breath.
///     let alive = child.is_alive()?;
///     match queue.try_recv()? {
///         Some(item) => received.push(item),
///         None if alive => {}
///         None => break,
///     }
/// }
/// assert_eq!(received, ["the only one"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What the death of a process costs
///
/// A sender that is killed has sent an item or it hasn't: none is half there. A receiver takes what it had
/// taken out and not yet dealt with, one item for each of its threads that receives. Everything else stays
/// where it is, for the others. What nobody has received when the last process drops its last handle is gone.
///
/// # What it holds
///
/// The kernel holds the items, and counts bytes: [`send`](Queue::send) waits while it has no room. There is
/// room for some 270 items of up to 64 bytes, 26 of 4 KiB, 3 of 64 KiB. Larger ones travel in shared memory,
/// of which a queue holds 8 MiB, or two items, whichever is more. That memory is counted as its sender's, and
/// each such item, as well as each descriptor in an item, as an open file of the sender's user until it was
/// received: with more of them on the way, in all queues together, than the process may have open files, a
/// send is [`LinkError::Io`] (ETOOMANYREFS), unless the process is privileged.
///
/// # Items
///
/// Whatever serde and the [codec](crate::link::codec) carry. [`Bytes`](crate::link::Bytes) are copied in and
/// out and not serialised. Queues and other things that several processes may have travel as well, up to 253
/// descriptors in an item (252 in a large one). What belongs to one process, such as an end of a
/// [`Connection`](crate::link::Connection), doesn't: nobody knows who will receive it.
///
/// An item that can't be read, since it isn't of the expected type or somebody who has the queue means harm,
/// is an error of the call that has received it. It is gone, and the queue goes on.
pub struct Queue<T> {
    pair: Arc<Pair>,
    types: PhantomData<fn(T) -> T>,
}

struct Pair {
    /// Where everybody sends.
    sending: Arc<PrivateFd>,
    /// Where everybody receives.
    receiving: Arc<PrivateFd>,
    max: usize,
    /// How many bytes the socket holds.
    room: usize,
    caution: Caution,
    outgoing: Scratch,
    incoming: Scratch,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { pair: Arc::clone(&self.pair), types: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("fd", &self.pair.receiving).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// A queue for items of up to [`DEFAULT_MAX_FRAME`] bytes. It takes two descriptors and a page of memory.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn new() -> io::Result<Queue<T>> {
        Queue::with_max(DEFAULT_MAX_FRAME)
    }

    /// A queue for items whose encoding has up to `max` bytes, 4 GiB at the most. Senders and receivers
    /// check it, each for itself; a queue that came in a message has the cap that the message says.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn with_max(max: usize) -> io::Result<Queue<T>> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (sending, receiving) =
            PrivateFd::pair(|| Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?))?;
        setsockopt(&sending.get().map_err(io::Error::other)?, sockopt::SndBuf, &ROOM_TO_ASK_FOR)?;
        Queue::of(sending, receiving, max.min(u32::MAX as usize), Caution::new()?)
    }

    /// Puts an item in, waiting for room as long as it takes.
    ///
    /// The item is encoded whole before anything is sent. The wait ends when somebody has received enough,
    /// not if everybody who could is dead: use [`send_timeout`](Queue::send_timeout) where that may be.
    ///
    /// # Errors
    ///
    /// In all cases nothing of the item was delivered, and the queue goes on. [`LinkError::Encode`] if it
    /// can't be written, or holds what belongs to one process; [`LinkError::TooLarge`];
    /// [`LinkError::WrongProcess`]; [`LinkError::Io`] for what the kernel refuses: no memory or
    /// descriptor for a large item (EFBIG where RLIMIT_FSIZE forbids its size), or too many descriptors
    /// on the way.
    pub fn send(&self, item: &T) -> Result<(), LinkError> {
        self.send_until(item, Deadline::NEVER)?.ok_or(LinkError::TimedOut)
    }

    /// Puts an item in if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`LinkError::Full`] if there isn't; else as for [`send`](Queue::send).
    pub fn try_send(&self, item: &T) -> Result<(), LinkError> {
        self.send_until(item, Deadline::after(Duration::ZERO))?.ok_or(LinkError::Full)
    }

    /// Puts an item in, waiting for room for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`LinkError::TimedOut`] if there was none in time; else as for [`send`](Queue::send).
    pub fn send_timeout(&self, item: &T, timeout: Duration) -> Result<(), LinkError> {
        self.send_until(item, Deadline::after(timeout))?.ok_or(LinkError::TimedOut)
    }

    /// Takes an item out, waiting for one as long as it takes: for ever, if nobody is left who sends one
    /// ([there is no end](Queue#there-is-no-end)).
    ///
    /// # Errors
    ///
    /// [`LinkError::Decode`] for an item that can't be read and [`LinkError::TooLarge`] for one above the
    /// cap, which are gone; [`LinkError::Io`] (EMFILE) while this process has no descriptors left for
    /// those that the next item comes with, which stays where it is. [`LinkError::Lost`] for an item that
    /// was lost in that way: it is looked at before it is taken, and just then another process took the one
    /// that was looked at, or another thread the last descriptors, or it was the first one ever to come with
    /// any. [`LinkError::WrongProcess`].
    pub fn recv(&self) -> Result<T, LinkError> {
        loop {
            if let Some(item) = self.recv_until(Deadline::NEVER)? {
                return Ok(item);
            }
        }
    }

    /// Takes an item out if one is there. `Ok(None)`: none is there now.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Queue::recv).
    pub fn try_recv(&self) -> Result<Option<T>, LinkError> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Takes an item out, waiting for one for up to `timeout`. `Ok(None)`: none came.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Queue::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<T>, LinkError> {
        self.recv_until(Deadline::after(timeout))
    }

    fn of(sending: PrivateFd, receiving: PrivateFd, max: usize, caution: Caution) -> io::Result<Queue<T>> {
        let room = getsockopt(&sending.get().map_err(io::Error::other)?, sockopt::SndBuf)?;
        let pair = Pair {
            sending: Arc::new(sending),
            receiving: Arc::new(receiving),
            max,
            room,
            caution,
            outgoing: Scratch::default(),
            incoming: Scratch::default(),
        };
        Ok(Queue { pair: Arc::new(pair), types: PhantomData })
    }

    /// `None`: there was no room before the deadline.
    fn send_until(&self, item: &T, deadline: Deadline) -> Result<Option<()>, LinkError> {
        let socket = self.pair.sending.get()?;
        let parcel = self.pack(item)?;
        let sent = loop {
            if self.offer(&parcel)? {
                break Some(());
            }
            if deadline.has_passed() || !wait_until(&mut [PollFd::new(socket, PollFlags::POLLOUT)], deadline)?
            {
                break None;
            }
        };
        self.pair.outgoing.put_back(parcel.into_buffer());
        Ok(sent)
    }

    /// An item as it travels, all of it.
    fn pack(&self, item: &T) -> Result<Parcel, LinkError> {
        let mut parcel = Parcel::pack(item, self.pair.outgoing.take(), self.pair.max, self.pair.room)?;
        if parcel.fds().iter().any(|(_, how)| *how != How::Shared) {
            return Err(unsendable::<T>(BELONGS_TO_ONE).into());
        }
        if parcel.descriptors() > attachments::FDS_MAX {
            return Err(unsendable::<T>(ONE_TOO_MANY).into());
        }
        parcel.fill_memory()?;
        if parcel.descriptors() > 0 {
            self.pair.caution.advise();
        }
        Ok(parcel)
    }

    /// Sends it, if there is room for it now.
    fn offer(&self, parcel: &Parcel) -> Result<bool, LinkError> {
        let fds = parcel.open_fds()?;
        match sys::socket::send_parts(self.pair.sending.get()?, &parcel.parts(self.pair.room), &fds) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn recv_until(&self, deadline: Deadline) -> Result<Option<T>, LinkError> {
        let socket = self.pair.receiving.get()?;
        let mut buffer = self.pair.incoming.take();
        buffer.resize(packet::LONGEST, 0);
        loop {
            if let Some((length, fds)) = take(socket, &mut buffer, self.pair.caution.is_advised())? {
                // It may take a while, or call whatever a type's Deserialize calls: nothing is locked.
                let item = match packet::unpack(&buffer, length, fds, self.pair.max) {
                    Ok(item) => Ok(Some(item)),
                    Err(Unreadable::TooLarge(error)) => Err(error.into()),
                    Err(Unreadable::Io(error)) => Err(error.into()),
                    Err(Unreadable::Undecodable(error)) => Err(error.into()),
                    Err(Unreadable::Garbled(why)) => Err(LinkError::Decode(DecodeError {
                        type_name: std::any::type_name::<T>(),
                        message: format!("the packet is garbled: {why}"),
                    })),
                };
                self.pair.incoming.put_back(buffer);
                return item;
            }
            // Everybody who waits is woken by every item, and all but one sleep again. In the other way that
            // the kernel has, a receive that blocks, it wakes one: should that one be killed before it runs,
            // the others sleep on beside an item.
            if deadline.has_passed() || !wait_until(&mut [PollFd::new(socket, PollFlags::POLLIN)], deadline)?
            {
                return Ok(None);
            }
        }
    }
}

const BELONGS_TO_ONE: &str = "it has an end that belongs to one process, and nobody knows which process will \
    receive it from a queue; send it over a Connection, or give it to a child at its start";
const ONE_TOO_MANY: &str = "as large as it is, it carries 252 descriptors at the most in a queue";

fn unsendable<T>(why: &str) -> EncodeError {
    EncodeError { type_name: std::any::type_name::<T>(), message: why.to_owned() }
}
