//! Epoll: descriptors watched once each, for the reaper, or for good, for whoever polls a connection.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::check;

/// How many events one wait returns at the most.
pub(crate) const BATCH: usize = 64;

/// A new epoll descriptor, close-on-exec.
pub(crate) fn create() -> io::Result<OwnedFd> {
    // SAFETY: takes a flag and returns a new descriptor or -1.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into())?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Has one `wait` return `token` when `fd` is readable; only one, since a forked copy of the
/// descriptor may keep the registration alive after it was closed here.
pub(crate) fn watch_once(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    add(epoll, fd, libc::EPOLLIN | libc::EPOLLONESHOT, token)
}

/// Has every `wait` return `token` while `fd` is readable, and makes `epoll` itself readable.
pub(crate) fn watch(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    add(epoll, fd, libc::EPOLLIN, token)
}

fn add(epoll: BorrowedFd<'_>, fd: impl AsRawFd, events: libc::c_int, token: u64) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_ADD, fd, events, token)
}

fn control(
    epoll: BorrowedFd<'_>,
    what: libc::c_int,
    fd: impl AsRawFd,
    events: libc::c_int,
    token: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: token };
    // SAFETY: event is valid for the call; the kernel copies it. A number behind which nothing stands, or
    // something else, is an error.
    let done = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), what, fd.as_raw_fd(), &mut event) };
    check(done.into()).map(drop)
}

/// As [`watch`], of what another epoll watches by this number.
pub(crate) fn watch_number(epoll: BorrowedFd<'_>, number: RawFd, token: u64) -> io::Result<()> {
    add(epoll, number, libc::EPOLLIN, token)
}

/// Whether what stands behind this number now is what was given to [`watch`] with it; makes `token` its token.
pub(crate) fn is_watched(epoll: BorrowedFd<'_>, number: RawFd, token: u64) -> bool {
    control(epoll, libc::EPOLL_CTL_MOD, number, libc::EPOLLIN, token).is_ok()
}

/// Ends the watch, if there is one.
pub(crate) fn forget(epoll: BorrowedFd<'_>, fd: impl AsRawFd) {
    // SAFETY: since Linux 2.6.9 the event may be null here. That it wasn't watched is fine.
    unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut()) };
}

/// Waits, in a bare system call, until something watched is readable, for up to `timeout`; appends
/// the tokens.
pub(crate) fn wait(
    epoll: BorrowedFd<'_>,
    timeout: Option<Duration>,
    tokens: &mut Vec<u64>,
) -> io::Result<()> {
    let timeout = timeout.map_or(-1, |timeout| timeout.as_millis().min(i32::MAX as u128) as libc::c_int);
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
    let count = super::retry(|| {
        // SAFETY: events has room for as many as are asked for.
        check(
            unsafe {
                libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), BATCH as libc::c_int, timeout)
            }
            .into(),
        )
    })?;
    tokens.extend(events[..count as usize].iter().map(|event| event.u64));
    Ok(())
}
