//! The side that calls, whatever the types.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::attachments::Outgoing;
use crate::link::calls::engine::Engine;
use crate::link::calls::error::CallError;
use crate::link::calls::{OpenServer, REPLY_HEADER, REQUEST_HEADER, word};
use crate::link::codec::{self, DecodeError};
use crate::link::connection::room::Patience;
use crate::link::connection::{Came, Connection, scratch};
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::{Give, Giver, private};

/// The side that calls, of [`open_calls`](crate::link::open_calls). Clones share it; any number of threads may
/// call at once, and each gets its own reply.
///
/// It belongs to one process, as an end of a [`Connection`] does. Dropping the last clone ends the other side's
/// [`recv`](crate::link::OpenServer::recv).
#[derive(Debug, Clone)]
pub struct OpenCaller {
    pub(super) engine: Arc<Engine>,
}

impl OpenCaller {
    pub(super) fn new(connection: Connection<(), ()>) -> OpenCaller {
        connection.end().goes_on_without_descriptors();
        OpenCaller { engine: Arc::new(Engine::new(connection)) }
    }

    /// Sends a request, waits for its reply, for up to `timeout` or as long as it takes, and has `read` look at
    /// it on this thread.
    ///
    /// `what` names what is called. The argument may borrow, and the other side reads it as a `Check`: debug
    /// builds read it back as that (see [`codec::encode_checked`]).
    ///
    /// A call allocates nothing for itself, beyond what the argument's `Serialize` and `read` do, unless its
    /// argument or reply is longer than 64 KiB or takes descriptors or [`Bytes`](crate::link::Bytes) along.
    ///
    /// # Errors
    ///
    /// With [`CallProgress::NotSent`](crate::link::CallProgress::NotSent), as for [`Connection::send`], and
    /// [`LinkError::TimedOut`](crate::link::LinkError::TimedOut) if there was no room in time. Afterwards, as for
    /// [`Connection::recv`], [`LinkError::NoReply`](crate::link::LinkError::NoReply) if none came in time (it
    /// will be dropped), and [`LinkError::Unanswered`](crate::link::LinkError::Unanswered).
    pub fn call<Check, Argument, R>(
        &self,
        what: u32,
        argument: &Argument,
        timeout: Option<Duration>,
        read: impl FnOnce(OpenReply<'_>) -> R,
    ) -> Result<R, CallError>
    where
        Check: DeserializeOwned,
        Argument: Serialize + ?Sized,
    {
        self.call_until::<Check, Argument, R>(what, argument, Deadline::optional(timeout), read)
    }

    pub(super) fn call_until<Check, Argument, R>(
        &self,
        what: u32,
        argument: &Argument,
        deadline: Deadline,
        read: impl FnOnce(OpenReply<'_>) -> R,
    ) -> Result<R, CallError>
    where
        Check: DeserializeOwned,
        Argument: Serialize + ?Sized,
    {
        scratch::with(|bytes| {
            let outgoing = encode::<Check, Argument>(what, argument, bytes)?;
            let came = self.engine.exchange(bytes, outgoing, deadline)?;
            Ok(read(OpenReply::new(bytes, came)))
        })
    }

    /// Sends a request that has no reply, waiting for room, for up to `timeout` or as long as it takes.
    ///
    /// # Errors
    ///
    /// As for [`call`](OpenCaller::call) before it was sent.
    pub fn send<Check, Argument>(
        &self,
        what: u32,
        argument: &Argument,
        timeout: Option<Duration>,
    ) -> Result<(), CallError>
    where
        Check: DeserializeOwned,
        Argument: Serialize + ?Sized,
    {
        scratch::with(|bytes| {
            let outgoing = encode::<Check, Argument>(what, argument, bytes)?;
            self.engine.send(bytes, outgoing, Deadline::optional(timeout))
        })
    }
}

impl OpenCaller {
    /// Sends a request that has no reply, and never waits: what has no room now goes before whatever this caller's
    /// clones send next, or when a call of theirs that is under way has its reply. It can't take anything along that
    /// travels beside a message.
    ///
    /// # Errors
    ///
    /// As for [`send`](OpenCaller::send), but for the time.
    pub fn post<Check, Argument>(&self, what: u32, argument: &Argument) -> Result<(), CallError>
    where
        Check: DeserializeOwned,
        Argument: Serialize + ?Sized,
    {
        scratch::with(|bytes| {
            let outgoing = encode::<Check, Argument>(what, argument, bytes)?;
            self.engine.post(bytes, outgoing)
        })
    }

    /// Whether something that was [posted](OpenCaller::post) has no room yet.
    #[must_use]
    pub fn has_posted(&self) -> bool {
        self.engine.has_posted()
    }

    /// Sends what was [posted](OpenCaller::post), waiting for room, for up to `timeout` or as long as it takes: for who
    /// may send nothing more by which it would go.
    ///
    /// # Errors
    ///
    /// As for [`send`](OpenCaller::send).
    pub fn send_posted(&self, timeout: Option<Duration>) -> Result<(), CallError> {
        let patience = Patience::Until(Deadline::optional(timeout));
        self.engine.send_posted(patience).map_err(CallError::not_sent)
    }

    /// For two connections between the same two processes, one for each direction: whoever waits for room here takes in
    /// what comes for `server`, up to one message of the longest kind, as it does with the replies. So two sides that
    /// send at once don't wait for each other for ever. Who receives there gets that first. It can be said once.
    ///
    /// ```
    /// use common_ipc::link::open_calls;
    /// use common_ipc::process::{Launch, LaunchOptions};
    ///
    /// const LONG: usize = 8 << 20;
    /// let (out, there_in) = open_calls(LONG + 100)?;
    /// let (there_out, incoming) = open_calls(LONG + 100)?;
    /// out.takes_in_for(&incoming);
    /// let options = LaunchOptions::new().give(&there_in).give(&there_out);
    /// let child = Launch::new(&options).start(move || {
    ///     there_out.takes_in_for(&there_in);
    ///     there_out.send::<Vec<u8>, _>(1, &vec![1u8; LONG], None).unwrap();
    ///     there_in.recv(&mut Vec::new()).unwrap().what()
    /// })?;
    /// out.send::<Vec<u8>, _>(2, &vec![2u8; LONG], None)?; // both at once
    /// assert_eq!(incoming.recv(&mut Vec::new())?.what(), 1);
    /// assert_eq!(child.output::<u32>()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn takes_in_for(&self, server: &OpenServer) {
        // The first one stays.
        let _ = self.engine.end().companion.set(Arc::downgrade(server.connection.end()));
    }

    /// Whether it is a clone of this one.
    pub(crate) fn is_same(&self, other: &OpenCaller) -> bool {
        Arc::ptr_eq(&self.engine, &other.engine)
    }

    /// The other side is this process's for good.
    pub(crate) fn server_stays_with(&self, owner: Arc<PrivateFd>) -> Result<(), LinkError> {
        self.engine.end().other_end_stays_with(owner)
    }
}

/// Writes a request that has no number yet, and returns what it takes along.
#[inline]
pub(super) fn encode<Check, Argument>(
    what: u32,
    argument: &Argument,
    bytes: &mut Vec<u8>,
) -> Result<Option<Box<Outgoing>>, CallError>
where
    Check: DeserializeOwned,
    Argument: Serialize + ?Sized,
{
    bytes.extend([0; REQUEST_HEADER - 4]);
    bytes.extend(what.to_le_bytes());
    codec::encode_message_as::<Check, _>(argument, bytes).map_err(CallError::not_sent)
}

/// A reply, for as long as it is looked at.
#[derive(Debug)]
#[must_use = "what isn't decoded is dropped"]
pub struct OpenReply<'a> {
    bytes: &'a [u8],
    came: Came,
}

impl<'a> OpenReply<'a> {
    pub(super) fn new(bytes: &'a [u8], came: Came) -> OpenReply<'a> {
        OpenReply { bytes, came }
    }

    /// The number with which it was sent: what kind of reply it is.
    #[must_use]
    pub fn kind(&self) -> u32 {
        word(self.bytes, 2)
    }

    /// Reads its value, with what came along: descriptors and [`Bytes`](crate::link::Bytes).
    ///
    /// # Errors
    ///
    /// It isn't a value of this type, or this process had no room for the descriptors that came with it. The
    /// connection goes on.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        codec::decode_message(self.bytes.get(REPLY_HEADER..).unwrap_or_default(), self.came)
    }
}

impl private::Sealed for OpenCaller {}

impl Give for OpenCaller {
    fn list(&self, giver: &mut Giver<'_>) {
        self.engine.list(giver);
    }
}

/// Moves it: after the message was sent it is of no more use here. Else as for [`Connection`].
impl Serialize for OpenCaller {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.engine.serialize(serializer)
    }
}

/// Takes it over: it belongs to this process.
impl<'de> Deserialize<'de> for OpenCaller {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Connection::deserialize(deserializer).map(OpenCaller::new)
    }
}
