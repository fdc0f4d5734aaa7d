//! The side that is called, whatever the types.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::attachments::Outgoing;
use crate::link::calls::error::ReplyError;
use crate::link::calls::outbox::Outbox;
use crate::link::calls::{NO_REPLY, REQUEST_HEADER, number, word};
use crate::link::codec::{self, DecodeError, EncodeError};
#[cfg(feature = "tokio")]
use crate::link::connection::asynchronous::Line;
use crate::link::connection::room::Patience;
use crate::link::connection::waiting::Wait;
use crate::link::connection::{Came, Connection, scratch};
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::link::ring::Garbled;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::{Give, Giver, private};

/// The side that is called, of [`open_calls`](crate::link::open_calls). Clones share it: each request goes to one
/// of them.
///
/// It belongs to one process, as an end of a [`Connection`] does, and moves to another one in the same ways:
/// given at a start, or as (a part of) a message. Dropping the last clone, or the death of its process, ends all
/// calls with [`LinkError::Closed`].
#[derive(Debug, Clone)]
pub struct OpenServer {
    pub(super) connection: Connection<(), ()>,
    /// Where replies wait that have no room, if they do.
    pub(super) outbox: Option<Arc<Outbox>>,
    /// On which tasks reply, if they do.
    #[cfg(feature = "tokio")]
    pub(super) line: Option<Arc<Line>>,
}

impl OpenServer {
    pub(super) fn new(connection: Connection<(), ()>) -> OpenServer {
        connection.end().goes_on_without_descriptors();
        OpenServer {
            connection,
            outbox: None,
            #[cfg(feature = "tokio")]
            line: None,
        }
    }

    /// Receives the next request into `buffer`, waiting for it as long as it takes, and lends it. What the buffer
    /// held is gone; kept from call to call, it saves an allocation.
    ///
    /// From then on the request counts as taken: should this process die, its caller is told that it may have
    /// been carried out.
    ///
    /// # Errors
    ///
    /// As for [`Connection::recv`], except that nothing is decoded.
    pub fn recv<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<OpenRequest<'b>, LinkError> {
        let end = self.connection.end();
        let came = loop {
            let beside = self.outbox.as_ref().map(|outbox| outbox.send_all(end)).transpose()?;
            if let Some(came) = self.take(buffer, Wait { deadline: Deadline::NEVER, others: 0, beside })? {
                break came;
            }
        };
        Ok(self.lend(buffer, came))
    }

    /// As [`recv`](OpenServer::recv), for up to `timeout`. `Ok(None)`: none came.
    ///
    /// # Errors
    ///
    /// As for [`recv`](OpenServer::recv).
    pub fn recv_timeout<'b>(
        &self,
        buffer: &'b mut Vec<u8>,
        timeout: Duration,
    ) -> Result<Option<OpenRequest<'b>>, LinkError> {
        let came = self.take(buffer, Wait::until(Deadline::after(timeout)))?;
        Ok(came.map(|came| self.lend(buffer, came)))
    }

    /// As [`recv`](OpenServer::recv), if one is there.
    ///
    /// # Errors
    ///
    /// As for [`recv`](OpenServer::recv).
    pub fn try_recv<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<Option<OpenRequest<'b>>, LinkError> {
        self.recv_timeout(buffer, Duration::ZERO)
    }

    /// As [`recv`](OpenServer::recv), until `beside` is readable, for up to `timeout` if there is one. `Ok(None)`: no
    /// request came before. For somebody who has other things to do as well: those are asked for in the same call of
    /// the kernel's, and only when there is no request, so under load they are to be looked at now and then.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use common_ipc::link::{DEFAULT_MAX_FRAME, open_calls, pipe};
    ///
    /// let (caller, server) = open_calls(DEFAULT_MAX_FRAME)?;
    /// let (reader, mut writer) = pipe()?;
    /// std::io::Write::write_all(&mut writer, b"!")?;
    /// let mut buffer = Vec::new();
    /// assert!(server.recv_beside(&mut buffer, reader.as_fd(), None)?.is_none());
    /// caller.send::<u8, _>(7, &1u8, None)?;
    /// assert_eq!(server.recv_beside(&mut buffer, reader.as_fd(), None)?.unwrap().what(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`recv`](OpenServer::recv).
    pub fn recv_beside<'b>(
        &self,
        buffer: &'b mut Vec<u8>,
        beside: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> Result<Option<OpenRequest<'b>>, LinkError> {
        let wait = Wait { deadline: Deadline::optional(timeout), others: 0, beside: Some(beside) };
        let came = self.take(buffer, wait)?;
        Ok(came.map(|came| self.lend(buffer, came)))
    }

    fn take(&self, buffer: &mut Vec<u8>, wait: Wait<'_>) -> Result<Option<Came>, LinkError> {
        buffer.clear();
        let came = self.connection.end().take_bytes(buffer, wait)?;
        self.check(buffer, came)
    }

    fn check(&self, bytes: &[u8], came: Option<Came>) -> Result<Option<Came>, LinkError> {
        if came.is_some() && bytes.len() < REQUEST_HEADER {
            return Err(self.connection.end().fail(Garbled("a request without a header").into()));
        }
        Ok(came)
    }

    /// The next request's bytes, if one is there, or comes while this looks for it: see [`End::take_soon`].
    ///
    /// [`End::take_soon`]: crate::link::connection::End::take_soon
    #[cfg(feature = "tokio")]
    pub(super) fn take_soon(&self, buffer: &mut Vec<u8>, looks: bool) -> Result<Option<Came>, LinkError> {
        buffer.clear();
        let came = self.connection.end().take_soon(buffer, looks)?;
        self.check(buffer, came)
    }

    /// The next request's bytes, if one is there.
    #[cfg(feature = "tokio")]
    pub(super) fn take_now(&self, buffer: &mut Vec<u8>) -> Result<Option<Came>, LinkError> {
        self.take(buffer, Wait::until(Deadline::after(Duration::ZERO)))
    }

    pub(super) fn lend<'b>(&self, bytes: &'b [u8], came: Came) -> OpenRequest<'b> {
        let responder = OpenResponder { server: self.clone(), number: number(bytes) };
        OpenRequest { bytes, came, responder }
    }
}

