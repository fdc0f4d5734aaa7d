//! The side that is connected to.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{Shutdown, setsockopt, shutdown, sockopt};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use std::os::fd::AsRawFd;

use crate::link::attachments::{self, Incoming};
use crate::link::calls::OpenServer;
use crate::link::codec;
use crate::link::error::LinkError;
use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::{PrivateFd, above_stderr, registry};
use crate::ownership::give::{Give, Giver, How, private};
use crate::sys;

/// Takes in those who connect, by the [`Connector`](crate::link::Connector) that belongs to it: see
/// [`listener()`](crate::link::listener()).
///
/// It belongs to one process, and moves to another one as the end of a [`Connection`](crate::link::Connection) does:
/// given at a start, or in a message. Dropping it ends the door: who hasn't been accepted by then finds its connection
/// closed.
#[derive(Debug)]
pub struct Listener {
    socket: Arc<PrivateFd>,
    max_frame: usize,
}

/// Somebody who has connected.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// What answers its calls.
    pub server: OpenServer,
    /// Its process id as this process sees it, by the kernel's word: for counting, since ids are used again. `None` for
    /// a process of another namespace.
    pub pid: Option<u32>,
}

/// The longest knock: what an end is without its descriptors is much shorter.
const KNOCK: usize = 512;

impl Listener {
    pub(super) fn new(socket: PrivateFd, max_frame: usize) -> io::Result<Listener> {
        let inside = socket.get().map_err(io::Error::other)?;
        setsockopt(&inside, sockopt::PassCred, &true)?;
        // Nobody outside receives anything.
        shutdown(inside.as_raw_fd(), Shutdown::Write)?;
        Ok(Listener { socket: Arc::new(socket), max_frame: max_frame.min(u32::MAX as usize) })
    }

    /// Waits for the next who connects, as long as it takes. What is no such thing is dropped.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] once nobody has the connector any more, or somebody has closed it for all;
    /// [`LinkError::Io`]; [`LinkError::WrongProcess`].
    pub fn accept(&self) -> Result<Arrival, LinkError> {
        loop {
            if let Some(arrival) = self.accept_until(Deadline::NEVER)? {
                return Ok(arrival);
            }
        }
    }

    /// As [`accept`](Listener::accept), for up to `timeout`. `Ok(None)`: nobody came, or somebody who sent something
    /// else.
    ///
    /// # Errors
    ///
    /// As for [`accept`](Listener::accept).
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Option<Arrival>, LinkError> {
        self.accept_until(Deadline::after(timeout))
    }

    /// As [`accept`](Listener::accept), if somebody is there.
    ///
    /// # Errors
    ///
    /// As for [`accept`](Listener::accept).
    pub fn try_accept(&self) -> Result<Option<Arrival>, LinkError> {
        self.accept_timeout(Duration::ZERO)
    }

    fn accept_until(&self, deadline: Deadline) -> Result<Option<Arrival>, LinkError> {
        let socket = self.socket.get()?;
        if !wait_until(&mut [PollFd::new(socket, PollFlags::POLLIN)], deadline)? {
            return Ok(None);
        }
        let mut packet = [0; KNOCK];
        let (taken, fds) = {
            let mut registry = registry();
            let mut taken = match sys::socket::receive_at_once(socket, &mut packet) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                taken => taken?,
            };
            // All of them before the first is listed: a listed one that is dropped asks for the registry.
            let fds = std::mem::take(&mut taken.fds).into_iter().map(above_stderr);
            let fds = fds.collect::<io::Result<Vec<_>>>()?;
            (taken, fds.into_iter().map(|fd| Some(registry.list(fd))).collect::<Vec<_>>())
        };
        if taken.length == 0 && fds.is_empty() {
            return Err(LinkError::Closed);
        }
        let Some(bytes) = packet.get(..taken.length) else { return Ok(None) };
        let incoming = Incoming {
            fds,
            buffers: Vec::new(),
            max_frame: self.max_frame,
            provisional: false,
            lost: taken.fds_lost,
        };
        // Whatever it is else, its sender finds its descriptors closed.
        let server = codec::decode_message::<OpenServer>(bytes, Some(incoming)).ok();
        Ok(server.map(|server| Arrival { server, pid: taken.sender }))
    }

    pub(super) fn exposed(&self) -> BorrowedFd<'_> {
        self.socket.expose()
    }
}

impl private::Sealed for Listener {}

impl Give for Listener {
    fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.socket, How::Moved);
    }
}

/// Moves it: after the message was sent it is of no more use here.
impl Serialize for Listener {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let socket = attachments::attach(&self.socket, How::Moved).map_err(serde::ser::Error::custom)?;
        (socket, self.max_frame as u64).serialize(serializer)
    }
}

/// Takes it over: it belongs to this process.
impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listener, D::Error> {
        let (socket, max_frame) = <(u32, u64)>::deserialize(deserializer)?;
        let socket = attachments::take(socket).map_err(D::Error::custom)?;
        let max_frame = usize::try_from(max_frame).unwrap_or(usize::MAX);
        Listener::new(socket, max_frame).map_err(D::Error::custom)
    }
}
