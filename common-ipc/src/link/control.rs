//! What the two ends of a connection say to each other beside their messages, over a socket pair.
//!
//! - *Ring*: look into the shared memory.
//! - *Owner*, with a pidfd: the process that the end belongs to now. Its death is the end's, also while
//!   a copy of the socket is left in some other process.
//! - *Moving*: the end is on its way to another process. The death of the one that it left means nothing.
//! - *Descriptors*, with a number: they belong to the frame that has this number, and come before it.
//!
//! The end of the stream is the end of the connection. A socket, and not an eventfd, rings the bell: whether an
//! eventfd blocks is for whoever has a copy of it to change, at any time; a packet is sent and received
//! without blocking, whatever the other side did.
//!
//! Packets are input from another process: unknown ones are ignored and their descriptors closed, so many are
//! taken in at a time, and so many descriptors are kept.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair,
};

use crate::link::attachments::FDS_MAX;
use crate::link::error::LinkError;
use crate::ownership::descriptors::{PrivateFd, above_stderr, registry};
use crate::sys;

const RING: u8 = 0;
const OWNER: u8 = 1;
const MOVING: u8 = 2;
const DESCRIPTORS: u8 = 3;

/// So many packets are taken in at a time: a flood of them mustn't hold up who listens.
const PACKETS_AT_ONCE: usize = 64;
/// A bell for which there is no memory is rung again so often, after such pauses: ten seconds, after which the machine
/// has other problems.
const RINGS_MAX: u32 = 10_000;
const RING_PAUSE: Duration = Duration::from_millis(1);
/// So many descriptors, or sets of them, wait for their frames. Each comes right before its frame, so that an
/// honest side has a few there at the most.
const WAITING_MAX: usize = 2 * FDS_MAX;

/// A pair of control sockets. Neither blocks.
pub(crate) fn pair() -> io::Result<(PrivateFd, PrivateFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    PrivateFd::pair(|| Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?))
}

/// Rings the other end's bell. It fails when the other end is gone, or has so much to hear that it listens.
#[inline]
pub(crate) fn ring(socket: BorrowedFd<'_>) {
    if let Err(errno) = try_ring(socket) {
        ring_again(socket, errno);
    }
}

#[inline]
fn try_ring(socket: BorrowedFd<'_>) -> nix::Result<usize> {
    send(socket.as_raw_fd(), &[RING], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)
}

/// Where the kernel has no memory for it. It must be heard: who sleeps would sleep on beside a message.
#[cold]
fn ring_again(socket: BorrowedFd<'_>, mut errno: nix::Error) {
    for _ in 0..RINGS_MAX {
        if !matches!(errno, nix::Error::EINTR | nix::Error::ENOBUFS | nix::Error::ENOMEM) {
            return;
        }
        thread::sleep(RING_PAUSE);
        match try_ring(socket) {
            Ok(_) => return,
            Err(next) => errno = next,
        }
    }
}

/// Tells the other end that this one belongs to this process. Without a descriptor to spare it still
/// sees the socket close.
///
/// # Errors
///
/// EAGAIN: the other end has so much unheard that it is to be told later.
pub(crate) fn tell_owner_is_here(socket: &PrivateFd) -> io::Result<()> {
    match own_pidfd() {
        Ok(pidfd) => tell_owner(socket, &pidfd),
        Err(_) => Ok(()),
    }
}

fn tell_owner(socket: &PrivateFd, owner: &PrivateFd) -> io::Result<()> {
    match (socket.at_home(), owner.at_home()) {
        (Some(socket), Some(pidfd)) => sys::socket::send(socket, [&[OWNER], &[]], Some(pidfd)),
        _ => Ok(()),
    }
}

/// Tells the other end that this one is leaving its process.
///
/// # Errors
///
/// As for [`tell_owner_is_here`]; it mustn't leave untold.
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
    // It may have been closed by the other side before.
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
}

/// The process at the other end, as far as it has said.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// Its pidfd.
    pub(crate) owner: Option<Arc<PrivateFd>>,
    /// That is certain: what the other end says of it doesn't count.
    pub(crate) is_certain: bool,
    /// The other end is gone for good. Everything that it sent is in the ring by then.
    pub(crate) gone: bool,
    /// Descriptors for which there is no room are closed, rather than in the way of all that comes after them.
    pub(crate) loses: bool,
    waiting: VecDeque<(u32, Descriptors)>,
}

/// Descriptors that belong to a frame.
#[derive(Debug)]
pub(crate) enum Descriptors {
    Here(Vec<PrivateFd>),
    /// There was no room for them.
    Lost,
}

impl Descriptors {
    fn len(&self) -> usize {
        match self {
            Descriptors::Here(fds) => fds.len(),
            Descriptors::Lost => 0,
        }
    }
}

