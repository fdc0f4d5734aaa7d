//! The fork, with the discipline that makes it safe.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};

use crate::link::poll::Deadline;
use crate::logging::{self, Route};
use crate::ownership::descriptors;
use crate::ownership::harmless;
use crate::process::child::Child;
use crate::process::child_side::{self, Body, ChildStart};
use crate::process::errors::StartError;
use crate::process::exit_hook;
use crate::process::fork_rule::{self, Leave};
use crate::process::lifeline;
use crate::process::log_thread;
use crate::process::options::Ends;
use crate::process::panic_report::ChildHook;
use crate::process::plan::{Newborn, Plan};
use crate::process::record::Role;
use crate::process::report;
use crate::process::signals::{self, ToReset};
use crate::process::state;
use crate::process::word;
use crate::sys;
use crate::sys::fork::Forked;

/// Forks a child of the program that runs `body`.
pub(crate) fn fork(plan: &Plan<'_>, body: &mut Body<'_>) -> Result<Child, StartError> {
    let os = |step| move |source| StartError::Os { step, source };
    // What every process needs once. Children inherit them.
    let null = harmless::null().map_err(os("open /dev/null"))?;
    harmless::prepare_always_ready().map_err(os("make a socket pair"))?;
    exit_hook::register();

    // From here to the fork: nobody else forks, and no library thread holds a lock.
    let Leave { gate, others } = fork_rule::close_gate(plan.options.fork_rule)?;
    // Beside other threads (where that is allowed) locks are taken in the order in which those may
    // hold them: a panic hook writes to a stream, and whoever writes may call the library.
    let hook = ChildHook::install();
    // Nothing is left in the buffers for both to write. It fails where the output leads nowhere;
    // that is its writer's trouble, not the child's.
    let _ = io::stdout().flush();
    sys::fork::flush_c_streams(others);
    // Nor is anybody else half way through a line. Never standard input: its buffer may be in
    // use by this very thread.
    let streams = others.then(|| (io::stdout().lock(), io::stderr().lock()));

    let mut process = state::lock();
    process.open_status_file();
    let ends = Ends::claim(plan.options).map_err(StartError::GivenTwice)?;
    let parents_link = child_side::report_link();
    let mut registry = descriptors::registry();
    // Worked out here: each page that the allocator would touch in the child costs that 1 to 2 us.
    let division = registry.division(ends.for_child());

    let (ours, theirs) = report::pair().map_err(os("make a socket pair"))?;
    let ours = descriptors::above_stderr(ours).map_err(os("make a socket pair"))?;
    let theirs = descriptors::above_stderr(theirs).map_err(os("make a socket pair"))?;
    lifeline::prepare(theirs.as_fd(), plan.parent_death).map_err(os("arm the lifeline"))?;
    let records = match logging::route() {
        Route::New if plan.relays_records => Some(logging::pair().map_err(os("make a socket pair"))?),
        _ => None,
    };
    let on_main_thread = lifeline::on_main_thread();

    let mask = signals::block_all().map_err(os("block signals"))?;
    let to_reset = ToReset::find(process.status_file());

    let forked = match plan.role {
        Role::Child => sys::fork::fork(),
        // There is one thread: the rule has no exception for these.
        Role::Server => sys::fork::fork_unseen(),
    };
    let pid = match forked {
        Ok(Forked::Child) => {
            division.settle_in_child(ends.for_child(), null);
            ends.announce();
            // The last of its handles closes an end. The gate, the state and the registry stay as
            // they are: this process has its own.
            drop(ends);
            drop(streams);
            // The parent's end of the link: should anybody else hold it, the parent's death
            // would go unnoticed. And the parent's own, if it is a child itself: what comes
            // through that is its word.
            sys::descriptors::close(ours);
            if let Some(link) = parents_link {
                sys::descriptors::close_range(link.as_raw_fd(), link.as_raw_fd());
            }
            match records {
                Some((ours, theirs)) => {
                    sys::descriptors::close(ours);
                    logging::adopt(theirs, word::current_name);
                }
                None if plan.relays_records => {}
                None => logging::cut_off(),
            }
            hook.keep_in_child();
            child_side::run(
                ChildStart {
                    prepared: &plan.prepared,
                    long_name: plan.long_name(),
                    streams: Some(plan.options),
                    null,
                    reports: theirs,
                    to_reset,
                    parent_death: plan.parent_death,
                    forked_by_main_thread: on_main_thread,
                    handshake: plan.handshake,
                    announce_ready: plan.announce_ready,
                    held: plan.held,
                },
                body,
            )
        }
        Ok(Forked::Parent(pid)) => Ok(pid),
        Err(error) => Err(error),
    };
    // This process goes on as before.
    drop(streams);
    // The number that this frees is the one that the pidfd needs.
    drop(theirs);
    let records = records.map(|(ours, _)| ours);
    // Signals stay blocked until the pidfd is there: a handler that collects all children could
    // otherwise collect this one before.
    let pidfd = pid.as_ref().ok().map(|&pid| sys::pidfd::open(pid).and_then(descriptors::above_stderr));
    signals::restore(&mask);
    let pid = pid.map_err(os("fork"))?;
    let pidfd = match pidfd {
        Some(Ok(pidfd)) => Some(registry.list(pidfd)),
        // SIGCHLD is ignored, or another thread collects all children, and this one was quick.
        Some(Err(error)) if error.raw_os_error() == Some(libc::ESRCH) => None,
        None => None,
        Some(Err(source)) => {
            kill_unwatched(pid);
            return Err(StartError::Os { step: "open a pidfd", source });
        }
    };
    let newborn = Newborn { pid, pidfd, reports: registry.list(ours) };
    let records = records.map(|ours| registry.list(ours));
    // A record closes descriptors of its own, which takes this lock.
    drop(registry);
    let child = plan.take_in(&mut process, newborn);
    drop(process);
    drop(hook);
    drop(gate);
    if let Some(records) = records {
        log_thread::watch(records, pid, &plan.name);
    }
    plan.see_to(&child, plan.handshake.then(|| Deadline::after(plan.timeout())))?;
    ends.give_away();
    Ok(child)
}

/// The pidfd couldn't be had: this child can be had by its number only, and mustn't stay.
pub(crate) fn kill_unwatched(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    // It is not collected yet, so the number is still its own - unless somebody collects all
    // children, who then has collected this one, too, and the number was free for less than the
    // time since the fork.
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    let _ = sys::retry(|| Ok(nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::__WALL))?));
}
