//! Taking one packet out of a queue, with what care, and into which buffer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::link::error::LinkError;
use crate::link::queue::packet::{HEADER, Header};
use crate::ownership::descriptors::{PrivateFd, above_stderr, registry};
use crate::sys;
use crate::sys::mapping::Mapping;
use crate::sys::memfd;

/// Takes the next packet, if there is one: its length and its descriptors. `look`: it may have some.
pub(super) fn take(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    look: bool,
) -> Result<Option<(usize, Vec<PrivateFd>)>, LinkError> {
    // Neither a fork nor another thread of this process in here: no descriptor comes into being meanwhile.
    let mut registry = registry();
    // Once the packet is taken it is too late to find that there is no room for its descriptors. So first
    // a look at how many it has, and whether there is. Whoever else receives may take it in between; it is
    // only then that the look was at the wrong one.
    let mut start = [0; HEADER];
    if look && sys::socket::look_at_the_next(socket, &mut start) {
        let count = Header::parse(&start).map_or(0, |header| header.descriptors());
        (0..count).map(|_| socket.try_clone_to_owned()).collect::<io::Result<Vec<_>>>()?;
    }
    let taken = match sys::socket::receive_at_once(socket, buffer) {
        Ok(taken) => taken,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if taken.fds_lost {
        return Err(LinkError::Lost);
    }
    if taken.length == 0 && sys::socket::has_hung_up(socket)? {
        return Err(io::Error::other("somebody who has the queue has shut its socket down").into());
    }
    // All of them before the first is listed: a listed one that is dropped asks for the registry.
    let fds = taken.fds.into_iter().map(above_stderr).collect::<io::Result<Vec<_>>>();
    let fds = fds.map_err(|_| LinkError::Lost)?;
    Ok(Some((taken.length, fds.into_iter().map(|fd| registry.list(fd)).collect())))
}

/// Whether whoever takes must look first. That costs a system call, and on two cores up to as much time again as
/// all the rest, so it is left out until somebody sends descriptors.
pub(super) struct Caution(Option<Mapping>);

impl Caution {
    /// Not yet advised, in this process and in all that are forked from it.
    pub(super) fn new() -> io::Result<Caution> {
        const WORD: usize = 4;
        Ok(Caution(Some(Mapping::new(memfd::create("caution", WORD)?.as_fd(), WORD)?)))
    }

    /// For a process that isn't told by others.
    pub(super) fn always() -> Caution {
        Caution(None)
    }

    pub(super) fn is_advised(&self) -> bool {
        self.0.as_ref().is_none_or(|memory| memory.view().word(0).load(Ordering::Acquire) != 0)
    }

    /// For good: before a descriptor is sent, and before somebody gets the queue who can't tell others.
    pub(super) fn advise(&self) {
        if let Some(memory) = &self.0 {
            memory.view().word(0).store(1, Ordering::Release);
        }
    }
}

/// A buffer that is used again and again. Whoever finds it in use - a second thread, or a child that was forked
/// in the midst of another thread's use - has one of its own.
#[derive(Default)]
pub(super) struct Scratch(Mutex<Vec<u8>>);

impl Scratch {
    /// Larger ones aren't kept.
    const KEPT: usize = 128 << 10;

    pub(super) fn take(&self) -> Vec<u8> {
        self.0.try_lock().map(|mut buffer| std::mem::take(&mut *buffer)).unwrap_or_default()
    }

    pub(super) fn put_back(&self, used: Vec<u8>) {
        if used.capacity() <= Scratch::KEPT {
            if let Some(mut buffer) = self.0.try_lock() {
                *buffer = used;
            }
        }
    }
}
