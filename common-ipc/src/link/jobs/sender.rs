//! The side that deals out jobs. It never waits.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::de::DeserializeOwned;

use crate::link::LinkError;
use crate::link::calls::{number, word};
use crate::link::codec::{self, DecodeError};
use crate::link::connection::room::Patience;
use crate::link::connection::{Came, Connection};
use crate::link::control;
use crate::link::jobs::{CLAIMS, PART, Parcel, REPLY_HEADER, claims};
use crate::link::ring::Garbled;
use crate::ownership::descriptors::PrivateFd;

/// Sends jobs to one receiver, and gets its replies.
#[derive(Debug)]
pub(crate) struct JobSender {
    connection: Connection<(), ()>,
    round: u32,
    /// How many were sent in this round.
    sent: u32,
    /// Those without a reply, the oldest first.
    under_way: VecDeque<UnderWay>,
}

/// So many jobs are sent in a round at the most, without a recall.
const ROUND_MAX: u32 = u32::MAX - 1;

#[derive(Debug)]
struct UnderWay {
    number: u64,
    round: u32,
    place: u32,
}

/// A reply, or what a receiver says of itself, with number zero.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) number: u64,
    pub(crate) kind: u32,
    bytes: Vec<u8>,
    came: Came,
}

impl Arrived {
    pub(crate) fn decode<R: DeserializeOwned>(self) -> Result<R, DecodeError> {
        codec::decode_message(&self.bytes[REPLY_HEADER..], self.came)
    }
}

impl JobSender {
    pub(super) fn new(connection: Connection<(), ()>) -> JobSender {
        connection.end().goes_on_without_descriptors();
        JobSender { connection, round: 1, sent: 0, under_way: VecDeque::new() }
    }

    /// Sends a job, if there is room for it.
    ///
    /// # Errors
    ///
    /// `Full`, with which the parcel is as it was; `Closed`; `Io` where descriptors can't be sent.
    pub(crate) fn try_send(&mut self, number: u64, parcel: &mut Parcel) -> Result<(), LinkError> {
        if self.sent >= ROUND_MAX {
            // The word counts no further than that: this round comes to its end, and the next one begins.
            if !self.under_way.is_empty() {
                return Err(LinkError::Full);
            }
            (self.round, self.sent) = (self.round.wrapping_add(1), 0);
        }
        if self.sent == 0 {
            // Before the first one of a round can be claimed.
            self.connection.end().spare_word(CLAIMS)?.store(claims(self.round, 0), Ordering::Release);
        }
        let place = self.sent + 1;
        parcel.address(number, self.round, place);
        let (bytes, outgoing) = parcel.parts();
        self.connection.end().send_encoded(bytes, outgoing, Patience::None)?;
        parcel.was_sent();
        self.sent = place;
        self.under_way.push_back(UnderWay { number, round: self.round, place });
        Ok(())
    }

    /// The next reply, if one is there. Replies come in the order of the jobs.
    ///
    /// # Errors
    ///
    /// What the receiver wrote makes no sense.
    pub(crate) fn try_recv(&mut self) -> Result<Option<Arrived>, LinkError> {
        let end = self.connection.end();
        let mut bytes = Vec::new();
        let Some(came) = end.recv_what_is_there(&mut bytes)? else { return Ok(None) };
        if bytes.len() < REPLY_HEADER {
            return Err(end.fail(Garbled("a reply without a header").into()));
        }
        let (number, kind) = (number(&bytes), word(&bytes, 2));
        if number != 0 {
            if self.under_way.front().is_none_or(|oldest| oldest.number != number) {
                return Err(end.fail(Garbled("a reply to another job than the oldest").into()));
            }
            self.under_way.pop_front();
        }
        Ok(Some(Arrived { number, kind, bytes, came }))
    }

    /// Takes back what wasn't begun, and returns the numbers of that, in order. What is left was begun.
    pub(crate) fn recall(&mut self) -> Vec<u64> {
        let next = self.round.wrapping_add(1);
        let begun = match self.connection.end().spare_word(CLAIMS) {
            Ok(word) => self.begun(word.swap(claims(next, 0), Ordering::AcqRel)),
            Err(_) => u32::MAX,
        };
        let (round, mut recalled) = (self.round, Vec::new());
        self.under_way.retain(|job| {
            let is_begun = job.round != round || job.place <= begun;
            if !is_begun {
                recalled.push(job.number);
            }
            is_begun
        });
        (self.round, self.sent) = (next, 0);
        recalled
    }

    /// How many of those without a reply weren't begun.
    pub(crate) fn waiting(&self) -> usize {
        let word = self.connection.end().spare_word(CLAIMS);
        let begun = word.map_or(u32::MAX, |word| self.begun(word.load(Ordering::Acquire)));
        self.sent.saturating_sub(begun) as usize
    }

    /// A word of another round is none that an honest receiver leaves: then all count as begun.
    fn begun(&self, word: u64) -> u32 {
        if self.sent == 0 || (word >> 32) as u32 == self.round { word as u32 } else { u32::MAX }
    }

    #[cfg(test)]
    pub(super) fn has_sent(&mut self, so_many: u32) {
        self.sent = so_many;
    }

    /// Those without a reply.
    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// How far the receiver says it is in a job of parts; zero if it says nothing of that.
    pub(crate) fn part(&self, number: u64) -> u32 {
        let word = self.connection.end().spare_word(PART).map_or(0, |word| word.load(Ordering::Acquire));
        if (word >> 32) as u32 == number as u32 { word as u32 } else { 0 }
    }

    /// Whether there is a reply.
    #[inline]
    pub(crate) fn has_something(&self) -> bool {
        self.connection.end().has_something()
    }

    /// Has the receiver ring for its next reply, or not. Look again afterwards, before sleeping.
    #[inline]
    pub(crate) fn is_to_ring(&self, is_to: bool) {
        self.connection.end().is_to_ring(is_to);
    }

    /// Whether the word is one that an honest receiver may leave.
    pub(crate) fn is_word_sane(&self) -> bool {
        let word = self.connection.end().spare_word(CLAIMS);
        let is_sane = |word: u64| (word >> 32) as u32 == self.round && word as u32 <= self.sent;
        self.sent == 0 || word.is_ok_and(|word| is_sane(word.load(Ordering::Acquire)))
    }

    /// Wakes the receiver, should it sleep though there is something for it: one that has spoilt its own words may.
    pub(crate) fn ring(&self) {
        if let Ok(bell) = self.connection.end().bell() {
            control::ring(bell);
        }
    }

    /// What is readable once the receiver has rung or is gone.
    pub(crate) fn bell(&self) -> Result<BorrowedFd<'_>, LinkError> {
        self.connection.end().bell()
    }

    /// Silences the bell, and says whether the receiver is gone for good.
    pub(crate) fn hear(&self) -> Result<bool, LinkError> {
        self.connection.end().hear()
    }

    /// The receiver is of this process for good.
    pub(crate) fn receiver_stays_with(&self, owner: Arc<PrivateFd>) -> Result<(), LinkError> {
        self.connection.end().other_end_stays_with(owner)
    }
}
