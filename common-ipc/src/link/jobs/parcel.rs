//! A job on its way: what is to be done, and the argument, which is small or lies in memory beside it.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::LinkError;
use crate::link::attachments::{FDS_MAX, Incoming, Outgoing};
use crate::link::bytes::Bytes;
use crate::link::calls::word;
use crate::link::codec::{self, DecodeError, EncodeError};
use crate::link::connection::Came;
use crate::link::frame::FrameTooLarge;
use crate::link::sealed::{self, Sealed};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::How;

/// Its number, its round and its place in that; what is to be done, two addresses; where the argument is.
const HEADER: usize = 36;
/// The argument follows.
const HERE: u32 = 0;
/// The argument is in the first descriptor, in sealed memory; lengths follow: of its encoding, and of each byte string.
const BESIDE: u32 = 1;
/// Longer arguments travel in memory: so several jobs have room on their way, and nobody waits for room.
const HERE_MAX: usize = 32 << 10;

/// A job, encoded. It keeps all of it that can be kept, for another try.
#[derive(Debug)]
pub(crate) struct Parcel {
    bytes: Vec<u8>,
    outgoing: Option<Box<Outgoing>>,
    /// Of the argument, wherever it is.
    length: usize,
    /// Something went with it that belongs to one process.
    is_gone: bool,
}

impl Parcel {
    /// Encodes what is read as an `A`.
    ///
    /// # Errors
    ///
    /// `Encode`, `TooLarge`, or no memory for what travels beside.
    pub(crate) fn pack<A, T>(what: [usize; 2], argument: &T, max: usize) -> Result<Parcel, LinkError>
    where
        A: DeserializeOwned,
        T: Serialize + ?Sized,
    {
        let mut bytes = Vec::with_capacity(HEADER + 28);
        bytes.resize(HEADER, 0);
        let outgoing = codec::encode_message_as::<A, T>(argument, &mut bytes)?;
        let buffers = outgoing.as_ref().map_or(&[][..], |outgoing| &outgoing.buffers);
        let length = buffers.iter().fold(bytes.len() - HEADER, |sum, buffer| sum + buffer.len());
        if length > max {
            return Err(FrameTooLarge { length, max }.into());
        }
        bytes[16..24].copy_from_slice(&(what[0] as u64).to_le_bytes());
        bytes[24..32].copy_from_slice(&(what[1] as u64).to_le_bytes());
        let mut parcel = Parcel { bytes, outgoing, length, is_gone: false };
        if length > HERE_MAX {
            parcel.lay_beside::<A>()?;
        }
        Ok(parcel)
    }

    #[cold]
    fn lay_beside<A>(&mut self) -> Result<(), LinkError> {
        let mut outgoing = self.outgoing.take().unwrap_or_default();
        if outgoing.fds.len() == FDS_MAX {
            let message = "a long argument carries 252 descriptors at the most".to_owned();
            return Err(EncodeError { type_name: std::any::type_name::<A>(), message }.into());
        }
        let memory = PrivateFd::new(|| sealed::create("job", self.length))?;
        let buffers = std::mem::take(&mut outgoing.buffers);
        let mut parts = vec![&self.bytes[HEADER..]];
        parts.extend(buffers.iter().map(|buffer| &buffer[..]));
        sealed::fill(memory.get()?, &parts)?;
        // The cap of a frame keeps each of them below 4 GiB.
        let lengths: Vec<u32> = parts.iter().map(|part| part.len() as u32).collect();
        outgoing.fds.insert(0, (memory.into(), How::Shared));
        self.bytes.truncate(HEADER);
        self.bytes.shrink_to(HEADER + 4 * lengths.len());
        self.bytes[32..36].copy_from_slice(&BESIDE.to_le_bytes());
        self.bytes.extend(lengths.into_iter().flat_map(u32::to_le_bytes));
        self.outgoing = Some(outgoing);
        Ok(())
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        HEADER + self.length
    }

    /// What is to be done.
    pub(crate) fn what(&self) -> [usize; 2] {
        Header::of(&self.bytes).what
    }

    /// Whether something goes with it that belongs to one process, or went.
    pub(crate) fn moves_something(&self) -> bool {
        self.is_gone || self.outgoing.as_ref().is_some_and(|outgoing| outgoing.moved().next().is_some())
    }

    /// Whether all of it is still here.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_gone
    }

    pub(super) fn address(&mut self, number: u64, round: u32, place: u32) {
        self.bytes[..8].copy_from_slice(&number.to_le_bytes());
        self.bytes[8..12].copy_from_slice(&round.to_le_bytes());
        self.bytes[12..16].copy_from_slice(&place.to_le_bytes());
    }

    pub(super) fn parts(&self) -> (&[u8], Option<&Outgoing>) {
        (&self.bytes, self.outgoing.as_deref())
    }

    /// It is on its way, with all that moves.
    pub(super) fn was_sent(&mut self) {
        if self.moves_something() {
            self.is_gone = true;
            if let Some(outgoing) = self.outgoing.take() {
                outgoing.sent();
            }
        }
    }
}

/// What a job begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) round: u32,
    pub(super) place: u32,
    pub(super) what: [usize; 2],
    is_beside: bool,
}

impl Header {
    /// Of bytes that begin with one.
    fn of(bytes: &[u8]) -> Header {
        let long = |at| u64::from(word(bytes, at)) | u64::from(word(bytes, at + 1)) << 32;
        Header {
            number: long(0),
            round: word(bytes, 2),
            place: word(bytes, 3),
            what: [long(4) as usize, long(6) as usize],
            is_beside: word(bytes, 8) == BESIDE,
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        (bytes.len() >= HEADER && matches!(word(bytes, 8), HERE | BESIDE)).then(|| Header::of(bytes))
    }

    /// Reads the argument.
    pub(super) fn decode<A: DeserializeOwned>(self, bytes: &[u8], came: Came) -> Result<A, DecodeError> {
        let body = bytes.get(HEADER..).unwrap_or_default();
        if !self.is_beside {
            return codec::decode_message(body, came);
        }
        let failed = |message: String| DecodeError { type_name: std::any::type_name::<A>(), message };
        let mut came = came.unwrap_or_default();
        let encoding = take_in(body, &mut came).map_err(|error| failed(error.to_string()))?;
        codec::decode_message(&encoding, Some(came))
    }
}

/// Reads what lies in memory: the encoding, and the byte strings, which go to what came along.
fn take_in(lengths: &[u8], came: &mut Incoming) -> io::Result<Vec<u8>> {
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "the job's memory isn't what it should be");
    if came.fds.is_empty() {
        return Err(nonsense());
    }
    // The places of the others are as if it weren't there.
    let memory = came.fds.remove(0).ok_or_else(nonsense)?;
    let sealed = Sealed::new(memory.get().map_err(io::Error::other)?)?;
    let lengths: Vec<usize> = (0..lengths.len() / 4).map(|place| word(lengths, place) as usize).collect();
    let total = lengths.iter().try_fold(0usize, |sum, length| sum.checked_add(*length));
    if total.is_none_or(|total| total > came.max_frame || total as u64 != sealed.len()) {
        return Err(nonsense());
    }
    let mut at = 0;
    let mut parts = lengths.into_iter().map(|length| {
        let part = sealed.read(at, length);
        at += length as u64;
        part
    });
    let encoding = parts.next().ok_or_else(nonsense)??;
    came.buffers = parts.map(|part| part.map(|bytes| Some(Bytes::from(bytes)))).collect::<io::Result<_>>()?;
    Ok(encoding)
}