impl OpenServer {
    /// The same, whose replies never wait for room: those that have none are kept, up to `max` bytes of them, and sent
    /// by whoever is in [`recv`](OpenServer::recv), which waits for room in their stead. So a caller that reads nothing
    /// holds up the thread alone that receives from it, and a reply may be sent from any other. Its clones are the same.
    ///
    /// It takes a descriptor. A reply beyond `max` is [`LinkError::Full`], and so is `recv` from then on. `recv` has to be called on and on; the other
    /// ways to receive don't send.
    ///
    /// # Errors
    ///
    /// No descriptors left.
    pub fn with_outbox(self, max: usize) -> io::Result<OpenServer> {
        Ok(OpenServer { outbox: Some(Arc::new(Outbox::new(max)?)), ..self })
    }

    /// Ends the connection for the other side, also while requests of it are kept here: their replies go nowhere.
    #[doc(hidden)]
    pub fn hang_up(&self) {
        self.connection.end().hang_up();
    }

    /// The other side is this process's for good.
    pub(crate) fn caller_stays_with(&self, owner: Arc<PrivateFd>) -> Result<(), LinkError> {
        self.connection.end().other_end_stays_with(owner)
    }
}

/// A request that was received, for as long as it is looked at. If it is dropped and its caller waits for a
/// reply, that has [`LinkError::Unanswered`].
#[derive(Debug)]
#[must_use = "its caller may wait for a reply"]
pub struct OpenRequest<'b> {
    bytes: &'b [u8],
    came: Came,
    responder: OpenResponder,
}

