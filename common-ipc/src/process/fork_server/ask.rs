//! The program's side of a fork server.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use serde::Serialize;

use crate::link::attachments::{FDS_MAX, Outgoing};
use crate::link::codec::{self, EncodeError};
use crate::link::connection::moving::Moving;
use crate::link::connection::room::Patience;
use crate::link::control;
use crate::link::poll::{Deadline, wait_until};
use crate::logging::{self, Route};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::{Given, How};
use crate::process::child::Child;
use crate::process::errors::StartError;
use crate::process::exit_hook;
use crate::process::fork_server::births::{Births, Expected};
use crate::process::fork_server::packed::Packed;
use crate::process::fork_server::records::LinkForRecords;
use crate::process::fork_server::request::{self, FRESH, Thunk};
use crate::process::fork_server::streams;
use crate::process::fork_server::surroundings::{self, Surroundings};
use crate::process::fork_server::{self, ForkServer};
use crate::process::forking::kill_unwatched;
use crate::process::lifeline;
use crate::process::log_thread;
use crate::process::plan::{Newborn, Plan};
use crate::process::portable::Portable;
use crate::process::report::{self, Report};
use crate::process::state;
use crate::sys;
use crate::sys::function::{self, Modules};

/// A fork server, as the program sees it. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Server {
    kind: ForkServer,
    child: Child,
    socket: PrivateFd,
    births: Births,
    /// What it was made in, and so what its children are made in.
    surroundings: Surroundings,
    /// What it has of the program's code.
    modules: Arc<Modules>,
}

/// What a child of a server is to run, beyond what the plan says.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// The addresses of a [`Thunk`] and of the function that it calls; zero if the server knows what to run.
    pub(super) thunk: usize,
    pub(super) function: usize,
    /// What that takes.
    pub(crate) argument: Vec<u8>,
    pub(crate) outgoing: Outgoing,
}

impl Start {
    /// Of a function that the child calls by way of `thunk`, which knows its types.
    pub(crate) fn new<A: Portable>(thunk: Thunk, function: usize, argument: &A) -> Result<Start, StartError> {
        Ok(Start { thunk: function::address(thunk), function, ..Start::with(argument)? })
    }

    /// As [`new`](Start::new), of a function that takes two arguments as a pair.
    pub(crate) fn pair<A: Portable, B: Portable>(
        thunk: Thunk,
        function: usize,
        argument: &(A, &B),
    ) -> Result<Start, StartError> {
        let start = Start::with_as::<(A, B), _>(argument)?;
        Ok(Start { thunk: function::address(thunk), function, ..start })
    }

    /// Of what the server knows to run.
    pub(crate) fn with<A: Portable>(argument: &A) -> Result<Start, StartError> {
        Start::with_as::<A, A>(argument)
    }

    fn with_as<A: Portable, T: Serialize>(argument: &T) -> Result<Start, StartError> {
        let mut bytes = Vec::new();
        let outgoing = codec::encode_message_as::<A, T>(argument, &mut bytes)?;
        let outgoing = outgoing.map_or_else(Outgoing::default, |outgoing| *outgoing);
        let others = OTHER_FDS + usize::from(!matches!(logging::route(), Route::None));
        if outgoing.fds.len() + others > FDS_MAX {
            let (type_name, most) = (std::any::type_name::<A>(), FDS_MAX - others);
            let message = format!("a request carries {most} descriptors at the most");
            return Err(EncodeError { type_name, message }.into());
        }
        Ok(Start { thunk: 0, function: 0, argument: bytes, outgoing })
    }

    /// The functions that the server must have.
    pub(crate) fn functions(&self) -> [usize; 2] {
        [self.thunk, self.function]
    }
}

/// Why there is no child.
#[derive(Debug)]
pub(crate) enum NoChild {
    /// The server had ended before it was asked; nothing has happened.
    NobodyAsked(StartError),
    /// The server came to it so late that the program may be another by now; nothing has happened.
    Late(StartError),
    Failed(StartError),
}

impl From<NoChild> for StartError {
    fn from(none: NoChild) -> StartError {
        let (NoChild::NobodyAsked(error) | NoChild::Late(error) | NoChild::Failed(error)) = none;
        error
    }
}

impl From<StartError> for NoChild {
    fn from(error: StartError) -> NoChild {
        NoChild::Failed(error)
    }
}

/// So many descriptors a request may have of its own: a link, memory, three streams, a directory. The link for records
/// comes on top.
const OTHER_FDS: usize = 6;
/// How long a server that was killed may take to die.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

/// How long a descriptor for a child that is there is waited for.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(1);
const DESCRIPTOR_TURN: Duration = Duration::from_millis(1);

