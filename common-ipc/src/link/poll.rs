//! Waiting until one of several descriptors has something to say.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use parking_lot::{Mutex, MutexGuard};

/// A point in time, or never.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    pub(crate) const NEVER: Deadline = Deadline(None);

    /// So long from now; never, if that is further away than time can tell.
    pub(crate) fn after(timeout: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(timeout))
    }

    pub(crate) fn optional(timeout: Option<Duration>) -> Deadline {
        timeout.map_or(Deadline::NEVER, Deadline::after)
    }

    /// What is left: `None` for never.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Locks a mutex, if it comes free before.
    #[inline]
    pub(crate) fn lock<T>(self, mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
        mutex.try_lock().or_else(|| match self.0 {
            None => Some(mutex.lock()),
            Some(deadline) => mutex.try_lock_until(deadline),
        })
    }

    /// Sleeps until this thread is unparked, until this, or for no reason at all.
    pub(crate) fn park(self) {
        match self.left() {
            None => std::thread::park(),
            Some(left) => std::thread::park_timeout(left),
        }
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    /// This, or so long from now if that is earlier.
    pub(crate) fn or_after(self, timeout: Duration) -> Deadline {
        let early = Deadline::after(timeout);
        match (self.0, early.0) {
            (Some(late), Some(early)) => Deadline(Some(late.min(early))),
            _ => early,
        }
    }

    /// Sleeps for `pause`, or for what is left, and says whether it hasn't passed.
    pub(crate) fn pause(self, pause: Duration) -> bool {
        std::thread::sleep(self.left().map_or(pause, |left| left.min(pause)));
        !self.has_passed()
    }
}

/// A kernel without memory for a wait is asked again so often, after such pauses: a second.
const SHORTAGES_MAX: u32 = 100;
const SHORTAGE_PAUSE: Duration = Duration::from_millis(10);

/// Waits until one of `fds` has an event that it asks for, an error or an end, and says whether
/// that was before the deadline. A signal interrupts the wait only for a moment, and so does a shortage of memory: what
/// is waited for is often something that was begun and can't be left alone.
pub(crate) fn wait_until(fds: &mut [PollFd<'_>], deadline: Deadline) -> io::Result<bool> {
    let mut shortages = 0;
    loop {
        let left = deadline.left().map(TimeSpec::from);
        match nix::poll::ppoll(fds, left, None) {
            Ok(0) if deadline.has_passed() => return Ok(false),
            Ok(0) | Err(nix::Error::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(nix::Error::ENOMEM) if shortages < SHORTAGES_MAX => {
                shortages += 1;
                deadline.pause(SHORTAGE_PAUSE);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until one of `fds` can be read without blocking, and returns the places of those that can,
/// in order. None of them after `timeout`; without one it waits for as long as it takes. A
/// descriptor whose other end is gone can be read: it says so.
///
/// Connections, pipes, children and sockets can be mixed. A signal doesn't cut the wait short, and
/// the time that it took counts.
///
/// ```
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use common_ipc::link::{Connection, safe_select};
///
/// let (one, one_far) = Connection::<u8, u8>::pair()?;
/// let (two, two_far) = Connection::<u8, u8>::pair()?;
/// two_far.send(&7)?;
/// assert_eq!(safe_select(&[one.as_fd(), two.as_fd()], None)?, [1]);
/// assert_eq!(two.recv()?, 7);
/// assert!(safe_select(&[one.as_fd(), two.as_fd()], Some(Duration::from_millis(1)))?.is_empty());
/// # drop(one_far);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// What poll(2) fails with: no memory, or more descriptors than the process may have.
#[doc(alias = "select")]
pub fn safe_select(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let mut waiting: Vec<_> = fds.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    wait_until(&mut waiting, Deadline::optional(timeout))?;
    let ready = waiting.iter().enumerate().filter(|(_, fd)| fd.any().unwrap_or(true));
    Ok(ready.map(|(place, _)| place).collect())
}
