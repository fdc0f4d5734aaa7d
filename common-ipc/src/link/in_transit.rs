//! For tests: a value on its way through a real socket, descriptors included.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::fd::AsFd;

use crate::link::attachments::{self, Incoming};
use crate::link::codec::{self, DecodeError};
use crate::ownership::descriptors::PrivateFd;
use crate::sys::socket;

/// What a process at the other end would receive.
pub(crate) fn in_transit<A: Serialize, B: DeserializeOwned>(value: &A) -> Result<B, DecodeError> {
    let (bytes, outgoing) = attachments::collect(|| codec::encode(value).unwrap());
    let outgoing = outgoing.unwrap_or_default();
    let (one, other) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let fds: Vec<_> = outgoing.fds.iter().map(|(fd, _)| fd.get().unwrap()).collect();
    socket::send_with(one.as_fd(), &bytes, &fds).unwrap();
    let mut buffer = vec![0; bytes.len() + 1];
    let (length, fds) = socket::receive_with(other.as_fd(), &mut buffer).unwrap();
    let fds = fds.into_iter().map(|fd| Some(PrivateFd::new(|| Ok(fd)).unwrap())).collect();
    attachments::offer(
        Incoming { fds, buffers: Vec::new(), max_frame: usize::MAX, provisional: false, lost: false },
        || codec::decode(&buffer[..length]),
    )
}
