//! One packet with at most one descriptor, without allocating.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{check, retry};

/// Room for a control message with one descriptor, aligned as the kernel's header asks.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// What arrived.
pub(crate) struct Received {
    /// How many bytes of the packet are in the buffer.
    pub(crate) length: usize,
    /// The packet was longer, or had more descriptors than one. (The kernel closes those.)
    pub(crate) truncated: bool,
    /// The descriptor that came with it, close-on-exec.
    pub(crate) attached: Option<OwnedFd>,
}

/// Sends one packet made of two parts, without blocking and without SIGPIPE.
#[inline]
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    parts: [&[u8]; 2],
    attached: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut vectors =
        parts.map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
    let mut control = Control([0; 64]);
    // SAFETY: msghdr is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    if let Some(fd) = attached {
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute. The first header lies at the start of
        // control, which is aligned for it and has room for it and one descriptor.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as usize;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        }
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the message points to vectors and control, which live until after the call; the
    // vectors are only read from.
    let sent = || unsafe { libc::syscall(libc::SYS_sendmsg, socket.as_raw_fd(), &raw const message, flags) };
    retry(|| check(sent())).map(drop)
}

/// Receives one packet without blocking.
///
/// # Errors
///
/// EMFILE if there is no room for the descriptor that comes with it: the packet can then be received
/// later.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    // Looked at first, since a packet whose descriptor found no room would be lost.
    let received = peek(socket, buffer)?;
    // SAFETY: no buffer, so nothing is written; the packet, and its own hold on the descriptor, go.
    let taken = || unsafe {
        libc::syscall(
            libc::SYS_recvfrom,
            socket.as_raw_fd(),
            ptr::null_mut::<u8>(),
            0,
            libc::MSG_DONTWAIT,
            0,
            0,
        )
    };
    retry(|| check(taken()))?;
    Ok(received)
}

fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    // SAFETY: msghdr is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // CMSG_LEN, not CMSG_SPACE, whose padding is room for a second descriptor that nobody would own.
    // SAFETY: CMSG_LEN only computes.
    message.msg_controllen = unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) } as usize;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | libc::MSG_PEEK;
    // SAFETY: the message points to the buffer and to control, both writable and alive until after
    // the call, with their true lengths.
    let length =
        retry(|| check(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) } as libc::c_long))?;
    let mut attached = None;
    // SAFETY: the kernel has set msg_controllen to what it wrote, and CMSG_FIRSTHDR gives a header
    // within that or null.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    if !header.is_null() {
        // SAFETY: not null, so within control, which is aligned for it.
        let (level, kind, length) =
            unsafe { ((*header).cmsg_level, (*header).cmsg_type, (*header).cmsg_len) };
        // SAFETY: CMSG_LEN only computes.
        let whole = length == unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) } as usize;
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS && whole {
            // SAFETY: the message has one descriptor, which the kernel has just made for us.
            attached = Some(unsafe {
                OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned())
            });
        }
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 && attached.is_none() {
        // No room for a descriptor, as this will say; else it is one that may not be passed.
        socket.try_clone_to_owned()?;
    }
    let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok(Received { length: length as usize, truncated, attached })
}

/// Whether the other end, by which nobody sends anything, is gone.
#[inline]
pub(crate) fn has_hung_up(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one entry and a time, both valid for the call; a null mask leaves the signals alone.
    let ready =
        unsafe { libc::syscall(libc::SYS_ppoll, &raw mut entry, 1, &raw const now, ptr::null::<u8>(), 0) };
    // A process that may have no descriptors may not poll one either.
    if ready >= 0 { Ok(ready > 0) } else { has_nothing_but_an_end(socket) }
}

#[cold]
fn has_nothing_but_an_end(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: one byte may be written to where it is; the null address asks for no sender.
    let received = check(unsafe {
        libc::syscall(libc::SYS_recvfrom, socket.as_raw_fd(), &raw mut byte, 1, flags, 0, 0)
    });
    match received {
        Ok(length) => Ok(length == 0),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(false),
            // It was closed with something unread.
            Some(libc::ECONNRESET) => Ok(true),
            _ => Err(error),
        },
    }
}
