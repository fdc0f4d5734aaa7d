//! Synchronisation between processes.
//!
//! ```text
//! event, event_fd     a flag to wait for           (Event, EventFd)
//!   event_flag        what the two have in common  (EventFlag)
//!   flag                the algorithm of `event`
//! semaphore           permits                      (Semaphore, Permit)
//! mutex               a value, one at a time       (Mutex, MutexGuard)
//!   permits, freeing    the algorithm of both
//!   table               it in shared memory
//!   owner               who has a permit, and whether that process lives
//! errors              why there is no permit       (AcquireError, LockError)
//! words, spin         what the algorithms stand on
//! ```
//!
//! All of these are shared with a child that **captures** them ([`EventFd`] must be
//! [given](crate::process::LaunchOptions::give) as well); a child to which one is given can send it on; and they
//! can be **sent** over a [`Connection`](crate::link::Connection), alone or inside of another value. Clones, and
//! what arrives, are the same thing.
//!
//! # Who dies, and who misbehaves
//!
//! Nobody sleeps for ever because another process died: whoever is blocked looks again every 50 ms at the
//! latest, by itself. What a dead process held of a semaphore or mutex goes to the next one, who is told.
//!
//! What these stand on is memory to which each process that shares them may write anything. One that does so can
//! break what they are for - let two into a critical section, or nobody - but neither this process's
//! memory nor the bounds of its calls.

mod errors;
mod event;
mod event_fd;
mod event_flag;
mod flag;
mod freeing;
#[cfg(test)]
mod model;
mod mutex;
mod owner;
mod permits;
mod semaphore;
mod spin;
mod table;
mod words;

pub use errors::{AcquireError, LockError};
pub use event::Event;
pub use event_fd::EventFd;
pub use event_flag::EventFlag;
pub use mutex::{Mutex, MutexGuard};
pub use semaphore::{Permit, Semaphore};
