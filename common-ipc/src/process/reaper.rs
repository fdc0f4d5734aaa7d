//! The reaper: one thread that collects the children nobody waits for.
//!
//! It is started when it is first needed: for a child with an exit callback, or one whose last
//! handle was dropped. It sleeps on an epoll over the pidfds of just these children; there is no
//! SIGCHLD handler and no `waitpid(-1)`, so other people's children are left alone. It only
//! collects; callbacks have a thread of their own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::ownership::descriptors::PrivateFd;
use crate::process::errors::ChildError;
use crate::process::fork_rule;
use crate::process::gate;
use crate::process::record::Record;
use crate::process::state;
use crate::sys;

/// Has the reaper collect this child when it ends, or right away if it has.
pub(crate) fn watch(record: &Record) -> io::Result<()> {
    let epoll = running()?;
    let Some(pidfd) = record.pidfd() else { return Ok(()) };
    let (Ok(epoll), Ok(pidfd)) = (epoll.get(), pidfd.get()) else { return Ok(()) };
    match sys::epoll::watch_once(epoll, pidfd, record.serial) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}

/// The reaper's epoll; starts the reaper if there is none.
fn running() -> io::Result<Arc<PrivateFd>> {
    let mut process = state::lock();
    if let Some(epoll) = &process.reaper {
        return Ok(Arc::clone(epoll));
    }
    let epoll = Arc::new(PrivateFd::new(sys::epoll::create)?);
    let of_thread = Arc::clone(&epoll);
    fork_rule::start_library_thread("reaper", &mut process, move || run(&of_thread))?;
    process.reaper = Some(Arc::clone(&epoll));
    let children = process.children();
    drop(process);
    // Those for which it couldn't be started when they were to be watched.
    for record in children.iter().filter(|record| record.needs_reaper()) {
        if let Err(error) = watch(record) {
            log::warn!("child {} is collected at the program's exit only: {error}", record.pid);
        }
    }
    Ok(epoll)
}

/// When to look again at children that couldn't be collected at once.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

fn run(epoll: &PrivateFd) {
    let mut tokens = Vec::with_capacity(sys::epoll::BATCH);
    // Those that have ended, but are being traced, or whose output finds no free descriptor.
    let mut held_up: Vec<u64> = Vec::new();
    loop {
        tokens.clear();
        let timeout = (!held_up.is_empty()).then_some(LOOK_AGAIN);
        // Outside of the gate, with nothing held.
        let waited = match epoll.get() {
            Ok(fd) => sys::epoll::wait(fd, timeout, &mut tokens),
            Err(error) => Err(io::Error::other(error)),
        };
        let _inside = gate::enter();
        if let Err(error) = waited {
            // Its descriptor was closed by other code. The next child that needs one starts another.
            log::error!("the reaper can't go on: {error}");
            let mut process = state::lock();
            process.reaper = None;
            process.library_threads -= 1;
            return;
        }
        tokens.append(&mut held_up);
        for token in &tokens {
            let Some(record) = state::lock().child(*token) else { continue };
            match record.collect() {
                Ok(true) => {}
                Ok(false) => held_up.push(*token),
                Err(ChildError::Os { source, .. }) if sys::is_shortage(&source) => held_up.push(*token),
                Err(error) => log::error!("the reaper can't collect child {}: {error}", record.pid),
            }
        }
    }
}
