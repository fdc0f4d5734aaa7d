//! Descriptors that stand in for others, shared by a process and its children since they harm nobody.
//!
//! They are open for the life of the process. Should other code close them all the same - a child that
//! closes all numbers above 2, say - and something else stand behind the number, they are made anew.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::fstat;

use crate::ownership::descriptors::{above_stderr, registry};
use crate::sys;

/// A descriptor that is recognised by what stands behind its number.
struct Standing {
    /// -1 before the first use.
    number: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

impl Standing {
    const fn new() -> Standing {
        Standing { number: AtomicI32::new(-1), device: AtomicU64::new(0), inode: AtomicU64::new(0) }
    }

    /// Not to be called by whoever has this process's registry locked.
    fn get(&'static self, make: fn() -> io::Result<OwnedFd>) -> io::Result<BorrowedFd<'static>> {
        if let Some(fd) = self.known() {
            return Ok(fd);
        }
        // One thread makes it, and no fork happens meanwhile.
        let _registry = registry();
        if let Some(fd) = self.known() {
            return Ok(fd);
        }
        let fd = above_stderr(make()?)?;
        let behind = fstat(&fd)?;
        self.device.store(behind.st_dev, Ordering::Relaxed);
        self.inode.store(behind.st_ino, Ordering::Relaxed);
        self.number.store(fd.as_raw_fd(), Ordering::Release);
        Ok(sys::descriptors::leak(fd))
    }

    fn known(&'static self) -> Option<BorrowedFd<'static>> {
        let number = self.number.load(Ordering::Acquire);
        if number < 0 {
            return None;
        }
        let fd = sys::descriptors::standing(number);
        let behind = fstat(fd).ok()?;
        let same = behind.st_dev == self.device.load(Ordering::Relaxed)
            && behind.st_ino == self.inode.load(Ordering::Relaxed);
        same.then_some(fd)
    }
}

/// A descriptor of /dev/null.
pub(crate) fn null() -> io::Result<BorrowedFd<'static>> {
    NULL.get(|| Ok(std::fs::File::options().read(true).write(true).open("/dev/null")?.into()))
}

static NULL: Standing = Standing::new();
static READY: Standing = Standing::new();

/// As [`always_ready`], in a process that has called [`prepare_always_ready`].
pub(crate) fn ready_since_the_first_start() -> BorrowedFd<'static> {
    always_ready().or_else(|_| null()).unwrap_or_else(|_| {
        // Closed by other code, and no descriptors left: the number that it had.
        sys::descriptors::standing(READY.number.load(Ordering::Relaxed))
    })
}

/// A descriptor that is readable for good, whoever reads it: it stands in for the pidfd of a child
/// that was collected.
///
/// # Errors
///
/// Only the first call in a program can fail, unless its descriptor was closed by other code.
pub(crate) fn always_ready() -> io::Result<BorrowedFd<'static>> {
    READY.get(|| {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (end, other) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
        // Readable for good: there is nothing but the end of the stream.
        drop(other);
        Ok(end)
    })
}

/// The numbers of those that are there; -1 for one that isn't.
pub(crate) fn numbers() -> [i32; 2] {
    [&NULL, &READY].map(|standing| standing.number.load(Ordering::Relaxed))
}

/// Makes [`always_ready`]'s if there is none, without a look at one that there is.
pub(crate) fn prepare_always_ready() -> io::Result<()> {
    if READY.number.load(Ordering::Relaxed) < 0 {
        always_ready()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn reading_does_not_use_it_up() {
        let fd = always_ready().unwrap();
        for _ in 0..3 {
            assert_eq!(nix::unistd::read(fd, &mut [0; 8]).unwrap(), 0);
            let mut fds = [nix::poll::PollFd::new(fd.as_fd(), nix::poll::PollFlags::POLLIN)];
            assert_eq!(nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).unwrap(), 1);
        }
        assert_eq!(always_ready().unwrap().as_raw_fd(), fd.as_raw_fd());
    }
}