impl Peer {
    /// Takes in what the other end has said, and looks whether its process lives. Only whoever receives does
    /// that: it takes the ring of the bell away from anybody else who waits for it.
    ///
    /// # Errors
    ///
    /// More descriptors than any honest end sends; no room for descriptors that a message has.
    pub(crate) fn listen(&mut self, socket: BorrowedFd<'_>) -> Result<(), LinkError> {
        let waiting = self.waiting.len();
        for _ in 0..PACKETS_AT_ONCE {
            // After descriptors comes their frame: whoever listens looks for that before the next ones.
            if self.gone || !self.take_packet(socket)? || self.waiting.len() > waiting {
                break;
            }
        }
        self.forget_strangers();
        if let (false, Some(owner)) = (self.gone, &self.owner) {
            // In this order: before it died it may have said that the end has left it.
            self.gone = is_readable(owner.get()?)?;
        }
        Ok(())
    }

    /// For those who don't receive: whether the socket is closed, and whether there is anything to hear that
    /// may say more, the death of the process behind it included.
    pub(crate) fn look(&mut self, socket: BorrowedFd<'_>) -> Result<(bool, bool), LinkError> {
        self.forget_strangers();
        let owner = self.owner.as_ref().and_then(|owner| owner.get().ok());
        let mut fds =
            [PollFd::new(socket, PollFlags::POLLIN), PollFd::new(owner.unwrap_or(socket), PollFlags::POLLIN)];
        sys::retry(|| Ok(poll(&mut fds, PollTimeout::ZERO)?))?;
        let seen = fds[0].revents().unwrap_or(PollFlags::POLLHUP);
        self.gone |= seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
        // Who is known lives as long as its pidfd says nothing; of an unknown one everything is news.
        let news = match owner {
            Some(_) => fds[1].any().unwrap_or(true),
            None => !seen.is_empty(),
        };
        Ok((self.gone, news))
    }

    /// An owner that was said to another process, of which this one is a copy that wasn't given it.
    fn forget_strangers(&mut self) {
        self.owner = self.owner.take().filter(|owner| owner.get().is_ok());
    }

    /// Nothing will be received any more: whatever came and is on its way is closed.
    pub(crate) fn clear(&mut self, socket: BorrowedFd<'_>) {
        for _ in 0..PACKETS_AT_ONCE {
            self.waiting.clear();
            if !matches!(self.take_packet(socket), Ok(true)) {
                break;
            }
        }
        self.waiting.clear();
    }

    /// Whether descriptors wait for their frames.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The descriptors of the frame with this number, of which there are `count`. `None`: they aren't
    /// there, nor will they come.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Peer::listen).
    pub(crate) fn descriptors(
        &mut self,
        socket: BorrowedFd<'_>,
        number: u32,
        count: usize,
    ) -> Result<Option<Descriptors>, LinkError> {
        loop {
            while let Some((known, fds)) = self.waiting.pop_front() {
                if known == number {
                    let is_whole = fds.len() == count || matches!(fds, Descriptors::Lost);
                    return Ok(is_whole.then_some(fds));
                }
                // Of a frame whose sender gave it up.
            }
            // Also after the other end is gone: what it sent with its last breath waits in the socket.
            if !self.take_packet(socket)? {
                return Ok(None);
            }
        }
    }

    /// Takes in one packet; false if there is none.
    fn take_packet(&mut self, socket: BorrowedFd<'_>) -> Result<bool, LinkError> {
        let mut packet = [0; 8];
        let quickly = MsgFlags::MSG_DONTWAIT;
        // A ring has no descriptors, for which room would have to be made.
        let length = match recv(socket.as_raw_fd(), &mut packet, quickly | MsgFlags::MSG_PEEK) {
            Ok(1) if packet[0] == RING => {
                return Ok(sys::retry(|| Ok(recv(socket.as_raw_fd(), &mut packet, quickly)?)).is_ok());
            }
            Ok(length) => length,
            Err(nix::Error::EAGAIN) => return Ok(false),
            // The other end was closed with something unread. This is said once, and before what it had sent,
            // which comes next; then the end.
            Err(nix::Error::EINTR | nix::Error::ECONNRESET) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        };
        if length == 0 {
            self.gone = true;
            return Ok(false);
        }
        let (length, fds) = {
            let mut registry = registry();
            let (length, fds) = match sys::socket::receive_with(socket, &mut packet) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(error) if is_out_of_descriptors(&error) && packet[0] != DESCRIPTORS => {
                    // What it says is heard, without what came with it: no message waits for that.
                    return Ok(sys::retry(|| Ok(recv(socket.as_raw_fd(), &mut packet, quickly)?)).is_ok());
                }
                Err(error) if is_out_of_descriptors(&error) && self.loses => {
                    sys::retry(|| Ok(recv(socket.as_raw_fd(), &mut packet, quickly)?))?;
                    let number = u32::from_le_bytes([packet[1], packet[2], packet[3], packet[4]]);
                    drop(registry);
                    return self.keep(number, Descriptors::Lost).map(|()| true);
                }
                received => received?,
            };
            // All of them before the first is listed: a listed one that is dropped asks for the registry.
            let fds = fds.into_iter().map(above_stderr).collect::<io::Result<Vec<_>>>()?;
            (length, fds.into_iter().map(|fd| registry.list(fd)).collect::<Vec<_>>())
        };
        match (length, packet[0], fds) {
            (1, OWNER | MOVING, _) if self.is_certain => {}
            (1, OWNER, fds) => {
                let owner = fds.into_iter().next().filter(is_pidfd);
                self.owner = owner.map(Arc::new).or(self.owner.take());
            }
            (1, MOVING, _) => self.owner = None,
            (5, DESCRIPTORS, fds) => {
                let number = u32::from_le_bytes([packet[1], packet[2], packet[3], packet[4]]);
                self.keep(number, Descriptors::Here(fds))?;
            }
            _ => {}
        }
        Ok(true)
    }

    /// For the frame with this number.
    fn keep(&mut self, number: u32, fds: Descriptors) -> Result<(), LinkError> {
        self.waiting.push_back((number, fds));
        let waiting: usize = self.waiting.iter().map(|(_, fds)| fds.len().max(1)).sum();
        if waiting > WAITING_MAX {
            return Err(LinkError::Garbled("descriptors that belong to no message"));
        }
        Ok(())
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    sys::retry(|| Ok(poll(&mut fds, PollTimeout::ZERO)?))?;
    Ok(fds[0].any().unwrap_or(false))
}

