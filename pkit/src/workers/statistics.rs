//! What a pool has done.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a pool has done so far, and is at now. Each task that was taken is in one of `answered`, `cancelled`, `timed_out`,
/// `lost`, `given_up`, `waiting` and `under_way`: their sum is `submitted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statistics {
    /// Tasks that were taken.
    pub submitted: u64,
    /// Tasks that a worker has answered: with a result, or with the reason why there is none, a panic for one.
    pub answered: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that took longer than they may.
    pub timed_out: u64,
    /// Tasks that failed because their worker was lost.
    pub lost: u64,
    /// Tasks that have no result for another reason: there was no worker to be had, what they are called with couldn't be
    /// sent, or not once more, or the pool was ended.
    pub given_up: u64,
    /// Tasks that were begun once more, after their worker was lost.
    pub retried: u64,
    /// Tasks that were taken back from one worker, not begun, for another one.
    pub moved: u64,
    /// Workers that were started.
    pub started: u64,
    /// Workers that ended, or were killed, otherwise than by being let go.
    pub died: u64,
    /// Workers that were replaced for their age, their memory or the number of their tasks.
    pub recycled: u64,
    /// Tasks that wait for a worker, at this moment.
    pub waiting: usize,
    /// Tasks that workers have, at this moment: those that are being done, and those sent ahead.
    pub under_way: usize,
    /// Workers that are there, at this moment.
    pub workers: usize,
    /// Workers that have nothing to do, at this moment.
    pub idle: usize,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} tasks answered, {} lost, {} timed out, {} cancelled, {} given up, {} retried; {} waiting, {} under way; \
             {} workers ({} idle), {} started, {} died, {} recycled",
            self.answered,
            self.submitted,
            self.lost,
            self.timed_out,
            self.cancelled,
            self.given_up,
            self.retried,
            self.waiting,
            self.under_way,
            self.workers,
            self.idle,
            self.started,
            self.died,
            self.recycled,
        )
    }
}
