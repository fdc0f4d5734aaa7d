//! The program's exit: what this process has started is shut down, in bounded time.
//!
//! It runs as an atexit handler of the program, and as the last act of a child that has children
//! of its own. At that point thread-locals with destructors are gone and other threads may still be
//! running, one of them perhaps in a callback that never ends, so: no logging, no lock waited for
//! without a bound, and no thread waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use crate::link::poll::{Deadline, wait_until};
use crate::logging;
use crate::ownership::descriptors::PrivateFd;
use crate::process::record::{Record, Role, send};
use crate::process::signal::Signal;
use crate::process::state;
use crate::sys;

/// What the program's exit (the return of `main`, or `exit`) does to a child that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtExit {
    /// It is stopped: SIGTERM, this much grace, SIGKILL. All children have their grace at once.
    Stop {
        /// How long it may take over its end.
        grace: Duration,
    },
    /// The exit waits until it ends by itself, however long that takes.
    Wait,
    /// Nothing. So it is for each child that is to survive its parent
    /// ([`ParentDeath::Survive`](crate::process::ParentDeath::Survive)).
    Leave,
}

impl AtExit {
    /// How long a child that its start waited for has run at the least before the exit asks it to
    /// stop: 0.1 s. What it does at once, it does, however soon the program ends.
    pub const HEAD_START: Duration = Duration::from_millis(100);

    /// The grace unless another one is set: 5 s.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);
}

impl Default for AtExit {
    fn default() -> AtExit {
        AtExit::Stop { grace: AtExit::DEFAULT_GRACE }
    }
}

/// How long a lock may be somebody else's.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How long SIGKILL may take.
const DEATH_PATIENCE: Duration = Duration::from_secs(2);

/// Whether this process has started nothing. Most children haven't, and end without a look.
///
/// Like the other statics that a start writes to it doesn't begin as zero: zeroes would lie on another
/// page, which parent and child would each have to copy.
static CHILDLESS: AtomicBool = AtomicBool::new(true);

/// The hook runs, or has run: what is started now it wouldn't shut down.
static EXITING: AtomicBool = AtomicBool::new(false);

/// Whether this process is at its exit: what it has started is being shut down, and nothing is started any more
/// ([`StartError::Exiting`](crate::process::StartError::Exiting)).
///
/// It is for libraries that stand on this one and watch over processes: what ends from then on ends because of that.
pub fn is_exiting() -> bool {
    EXITING.load(Ordering::Relaxed)
}

/// Has the hook run at the program's exit, for the child that is about to be started.
pub(crate) fn register() {
    sys::fork::at_exit(run);
    CHILDLESS.store(false, Ordering::Relaxed);
}

/// In a new child: its parent's children aren't its own.
pub(crate) fn forget_children() {
    // A write costs a page that the child otherwise shares.
    if !CHILDLESS.load(Ordering::Relaxed) {
        CHILDLESS.store(true, Ordering::Relaxed);
    }
}

/// Shuts down the children of this process.
#[inline]
pub(crate) fn run() {
    if !CHILDLESS.load(Ordering::Relaxed) {
        shut_down_all();
    }
}

#[cold]
#[inline(never)]
fn shut_down_all() {
    EXITING.store(true, Ordering::Relaxed);
    if let Some(children) = children() {
        shut_down(children);
    }
    // What they have logged until their ends.
    logging::drain_at_exit();
}

fn shut_down(children: Vec<Arc<Record>>) {
    let mut to_stop = Vec::new();
    let mut to_wait_for = Vec::new();
    let mut servers = Vec::new();
    for record in children {
        let Some(pidfd) = record.pidfd_within(LOCK_PATIENCE) else { continue };
        if record.role == Role::Server {
            // It has nothing to finish. If this process may not kill it, its lifeline does when this one ends.
            if send(&pidfd, Signal::KILL).is_ok() {
                servers.push((record, pidfd));
            }
            continue;
        }
        match record.at_exit {
            AtExit::Stop { .. } => to_stop.push((record, pidfd)),
            AtExit::Wait => to_wait_for.push((record, pidfd)),
            AtExit::Leave => {}
        }
    }
    let (young, mut to_stop): (Vec<_>, Vec<_>) =
        to_stop.into_iter().partition(|(record, _)| record.head_start_from.is_some());
    let starts = young.iter().filter_map(|(record, _)| record.head_start_from);
    let left = starts.map(|start| AtExit::HEAD_START.saturating_sub(start.elapsed())).max();
    to_stop.extend(wait_for_all(young, Deadline::after(left.unwrap_or_default())));
    // All of them first, so that they end side by side.
    for (record, pidfd) in &to_stop {
        signal(record, pidfd, Signal::TERM);
        signal(record, pidfd, Signal::CONT);
    }
    // Each has its own grace, counted from now.
    let begin = Instant::now();
    let mut killed = Vec::new();
    while let Some(shortest) = to_stop.iter().map(|(record, _)| grace(record)).min() {
        let left = wait_for_all(to_stop, Deadline::after(shortest.saturating_sub(begin.elapsed())));
        let (late, patient): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(record, _)| grace(record) <= shortest);
        to_stop = patient;
        for (record, pidfd) in &late {
            signal(record, pidfd, Signal::KILL);
        }
        killed.extend(late);
    }
    killed.extend(servers);
    wait_for_all(killed, Deadline::after(DEATH_PATIENCE));
    wait_for_all(to_wait_for, Deadline::NEVER);
}

fn grace(record: &Record) -> Duration {
    match record.at_exit {
        AtExit::Stop { grace } => grace,
        AtExit::Wait | AtExit::Leave => Duration::MAX,
    }
}

fn children() -> Option<Vec<Arc<Record>>> {
    let begin = Instant::now();
    loop {
        if let Some(state) = state::try_lock() {
            return Some(state.children());
        }
        if begin.elapsed() > LOCK_PATIENCE {
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn signal(record: &Record, pidfd: &PrivateFd, signal: Signal) {
    // Whoever can't be signalled will be found alive at the end of its grace, and there is nobody
    // left to tell.
    let _ = if record.leads_group { record.signal_group(signal, true) } else { send(pidfd, signal) };
}

type Watched = (Arc<Record>, Arc<PrivateFd>);

/// Waits for the ends of all, collects those that come, and returns those that don't.
fn wait_for_all(mut watched: Vec<Watched>, deadline: Deadline) -> Vec<Watched> {
    while !watched.is_empty() {
        let ended: Vec<bool> = {
            let mut fds: Vec<_> = watched
                .iter()
                .filter_map(|(_, pidfd)| pidfd.get().ok())
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            if fds.len() < watched.len() || !wait_until(&mut fds, deadline).unwrap_or(false) {
                return watched;
            }
            fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()
        };
        let mut ended = ended.into_iter();
        watched.retain(|(record, _)| {
            let gone = ended.next().unwrap_or(false);
            if gone {
                let _ = record.collect();
            }
            !gone
        });
    }
    watched
}