/// Anything else would never be readable, or always.
pub(crate) fn is_pidfd(fd: &PrivateFd) -> bool {
    fd.get().is_ok_and(|fd| sys::pidfd::look(fd, false).is_ok())
}

/// Of all [shortages](sys::is_shortage) the one that lasts until the program closes something: what waits for that is
/// better received without its descriptors.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn own_pidfd() -> io::Result<PrivateFd> {
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
        tell_owner(&other, &PrivateFd::new(|| Ok(null().into())).unwrap()).unwrap();
        peer.listen(fd(&one)).unwrap();
        assert!(peer.owner.is_none() && !peer.gone);
        tell_owner_is_here(&other).unwrap();
        peer.listen(fd(&one)).unwrap();
        assert!(peer.owner.is_some() && !peer.gone);
        tell_moving(&other).unwrap();
        peer.listen(fd(&one)).unwrap();
        assert!(peer.owner.is_none() && !peer.gone);
        close(fd(&other));
        assert!(Peer::default().look(fd(&one)).unwrap().0);
        peer.listen(fd(&one)).unwrap();
        assert!(peer.gone);
    }

    #[test]
    fn of_who_is_known_for_certain_nothing_is_believed() {
        let (one, other) = pair().unwrap();
        let owner = Arc::new(own_pidfd().unwrap());
        let mut peer = Peer { owner: Some(Arc::clone(&owner)), is_certain: true, ..Peer::default() };
        tell_owner_is_here(&other).unwrap();
        tell_moving(&other).unwrap();
        peer.listen(fd(&one)).unwrap();
        assert!(peer.owner.is_some_and(|known| Arc::ptr_eq(&known, &owner)));
    }

    #[test]
    fn descriptors_are_matched_with_their_frames() {
        let (one, other) = pair().unwrap();
        let mut peer = Peer::default();
        let null = null();
        for number in 1..=3 {
            send_descriptors(fd(&other), number, &vec![null.as_fd(); number as usize]).unwrap();
            ring(fd(&other));
        }
        let found = peer.descriptors(fd(&one), 2, 2).unwrap().unwrap();
        assert_eq!(found.len(), 2);
        // Not as many as the frame says, and none at all.
        assert!(peer.descriptors(fd(&one), 3, 1).unwrap().is_none());
        assert!(peer.descriptors(fd(&one), 4, 1).unwrap().is_none());
    }

    #[test]
    fn a_flood_of_descriptors_is_an_error() {
        let (one, other) = pair().unwrap();
        let mut peer = Peer::default();
        let null = null();
        let many = vec![null.as_fd(); FDS_MAX];
        for number in 0..3 {
            send_descriptors(fd(&other), number, &many).unwrap();
        }
        peer.listen(fd(&one)).unwrap();
        peer.listen(fd(&one)).unwrap();
        assert!(matches!(peer.listen(fd(&one)), Err(LinkError::Garbled(_))));
    }

    #[test]
    fn garbage_is_ignored() {
        let (one, other) = pair().unwrap();
        let mut peer = Peer::default();
        for packet in [&[9u8][..], &[OWNER, 1], &[0; 3], &[7; 5000]] {
            sys::socket::send(fd(&other), [packet, &[]], None).unwrap();
        }
        peer.listen(fd(&one)).unwrap();
        assert!(!peer.gone && peer.waiting.is_empty() && peer.owner.is_none());
    }
}