impl OpenRequest<'_> {
    /// What is called.
    #[must_use]
    pub fn what(&self) -> u32 {
        word(self.bytes, 2)
    }

    /// Whether its caller waits for a reply.
    #[must_use]
    pub fn wants_reply(&self) -> bool {
        self.responder.wants_reply()
    }

    /// How many bytes came, those of [`Bytes`](crate::link::Bytes) included: for those who keep many.
    #[must_use]
    pub fn size(&self) -> usize {
        let buffers = self.came.as_ref().map_or(&[][..], |came| &came.buffers);
        buffers.iter().flatten().fold(self.bytes.len(), |sum, buffer| sum + buffer.len())
    }

    /// How many descriptors came.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.came.as_ref().map_or(0, |came| came.fds.len())
    }

    /// Reads the argument, with what came along: descriptors and [`Bytes`](crate::link::Bytes). Whether it can be
    /// read or not, the request is to be answered. If it can't, which may also be since this process had no room
    /// for the descriptors that came with it, the connection goes on.
    pub fn decode<T: DeserializeOwned>(self) -> (Result<T, DecodeError>, OpenResponder) {
        let bytes = self.bytes.get(REQUEST_HEADER..).unwrap_or_default();
        (codec::decode_message(bytes, self.came), self.responder)
    }

    /// Without a look at the argument: what answers it.
    pub fn responder(self) -> OpenResponder {
        self.responder
    }

    /// Keeps it beyond its buffer: for whoever receives it and isn't the one to carry it out.
    ///
    /// ```
    /// use common_ipc::link::{DEFAULT_MAX_FRAME, open_calls};
    ///
    /// let (caller, server) = open_calls(DEFAULT_MAX_FRAME)?;
    /// caller.send::<u8, _>(7, &1u8, None)?;
    /// let kept = server.recv(&mut Vec::new())?.keep();
    /// let mut buffer = Vec::new();
    /// let request = std::thread::scope(|scope| scope.spawn(|| kept.lend(&mut buffer)).join().unwrap());
    /// assert_eq!(request.what(), 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep(self) -> KeptRequest {
        KeptRequest { bytes: self.bytes.to_vec(), came: self.came, responder: self.responder }
    }

    /// The same without the first bytes of its argument, so many, which are copied out; `None` if it has fewer.
    #[doc(hidden)]
    pub fn keep_after(self, skip: usize) -> Option<(Vec<u8>, KeptRequest)> {
        let (header, argument) = self.bytes.split_at_checked(REQUEST_HEADER)?;
        let (skipped, rest) = argument.split_at_checked(skip)?;
        let bytes = [header, rest].concat();
        Some((skipped.to_vec(), KeptRequest { bytes, came: self.came, responder: self.responder }))
    }
}

/// A request that was received and is kept: see [`OpenRequest::keep`]. If it is dropped and its caller waits for a
/// reply, that has [`LinkError::Unanswered`].
#[derive(Debug)]
#[must_use = "its caller may wait for a reply"]
pub struct KeptRequest {
    bytes: Vec<u8>,
    came: Came,
    responder: OpenResponder,
}

impl KeptRequest {
    /// The request again, in this buffer. What that held is gone.
    pub fn lend(self, buffer: &mut Vec<u8>) -> OpenRequest<'_> {
        *buffer = self.bytes;
        OpenRequest { bytes: buffer, came: self.came, responder: self.responder }
    }
}

/// What replies to a request, on any thread and in any order. If it is dropped without a reply, by a panic for
/// instance, the caller has [`LinkError::Unanswered`].
#[must_use = "its caller may wait for a reply"]
pub struct OpenResponder {
    pub(super) server: OpenServer,
    /// Zero: no reply is wanted, or it was sent.
    pub(super) number: u64,
}

/// How long a dropped request waits for room to say so.
const PATIENCE: Duration = Duration::from_secs(1);

impl OpenResponder {
    /// Whether the caller waits for a reply.
    #[must_use]
    pub fn wants_reply(&self) -> bool {
        self.number != 0
    }

