//! Calls of one type of request and one of reply.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::calls::{OpenCaller, OpenRequest, OpenResponder, OpenServer, open_calls};
use crate::link::connection::scratch;
use crate::link::error::LinkError;
use crate::link::frame::DEFAULT_MAX_FRAME;
use crate::link::poll::Deadline;
use crate::ownership::give::{Give, Giver, private};

/// There is one thing to call, and one kind of reply.
const ONLY: u32 = 0;

/// Makes both sides of calls.
///
/// ```
/// use common_ipc::link::calls;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let (caller, server) = calls::<String, usize>()?;
/// let child = Launch::new(&LaunchOptions::new().give(&server)).start(move || {
///     server.serve(|text| text.len()).unwrap();
/// })?;
/// assert_eq!(caller.call("nine chars".to_owned())?, 10);
/// drop(caller); // ends the child's loop
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As for [`open_calls`].
pub fn calls<Request, Reply>() -> io::Result<(Caller<Request, Reply>, Server<Request, Reply>)>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME)?;
    Ok((Caller { open: caller, types: PhantomData }, Server { open: server, types: PhantomData }))
}

/// The side that calls. Clones share it; any number of threads may call at once, and each gets its own reply.
///
/// It belongs to one process, as an end of a [`Connection`](crate::link::Connection) does. Dropping the last
/// clone ends the other side's [`serve`](Server::serve).
pub struct Caller<Request, Reply> {
    pub(super) open: OpenCaller,
    types: PhantomData<fn(Request) -> Reply>,
}

impl<Request, Reply> Caller<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    /// Sends a request and waits for its reply as long as it takes.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unanswered`]; else as for [`Connection::send`](crate::link::Connection::send) and
    /// [`Connection::recv`](crate::link::Connection::recv). If sending failed, the other side hasn't seen the
    /// request; if receiving did, it may have.
    pub fn call(&self, request: Request) -> Result<Reply, LinkError> {
        self.call_until(request, Deadline::NEVER)
    }

    /// As [`call`](Caller::call), for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`LinkError::TimedOut`] if there was no room for the request: it isn't carried out;
    /// [`LinkError::NoReply`]: it may be, or may have been, and its reply will be dropped. Else as for
    /// [`call`](Caller::call).
    pub fn call_timeout(&self, request: Request, timeout: Duration) -> Result<Reply, LinkError> {
        self.call_until(request, Deadline::after(timeout))
    }

    fn call_until(&self, request: Request, deadline: Deadline) -> Result<Reply, LinkError> {
        let call = self.open.call_until::<Request, _, _>(ONLY, &request, deadline, |reply| reply.decode());
        Ok(call.map_err(|error| error.cause)??)
    }
}

/// The side that is called. Clones share it: each request goes to one of them.
///
/// It belongs to one process, as an end of a [`Connection`](crate::link::Connection) does. Dropping the last
/// clone, or the death of its process, ends all calls with [`LinkError::Closed`].
pub struct Server<Request, Reply> {
    open: OpenServer,
    types: PhantomData<fn(Request) -> Reply>,
}

/// A request that waits for its reply. If it is dropped without one, by a panic for instance, its caller has
/// [`LinkError::Unanswered`].
#[must_use = "its caller waits for a reply"]
pub struct Responder<Request, Reply> {
    open: OpenResponder,
    types: PhantomData<fn(Request) -> Reply>,
}

/// A request that was received, and what replies to it.
pub type Received<Request, Reply> = (Request, Responder<Request, Reply>);

impl<Request, Reply> Server<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    /// Receives a request, waiting for it as long as it takes. Replies may be sent in any order.
    ///
    /// # Errors
    ///
    /// As for [`Connection::recv`](crate::link::Connection::recv). A request that can't be read
    /// ([`LinkError::Decode`]) is dropped; there may be others.
    pub fn recv(&self) -> Result<Received<Request, Reply>, LinkError> {
        scratch::with(|buffer| read(self.open.recv(buffer)?))
    }

    /// Receives a request, waiting for up to `timeout`. `Ok(None)`: none came.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Server::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Received<Request, Reply>>, LinkError> {
        scratch::with(|buffer| self.open.recv_timeout(buffer, timeout)?.map(read).transpose())
    }

    /// Receives a request if one is there.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Server::recv).
    pub fn try_recv(&self) -> Result<Option<Received<Request, Reply>>, LinkError> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Answers requests, one after the other, until the other side is closed.
    ///
    /// # Errors
    ///
    /// As for [`Connection::send`](crate::link::Connection::send) and
    /// [`Connection::recv`](crate::link::Connection::recv), but for [`LinkError::Closed`], which is its end.
    pub fn serve(&self, mut answer: impl FnMut(Request) -> Reply) -> Result<(), LinkError> {
        let mut serve_one = || {
            let (request, responder) = self.recv()?;
            responder.reply(answer(request))
        };
        loop {
            match serve_one() {
                Ok(()) => {}
                Err(LinkError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A request with what answers it. One that can't be read is dropped.
fn read<Request, Reply>(request: OpenRequest<'_>) -> Result<Received<Request, Reply>, LinkError>
where
    Request: DeserializeOwned,
{
    let (request, open) = request.decode();
    Ok((request?, Responder { open, types: PhantomData }))
}

impl<Request, Reply> Responder<Request, Reply>
where
    Request: Serialize + DeserializeOwned,
    Reply: Serialize + DeserializeOwned,
{
    /// Sends the reply.
    ///
    /// # Errors
    ///
    /// As for [`Connection::send`](crate::link::Connection::send).
    pub fn reply(self, reply: Reply) -> Result<(), LinkError> {
        self.open.reply::<Reply, _>(ONLY, &reply).map_err(|error| error.cause)
    }
}

impl<Request, Reply> Clone for Caller<Request, Reply> {
    fn clone(&self) -> Self {
        Caller { open: self.open.clone(), types: PhantomData }
    }
}

impl<Request, Reply> Clone for Server<Request, Reply> {
    fn clone(&self) -> Self {
        Server { open: self.open.clone(), types: PhantomData }
    }
}

/// As that of the [`Connection`](crate::link::Connection) below it: readable when there are requests, or none
/// will come any more.
impl<Request, Reply> AsFd for Server<Request, Reply> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }
}

impl<Request, Reply> private::Sealed for Caller<Request, Reply> {}
impl<Request, Reply> private::Sealed for Server<Request, Reply> {}

impl<Request, Reply> Give for Caller<Request, Reply> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.open.list(giver);
    }
}

impl<Request, Reply> Give for Server<Request, Reply> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.open.list(giver);
    }
}

impl<Request, Reply> fmt::Debug for Caller<Request, Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.open).finish()
    }
}

impl<Request, Reply> fmt::Debug for Server<Request, Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.open).finish()
    }
}

impl<Request, Reply> fmt::Debug for Responder<Request, Reply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Responder").field(&self.open).finish()
    }
}
