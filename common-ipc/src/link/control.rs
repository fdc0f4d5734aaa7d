//! What the two ends of a connection say to each other beside their messages, over a socket pair.
//!
//! - *Owner*, with a pidfd: the process that the end belongs to now. Its death is the end's, also while
//!   a copy of the socket is left in some other process.
//! - *Moving*: the end is on its way to another process. The death of the one that it left means nothing.
//! - *Descriptors*, with a number: they belong to the frame that has this number, and come before it.
//!
//! The end of the stream is the end of the connection. Packets are input from another process: unknown
//! ones are ignored and their descriptors closed, and so many are taken in at a time, and kept.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};

use crate::ownership::descriptors::{PrivateFd, above_stderr, registry};
use crate::sys;

const OWNER: u8 = 1;
const MOVING: u8 = 2;
const DESCRIPTORS: u8 = 3;

/// So many packets are taken in at a time: a flood of them mustn't hold up who listens.
const PACKETS_AT_ONCE: usize = 64;
/// While so many descriptors, or sets of them, wait for their frames, no more are taken in.
const WAITING_MAX: usize = 253;

/// A pair of control sockets. Neither blocks.
pub(crate) fn pair() -> io::Result<(PrivateFd, PrivateFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    PrivateFd::pair(|| Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?))
}

/// Tells the other end whose this one is. Nothing can be done about a failure: without it the other end
/// still sees the socket close.
pub(crate) fn tell_owner(socket: &PrivateFd, owner: &PrivateFd) {
    if let (Some(socket), Some(pidfd)) = (socket.at_home(), owner.at_home()) {
        let _ = sys::socket::send(socket, [&[OWNER], &[]], Some(pidfd));
    }
}

/// Tells the other end that this one is leaving its process.
pub(crate) fn tell_moving(socket: &PrivateFd) -> io::Result<()> {
    match socket.at_home() {
        Some(socket) => sys::socket::send(socket, [&[MOVING], &[]], None),
        None => Ok(()),
    }
}

/// Sends the descriptors of the frame with this number, without blocking.
pub(crate) fn send_descriptors(
    socket: BorrowedFd<'_>,
    number: u32,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let [a, b, c, d] = number.to_le_bytes();
    sys::socket::send_with(socket, &[DESCRIPTORS, a, b, c, d], fds)
}

/// Ends the connection, whoever else has a copy of the socket.
pub(crate) fn close(socket: BorrowedFd<'_>) {
    use std::os::fd::AsRawFd;
    // It may have been closed by the other side before.
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
}

/// The process at the other end, as far as it has said.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Its pidfd.
    pub(crate) owner: Option<Arc<PrivateFd>>,
    gone: bool,
    /// Packets wait that can't be taken in now.
    clogged: bool,
    waiting: VecDeque<(u32, Vec<PrivateFd>)>,
}

impl Peer {
    /// Whether the other end is gone for good. Everything that it sent is in the ring by then.
    pub(crate) fn is_gone(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        if !self.gone {
            self.listen(socket)?;
        }
        if let (false, Some(owner)) = (self.gone, &self.owner) {
            if is_readable(owner.get().map_err(io::Error::other)?)? {
                // Before it died it may have said that the end has left it.
                self.listen(socket)?;
                if let Some(owner) = &self.owner {
                    self.gone |= is_readable(owner.get().map_err(io::Error::other)?)?;
                }
            }
        }
        Ok(self.gone)
    }

    /// What a wait for news of the other end polls on the control socket. Its end is reported in any case.
    pub(crate) fn interest(&self) -> PollFlags {
        if self.clogged { PollFlags::empty() } else { PollFlags::POLLIN }
    }