    /// Sends the reply, waiting for room as long as it takes. `kind` is for the caller to tell what it is. The
    /// value may borrow, and is read as a `Check` (see [`OpenCaller::call`](crate::link::OpenCaller::call)).
    /// Where no reply is wanted, it does nothing.
    ///
    /// # Errors
    ///
    /// As for [`Connection::send`]. The error has the responder in it, for another try.
    pub fn reply<Check, T>(self, kind: u32, value: &T) -> Result<(), ReplyError>
    where
        Check: DeserializeOwned,
        T: Serialize + ?Sized,
    {
        self.reply_beside::<Check, T>(kind, value, Duration::ZERO)
    }

    /// As [`reply`](OpenResponder::reply). Where too many replies are kept already ([`OpenServer::with_outbox`]) it
    /// waits so long until they are less: for a thread that isn't the one which receives.
    ///
    /// # Errors
    ///
    /// As for [`reply`](OpenResponder::reply).
    #[doc(hidden)]
    pub fn reply_beside<Check, T>(
        mut self,
        kind: u32,
        value: &T,
        patience: Duration,
    ) -> Result<(), ReplyError>
    where
        Check: DeserializeOwned,
        T: Serialize + ?Sized,
    {
        if !self.wants_reply() {
            return Ok(());
        }
        let sent = scratch::with(|bytes| {
            let outgoing = encode_reply::<Check, T>(self.number, kind, value, bytes)?;
            self.send(bytes, outgoing, Deadline::NEVER, patience)
        });
        sent.map_err(|cause| ReplyError { cause, responder: self })
    }

    fn send(
        &mut self,
        bytes: &[u8],
        mut outgoing: Option<Box<Outgoing>>,
        deadline: Deadline,
        patience: Duration,
    ) -> Result<(), LinkError> {
        let end = self.server.connection.end();
        match &self.server.outbox {
            Some(outbox) => outbox.send(end, bytes, &mut outgoing, Deadline::after(patience))?,
            None => drop(end.send_bytes(bytes, &mut outgoing, Patience::Until(deadline))?),
        }
        self.number = 0;
        Ok(())
    }
}

/// Writes a reply, and returns what it takes along.
#[inline]
pub(super) fn encode_reply<Check, T>(
    number: u64,
    kind: u32,
    value: &T,
    bytes: &mut Vec<u8>,
) -> Result<Option<Box<Outgoing>>, EncodeError>
where
    Check: DeserializeOwned,
    T: Serialize + ?Sized,
{
    bytes.extend(number.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    codec::encode_message_as::<Check, _>(value, bytes)
}

impl Drop for OpenResponder {
    fn drop(&mut self) {
        #[cfg(feature = "tokio")]
        if self.wants_reply() && self.gives_up_in_a_task() {
            return;
        }
        if self.wants_reply() {
            const { assert!(NO_REPLY == size_of::<u64>()) };
            // Without room for it in this time, or anybody to read it: a time-out is the caller's.
            let _ = self.send(&self.number.to_le_bytes(), None, Deadline::after(PATIENCE), Duration::ZERO);
        }
    }
}

impl fmt::Debug for OpenResponder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenResponder").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Moves it: after the message was sent it is of no more use here. Else as for [`Connection`].
impl Serialize for OpenServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.connection.serialize(serializer)
    }
}

/// Takes it over: it belongs to this process.
impl<'de> Deserialize<'de> for OpenServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Connection::deserialize(deserializer).map(OpenServer::new)
    }
}

/// As that of the [`Connection`] below it: readable when there are requests, or none will come any more.
impl AsFd for OpenServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl OpenServer {
    /// As [`Connection::pollable`], for the crates of this family, which hand it to nobody: children that are forked don't
    /// keep its number, as they have to keep one that a user has seen.
    #[doc(hidden)]
    pub fn pollable(&self) -> Result<BorrowedFd<'_>, LinkError> {
        self.connection.end().epoll()
    }

    /// Makes the descriptor by which it is polled readable until somebody receives and finds nothing: for
    /// those who have received for others, and keep it.
    pub fn remind(&self) {
        self.connection.remind();
    }
}

impl private::Sealed for OpenServer {}

impl Give for OpenServer {
    fn list(&self, giver: &mut Giver<'_>) {
        self.connection.list(giver);
    }
}
