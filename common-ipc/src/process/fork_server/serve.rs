//! The life of a fork server: it sleeps until it is asked for a child, makes it, and sleeps again.
//!
//! It does next to nothing itself, so that next to nothing can go wrong in it and its memory stays as it is:
//! it neither decodes the request nor keeps anything of it. The child that it makes belongs to the program;
//! whatever happens from then on is between these two. All signals are blocked, so that a Ctrl-C is the
//! program's business; it ends when the program does, or has no more use for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags};

use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::{self, PrivateFd};
use crate::ownership::harmless;
use crate::process::child_side::{self, ChildStart, LeaveOnUnwind};
use crate::process::fork_server::request::{Outcome, PACKET_MAX, Request};
use crate::process::fork_server::surroundings::{self, ProgramState};
use crate::process::lifeline;
use crate::process::options::{Ends, Prepared};
use crate::process::report::{self, OutputFailure, Report};
use crate::process::setup::{SetupFailure, SetupStep};
use crate::process::signals::ToReset;
use crate::sys;
use crate::sys::fork::Forked;

/// What the children of a server run.
pub(crate) enum Work<'a> {
    /// What each request names.
    Tasks,
    /// Always this, on a copy of its own.
    Closure { body: &'a mut dyn FnMut(&mut dyn FnMut()) -> Outcome, ends: Ends },
}

/// Serves until the program closes its end of the socket.
pub(crate) fn serve(socket: &PrivateFd, mut work: Work<'_>) -> io::Result<()> {
    let null = harmless::null()?;
    // The program's streams are open for as long as it wants them to be.
    for number in 0..=2 {
        sys::descriptors::place(null, number)?;
    }
    let mut packet = vec![0; PACKET_MAX];
    // A descriptor in reserve, for the one by which it can be said that there is none left.
    let mut reserve = null.try_clone_to_owned().ok();
    loop {
        let end = socket.get().map_err(io::Error::other)?;
        wait_until(&mut [PollFd::new(end, PollFlags::POLLIN)], Deadline::NEVER)?;
        drop(reserve.take());
        let taken = match sys::socket::receive_at_once(end, &mut packet) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            taken => taken?,
        };
        if taken.length == 0 {
            return Ok(());
        }
        // Without its link nobody waits for an answer.
        if !taken.fds.is_empty() {
            make_child(&packet[..taken.length], taken.fds, taken.fds_lost, null, &mut work);
        }
        reserve = null.try_clone_to_owned().ok();
    }
}

/// Makes the child, or says why not.
fn make_child(packet: &[u8], fds: Vec<OwnedFd>, fds_lost: bool, null: BorrowedFd<'_>, work: &mut Work<'_>) {
    let servers_link = child_side::report_link();
    let mut registry = descriptors::registry();
    let forked = match fds_lost {
        true => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        false => sys::fork::fork_sibling(),
    };
    match forked {
        Ok(Forked::Child) => {}
        Ok(Forked::Parent(_)) => {
            drop(registry);
            if let Work::Closure { ends, .. } = work {
                // Those that belong to one process are this child's.
                ends.give_moved_away();
            }
            return;
        }
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            // Should it fail, the link's closing says enough.
            let _ = report::send(fds[0].as_fd(), &Report::NotBorn { errno });
            return;
        }
    }
    let _leave = LeaveOnUnwind;
    let keep = match work {
        Work::Tasks => [&[][..], &[]],
        Work::Closure { ends, .. } => ends.for_child(),
    };
    registry.settle_in_child(keep, null);
    if let Some(link) = servers_link {
        sys::descriptors::close_range(link.as_raw_fd(), link.as_raw_fd());
    }
    // The number is the program's only way to this child.
    let _ = report::send(fds[0].as_fd(), &Report::Born { pid: std::process::id() });
    if let Work::Closure { ends, .. } = work {
        ends.announce();
    }
    live(packet, fds, null, work)
}

/// The child's life.
fn live(packet: &[u8], fds: Vec<OwnedFd>, null: BorrowedFd<'_>, work: &mut Work<'_>) -> ! {
    let mut fds = fds.into_iter();
    let Some(reports) = fds.next() else { sys::fork::exit_now(child_side::SETUP_EXIT_CODE) };
    let (request, luggage) = match Request::unpack(packet, &mut fds) {
        Ok(unpacked) => unpacked,
        Err(message) => give_up(&reports, &unreadable(message)),
    };
    let prepared = match Prepared::of(&request.own, request.comm, request.identity) {
        Ok(prepared) => prepared,
        Err(error) => give_up(&reports, &unreadable(error.to_string())),
    };
    if let Err(errno) = surroundings::place_streams(request.streams, null, || fds.next()) {
        give_up(&reports, &behind(ProgramState::Streams, errno));
    }
    let cwd = if request.changes.cwd { fds.next() } else { None };
    if let Err((what, errno)) = request.changes.make(cwd.as_ref().map(AsFd::as_fd)) {
        give_up(&reports, &behind(what, errno));
    }
    if let Some(cwd) = cwd {
        sys::descriptors::close(cwd);
    }
    let mut fds = Some(fds.collect::<Vec<OwnedFd>>());
    let start = ChildStart {
        prepared: &prepared,
        streams: None,
        null,
        reports,
        to_reset: ToReset::NOTHING,
        parent_death: request.parent_death,
        forked_by_main_thread: lifeline::parent_is_the_main_thread(),
        handshake: request.handshake,
        held: request.held,
    };
    match (request.task, work) {
        (Some(task), Work::Tasks) => {
            child_side::run(start, &mut |ready| task.run(&luggage, fds.take().unwrap_or_default(), ready))
        }
        (None, Work::Closure { body, .. }) => child_side::run(start, body),
        _ => sys::fork::exit_now(child_side::SETUP_EXIT_CODE),
    }
}

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