    /// The descriptors of the frame with this number, of which there are `count`. `None`: they aren't
    /// there, nor will they come.
    pub(crate) fn descriptors(
        &mut self,
        socket: BorrowedFd<'_>,
        number: u32,
        count: usize,
    ) -> io::Result<Option<Vec<PrivateFd>>> {
        loop {
            while let Some((known, fds)) = self.waiting.pop_front() {
                if known == number {
                    return Ok((fds.len() == count).then_some(fds));
                }
                // Of a frame whose sender gave it up.
            }
            match self.take_packet(socket) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn listen(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.clogged = false;
        for _ in 0..PACKETS_AT_ONCE {
            let descriptors: usize = self.waiting.iter().map(|(_, fds)| fds.len().max(1)).sum();
            if descriptors >= WAITING_MAX {
                self.clogged = true;
                return self.look_for_the_end(socket);
            }
            match self.take_packet(socket) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // No room for descriptors: whoever wants them is told, not whoever asks for a death.
                Err(error) if is_out_of_descriptors(&error) => {
                    self.clogged = true;
                    return self.look_for_the_end(socket);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Behind packets that can't be taken in now.
    fn look_for_the_end(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut fds = [PollFd::new(socket, PollFlags::empty())];
        poll(&mut fds, PollTimeout::ZERO)?;
        self.gone |= fds[0].any().unwrap_or(false);
        Ok(())
    }

    /// Takes in one packet; false if there is none.
    fn take_packet(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let mut packet = [0; 8];
        let (length, fds) = {
            let mut registry = registry();
            match sys::socket::receive_with(socket, &mut packet) {
                Ok((length, fds)) => {
                    let fds = fds.into_iter().map(|fd| Ok(registry.list(above_stderr(fd)?)));
                    (length, fds.collect::<io::Result<Vec<_>>>()?)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (0, Vec::new()),
                Err(error) => return Err(error),
            }
        };
        match (length, packet[0], fds) {
            (0, ..) => {
                self.gone = true;
                return Ok(false);
            }
            (1, OWNER, fds) => {
                let owner = fds.into_iter().next().filter(|fd| {
                    // Anything else would never be readable, or always.
                    fd.get().is_ok_and(|fd| sys::pidfd::look(fd, false).is_ok())
                });
                self.owner = owner.map(Arc::new).or(self.owner.take());
            }
            (1, MOVING, _) => self.owner = None,
            (5, DESCRIPTORS, fds) => {
                let number = u32::from_le_bytes([packet[1], packet[2], packet[3], packet[4]]);
                self.waiting.push_back((number, fds));
            }
            _ => {}
        }
        Ok(true)
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO)?;
    Ok(fds[0].any().unwrap_or(false))
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// A descriptor of this process itself, to tell the other ends whose this one is.
pub(crate) fn own_pidfd() -> io::Result<PrivateFd> {
    PrivateFd::new(|| sys::pidfd::open(std::process::id() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn fd(socket: &PrivateFd) -> BorrowedFd<'_> {
        socket.get().unwrap()
    }

    fn null() -> std::fs::File {
        std::fs::File::open("/dev/null").unwrap()
    }

    #[test]
    fn an_owner_is_believed_only_with_a_pidfd() {
        let (one, other) = pair().unwrap();
        let mut peer = Peer::default();
        tell_owner(&other, &PrivateFd::new(|| Ok(null().into())).unwrap());
        assert!(!peer.is_gone(fd(&one)).unwrap());
        assert!(peer.owner.is_none());
        tell_owner(&other, &own_pidfd().unwrap());
        assert!(!peer.is_gone(fd(&one)).unwrap());
        assert!(peer.owner.is_some());
        tell_moving(&other).unwrap();
        assert!(!peer.is_gone(fd(&one)).unwrap());
        assert!(peer.owner.is_none());
        close(fd(&other));
        assert!(peer.is_gone(fd(&one)).unwrap());
    }

    #[test]
    fn descriptors_are_matched_with_their_frames() {
        let (one, other) = pair().unwrap();
        let mut peer = Peer::default();
        let null = null();
        for number in 1..=3 {
            send_descriptors(fd(&other), number, &vec![null.as_fd(); number as usize]).unwrap();
        }
        assert_eq!(peer.descriptors(fd(&one), 2, 2).unwrap().unwrap().len(), 2);
        // Not as many as the frame says, and none at all.
        assert!(peer.descriptors(fd(&one), 3, 1).unwrap().is_none());
        assert!(peer.descriptors(fd(&one), 4, 1).unwrap().is_none());
    }

    #[test]
    fn a_flood_is_left_in_the_socket() {
        let (one, other) = pair().unwrap();
        let mut peer = Peer::default();
        let null = null();
        let many = vec![null.as_fd(); 200];
        for number in 0..3 {
            send_descriptors(fd(&other), number, &many).unwrap();
        }
        assert!(!peer.is_gone(fd(&one)).unwrap());
        assert!(peer.clogged && peer.waiting.len() == 2);
        drop(other);
        assert!(peer.is_gone(fd(&one)).unwrap());
        assert_eq!(peer.descriptors(fd(&one), 2, 200).unwrap().unwrap().len(), 200);
    }

    #[test]
    fn garbage_is_ignored() {
        let (one, other) = pair().unwrap();
        let mut peer = Peer::default();
        for packet in [&[9u8][..], &[OWNER, 1], &[0; 3], &[7; 5000]] {
            sys::socket::send(fd(&other), [packet, &[]], None).unwrap();
        }
        assert!(!peer.is_gone(fd(&one)).unwrap());
        assert!(peer.waiting.is_empty() && peer.owner.is_none());
    }
}
