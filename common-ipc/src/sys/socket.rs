//! Packets with descriptors: with one at the most, without allocating, or with many. One receiver looks
//! before it takes, several take at once.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::sys::socket::{ControlMessage, MsgFlags, recv, send as send_to_peer, sendmsg};

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
    let (length, truncated) = peek(socket, buffer, &mut control, 1, |fd| attached = Some(of_stranger(fd)))?;
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
    send_parts(socket, &[io::IoSlice::new(bytes)], fds)
}

/// As [`send_with`], of a packet in several parts.
pub(crate) fn send_parts(
    socket: BorrowedFd<'_>,
    parts: &[io::IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    if let ([whole], []) = (parts, fds) {
        // Most packets, and the shortest way.
        return retry(|| Ok(send_to_peer(socket.as_raw_fd(), whole, flags)?)).map(drop);
    }
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if fds.is_empty() { &[] } else { &rights[..] };
    retry(|| Ok(sendmsg::<()>(socket.as_raw_fd(), parts, control, flags, None)?)).map(drop)
}

/// As [`receive`], with any number of descriptors.
///
/// # Errors
///
/// EMFILE if there is no room for all of them: the packet can then be received later.
pub(crate) fn receive_with(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut attached = Vec::new();
    let mut control: LargeControl = [0; 16 + FDS_MAX / 2];
    let (length, truncated) =
        peek(socket, buffer, &mut control, FDS_MAX, |fd| attached.push(of_stranger(fd)))?;
    if truncated && length <= buffer.len() {
        drop(attached);
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    take(socket)?;
    Ok((length, attached))
}

/// What [`receive_at_once`] took.
pub(crate) struct Taken {
    /// The packet's length, which may be more than the buffer has room for.
    pub(crate) length: usize,
    /// Descriptors that came with it were closed by the kernel: there was no room for them.
    pub(crate) fds_lost: bool,
    /// Those that came, close-on-exec.
    pub(crate) fds: Vec<OwnedFd>,
    /// The sender's process id, where the socket asks for that (SO_PASSCRED) and it has one in this namespace.
    pub(crate) sender: Option<u32>,
}

/// Takes one packet with any number of descriptors in one step, without blocking: for a socket from which
/// other processes receive as well, where the packet that one looks at may be taken by another one.
pub(crate) fn receive_at_once(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Taken> {
    let mut fds = Vec::new();
    let mut control: LargeControl = [0; 16 + FDS_MAX / 2];
    let (length, flags, sender) =
        receive_message(socket, buffer, &mut control, FDS_MAX, libc::MSG_DONTWAIT, |fd| {
            fds.push(of_stranger(fd));
        })?;
    Ok(Taken { length, fds_lost: flags & libc::MSG_CTRUNC != 0, fds, sender })
}

/// A number that no other socket has while the machine runs; copies of its descriptor have the same.
pub(crate) fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut size = size_of::<u64>() as libc::socklen_t;
    let place = (&raw mut cookie).cast();
    // SAFETY: the kernel writes at most as many bytes as size says, which are there.
    let asked = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_COOKIE, place, &raw mut size)
    };
    check(asked.into()).map(|_| cookie)
}

/// Descriptors that came with a packet, without a place in the heap: taken one after the other.
pub(crate) struct Fds {
    fds: [Option<OwnedFd>; FDS_MAX],
    next: usize,
    count: usize,
}

impl Iterator for Fds {
    type Item = OwnedFd;

    fn next(&mut self) -> Option<OwnedFd> {
        self.next += 1;
        self.fds.get_mut(self.next - 1)?.take()
    }
}

impl Fds {
    /// None.
    pub(crate) const fn new() -> Fds {
        Fds { fds: [const { None }; FDS_MAX], next: 0, count: 0 }
    }

    /// The first one that wasn't taken.
    pub(crate) fn first(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fds.get(self.next)?.as_ref()?.as_fd())
    }

    /// Closes all that weren't taken.
    pub(crate) fn clear(&mut self) {
        self.fds[..self.count].iter_mut().for_each(|fd| drop(fd.take()));
        (self.next, self.count) = (0, 0);
    }
}

/// Waits for a packet of a sender that is trusted, and takes it into room that is there: its length, and whether
/// descriptors were lost. Those that are in `fds` must have been taken or cleared.
pub(crate) fn receive_from_friend(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Fds,
) -> io::Result<(usize, bool)> {
    let mut control: LargeControl = [0; 16 + FDS_MAX / 2];
    let Fds { fds, next, count } = fds;
    (*next, *count) = (0, 0);
    let (length, flags, _) = receive_message(socket, buffer, &mut control, FDS_MAX, 0, |fd| {
        // The kernel takes no more along than there is room for.
        fds[*count] = Some(fd);
        *count += 1;
    })?;
    Ok((length, flags & libc::MSG_CTRUNC != 0))
}

