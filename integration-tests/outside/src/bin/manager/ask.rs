//! Requests to a worker, one after another, in a thread of their own: the loop is never to wait for an answer.

use std::thread;
use std::time::Duration;

use multiprocess::ProcessError;
use multiprocess::valkka_multiprocess::FrontEnd;

use crate::tally::{Tally, count};
use crate::worker::{Command, Filled};

/// How long a worker may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(3);

pub fn ask(tally: &Tally, front: &FrontEnd<Command, Filled>) {
    // The process that has answered last, and how many frames it had.
    let mut last = (0, 0);
    for nonce in 1.. {
        match front.request_timeout(PATIENCE, |reply| Command::Count { nonce, reply }) {
            Ok(counted) => {
                count(&tally.answers);
                tally.check(counted.nonce == nonce, || format!("asked {nonce}, answered {counted:?}"));
                let (pid, frames) = last;
                tally.check(pid != counted.pid || frames <= counted.frames, || {
                    format!("{counted:?} after {last:?}")
                });
                last = (counted.pid, counted.frames);
            }
            Err(ProcessError::Ended { .. } | ProcessError::NotStarted { .. }) => {
                count(&tally.asked_of_the_dead)
            }
            Err(ProcessError::TimedOut { .. }) => count(&tally.unanswered),
            Err(error) => tally.wrong(format!("a request to {}: {error}", front.name())),
        }
        if tally.is_closing() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
