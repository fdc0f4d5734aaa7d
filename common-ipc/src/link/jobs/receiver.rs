//! The side that does jobs, one after another.

use std::sync::atomic::Ordering;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::LinkError;
use crate::link::codec::{self, DecodeError};
use crate::link::connection::room::Patience;
use crate::link::connection::waiting::Wait;
use crate::link::connection::{Came, Connection, scratch};
use crate::link::jobs::parcel::Header;
use crate::link::jobs::{CLAIMS, PART, claims};
use crate::link::poll::Deadline;
use crate::link::ring::Garbled;

/// Receives jobs, and replies. It moves to another process as part of a message.
#[derive(Debug)]
pub(crate) struct JobReceiver {
    connection: Connection<(), ()>,
}

impl JobReceiver {
    pub(super) fn new(connection: Connection<(), ()>) -> JobReceiver {
        connection.end().goes_on_without_descriptors();
        JobReceiver { connection }
    }

    /// Waits for the next job that isn't taken back, and claims it.
    ///
    /// # Errors
    ///
    /// `Closed` once the sender is gone, and others as for a connection.
    pub(crate) fn recv<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Result<Job<'a>, LinkError> {
        let end = self.connection.end();
        let (header, came) = loop {
            buffer.clear();
            let Some(came) = end.recv_bytes(buffer, Wait::until(Deadline::NEVER))? else { continue };
            let header =
                Header::parse(buffer).ok_or_else(|| end.fail(Garbled("a job without a header").into()))?;
            if self.claim(header)? {
                break (header, came);
            }
        };
        Ok(Job { header, bytes: buffer, came, answer: Answer { receiver: self, number: header.number } })
    }

    /// Whether it is this side's now.
    fn claim(&self, Header { round, place, .. }: Header) -> Result<bool, LinkError> {
        let word = self.connection.end().spare_word(CLAIMS)?;
        let (before, after) = (claims(round, place.wrapping_sub(1)), claims(round, place));
        match word.compare_exchange(before, after, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(true),
            Err(now) if (now >> 32) as u32 != round => Ok(false),
            Err(_) => Err(self.connection.end().fail(Garbled("a job out of turn").into())),
        }
    }

    #[cfg(test)]
    pub(super) fn word(&self) -> &std::sync::atomic::AtomicU64 {
        self.connection.end().spare_word(CLAIMS).unwrap()
    }

    /// Tells the sender something that belongs to no job.
    pub(crate) fn tell<T>(&self, kind: u32, value: &T) -> Result<(), LinkError>
    where
        T: Serialize + DeserializeOwned,
    {
        self.reply::<T, T>(0, kind, value)
    }

    fn reply<R, T>(&self, number: u64, kind: u32, value: &T) -> Result<(), LinkError>
    where
        R: DeserializeOwned,
        T: Serialize + ?Sized,
    {
        scratch::with(|bytes| {
            bytes.extend(number.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            let mut outgoing = codec::encode_message_as::<R, T>(value, bytes)?;
            self.connection.end().send_bytes(bytes, &mut outgoing, Patience::Until(Deadline::NEVER)).map(drop)
        })
    }
}

impl Serialize for JobReceiver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.connection.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JobReceiver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Connection::deserialize(deserializer).map(JobReceiver::new)
    }
}

/// A job that is this side's to do.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    header: Header,
    bytes: &'a [u8],
    came: Came,
    answer: Answer<'a>,
}

impl<'a> Job<'a> {
    /// What is to be done.
    pub(crate) fn what(&self) -> [usize; 2] {
        self.header.what
    }

    /// What answers it, whether its argument was read or not.
    pub(crate) fn answer(&self) -> Answer<'a> {
        self.answer
    }

    /// Reads the argument. Whether it can be read or not, the job is to be answered.
    pub(crate) fn decode<A: DeserializeOwned>(self) -> (Result<A, DecodeError>, Answer<'a>) {
        (self.header.decode(self.bytes, self.came), self.answer)
    }
}

/// What answers a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    receiver: &'a JobReceiver,
    number: u64,
}

impl Answer<'_> {
    /// Notes how far this side is in a job of parts: for the sender, should this process die.
    #[inline]
    pub(crate) fn is_at(&self, part: u32) {
        if let Ok(word) = self.receiver.connection.end().spare_word(PART) {
            // Half of the number is enough to tell this job from those before it.
            word.store(self.number << 32 | u64::from(part), Ordering::Release);
        }
    }

    /// Replies with what is read as an `R`, waiting for room as long as it takes. Once.
    pub(crate) fn reply<R, T>(&self, kind: u32, value: &T) -> Result<(), LinkError>
    where
        R: DeserializeOwned,
        T: Serialize + ?Sized,
    {
        self.receiver.reply::<R, T>(self.number, kind, value)
    }
}
