//! Jobs: what one process has another one do, where it is known of each which was begun, and what wasn't begun can be
//! taken back.
//!
//! ```text
//! parcel      a job before it is sent, and after: it may be sent again, elsewhere   (Parcel)
//! sender      whoever deals out                                                     (JobSender)
//! receiver    whoever does them, one after another                                  (JobReceiver, Job, Answer)
//! ```
//!
//! Neither side has a thread, and the sender never waits: it looks after many receivers at once. Replies come in the
//! order of the jobs.
//!
//! # Which job was begun
//!
//! A word in the memory that both share says so: how many of this *round*'s jobs were claimed. A receiver claims a job
//! by counting the word up, with compare-and-swap, before it looks at the job. The sender takes back what isn't claimed
//! by beginning a new round, with a swap: from then on no job of an earlier round can be claimed, and what the word
//! held says how many of those were. So each job is either claimed or taken back, whatever the moment in which the
//! receiver is stopped, killed or late. A receiver that finds a job of an earlier round drops it.
//!
//! The word is a fact and not a promise: a hostile receiver may write anything there. What it gains is that its own
//! jobs count as begun, or not.

mod parcel;
mod receiver;
mod sender;

#[cfg(test)]
mod tests;

use std::io;

pub(crate) use parcel::Parcel;
pub(crate) use receiver::{Answer, Job, JobReceiver};
pub(crate) use sender::{Arrived, JobSender};

use crate::link::connection::Connection;

/// A job whose argument isn't in memory beside it has room in any case, and so has a reply that says why there is no
/// result.
const LEAST_FRAME: usize = 36 << 10;

/// Both sides, for jobs and replies of up to `max_frame` bytes, or 36 KiB if that is more.
pub(crate) fn jobs(max_frame: usize) -> io::Result<(JobSender, JobReceiver)> {
    let (ours, theirs) = Connection::pair_with_max(max_frame.max(LEAST_FRAME))?;
    Ok((JobSender::new(ours), JobReceiver::new(theirs)))
}

/// The spare word of the connection that says what was claimed.
const CLAIMS: usize = 0;
/// The one in which the receiver notes how far it is in a job that has parts.
const PART: usize = 1;

/// What the word holds when so many of a round's jobs are claimed.
fn claims(round: u32, count: u32) -> u64 {
    u64::from(round) << 32 | u64::from(count)
}

/// What a reply begins with: the number of its job, then its kind.
const REPLY_HEADER: usize = 12;
