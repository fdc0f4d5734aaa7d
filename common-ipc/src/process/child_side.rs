//! The child's way from the fork to its end. It never returns.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use crate::logging;
use crate::process::after_fork;
use crate::process::exit_hook;
use crate::process::lifeline;
use crate::process::options::{DEFAULT_MAX_OUTPUT, LaunchOptions, ParentDeath, Prepared};
use crate::process::panic_report::{self, PanicReport};
use crate::process::report::{self, OutputFailure, Report};
use crate::process::setup;
use crate::process::signals::{self, Held, ToReset};
use crate::process::status::PANIC_EXIT_CODE;
use crate::process::word;
use crate::sys;

/// The exit code of a child that couldn't be set up. Its parent learns the reason from the report.
pub(crate) const SETUP_EXIT_CODE: i32 = 125;

/// What the parent's side hands over.
pub(crate) struct ChildStart<'a> {
    pub(crate) prepared: &'a Prepared<'a>,
    /// Its name, if the kernel doesn't keep all of it.
    pub(crate) long_name: Option<&'a OsStr>,
    /// Those whose streams are still to be put in place.
    pub(crate) streams: Option<&'a LaunchOptions>,
    pub(crate) null: BorrowedFd<'a>,
    pub(crate) reports: OwnedFd,
    pub(crate) to_reset: ToReset,
    pub(crate) parent_death: ParentDeath,
    pub(crate) forked_by_main_thread: bool,
    pub(crate) handshake: bool,
    pub(crate) announce_ready: bool,
    pub(crate) held: Held,
}

/// The number of this process's end of its report link; -1 in the program itself.
static LINK: AtomicI32 = AtomicI32::new(-1);

/// Whether this library has started this process.
pub(crate) fn is_child() -> bool {
    LINK.load(Ordering::Relaxed) != -1
}

/// This process's end of its report link, if it is a child. Not if the body closed it: another file
/// may have its number, and the lifeline's owner tells them apart.
#[inline]
pub(crate) fn report_link() -> Option<BorrowedFd<'static>> {
    match LINK.load(Ordering::Relaxed) {
        -1 => None,
        number => Some(sys::descriptors::standing(number)).filter(|link| lifeline::is_armed(*link)),
    }
}

fn send(report: &Report) -> io::Result<()> {
    report::send(link()?, report)
}

fn link() -> io::Result<BorrowedFd<'static>> {
    report_link().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
}

/// Called by the panic hook when nothing will catch the panic: it is the last to run.
pub(crate) fn report_panic_before_abort(report: &PanicReport) {
    let _ = send(&Report::Panicked(report.clone()));
}

/// Leaves by `_exit` whatever happens: a child must never unwind into its parent's frames.
pub(crate) struct LeaveOnUnwind;

impl Drop for LeaveOnUnwind {
    fn drop(&mut self) {
        sys::fork::exit_now(PANIC_EXIT_CODE);
    }
}

/// From now on `exit` leads out of this process as the end of a body does, and through no handler that was
/// registered before.
pub(crate) fn trap_exit() {
    sys::fork::trap_exit(leave_by_exit);
}

/// What a child does. It is passed what to call when it is ready for its work, which is before that; if it
/// isn't, it returns why.
pub(crate) type Body<'a> = dyn FnMut(&mut dyn FnMut()) -> Result<Vec<u8>, OutputFailure> + 'a;

