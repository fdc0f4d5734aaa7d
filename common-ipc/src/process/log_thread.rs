//! The thread that hands the records of children to the program's logger, and the start of it.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use crate::logging::{self, Relay, Round};
use crate::ownership::descriptors::PrivateFd;
use crate::process::fork_rule;
use crate::process::library_thread::{LibraryThread, start_library_thread};

/// Has the records of a new child handed over. The caller holds no lock.
pub(crate) fn watch(link: PrivateFd, pid: i32, name: &OsStr) {
    let relay = match logging::watch(link, pid, name) {
        Ok(Some(relay)) => relay,
        Ok(None) => return,
        Err(error) => {
            log::warn!("the log records of child {pid} don't arrive: {error}");
            return;
        }
    };
    let of_thread = Arc::clone(&relay);
    if let Err(error) = start_library_thread("log-relay", move |thread| run(&of_thread, thread)) {
        relay.has_no_thread();
        log::warn!("log records of children have to wait for the next start: no thread for them: {error}");
    }
}

fn run(relay: &Arc<Relay>, thread: &mut LibraryThread) {
    let mut round = Round::new();
    loop {
        if let Err(error) = thread.sleep(|| relay.wait(&mut round)) {
            // Its descriptor was closed by other code.
            relay.give_up();
            thread.call(|| log::error!("the log records of children that run are lost: {error}"));
            return;
        }
        relay.hand_over(&mut round, &mut |turn| {
            thread.call(turn);
            give_way(relay, thread);
        });
    }
}

/// A fork that waits for the logger to return has its chance after every turn.
fn give_way(relay: &Relay, thread: &mut LibraryThread) {
    // For about as long as a fork waits at the most.
    for _ in 0..10_000 {
        // Whoever flushes may be a callback, for which the fork waits as well.
        if !fork_rule::a_fork_waits() || relay.is_waited_for() {
            return;
        }
        thread.sleep(|| std::thread::sleep(Duration::from_micros(100)));
    }
}