/// Copies the start of the next packet and leaves everything where it is; false if there is none.
pub(crate) fn look_at_the_next(socket: BorrowedFd<'_>, start: &mut [u8]) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    retry(|| Ok(recv(socket.as_raw_fd(), start, flags)?)).is_ok_and(|length| length == start.len())
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
    each: impl FnMut(OwnedFd),
) -> io::Result<(usize, bool)> {
    let (length, flags, _) =
        receive_message(socket, buffer, control, most, libc::MSG_PEEK | libc::MSG_DONTWAIT, each)?;
    Ok((length, flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0))
}

/// The one recvmsg: the packet's length, the flags that the kernel has set, and the sender's id if that came.
fn receive_message(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut [u64],
    most: usize,
    flags: libc::c_int,
    mut each: impl FnMut(OwnedFd),
) -> io::Result<(usize, libc::c_int, Option<u32>)> {
    let mut sender = None;
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data for which all zeroes is a valid value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // CMSG_LEN, not CMSG_SPACE, whose padding may be room for one more that nobody would own.
    // SAFETY: CMSG_LEN only computes.
    message.msg_controllen = unsafe { libc::CMSG_LEN((most * size_of::<RawFd>()) as u32) } as usize;
    if most == FDS_MAX {
        // The kernel takes no more than these along, so what else there is room for is something else.
        message.msg_controllen = size_of_val(control);
    }
    assert!(message.msg_controllen <= size_of_val(control), "too little room for descriptors");
    let flags = flags | libc::MSG_CMSG_CLOEXEC | libc::MSG_TRUNC;
    // SAFETY: the message points to the buffer and to control, both writable and alive until after
    // the call, with their true lengths.
    let length =
        retry(|| check(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) } as libc::c_long))?;
    // SAFETY: the kernel has set msg_controllen to what it wrote, and CMSG_FIRSTHDR gives a header
    // within that or null.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // Whoever else has the socket may have asked for more than descriptors: who the sender is, say.
    while !header.is_null() {
        // SAFETY: not null, so within control, which is aligned for it.
        let (level, kind, length) =
            unsafe { ((*header).cmsg_level, (*header).cmsg_type, (*header).cmsg_len) };
        if level == libc::SOL_SOCKET && (kind == libc::SCM_RIGHTS || kind == SCM_PIDFD) {
            // SAFETY: CMSG_LEN only computes.
            let payload = length.saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
            for index in 0..payload / size_of::<RawFd>() {
                // SAFETY: the message has so many of them, by the kernel's own count.
                let place = unsafe { libc::CMSG_DATA(header).cast::<RawFd>().add(index) };
                // SAFETY: as above.
                let number = unsafe { place.read_unaligned() };
                // An error in a pidfd's place: the sender is gone, or there was no descriptor left.
                if number < 0 {
                    continue;
                }
                // SAFETY: the kernel has just made it for us.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                if kind == libc::SCM_RIGHTS {
                    each(fd);
                }
            }
        }
        // SAFETY: CMSG_LEN only computes.
        let whole = unsafe { libc::CMSG_LEN(size_of::<libc::ucred>() as u32) } as usize;
        if level == libc::SOL_SOCKET && kind == libc::SCM_CREDENTIALS && length >= whole {
            // SAFETY: the message has one, by the kernel's own count, of plain data.
            let who = unsafe { libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned() };
            sender = u32::try_from(who.pid).ok().filter(|pid| *pid != 0);
        }
        // SAFETY: the message is as the kernel left it, and header is one of its headers.
        header = unsafe { libc::CMSG_NXTHDR(&message, header) };
    }
    Ok((length as usize, message.msg_flags, sender))
}

/// A pidfd of the sender, for sockets with SO_PASSPIDFD (linux/socket.h; missing from libc).
const SCM_PIDFD: libc::c_int = 4;

/// A socket that came from another process may be one whose closing waits for its data to be sent (SO_LINGER):
/// not here. It fails for anything else than a socket.
fn of_stranger(fd: OwnedFd) -> OwnedFd {
    let linger = libc::linger { l_onoff: 0, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: linger is valid for the call, and of this size.
    unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
    fd
}

/// How many bytes of the kernel's memory hold what the other end hasn't received yet; `None` if it doesn't say.
pub(crate) fn not_received(socket: BorrowedFd<'_>) -> Option<usize> {
    let mut waiting: libc::c_int = 0;
    // SAFETY: the kernel writes one int to where it is (SIOCOUTQ has the number of TIOCOUTQ: unix(7)).
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut waiting) };
    if asked == 0 { usize::try_from(waiting).ok() } else { None }
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
