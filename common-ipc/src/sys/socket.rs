//! Packets with descriptors: with one at the most, without allocating, or with many.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

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

/// Receives one packet with at most one descriptor, without blocking.
///
/// # Errors
///
/// EMFILE if there is no room for the descriptor that comes with it: the packet can then be received
/// later.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut attached = None;
    let mut control = [0; 8];
    let (length, truncated) = peek(socket, buffer, &mut control, 1, |fd| attached = Some(fd))?;
    if truncated && attached.is_none() {
        // No room for a descriptor, as this will say; else it is one that may not be passed.
        socket.try_clone_to_owned()?;
    }
    take(socket)?;
    Ok(Received { length: length.min(buffer.len()), truncated, attached })
}

/// As many descriptors as the kernel takes along with one packet (SCM_MAX_FD).
pub(crate) const FDS_MAX: usize = 253;
/// Room for a control message with so many.
type LargeControl = [u64; 16 + FDS_MAX / 2];

/// Sends one packet with any number of descriptors up to [`FDS_MAX`], without blocking and without SIGPIPE.
pub(crate) fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&numbers)];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let parts = [io::IoSlice::new(bytes)];
    retry(|| Ok(sendmsg::<()>(socket.as_raw_fd(), &parts, &control, flags, None)?)).map(drop)
}

/// As [`receive`], with any number of descriptors.
///
/// # Errors
///
/// EMFILE if there is no room for all of them: the packet can then be received later.
pub(crate) fn receive_with(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut attached = Vec::new();
    let mut control: LargeControl = [0; 16 + FDS_MAX / 2];
    let (length, truncated) = peek(socket, buffer, &mut control, FDS_MAX, |fd| attached.push(fd))?;
    if truncated && length <= buffer.len() {
        drop(attached);
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    take(socket)?;
    Ok((length, attached))
}

/// Takes the packet that was looked at, and with it its own hold on the descriptors.
fn take(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no buffer, so nothing is written.
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
    retry(|| check(taken())).map(drop)
}

/// Looks at the next packet, whose descriptors would be lost if there were no room for them: its length,
/// and whether something was cut. `control` has room for the header and `most` descriptors.
fn peek(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut [u64],
    most: usize,
    mut each: impl FnMut(OwnedFd),
) -> io::Result<(usize, bool)> {
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // CMSG_LEN, not CMSG_SPACE, whose padding may be room for one more that nobody would own.
    // SAFETY: CMSG_LEN only computes.
    message.msg_controllen = unsafe { libc::CMSG_LEN((most * size_of::<RawFd>()) as u32) } as usize;
    assert!(message.msg_controllen <= size_of_val(control), "too little room for descriptors");
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | libc::MSG_PEEK | libc::MSG_TRUNC;
    // SAFETY: the message points to the buffer and to control, both writable and alive until after
    // the call, with their true lengths.
    let length =
        retry(|| check(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) } as libc::c_long))?;
    // SAFETY: the kernel has set msg_controllen to what it wrote, and CMSG_FIRSTHDR gives a header
    // within that or null.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    if !header.is_null() {
        // SAFETY: not null, so within control, which is aligned for it.
        let (level, kind, length) =
            unsafe { ((*header).cmsg_level, (*header).cmsg_type, (*header).cmsg_len) };
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
            // SAFETY: CMSG_LEN only computes.
            let payload = length.saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
            for index in 0..payload / size_of::<RawFd>() {
                // SAFETY: the message has so many descriptors, by the kernel's own count, all of which
                // it has just made for us.
                each(unsafe {
                    let place = libc::CMSG_DATA(header).cast::<RawFd>().add(index);
                    OwnedFd::from_raw_fd(place.read_unaligned())
                });
            }
        }
    }
    let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    Ok((length as usize, truncated))
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