/// Runs the child. Its copies of the parent's descriptors and locks are settled by now; all signals
/// are blocked.
#[inline]
pub(crate) fn run(start: ChildStart<'_>, body: &mut Body<'_>) -> ! {
    let _leave = LeaveOnUnwind;
    // First, so that no way out leads through the parent's atexit handlers. A fork server has done so itself.
    if start.streams.is_some() {
        trap_exit();
    }
    exit_hook::forget_children();
    let own = start.prepared.own;
    start.to_reset.reset(own.sigint);
    sys::fork::set_name(&start.prepared.comm);
    word::set_current_name(&start.prepared.comm, start.long_name);
    let owned =
        lifeline::own(start.reports.as_fd()).map_err(|error| setup::SetupStep::ParentDeath.failed_io(&error));
    let streams = start.streams.map_or(Ok(()), |options| setup::streams(options, start.null));
    let set_up = owned.and(streams).and_then(|()| setup::apply(start.prepared)).and_then(|()| {
        lifeline::arm(start.reports.as_fd(), start.parent_death, start.forked_by_main_thread)
            .map_err(|error| setup::SetupStep::ParentDeath.failed_io(&error))
    });
    if let Err(failure) = set_up {
        // If the parent doesn't wait for this, a later wait tells it that there was no output.
        let _ = report::send(start.reports.as_fd(), &Report::SetupFailed(failure));
        sys::fork::exit_now(SETUP_EXIT_CODE);
    }
    LINK.store(start.reports.into_raw_fd(), Ordering::Relaxed);
    signals::unblock_all_but(start.held, own.sigint);

    let outcome = PanicReport::catch(|| {
        // A server runs nothing of the user's: its children do.
        if start.held != Held::All {
            after_fork::run();
        }
        body(&mut || {
            let word = match (start.announce_ready, start.handshake) {
                (true, _) => Report::Announced,
                (false, true) => Report::Ready,
                (false, false) => return,
            };
            if send(&word).is_err() && start.streams.is_none() {
                // Nobody waits for a server's child any more: it was asked for by a start that has failed. (A
                // forked child has a parent that is gone, and the lifeline knows.)
                sys::fork::exit_now(SETUP_EXIT_CODE);
            }
        })
    });
    let max = own.max_output.unwrap_or(DEFAULT_MAX_OUTPUT);
    let (report, code) = match outcome {
        Ok(Ok(bytes)) if bytes.len() <= max => leave(0, || report::send_output(link()?, &bytes)),
        Ok(Ok(bytes)) => {
            let failure = OutputFailure::TooLarge { bytes: bytes.len() as u64, max: max as u64 };
            (Report::NoOutput(failure), 0)
        }
        Ok(Err(failure)) => {
            let code = if failure.is_of_the_start() { SETUP_EXIT_CODE } else { 0 };
            (Report::NoOutput(failure), code)
        }
        Err(report) => (Report::Panicked(report), PANIC_EXIT_CODE),
    };
    leave(code, || send(&report))
}

/// The end of a body: children of its own, then its output streams, then the report, then nothing.
#[inline]
fn leave(code: i32, deliver: impl FnOnce() -> io::Result<()>) -> ! {
    exit_hook::run();
    // Threads that the body left behind may hold a stream's lock for as long as they like.
    if sys::threads::is_alone() == Some(true) {
        let _ = io::stdout().flush();
        sys::fork::flush_c_streams_if_pending(false);
    } else {
        within(FLUSH_PATIENCE, || {
            let _ = io::stdout().flush();
            sys::fork::flush_c_streams_if_pending(true);
        });
    }
    logging::tell_losses();
    if let Err(error) = deliver() {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let _ = send(&Report::NoOutput(OutputFailure::Undeliverable { errno }));
    }
    sys::fork::exit_now(code)
}

/// How long a child on its way out waits for streams that its other threads have locked.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Runs `work` on a thread of its own and waits for it, but not for longer than `patience`.
#[cold]
fn within(patience: Duration, work: fn()) {
    let (done, wait_for_it) = std::sync::mpsc::channel();
    let spawned = std::thread::Builder::new().spawn(move || {
        work();
        let _ = done.send(());
    });
    match spawned {
        Ok(_) => drop(wait_for_it.recv_timeout(patience)),
        // No thread to be had: here, then, and should it take ten times as long, that is the end.
        Err(_) => {
            sys::parent_death::kill_this_process_after(patience * 10);
            work();
        }
    }
}

/// The end of a body that called `exit`, which has flushed its streams and run its own handlers.
fn leave_by_exit(code: i32) -> ! {
    exit_hook::run();
    if sys::threads::is_alone() == Some(true) {
        sys::fork::flush_c_streams(false);
    } else {
        within(FLUSH_PATIENCE, || {
            sys::fork::flush_c_streams(true);
            // Perhaps others as well: one of them may be locked for ever.
            sys::fork::flush_c_streams(false);
        });
    }
    logging::tell_losses();
    // A panic hook that exits, as some do, is the end of a panic all the same.
    if let Some(report) = panic_report::while_panicking() {
        let _ = send(&Report::Panicked(report));
    }
    sys::fork::exit_now(code)
}
