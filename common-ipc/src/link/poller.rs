//! Many descriptors watched for good, at a cost that only those have that are ready.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::PrivateFd;
use crate::sys;

/// Watches descriptors for as long as it is told to, and says which can be read: the kernel's epoll, for event
/// loops. To wait once for a few descriptors, [`safe_select`](crate::link::safe_select) is simpler.
///
/// What is watched is told by a token of the caller's choice, at every wait while it can be read. An error or an end
/// counts as something to read. It takes one descriptor, which children don't inherit; in a forked copy every method
/// is a [`WrongProcess`](crate::process::WrongProcess) inside the `io::Error`. **Dropping** it ends all watches.
///
/// The kernel watches what stands behind a number, and ends a watch when that is closed in every process. Call
/// [`remove`](Poller::remove) before a descriptor is closed; of one that was closed without, and has copies in other
/// processes, the token goes on to come until [`renew`](Poller::renew).
///
/// ```
/// use std::io::Write;
/// use std::os::fd::AsFd;
/// use std::time::Duration;
/// use common_ipc::link::{Poller, pipe};
///
/// let poller = Poller::new()?;
/// let (one, _one_writer) = pipe()?;
/// let (two, mut two_writer) = pipe()?;
/// poller.add(one.as_fd(), 1)?;
/// poller.add(two.as_fd(), 2)?;
/// two_writer.write_all(b"x")?;
/// let mut ready = Vec::new();
/// poller.wait(Some(Duration::from_secs(10)), &mut ready)?;
/// assert_eq!(ready, [2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Poller {
    epoll: PrivateFd,
}

impl Poller {
    /// One that watches nothing.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn new() -> io::Result<Poller> {
        Ok(Poller { epoll: PrivateFd::new(sys::epoll::create)? })
    }

    fn get(&self) -> io::Result<BorrowedFd<'_>> {
        self.epoll.get().map_err(io::Error::other)
    }

    /// Watches `fd`.
    ///
    /// # Errors
    ///
    /// What epoll_ctl(2) fails with: EEXIST for one that is watched, EPERM for a kind of file that can always be
    /// read (a regular file, a directory), EBADF where nothing stands behind the number, ELOOP for a poller that
    /// watches this one, ENOSPC where the user watches too many, ENOMEM.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        sys::epoll::watch(self.get()?, fd, token)
    }

    /// Ends the watch of what stands behind this number; that there is none is fine.
    pub fn remove(&self, number: RawFd) {
        if let Ok(epoll) = self.epoll.get() {
            sys::epoll::forget(epoll, number);
        }
    }

    /// Whether what stands behind this number now is what is watched by it; `token` is its token from now on.
    #[must_use]
    pub fn is_watched(&self, number: RawFd, token: u64) -> bool {
        self.epoll.get().is_ok_and(|epoll| sys::epoll::is_watched(epoll, number, token))
    }

    /// Forgets all but these, numbers with their tokens, of which each has to be watched. Another descriptor takes
    /// the place of the one that [`as_fd`](AsFd::as_fd) lent.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left, or one that isn't watched: then everything is as before.
    pub fn renew(&mut self, watched: impl IntoIterator<Item = (RawFd, u64)>) -> io::Result<()> {
        let epoll = PrivateFd::new(sys::epoll::create)?;
        let fresh = epoll.get().map_err(io::Error::other)?;
        for (number, token) in watched {
            if !self.is_watched(number, token) {
                return Err(io::Error::from_raw_os_error(libc::ENOENT));
            }
            sys::epoll::watch_number(fresh, number, token)?;
        }
        self.epoll = epoll;
        Ok(())
    }

    /// Waits until something that is watched can be read, for up to `timeout` if there is one, and appends the tokens
    /// of up to 64 such; those that were left out are the first the next time. None means that the time is up. A
    /// signal doesn't cut the wait short.
    ///
    /// # Errors
    ///
    /// None is expected from epoll_wait(2) itself.
    pub fn wait(&self, timeout: Option<Duration>, tokens: &mut Vec<u64>) -> io::Result<()> {
        let epoll = self.get()?;
        let Some(timeout) = timeout else { return sys::epoll::wait(epoll, None, tokens) };
        // The epoll's own time-out counts whole milliseconds, and begins anew after each signal.
        if !timeout.is_zero() {
            let mut fds = [PollFd::new(epoll, PollFlags::POLLIN)];
            if !wait_until(&mut fds, Deadline::after(timeout))? {
                return Ok(());
            }
        }
        sys::epoll::wait(epoll, Some(Duration::ZERO), tokens)
    }
}

/// For poll, select, epoll: readable while something that is watched is.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.expose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn ready(poller: &Poller) -> Vec<u64> {
        let mut tokens = Vec::new();
        poller.wait(Some(Duration::ZERO), &mut tokens).unwrap();
        tokens
    }

    #[test]
    fn it_tells_what_is_ready_for_as_long_as_it_is() {
        let (poller, (end, mut far)) = (Poller::new().unwrap(), UnixStream::pair().unwrap());
        poller.add(end.as_fd(), 5).unwrap();
        assert_eq!(poller.add(end.as_fd(), 6).unwrap_err().raw_os_error(), Some(libc::EEXIST));
        assert!(ready(&poller).is_empty());
        far.write_all(b"x").unwrap();
        assert_eq!((ready(&poller), ready(&poller)), (vec![5], vec![5]));
        poller.remove(end.as_raw_fd());
        assert!(ready(&poller).is_empty());
    }

    #[test]
    fn a_time_shorter_than_a_millisecond_is_kept() {
        let poller = Poller::new().unwrap();
        let (began, mut tokens) = (std::time::Instant::now(), Vec::new());
        poller.wait(Some(Duration::from_micros(700)), &mut tokens).unwrap();
        assert!(began.elapsed() >= Duration::from_micros(700) && tokens.is_empty());
    }

    #[test]
    fn what_was_closed_and_has_a_copy_goes_with_a_renewal() {
        let (mut poller, (end, mut far)) = (Poller::new().unwrap(), UnixStream::pair().unwrap());
        let (other, _other_far) = UnixStream::pair().unwrap();
        poller.add(other.as_fd(), 7).unwrap();
        let copy = end.try_clone().unwrap();
        poller.add(copy.as_fd(), 5).unwrap();
        let number = copy.as_raw_fd();
        far.write_all(b"x").unwrap();
        drop(copy);
        poller.remove(number);
        assert_eq!(ready(&poller), [5], "the kernel still watches it");
        assert!(!poller.is_watched(number, 5) && poller.is_watched(other.as_raw_fd(), 8));
        assert!(poller.renew([(number, 5)]).is_err());
        poller.renew([(other.as_raw_fd(), 8)]).unwrap();
        assert!(ready(&poller).is_empty() && poller.is_watched(other.as_raw_fd(), 8));
    }
}
