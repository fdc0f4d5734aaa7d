//! The program's side of a fork server.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::link::attachments::{FDS_MAX, Outgoing};
use crate::link::codec::{self, EncodeError};
use crate::link::connection::moving::Moving;
use crate::link::connection::room::Patience;
use crate::link::poll::{Deadline, wait_until};
use crate::link::sealed;
use crate::ownership::descriptors::PrivateFd;
use crate::process::child::Child;
use crate::process::errors::StartError;
use crate::process::exit_hook;
use crate::process::fork_server::ForkServer;
use crate::process::fork_server::request::{Packed, Request, Task, Thunk};
use crate::process::fork_server::surroundings::{self, Stream, Surroundings};
use crate::process::forking::kill_unwatched;
use crate::process::lifeline;
use crate::process::options::{LaunchOptions, Stdio};
use crate::process::plan::{Newborn, Plan};
use crate::process::portable::Portable;
use crate::process::report::{self, Report};
use crate::process::state;
use crate::sys;

/// A fork server, as the program sees it. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Server {
    kind: ForkServer,
    child: Child,
    socket: PrivateFd,
    /// What it was made in, and so what its children are made in.
    surroundings: Surroundings,
}

/// What a child of a server is to run, beyond what the plan says.
#[derive(Debug, Default)]
pub(crate) struct Start {
    pub(crate) task: Option<Task>,
    /// What the task's function takes.
    pub(crate) argument: Vec<u8>,
    pub(crate) outgoing: Outgoing,
}

impl Start {
    /// Of a function that the child calls by way of `thunk`, which knows its types.
    pub(crate) fn new<A: Portable>(thunk: Thunk, function: usize, argument: &A) -> Result<Start, StartError> {
        let mut bytes = Vec::new();
        let outgoing = codec::encode_message(argument, &mut bytes)?;
        let outgoing = outgoing.map_or_else(Outgoing::default, |outgoing| *outgoing);
        if outgoing.fds.len() + OTHER_FDS > FDS_MAX {
            let (type_name, most) = (std::any::type_name::<A>(), FDS_MAX - OTHER_FDS);
            let message = format!("a request carries {most} descriptors at the most");
            return Err(EncodeError { type_name, message }.into());
        }
        let task = Task::new(thunk, function, bytes.len(), &outgoing.buffers);
        Ok(Start { task: Some(task.ok_or(StartError::UnknownFunction)?), argument: bytes, outgoing })
    }
}

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum NoChild {
    /// The server had ended before it was asked; nothing has happened.
    NobodyAsked(StartError),
    Failed(StartError),
}

impl From<StartError> for NoChild {
    fn from(error: StartError) -> NoChild {
        NoChild::Failed(error)
    }
}

/// So many descriptors a request may have of its own: a link, memory, three streams, a directory.
const OTHER_FDS: usize = 6;
/// How long a server that was killed may take to die.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

/// The two ends of a server's socket: the program's and the server's.
pub(crate) fn socket_pair() -> Result<(PrivateFd, PrivateFd), StartError> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    PrivateFd::pair(|| Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?))
        .map_err(os("make a socket pair"))
}

fn os(step: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Os { step, source }
}

impl Server {
    pub(crate) fn new(
        kind: ForkServer,
        child: Child,
        socket: PrivateFd,
        surroundings: Surroundings,
    ) -> Server {
        Server { kind, child, socket, surroundings }
    }

    /// Has the server make a child, and waits until that is there and, if the plan has it so, is ready.
    pub(crate) fn start(&self, plan: &Plan<'_>, start: &Start) -> Result<Child, NoChild> {
        let deadline = Deadline::after(plan.timeout());
        exit_hook::register();
        let now = Surroundings::now().map_err(os("find out the program's state"))?;
        self.start_in(plan, start, &now, deadline)
    }

    /// As [`start`](Server::start), in surroundings that were looked at before.
    pub(crate) fn start_in(
        &self,
        plan: &Plan<'_>,
        start: &Start,
        now: &Surroundings,
        deadline: Deadline,
    ) -> Result<Child, NoChild> {
        let changes =
            self.surroundings.until(now).map_err(|what| StartError::ZygoteStale { what, source: None })?;
        let streams = streams(plan.options)?;
        let (ours, theirs) = PrivateFd::pair(report::pair).map_err(os("make a socket pair"))?;
        let end = theirs.get().map_err(StartError::WrongProcess)?;
        lifeline::prepare(end, plan.parent_death).map_err(os("arm the lifeline"))?;
        let request = Request {
            comm: plan.prepared.comm,
            own: plan.options.own.clone(),
            identity: plan.prepared.identity.clone(),
            parent_death: plan.parent_death,
            handshake: plan.handshake,
            held: plan.held,
            streams: [0, 1, 2].map(|number| streams[number].0),
            changes,
            task: start.task.clone(),
        };
        let luggage =
            start.outgoing.buffers.iter().fold(start.argument.len(), |sum, bytes| sum + bytes.len());
        let packed = request.pack(luggage).map_err(StartError::Encode)?;
        let memfd = packed.in_memfd.then(|| in_memory(&packed, start, luggage)).transpose()?;
        let cwd = request.changes.cwd.then(surroundings::open_cwd).transpose();
        let cwd = cwd.map_err(os("open the working directory"))?;

        let mut fds = vec![end];
        fds.extend(memfd.as_ref().and_then(|memfd| memfd.get().ok()));
        fds.extend(streams.iter().filter_map(|(_, fd)| *fd));
        fds.extend(cwd.as_ref().map(AsFd::as_fd));
        for (fd, _) in &start.outgoing.fds {
            fds.push(fd.at_home().ok_or(StartError::WrongProcess(crate::process::WrongProcess))?);
        }
        let moving = Moving::begin(&start.outgoing, Patience::Until(deadline));
        let moving = moving.map_err(|error| os("move an end")(io::Error::other(error)))?;
        self.send(&packed, start, &fds, deadline, plan.timeout())?;
        drop(theirs);

        let pid = self.wait_for_birth(&ours, deadline, plan.timeout())?;
        let pidfd = match PrivateFd::new(|| sys::pidfd::open(pid)) {
            Ok(pidfd) => Some(pidfd),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
            Err(source) => {
                kill_unwatched(pid);
                return Err(StartError::Os { step: "open a pidfd", source }.into());
            }
        };
        let child = plan.take_in(&mut state::lock(), Newborn { pid, pidfd, reports: ours });
        plan.see_to(&child)?;
        moving.have_arrived();
        Ok(child)
    }

