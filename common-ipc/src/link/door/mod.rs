//! Connections that are made when they are needed: to a process that many others can reach, by what they were handed.

mod known;
mod listener;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socketpair, sockopt};
use parking_lot::Mutex;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

pub use listener::{Arrival, Listener};

use crate::link::attachments;
use crate::link::calls::{OpenCaller, OpenServer, open_calls};
use crate::link::codec;
use crate::link::connection::moving::Moving;
use crate::link::connection::room::Patience;
use crate::link::control;
use crate::link::error::LinkError;
use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::How;
use crate::ownership::per_process::PerProcess;
use crate::sys;

/// Makes a door to a process: a [`Listener`] for that process, and a [`Connector`] for all who are to reach it, by calls
/// of any types ([`open_calls`](crate::link::open_calls)) of up to `max_frame` bytes.
///
/// There is no path and no name: who wasn't handed the connector can't connect.
///
/// ```
/// use common_ipc::link::{DEFAULT_MAX_FRAME, listener};
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let (listener, connector) = listener(DEFAULT_MAX_FRAME)?;
/// let server = Launch::new(&LaunchOptions::new().give(&listener)).start(move || {
///     for number in 1..=2_u32 {
///         let arrival = listener.accept().unwrap();
///         let mut buffer = Vec::new();
///         arrival.server.recv(&mut buffer).unwrap().responder().reply::<u32, _>(0, &number).unwrap();
///     }
/// })?;
/// server.accepts(&connector);
///
/// let ask = |connector: &common_ipc::link::Connector| {
///     connector.caller(None).unwrap().call::<(), _, _>(1, &(), None, |reply| reply.decode::<u32>())
/// };
/// // A child captures it, and connects for itself.
/// let child = Launch::new(&LaunchOptions::new()).start(|| ask(&connector).unwrap().unwrap())?;
/// assert_eq!(child.output::<u32>()?, 1);
/// assert_eq!(ask(&connector)??, 2);
/// server.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// No descriptors or no memory left.
pub fn listener(max_frame: usize) -> io::Result<(Listener, Connector)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (inside, outside) =
        PrivateFd::pair(|| Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?))?;
    let listener = Listener::new(inside, max_frame)?;
    Ok((listener, Connector { door: Arc::new(Door::new(outside, None, max_frame)) }))
}

/// What connects any process to the one that has the [`Listener`]: see [`listener()`].
///
/// Every process that has it makes a connection of its own when it first needs one; its threads, and all copies of the
/// connector in it, share that. A process has it if it was forked by one that has it and captured it, or if it came in
/// a message. It takes two descriptors in each process, and in those that were forked also if they don't use it.
///
/// Who has it may knock as often as it wants, and may close the door for all who haven't connected yet: they have
/// [`ConnectError::Closed`]. Whoever is connected isn't touched by that.
#[derive(Clone)]
pub struct Connector {
    door: Arc<Door>,
}

/// What the copies in one process share.
struct Door {
    /// Where everybody knocks.
    socket: Arc<PrivateFd>,
    /// The process behind it.
    owner: OnceLock<Arc<PrivateFd>>,
    max_frame: usize,
    connection: PerProcess<Mutex<Option<OpenCaller>>>,
}

/// Between two looks for room that the kernel doesn't tell of.
const PAUSE: Duration = Duration::from_millis(5);

/// Why there is no connection.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The process behind the connector has ended.
    #[error("the process to connect to has ended")]
    Ended,
    /// Nobody listens any more, or somebody who has the connector has closed the door.
    #[error("nobody listens to new connections any more")]
    Closed,
    /// There was no room for one more who wants to connect, or for one more thread that waits, in time.
    #[error("the process to connect to didn't make room in time for one more who connects")]
    TimedOut,
    /// No descriptors or no memory left, or what else the kernel refuses.
    #[error("the connection could not be made: {0}")]
    Link(#[from] LinkError),
}

crate::error::debug_is_display!(ConnectError);

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> ConnectError {
        ConnectError::Link(error.into())
    }
}

impl Door {
    fn new(socket: PrivateFd, owner: Option<Arc<PrivateFd>>, max_frame: usize) -> Door {
        let known = OnceLock::new();
        if let Some(owner) = owner {
            let _ = known.set(owner);
        }
        let connection = PerProcess::new(Mutex::default(), Mutex::default);
        Door { socket: Arc::new(socket.inherited()), owner: known, max_frame, connection }
    }