/// The pidfd of a child that was just made. Others may have taken the last descriptors since it was asked for; but it runs,
/// and it would be wrong to say that nothing was started. So one that comes free is waited for. There is nothing that tells
/// of that.
fn pidfd(pid: i32, deadline: Deadline) -> io::Result<PrivateFd> {
    let patience = Deadline::after(DESCRIPTOR_PATIENCE);
    loop {
        match PrivateFd::new(|| sys::pidfd::open(pid)) {
            Err(error) if sys::is_shortage(&error) && !patience.has_passed() && !deadline.has_passed() => {
                std::thread::sleep(DESCRIPTOR_TURN);
            }
            opened => return opened,
        }
    }
}

/// What a new server is to have: its end of the socket, and the memory for the births.
pub(crate) struct ForServer {
    pub(crate) socket: Arc<PrivateFd>,
    pub(crate) births: Arc<PrivateFd>,
}

impl ForServer {
    /// For one that gets them by a fork.
    pub(crate) fn given(&self) -> [Given; 2] {
        [&self.socket, &self.births].map(|fd| Given { fd: Arc::downgrade(fd), how: How::Shared })
    }
}

/// The two sides of a new server's socket and memory: the program's and the server's.
pub(crate) fn both_sides() -> Result<((PrivateFd, Births), ForServer), StartError> {
    // The server waits in its calls; the program asks not to wait in each of its own.
    let pair = || Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?);
    let (ours, theirs) = PrivateFd::pair(pair).map_err(os("make a socket pair"))?;
    let (births, memfd) = Births::new().map_err(os("make memory to share"))?;
    Ok(((ours, births), ForServer { socket: Arc::new(theirs), births: Arc::new(memfd) }))
}

pub(super) fn os(step: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Os { step, source }
}

impl Server {
    pub(crate) fn new(
        kind: ForkServer,
        child: Child,
        (socket, births): (PrivateFd, Births),
        surroundings: Surroundings,
        modules: Arc<Modules>,
    ) -> Server {
        Server { kind, child, socket, births, surroundings, modules }
    }

    /// Checks that it has the functions at these addresses.
    pub(crate) fn check(&self, functions: [usize; 2]) -> Result<(), StartError> {
        if self.modules.had(functions) { Ok(()) } else { Err(StartError::UnknownFunction) }
    }

