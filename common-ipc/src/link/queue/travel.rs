//! How a queue gets to other processes, and what others see of it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{SockType, UnixAddr, getsockname, getsockopt, sockopt};
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::link::attachments;
use crate::link::queue::Queue;
use crate::link::queue::take::Caution;
use crate::ownership::give::{Give, Giver, How, private};

/// For poll, select and epoll: readable while an item is there, for everybody who waits; whoever comes late
/// finds [`try_recv`](Queue::try_recv) empty. In a process that the queue doesn't belong to, /dev/null.
impl<T> AsFd for Queue<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pair.receiving.expose()
    }
}

impl<T> private::Sealed for Queue<T> {}

impl<T> Give for Queue<T> {
    fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.pair.sending, How::Shared);
        giver.add(&self.pair.receiving, How::Shared);
    }
}

/// As part of a message over a [`Connection`](crate::link::Connection) or another queue: both have it then.
/// With other formats it is an error.
impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pair.caution.advise();
        let attach = |fd| attachments::attach(fd, How::Shared).map_err(serde::ser::Error::custom);
        (attach(&self.pair.sending)?, attach(&self.pair.receiving)?, self.pair.max as u32)
            .serialize(serializer)
    }
}

impl<'de, T: Serialize + DeserializeOwned> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Queue<T>, D::Error> {
        let (sending, receiving, max) = <(u32, u32, u32)>::deserialize(deserializer)?;
        let socket = |place| {
            let fd = attachments::take(place).map_err(D::Error::custom)?;
            let packets = fd.get().is_ok_and(is_packet_socket);
            packets
                .then_some(fd)
                .ok_or_else(|| D::Error::custom("a queue came with something else than sockets"))
        };
        Queue::of(socket(sending)?, socket(receiving)?, max as usize, Caution::always())
            .map_err(D::Error::custom)
    }
}

fn is_packet_socket(fd: BorrowedFd<'_>) -> bool {
    getsockopt(&fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::SeqPacket)
        && getsockname::<UnixAddr>(fd.as_raw_fd()).is_ok()
}
