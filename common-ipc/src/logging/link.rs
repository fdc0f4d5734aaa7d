//! The socket by which a child's records come: its two ends, and a look at who has sent what.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recvmsg, setsockopt,
    socketpair,
};

use crate::logging::record::PACKET_MAX;
use crate::ownership::descriptors::above_stderr;
use crate::sys::retry;

/// A new one: the program's end and the child's. By the program's the kernel tells who has sent a packet.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    setsockopt(&ours, PassCred, &true)?;
    Ok((above_stderr(ours)?, above_stderr(theirs)?))
}

/// Room for what arrives.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

impl Buffer {
    pub(super) fn new() -> Buffer {
        Buffer { bytes: vec![0; PACKET_MAX], control: nix::cmsg_space!(UnixCredentials) }
    }
}

/// What there was.
pub(super) enum Arrived<'a> {
    Packet {
        /// The kernel's word.
        pid: u32,
        bytes: &'a [u8],
    },
    /// What no honest child sends: too long, or with descriptors, which the kernel has closed.
    Garbage,
    Nothing,
    /// Nobody sends any more. (Or somebody has sent nothing, which no honest child does; it has ended its link.)
    End,
}

/// Takes the next packet, without waiting.
pub(super) fn receive<'a>(socket: BorrowedFd<'_>, buffer: &'a mut Buffer) -> io::Result<Arrived<'a>> {
    let Buffer { bytes, control } = buffer;
    // Of the control data there is room for the sender alone: descriptors don't get into this process.
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let taken = retry(|| {
        let mut parts = [IoSliceMut::new(bytes)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(control), flags)?;
        let whole = !message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
        let sender = message.cmsgs().ok().and_then(|mut messages| {
            messages.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid() as u32),
                _ => None,
            })
        });
        Ok((message.bytes, sender.filter(|_| whole)))
    });
    Ok(match taken {
        Ok((0, _)) => Arrived::End,
        Ok((length, Some(pid))) => Arrived::Packet { pid, bytes: &bytes[..length] },
        Ok((_, None)) => Arrived::Garbage,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Arrived::Nothing,
        Err(error) => return Err(error),
    })
}