    pub(crate) fn modules(&self) -> &Arc<Modules> {
        &self.modules
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Has the server make a child, and waits until that is there and, if the plan has it so, is ready.
    pub(crate) fn start(&self, plan: &Plan<'_>, start: &Start) -> Result<Child, NoChild> {
        let deadline = Deadline::after(plan.timeout());
        exit_hook::register();
        loop {
            let now = fork_server::now()?;
            match self.start_in(plan, start, &now, None, deadline) {
                Err(NoChild::Late(_)) if !deadline.has_passed() => {}
                other => return other,
            }
        }
    }

    /// As [`start`](Server::start), in surroundings that were looked at before, and in this directory, if it is open.
    pub(crate) fn start_in(
        &self,
        plan: &Plan<'_>,
        start: &Start,
        now: &Surroundings,
        cwd: Option<OwnedFd>,
        deadline: Deadline,
    ) -> Result<Child, NoChild> {
        let socket = self.socket.get().map_err(StartError::WrongProcess)?;
        let mut changes =
            self.surroundings.until(now).map_err(|what| StartError::ZygoteStale { what, source: None })?;
        if plan.options.own.env_clear {
            // It isn't told what it is to forget.
            changes.environment = None;
        }
        let streams = streams::streams(plan.options)?;
        let (ours, theirs) = PrivateFd::pair(report::pair).map_err(os("make a socket pair"))?;
        let end = theirs.get().map_err(StartError::WrongProcess)?;
        lifeline::prepare(end, plan.parent_death).map_err(os("arm the lifeline"))?;
        let births = &self.births;
        let expected =
            births.claim().ok_or_else(|| os("begin another start")(io::ErrorKind::WouldBlock.into()))?;
        let cwd = match (changes.cwd, cwd) {
            (false, _) => None,
            (true, None) => Some(surroundings::open_cwd().map_err(os("open the working directory"))?),
            (true, open) => open,
        };
        let streams_there = streams.map(|(stream, _)| stream);
        let records = LinkForRecords::new(plan).map_err(os("make a socket pair"))?;
        let told = records.told();
        let packed = Packed::new(plan, start, &expected, streams_there, told, changes, now.at)?;
        let memfd = packed.in_memory()?;

        let mut fds = vec![end];
        fds.extend(records.fd());
        fds.extend(memfd.as_ref().and_then(|memfd| memfd.get().ok()));
        fds.extend(streams.iter().filter_map(|(_, fd)| *fd));
        fds.extend(cwd.as_ref().map(AsFd::as_fd));
        for (fd, _) in &start.outgoing.fds {
            fds.push(fd.at_home().ok_or(StartError::WrongProcess(crate::process::WrongProcess))?);
        }
        let moving = Moving::begin(&start.outgoing, Patience::Until(deadline));
        let moving = moving.map_err(|error| os("move an end")(io::Error::other(error)))?;
        self.send(socket, &packed.parts(), &fds, deadline, plan.timeout())?;
        drop(theirs);
        let records = records.into_ours();

        let pid = self.wait_for_birth(&ours, &expected, deadline, plan.timeout())?;
        let pidfd = match pidfd(pid, deadline) {
            Ok(pidfd) => Some(pidfd),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
            Err(source) => {
                kill_unwatched(pid);
                return Err(StartError::Os { step: "open a pidfd", source }.into());
            }
        };
        // From here on it is known by its pidfd.
        drop(expected);
        let child = plan.take_in(&mut state::lock(), Newborn { pid, pidfd, reports: ours });
        if let Some(records) = records {
            log_thread::watch(records, pid, &plan.name);
        }
        plan.see_to(&child, Some(deadline))?;
        moving.have_arrived();
        Ok(child)
    }

    /// Tells a template to let go of what only its first child can have.
    pub(crate) fn let_go(&self) {
        // Should it fail, the template has died, or has too much to do to hear of it: it keeps them open.
        let sent = self.socket.get().map_err(io::Error::other);
        let _ = sent.and_then(|socket| sys::socket::send_with(socket, &request::LET_GO, &[]));
    }

    fn send(
        &self,
        socket: BorrowedFd<'_>,
        parts: &[io::IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
        timeout: Duration,
    ) -> Result<(), NoChild> {
        loop {
            let error = match sys::socket::send_parts(socket, parts, fds) {
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

    /// Waits until the child says its first word, or it is known that there won't be one: its number.
    fn wait_for_birth(
        &self,
        link: &PrivateFd,
        expected: &Expected<'_>,
        deadline: Deadline,
        timeout: Duration,
    ) -> Result<i32, NoChild> {
        let link = link.get().map_err(StartError::WrongProcess)?;
        // Its death, too: a process that it was copied to may have kept the other end of its socket.
        let Some(server) = self.child.record().pidfd() else {
            return Ok(expected.pid().ok_or_else(|| self.died())?);
        };
        let mut events = [
            PollFd::new(link, PollFlags::POLLIN),
            PollFd::new(server.get().map_err(StartError::WrongProcess)?, PollFlags::POLLIN),
        ];
        let spoken = wait_until(&mut events, deadline).map_err(os("wait for the server"))?;
        if let Some(pid) = expected.pid() {
            return Ok(pid);
        }
        if spoken {
            return match report::try_recv(link, 0) {
                Ok(Some(Report::NotBorn { errno: libc::ETIME })) => {
                    Err(NoChild::Late(StartError::ServerStuck { server: self.kind, timeout: FRESH }))
                }
                Ok(Some(Report::NotBorn { errno })) => {
                    Err(os("make the child")(io::Error::from_raw_os_error(errno)).into())
                }
                // Nobody has the other end any more.
                Ok(_) => Err(self.died().into()),
                Err(source) => Err(os("hear from the server")(source).into()),
            };
        }
        // It may make the child in this moment. Once it is dead, that is known.
        self.kill();
        let dead = matches!(self.child.wait_timeout(DEATH_PATIENCE), Ok(Some(_)));
        match expected.pid() {
            Some(pid) if dead => Ok(pid),
            _ => Err(StartError::ServerStuck { server: self.kind, timeout }.into()),
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

    /// # Errors
    ///
    /// Why it can't be asked.
    pub(crate) fn check_alive(&self) -> Result<(), StartError> {
        if self.child.is_alive()? { Ok(()) } else { Err(self.died()) }
    }

    /// Whether it can be asked.
    pub(crate) fn is_alive(&self) -> bool {
        self.child.is_alive().unwrap_or(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // In a copy of the process this does nothing. A program that has dropped its rights can't kill one that
        // has them still; that one ends by itself when it hears no more. It is collected by whoever is first: as a
        // rule at once, else in the background.
        if let Ok(socket) = self.socket.get() {
            control::close(socket);
        }
        self.kill();
        let _ = self.child.wait_timeout(Duration::from_millis(100));
    }
}
