//! Descriptors by number: what a forked child does to copies that it must not keep, and to those that
//! it needs. Bare system calls, as everything in a child's first steps (see `fork`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::check;

/// Closes the numbers `first` to `last` in a forked child.
///
/// The caller owns the copies behind these numbers and lets nothing in this process use or close
/// them afterwards: [`PrivateFd`](crate::ownership::descriptors::PrivateFd) sees to both.
#[inline]
pub(crate) fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: three integers. That no live OwnedFd stands behind a number closed here is the
    // caller's promise, as above.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first as u32, last as u32, 0) };
    if closed != 0 {
        // Linux before 5.9, or a filter that doesn't know the call.
        for number in first..=last {
            // SAFETY: as above.
            unsafe { libc::close(number) };
        }
    }
}

/// As [`close_range`], of all from this number on.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: as there.
    if unsafe { libc::syscall(libc::SYS_close_range, first as u32, u32::MAX, 0) } == 0 {
        return Ok(());
    }
    // Those that are open: up to the limit there may be a billion numbers.
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        open.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    for number in open.into_iter().filter(|number| *number >= first) {
        // SAFETY: as there. That of the folder has been closed by now, and is an error that changes nothing.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// Closes a descriptor in a forked child: by the call that the child uses anyway, for each page of
/// libc's code that it touches costs it a page fault.
#[inline]
pub(crate) fn close(fd: OwnedFd) {
    close_range(fd.as_raw_fd(), fd.into_raw_fd());
}

/// Puts a copy of `with` behind `number`, which stays open: whoever still holds that number
/// can neither reach what was there nor harm what might be opened later.
pub(crate) fn replace(number: RawFd, with: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: two descriptors and a flag; both numbers stay owned by whom they were owned by.
    check(unsafe { libc::dup3(with.as_raw_fd(), number, libc::O_CLOEXEC) }.into()).map(drop)
}

/// Makes `fd` descriptor `number`, without FD_CLOEXEC: for standard input, output and error.
#[inline]
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: integers only; 0 to 2 belong to the process as a whole, and fd is open.
    check(unsafe {
        if fd.as_raw_fd() == number {
            libc::syscall(libc::SYS_fcntl, number, libc::F_SETFD, 0)
        } else {
            libc::syscall(libc::SYS_dup3, fd.as_raw_fd(), number, 0)
        }
    })
    .map(drop)
}

/// Reads what there is at this moment, also from an eventfd that somebody has made blocking.
pub(crate) fn read_at_once(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: one part, which is valid for writes of its length; -1 means that the file has no position.
    let read = unsafe { libc::preadv2(fd.as_raw_fd(), &part, 1, -1, libc::RWF_NOWAIT) };
    match check(read as i64) {
        // A filter that doesn't know the call.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            Ok(nix::unistd::read(fd, buffer)?)
        }
        read => read.map(|length| length as usize),
    }
}

/// Has the kernel send `signal` to this process when the other end of the socket `fd` is gone.
///
/// `arm_owner` chooses the process and must be called in the one that is to be signalled; the
/// other settings belong to the open file and may be made before a fork.
pub(crate) fn arm_signal(fd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // fcntl(2): F_SETSIG is Linux's own, 10 on every architecture, and missing from libc.
    const F_SETSIG: libc::c_int = 10;
    let number = fd.as_raw_fd();
    // SAFETY: integers only, on a descriptor that is open.
    unsafe {
        check(libc::fcntl(number, F_SETSIG, signal).into())?;
        check(libc::fcntl(number, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK).into())?;
    }
    Ok(())
}

/// The second half of [`arm_signal`].
#[inline]
pub(crate) fn arm_owner(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: integers only, on a descriptor that is open.
    check(unsafe {
        let pid = libc::syscall(libc::SYS_getpid);
        libc::syscall(libc::SYS_fcntl, fd.as_raw_fd(), libc::F_SETOWN, pid)
    })
    .map(drop)
}

/// Whether this process is the one that [`arm_owner`] chose for this open file. `fd` may have been
/// closed behind our back.
#[inline]
pub(crate) fn is_owner(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: integers only; for a number that isn't open the answer is an error.
    unsafe {
        let pid = libc::syscall(libc::SYS_getpid);
        libc::syscall(libc::SYS_fcntl, fd.as_raw_fd(), libc::F_GETOWN) == pid
    }
}

/// A descriptor that stays open for the life of the process.
pub(crate) fn leak(fd: OwnedFd) -> BorrowedFd<'static> {
    standing(fd.into_raw_fd())
}

/// The descriptor behind a number that [`leak`] gave, unless other code has closed it: the caller
/// finds out before it relies on what is there.
pub(crate) fn standing(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: nothing in this library closes it. Where other code does, the number is only looked
    // at, and a look at a stranger's descriptor or at none harms nobody.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// A copy of `fd`, close-on-exec, with a number larger than `number`.
pub(crate) fn duplicate_above(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: integers only, on a descriptor that is open.
    let copy = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number + 1) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as RawFd) })
}
