//! What an item is on its way: one packet, and memory beside it where it is large.
//!
//! A packet begins with a header: a tag, how many descriptors and how many byte strings the item has, and how
//! long its encoding is. The body follows: the encoding, the lengths of the byte strings, the byte strings.
//! Of a large item the body is in a sealed memfd, which comes before the item's descriptors, and the packet is
//! filled up: what fills it stands for the memory, which the kernel doesn't count.
//!
//! Packets are input from another process: nothing in them is believed that doesn't add up.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::LinkError;
use crate::link::attachments::{BUFFERS_MAX, Incoming, Outgoing};
use crate::link::bytes::Bytes;
use crate::link::codec::{self, DecodeError};
use crate::link::frame::FrameTooLarge;
use crate::link::sealed::{self, Sealed};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::WrongProcess;
use crate::ownership::give::How;

/// How many bytes the header has.
pub(super) const HEADER: usize = 8;
/// A byte string's length.
const LENGTH: usize = 4;
/// The longest body that travels in the packet itself. It is four times as fast that way as in memory, but a
/// socket takes only so few packets of this length.
pub(super) const INLINE_MAX: usize = 64 << 10;
/// The longest packet that is read whole: of longer ones the rest is filling.
pub(super) const LONGEST: usize = HEADER + INLINE_MAX;
/// So much memory beside packets a queue holds, or two items.
const MEMORY_MAX: usize = 8 << 20;

const IN_PACKET: u8 = 1;
const IN_MEMFD: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    in_memfd: bool,
    fds: u8,
    buffers: u8,
    encoding: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let [a, b, c, d] = self.encoding.to_le_bytes();
        [if self.in_memfd { IN_MEMFD } else { IN_PACKET }, self.fds, self.buffers, 0, a, b, c, d]
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Header, &'static str> {
        let Some(&[tag, fds, buffers, 0, a, b, c, d]) = bytes.first_chunk::<HEADER>() else {
            return Err("it has no header");
        };
        if !matches!(tag, IN_PACKET | IN_MEMFD) || usize::from(buffers) > BUFFERS_MAX {
            return Err("its header is of an unknown kind");
        }
        Ok(Header { in_memfd: tag == IN_MEMFD, fds, buffers, encoding: u32::from_le_bytes([a, b, c, d]) })
    }

    /// How many descriptors the packet comes with.
    pub(super) fn descriptors(self) -> usize {
        usize::from(self.fds) + usize::from(self.in_memfd)
    }

    /// The encoding and the lengths.
    fn front(self) -> usize {
        self.encoding as usize + usize::from(self.buffers) * LENGTH
    }
}

/// An item, ready to be sent.
pub(super) struct Parcel {
    /// Room for the header, the encoding, the lengths.
    bytes: Vec<u8>,
    outgoing: Outgoing,
    header: Header,
    /// Of the body.
    length: usize,
    /// The body of a large one.
    memory: Option<PrivateFd>,
}

impl Parcel {
    /// Encodes an item into a buffer.
    pub(super) fn pack<T: Serialize + DeserializeOwned>(
        item: &T,
        mut bytes: Vec<u8>,
        max: usize,
        room: usize,
    ) -> Result<Parcel, LinkError> {
        bytes.clear();
        bytes.extend([0; HEADER]);
        let outgoing = codec::encode_message(item, &mut bytes)?.map_or_else(Outgoing::default, |all| *all);
        let encoding = bytes.len() - HEADER;
        let beside: usize = outgoing.buffers.iter().map(|buffer| buffer.len()).sum();
        if encoding + beside > max {
            return Err(FrameTooLarge { length: encoding + beside, max }.into());
        }
        for buffer in &outgoing.buffers {
            bytes.extend((buffer.len() as u32).to_le_bytes());
        }
        let length = bytes.len() - HEADER + beside;
        // The cap, and those of attachments, keep all of these smaller than their types.
        let header = Header {
            // Of packets a socket takes three at least.
            in_memfd: length > INLINE_MAX.min(room / 3),
            fds: outgoing.fds.len() as u8,
            buffers: outgoing.buffers.len() as u8,
            encoding: encoding as u32,
        };
        bytes[..HEADER].copy_from_slice(&header.to_bytes());
        Ok(Parcel { bytes, outgoing, header, length, memory: None })
    }

    /// The descriptors in the item.
    pub(super) fn fds(&self) -> &[(Arc<PrivateFd>, How)] {
        &self.outgoing.fds
    }

    /// How many descriptors the packet comes with.
    pub(super) fn descriptors(&self) -> usize {
        self.outgoing.fds.len() + usize::from(self.header.in_memfd)
    }

    /// Puts a large body into sealed memory, beside the packet.
    pub(super) fn fill_memory(&mut self) -> io::Result<()> {
        if !self.header.in_memfd {
            return Ok(());
        }
        let memfd = PrivateFd::new(|| sealed::create("queue", self.length))?;
        let mut parts = vec![&self.bytes[HEADER..]];
        parts.extend(self.outgoing.buffers.iter().map(|buffer| &buffer[..]));
        sealed::fill(memfd.get().map_err(io::Error::other)?, &parts)?;
        self.memory = Some(memfd);
        Ok(())
    }

