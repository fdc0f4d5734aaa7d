//! The reaper: one thread that collects the children nobody waits for.
//!
//! It is started when it is first needed: for a child with an exit callback, or one whose last
//! handle was dropped. It sleeps on an epoll over the pidfds of just these children; there is no
//! SIGCHLD handler and no `waitpid(-1)`, so other people's children are left alone. It only
//! collects; callbacks have a thread of their own.

use std::io;
use std::sync::Arc;

use crate::ownership::descriptors::PrivateFd;
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
    Ok(epoll)
}

fn run(epoll: &PrivateFd) {
    let mut tokens = Vec::with_capacity(sys::epoll::BATCH);
    loop {
        tokens.clear();
        let Ok(fd) = epoll.get() else { return };
        // Outside of the gate, with nothing held.
        if let Err(error) = sys::epoll::wait(fd, &mut tokens) {
            // Its descriptor was closed by other code: children are then collected by whoever
            // waits for them, lists them, or at the program's exit.
            log::error!("the reaper can't go on: {error}");
            return;
        }
        let _inside = gate::enter();
        for token in &tokens {
            let record = state::lock().child(*token);
            if let Some(Err(error)) = record.map(|record| record.collect()) {
                log::error!("the reaper can't collect a child: {error}");
            }
        }
    }
}