    fn socket(&self) -> Result<BorrowedFd<'_>, LinkError> {
        Ok(self.socket.get()?)
    }

    fn has_ended(&self) -> bool {
        let Some(Ok(owner)) = self.owner.get().map(|owner| owner.get()) else { return false };
        let mut fds = [PollFd::new(owner, PollFlags::POLLIN)];
        wait_until(&mut fds, Deadline::after(Duration::ZERO)).unwrap_or(false)
    }

    fn forget(&self, lost: &OpenCaller) {
        let mut connection = self.connection.own().lock();
        if connection.as_ref().is_some_and(|caller| caller.is_same(lost)) {
            let before = connection.take();
            drop(connection);
            drop(before);
        }
    }

    fn connect(&self, deadline: Deadline) -> Result<OpenCaller, ConnectError> {
        if self.has_ended() {
            return Err(ConnectError::Ended);
        }
        let (caller, server) = open_calls(self.max_frame)?;
        if let Some(owner) = self.owner.get() {
            caller.server_stays_with(Arc::clone(owner))?;
        }
        self.hand_in(&server, deadline)?;
        Ok(caller)
    }

    /// Sends the server's end to the other process.
    fn hand_in(&self, server: &OpenServer, deadline: Deadline) -> Result<(), ConnectError> {
        let mut bytes = Vec::new();
        let outgoing =
            codec::encode_message_as::<OpenServer, _>(server, &mut bytes).map_err(LinkError::from)?;
        let outgoing = outgoing.map_or_else(Default::default, |all| *all);
        let moving = Moving::begin(&outgoing, Patience::Until(deadline))?;
        let fds: Vec<_> = outgoing.fds.iter().filter_map(|(fd, _)| fd.at_home()).collect();
        while let Err(error) = sys::socket::send_parts(self.socket()?, &[IoSlice::new(&bytes)], &fds) {
            match error.raw_os_error() {
                Some(libc::EAGAIN) => self.wait_for_room(deadline)?,
                // Too many descriptors of this user's are on their way: no room for them, of which nobody tells.
                Some(libc::ETOOMANYREFS) if deadline.pause(PAUSE) => {}
                Some(libc::ETOOMANYREFS) => return Err(ConnectError::TimedOut),
                Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => {
                    return Err(if self.has_ended() { ConnectError::Ended } else { ConnectError::Closed });
                }
                _ => return Err(error.into()),
            }
        }
        moving.have_arrived();
        outgoing.sent();
        Ok(())
    }

    fn wait_for_room(&self, deadline: Deadline) -> Result<(), ConnectError> {
        let mut fds = vec![PollFd::new(self.socket()?, PollFlags::POLLOUT)];
        if let Some(Ok(owner)) = self.owner.get().map(|owner| owner.get()) {
            fds.push(PollFd::new(owner, PollFlags::POLLIN));
        }
        if !wait_until(&mut fds, deadline)? {
            return Err(ConnectError::TimedOut);
        }
        if self.has_ended() { Err(ConnectError::Ended) } else { Ok(()) }
    }
}

impl Connector {
    /// This process's connection, which is made if there is none, for up to `timeout` or as long as it takes. It
    /// doesn't wait for the other process: calls go to where that takes them when it comes to it.
    ///
    /// A connection that was lost is given again until [`disconnect`](Connector::disconnect): it says why.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub fn caller(&self, timeout: Option<Duration>) -> Result<OpenCaller, ConnectError> {
        let connection = self.door.connection.own();
        if let Some(caller) = connection.try_lock().and_then(|caller| caller.clone()) {
            return Ok(caller);
        }
        let deadline = Deadline::optional(timeout);
        let mut connection = deadline.lock(connection).ok_or(ConnectError::TimedOut)?;
        if let Some(caller) = &*connection {
            return Ok(caller.clone());
        }
        // It may have come here by two ways before it was used.
        let caller = match known::remember(&self.door) {
            Some(same) => Connector { door: same }.caller(deadline.left())?,
            None => self.door.connect(deadline)?,
        };
        Ok(connection.insert(caller).clone())
    }

    /// Forgets this process's connection, if it is this one: the next use makes another one.
    pub fn disconnect(&self, lost: &OpenCaller) {
        self.door.forget(lost);
        if let Some(same) = known::remember(&self.door) {
            same.forget(lost);
        }
    }

    /// Whether the process behind it has ended, for all that this one can tell.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.door.has_ended()
    }

    /// Whether it leads to the same process by the same door.
    #[must_use]
    pub fn is_same(&self, other: &Connector) -> bool {
        Arc::ptr_eq(&self.door, &other.door) || known::are_same(&self.door, &other.door)
    }

    /// Which process it leads to; the first word counts.
    pub(crate) fn leads_to(&self, owner: &PrivateFd) -> io::Result<()> {
        let owner = owner.get().map_err(io::Error::other)?;
        let owner = PrivateFd::new(|| sys::descriptors::duplicate_above(owner, 2))?;
        let _ = self.door.owner.set(Arc::new(owner.inherited()));
        Ok(())
    }

    /// The process behind it.
    pub(crate) fn owner(&self) -> Option<BorrowedFd<'_>> {
        self.door.owner.get()?.get().ok()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("socket", &self.door.socket).finish_non_exhaustive()
    }
}

/// Inside of a message: both processes have it then. With other formats it is an error.
impl Serialize for Connector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let attach = |fd| attachments::attach(fd, How::Shared).map_err(serde::ser::Error::custom);
        let (socket, owner) = (attach(&self.door.socket)?, self.door.owner.get().map(attach).transpose()?);
        (socket, owner, self.door.max_frame as u64).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Connector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Connector, D::Error> {
        let (socket, owner, max_frame) = <(u32, Option<u32>, u64)>::deserialize(deserializer)?;
        let take = |place| attachments::take(place).map_err(D::Error::custom);
        let (socket, owner) = (take(socket)?, owner.map(take).transpose()?);
        let is_socket = |fd: BorrowedFd<'_>| {
            getsockopt(&fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::SeqPacket)
        };
        if !socket.get().is_ok_and(is_socket) || owner.as_ref().is_some_and(|owner| !control::is_pidfd(owner))
        {
            return Err(D::Error::custom("the descriptors are others than a connector has"));
        }
        let owner = owner.map(|owner| Arc::new(owner.inherited()));
        // No larger than what could be made here.
        let max_frame = usize::try_from(max_frame).unwrap_or(usize::MAX).min(u32::MAX as usize);
        Ok(Connector { door: known::or_new(Door::new(socket, owner, max_frame)) })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exposed()
    }
}