    /// The packet's descriptors: those of the item come after the memory.
    pub(super) fn open_fds(&self) -> Result<Vec<BorrowedFd<'_>>, WrongProcess> {
        self.memory.iter().chain(self.outgoing.fds.iter().map(|(fd, _)| &**fd)).map(PrivateFd::get).collect()
    }

    /// The packet.
    pub(super) fn parts(&self, room: usize) -> Vec<IoSlice<'_>> {
        static FILLING: [u8; 16 << 10] = [0; 16 << 10];
        if !self.header.in_memfd {
            let mut parts = vec![IoSlice::new(&self.bytes)];
            parts.extend(self.outgoing.buffers.iter().map(|buffer| IoSlice::new(buffer)));
            return parts;
        }
        let mut parts = vec![IoSlice::new(&self.bytes[..HEADER])];
        let mut left = filling(self.length, room);
        while left > 0 {
            let piece = left.min(FILLING.len());
            parts.push(IoSlice::new(&FILLING[..piece]));
            left -= piece;
        }
        parts
    }

    /// For the next one.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// How much of a socket's room a packet takes in the name of so much memory: in proportion, and half of it at
/// the most.
fn filling(length: usize, room: usize) -> usize {
    let share = length as u128 * room as u128 / MEMORY_MAX as u128;
    usize::try_from(share).unwrap_or(usize::MAX).min(room / 2)
}

/// Why a packet is no item.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// No honest sender sends this.
    Garbled(&'static str),
    TooLarge(FrameTooLarge),
    Undecodable(DecodeError),
    Io(io::Error),
}

/// Reads the item of a packet of `length` bytes, of which as many are in `packet` as there is room for.
pub(super) fn unpack<T: DeserializeOwned>(
    packet: &[u8],
    length: usize,
    mut fds: Vec<PrivateFd>,
    max: usize,
) -> Result<T, Unreadable> {
    let packet = &packet[..length.min(packet.len())];
    let header = Header::parse(packet).map_err(Unreadable::Garbled)?;
    if fds.len() != header.descriptors() {
        return Err(Unreadable::Garbled("it came with another number of descriptors than it says"));
    }
    if header.in_memfd {
        let memfd = fds.remove(0);
        return unpack_memory(header, &memfd, fds, max);
    }
    if length > packet.len() {
        return Err(Unreadable::Garbled("it is too long"));
    }
    let (front, mut rest) = split(&packet[HEADER..], header.front())?;
    let (encoding, lengths) = split(front, header.encoding as usize)?;
    check_sizes(header, lengths, (packet.len() - HEADER) as u64, max)?;
    let mut buffers = Vec::new();
    for length in each_length(lengths) {
        let (bytes, others) = split(rest, length)?;
        buffers.push(Some(Bytes::from(bytes)));
        rest = others;
    }
    decode(encoding, fds, buffers)
}

fn unpack_memory<T: DeserializeOwned>(
    header: Header,
    memfd: &PrivateFd,
    fds: Vec<PrivateFd>,
    max: usize,
) -> Result<T, Unreadable> {
    let memfd = memfd.get().map_err(|error| Unreadable::Io(io::Error::other(error)))?;
    let unsealed = |_| Unreadable::Garbled("its descriptor is no sealed memory");
    let sealed = Sealed::new(memfd.as_fd()).map_err(unsealed)?;
    // Before memory is taken for any of it.
    check_cap(sealed.len().saturating_sub((header.front() - header.encoding as usize) as u64), max)?;
    if header.front() as u64 > sealed.len() {
        return Err(Unreadable::Garbled(NOT_SO_LONG));
    }
    let front = sealed.read(0, header.front()).map_err(Unreadable::Io)?;
    let (encoding, lengths) = split(&front, header.encoding as usize)?;
    check_sizes(header, lengths, sealed.len(), max)?;
    let mut buffers = Vec::new();
    let mut at = front.len() as u64;
    for length in each_length(lengths) {
        buffers.push(Some(Bytes::from(sealed.read(at, length).map_err(Unreadable::Io)?)));
        at += length as u64;
    }
    decode(encoding, fds, buffers)
}

fn decode<T: DeserializeOwned>(
    encoding: &[u8],
    fds: Vec<PrivateFd>,
    buffers: Vec<Option<Bytes>>,
) -> Result<T, Unreadable> {
    let incoming = (!fds.is_empty() || !buffers.is_empty()).then(|| Incoming {
        fds: fds.into_iter().map(Some).collect(),
        buffers,
        max_frame: usize::MAX,
        provisional: false,
        lost: false,
    });
    codec::decode_message(encoding, incoming).map_err(Unreadable::Undecodable)
}

const NOT_SO_LONG: &str = "it isn't as long as it says";

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Unreadable> {
    bytes.split_at_checked(at).ok_or(Unreadable::Garbled(NOT_SO_LONG))
}

fn each_length(lengths: &[u8]) -> impl Iterator<Item = usize> + '_ {
    lengths.chunks_exact(LENGTH).filter_map(|four| Some(u32::from_le_bytes(four.try_into().ok()?) as usize))
}

/// Whether the body has exactly what the header and the lengths say, and no more than is allowed.
fn check_sizes(header: Header, lengths: &[u8], body: u64, max: usize) -> Result<(), Unreadable> {
    let beside: u64 = each_length(lengths).map(|length| length as u64).sum();
    check_cap(u64::from(header.encoding) + beside, max)?;
    if header.front() as u64 + beside != body {
        return Err(Unreadable::Garbled(NOT_SO_LONG));
    }
    Ok(())
}

fn check_cap(length: u64, max: usize) -> Result<(), Unreadable> {
    if length > max as u64 {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        return Err(Unreadable::TooLarge(FrameTooLarge { length, max }));
    }
    Ok(())
}
