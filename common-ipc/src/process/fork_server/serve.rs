//! The life of a fork server: it sleeps until it is asked for a child, makes it, and sleeps again.
//!
//! It does next to nothing itself, so that next to nothing can go wrong in it and its memory stays as it is:
//! it neither decodes the request nor keeps anything of it. The child that it makes belongs to the program;
//! whatever happens from then on is between these two. All signals are blocked, so that a Ctrl-C is the
//! program's business; it ends when the program does, or has no more use for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::link::attachments::Incoming;
use crate::logging;
use crate::ownership::descriptors::{self, Division, Keep, PrivateFd};
use crate::ownership::harmless;
use crate::process::child_side::{self, ChildStart, LeaveOnUnwind};
use crate::process::fork_server::births::Births;
use crate::process::fork_server::records::Records;
use crate::process::fork_server::request::{self, Header, Outcome, PACKET_MAX, Rest, Unusual};
use crate::process::fork_server::streams;
use crate::process::fork_server::surroundings::ProgramState;
use crate::process::lifeline;
use crate::process::options::{Ends, Identity, OwnSetup, Prepared};
use crate::process::report::{self, OutputFailure, Report};
use crate::process::setup::{SetupFailure, SetupStep};
use crate::process::signals::ToReset;
use crate::process::word;
use crate::sys;
use crate::sys::fork::{Forked, OfThread};
use crate::sys::socket::Fds;

/// What the children of a server run.
pub(crate) enum Work<'a> {
    /// What each request names.
    Tasks,
    /// Always this, on a copy of its own, with the argument of each request.
    Closure { body: &'a mut TemplateBody<'a>, ends: Ends },
}

/// As a [`Thunk`](crate::process::fork_server::Thunk) that knows its function.
pub(crate) type TemplateBody<'a> = dyn FnMut(&[u8], Option<Incoming>, &mut dyn FnMut()) -> Outcome + 'a;

/// What the server has ready for each child.
struct Server<'a> {
    null: BorrowedFd<'a>,
    births: Births,
    of_thread: OfThread,
    /// The server's own descriptors, and those that it keeps for its children.
    division: Division,
}

/// Serves until the program closes its end of the socket.
pub(crate) fn serve(socket: &PrivateFd, births: Births, mut work: Work<'_>) -> io::Result<()> {
    let null = harmless::null()?;
    // The program's streams are open for as long as it wants them to be.
    for number in 0..=2 {
        sys::descriptors::place(null, number)?;
    }
    let mut server = Server { null, births, of_thread: OfThread::find(), division: divide(&work) };
    let end = socket.get().map_err(io::Error::other)?;
    // By one descriptor it can be said that there is none left. Nobody takes any here from now on.
    drop(null.try_clone_to_owned()?);
    let mut packet = [0; PACKET_MAX];
    let mut fds = Fds::new();
    loop {
        let (length, fds_lost) = sys::socket::receive_from_friend(end, &mut packet, &mut fds)?;
        if length == 0 {
            return Ok(());
        }
        if packet[..length] == request::LET_GO {
            if let Work::Closure { ends, .. } = &mut work {
                ends.give_moved_away();
                server.division = divide(&work);
            }
            continue;
        }
        server.make_child(&packet[..length], &mut fds, fds_lost, &mut work);
        fds.clear();
        // What this child was told is no business of the next one, which is a copy of this process.
        packet[..length].fill(0);
    }
}

/// A child gets rid of all that is the server's, but for what it keeps for its children.
fn divide(work: &Work<'_>) -> Division {
    let link = child_side::report_link().map_or(-1, |link| link.as_raw_fd());
    descriptors::registry().division(for_child(work)).without(link)
}

fn for_child<'a>(work: &'a Work<'_>) -> Keep<'a> {
    match work {
        Work::Tasks => [&[], &[]],
        Work::Closure { ends, .. } => ends.for_child(),
    }
}