    fn send(
        &self,
        packed: &Packed,
        start: &Start,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
        timeout: Duration,
    ) -> Result<(), NoChild> {
        let socket = self.socket.get().map_err(StartError::WrongProcess)?;
        let mut parts = vec![io::IoSlice::new(packed.header())];
        if !packed.in_memfd {
            parts.extend([packed.request(), &start.argument].map(io::IoSlice::new));
            parts.extend(start.outgoing.buffers.iter().map(|bytes| io::IoSlice::new(bytes)));
        }
        loop {
            let error = match sys::socket::send_parts(socket, &parts, fds) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EAGAIN) => {
                    let room = wait_until(&mut [PollFd::new(socket, PollFlags::POLLOUT)], deadline);
                    if !room.map_err(os("wait for the server"))? {
                        self.kill();
                        return Err(StartError::ServerStuck { server: self.kind, timeout }.into());
                    }
                }
                Some(libc::EPIPE | libc::ECONNRESET) => return Err(NoChild::NobodyAsked(self.died())),
                _ => return Err(os("send the request")(error).into()),
            }
        }
    }

    /// The child's number.
    fn wait_for_birth(
        &self,
        link: &PrivateFd,
        deadline: Deadline,
        timeout: Duration,
    ) -> Result<i32, StartError> {
        let link = link.get()?;
        let mut killed = false;
        loop {
            let deadline = if killed { Deadline::after(DEATH_PATIENCE) } else { deadline };
            let in_time = wait_until(&mut [PollFd::new(link, PollFlags::POLLIN)], deadline)
                .map_err(os("wait for the server"))?;
            match report::try_recv(link, 0) {
                Ok(Some(Report::Born { pid })) => return Ok(pid as i32),
                Ok(Some(Report::NotBorn { errno })) => {
                    return Err(os("make the child")(io::Error::from_raw_os_error(errno)));
                }
                // Nobody has the other end any more.
                Ok(_) if in_time && killed => {
                    return Err(StartError::ServerStuck { server: self.kind, timeout });
                }
                Ok(_) if in_time => return Err(self.died()),
                Ok(_) if killed => return Err(StartError::ServerStuck { server: self.kind, timeout }),
                Ok(_) => {
                    // It may have made the child in this moment. Once it is dead, that is known.
                    self.kill();
                    killed = true;
                }
                Err(source) => return Err(os("hear from the server")(source)),
            }
        }
    }

    fn kill(&self) {
        // It is ours, and known by its pidfd.
        let _ = self.child.kill();
    }

    /// Why it isn't there any more.
    fn died(&self) -> StartError {
        // Its socket closes before it can be collected.
        match self.child.wait_timeout(DEATH_PATIENCE) {
            Ok(Some(status)) => StartError::ServerDied { server: self.kind, status },
            Ok(None) => os("reach a server")(io::ErrorKind::ConnectionReset.into()),
            Err(error) => StartError::Child(error),
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it can be asked.
    pub(crate) fn is_alive(&self) -> bool {
        self.child.is_alive().unwrap_or(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // In a copy of the process this does nothing. It is collected by whoever is first: as a rule at once,
        // else in the background.
        self.kill();
        let _ = self.child.wait_timeout(Duration::from_millis(100));
    }
}

/// The request and all that comes with it in sealed memory.
fn in_memory(packed: &Packed, start: &Start, luggage: usize) -> Result<PrivateFd, StartError> {
    let failed = os("make memory for the request");
    let length = packed.request().len() + luggage;
    let memfd = PrivateFd::new(|| sealed::create("request", length)).map_err(&failed)?;
    let mut parts = vec![packed.request(), &start.argument];
    parts.extend(start.outgoing.buffers.iter().map(|bytes| &bytes[..]));
    sealed::fill(memfd.get()?, &parts).map_err(&failed)?;
    Ok(memfd)
}

type Sent<'a> = (Stream, Option<BorrowedFd<'a>>);

/// What becomes of the child's streams, and descriptors of those that are sent.
fn streams(options: &LaunchOptions) -> Result<[Sent<'_>; 3], StartError> {
    let mut found = [(Stream::Null, None); 3];
    let all = [options.stdin.as_ref(), Some(&options.stdout), Some(&options.stderr)];
    for (number, stdio) in all.into_iter().enumerate() {
        found[number] = match stdio {
            None | Some(Stdio::Null) => (Stream::Null, None),
            Some(Stdio::Inherit) => match surroundings::own_stream(number as i32) {
                Some(fd) => (Stream::Sent, Some(fd)),
                None => (Stream::Closed, None),
            },
            Some(given) => (Stream::Sent, given.descriptor().map_err(os("use a standard stream"))?),
        };
    }
    Ok(found)
}