impl Server<'_> {
    /// Makes the child, or says why not.
    fn make_child(&self, packet: &[u8], fds: &mut Fds, fds_lost: bool, work: &mut Work<'_>) {
        let made = match fds.first() {
            Some(link) => self.fork(packet, link, fds_lost),
            // Nobody waits for an answer.
            None => return,
        };
        match made {
            Ok((Forked::Child, header, rest)) => {
                let _leave = LeaveOnUnwind;
                self.division.settle_in_child(for_child(work), self.null);
                live(&header, rest, fds, self.null, work)
            }
            Ok((Forked::Parent(_), ..)) => {}
            Err(error) => {
                // Should it fail, the link's closing says enough.
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let _ = fds.first().map(|link| report::send(link, &Report::NotBorn { errno }));
            }
        }
    }

    #[inline]
    fn fork<'p>(
        &self,
        packet: &'p [u8],
        link: BorrowedFd<'_>,
        fds_lost: bool,
    ) -> io::Result<(Forked, Header, &'p [u8])> {
        if fds_lost {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let garbled = || io::Error::from_raw_os_error(libc::EBADMSG);
        let (header, rest) = Header::parse(packet).ok_or_else(garbled)?;
        // The start may have been given up while this process was stopped; or the program has changed since.
        if sys::socket::has_hung_up(link)? || header.asked.elapsed() > request::FRESH {
            return Err(io::Error::from_raw_os_error(libc::ETIME));
        }
        let word = self.births.word(header.slot).ok_or_else(garbled)?;
        Ok((sys::fork::fork_sibling(&self.of_thread, word)?, header, rest))
    }
}

/// The child's life.
#[inline]
fn live(header: &Header, rest: &[u8], fds: &mut Fds, null: BorrowedFd<'_>, work: &mut Work<'_>) -> ! {
    let Some(reports) = fds.next() else { sys::fork::exit_now(child_side::SETUP_EXIT_CODE) };
    if let Some(Records { level, shared }) = header.records {
        match fds.next() {
            Some(link) => logging::adopt_from_zygote(link, shared, level, word::current_name),
            None => give_up(&reports, &unreadable("the request came without a link for records".to_owned())),
        }
    }
    let memory;
    let rest = match header.rest_in_memfd {
        false => rest,
        true => match request::rest_from_memfd(fds.next()) {
            Ok(read) => {
                memory = read;
                &memory
            }
            Err(message) => give_up(&reports, &unreadable(message)),
        },
    };
    let rest = match Rest::of(header, rest) {
        Ok(rest) => rest,
        Err(message) => give_up(&reports, &unreadable(message.to_owned())),
    };
    let mut unusual = None;
    if header.unusual > 0 {
        match rest.unusual() {
            Ok(decoded) => unusual = Some(decoded),
            Err(message) => give_up(&reports, &unreadable(message)),
        }
    }
    if let Err(errno) = streams::place_streams(header.streams, null, fds) {
        give_up(&reports, &behind(ProgramState::Streams, errno));
    }
    let mut own = OwnSetup::default();
    let mut identity = Identity::default();
    let mut long_name = None;
    if let Some(unusual) = unusual {
        let Unusual { changes, .. } = &unusual;
        let cwd = if changes.cwd { fds.next() } else { None };
        if let Err((what, errno)) = changes.make(cwd.as_ref().map(AsFd::as_fd)) {
            give_up(&reports, &behind(what, errno));
        }
        if let Some(cwd) = cwd {
            sys::descriptors::close(cwd);
        }
        (own, identity, long_name) = (unusual.own, unusual.identity, unusual.long_name);
    }
    own.sigint = header.sigint;
    own.max_output = (header.max_output > 0).then_some(header.max_output as usize);
    let prepared = match Prepared::of(&own, header.comm, identity) {
        Ok(prepared) => prepared,
        Err(error) => give_up(&reports, &unreadable(error.to_string())),
    };
    let start = ChildStart {
        prepared: &prepared,
        long_name: long_name.as_deref(),
        streams: None,
        null,
        reports,
        // The server has reset them all, and has set none.
        to_reset: ToReset::NOTHING,
        parent_death: header.parent_death,
        forked_by_main_thread: lifeline::parent_is_the_main_thread(),
        // The program waits for each of them: its first word wakes it.
        handshake: true,
        announce_ready: header.announce_ready,
        held: header.held,
    };
    match work {
        Work::Tasks => child_side::run(start, &mut |ready| rest.run(header, fds, ready)),
        Work::Closure { body, ends } => child_side::run(start, &mut |ready| {
            // Now that nothing can keep it from its work.
            ends.announce();
            let (argument, incoming) = rest.argument(fds)?;
            body(argument, incoming, ready)
        }),
    }
}

#[cold]
fn give_up(reports: &OwnedFd, why: &Report) -> ! {
    let _ = report::send(reports.as_fd(), why);
    sys::fork::exit_now(child_side::SETUP_EXIT_CODE)
}

fn unreadable(message: String) -> Report {
    Report::NoOutput(OutputFailure::Argument { message })
}

fn behind(what: ProgramState, errno: i32) -> Report {
    Report::SetupFailed(SetupFailure { step: SetupStep::ProgramState(what), errno })
}
