//! Whether there is room for what is to be sent, and somebody to read it; and waiting for it.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::link::connection::end::End;
use crate::link::connection::sending::Sending;
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::sys::futex;
use crate::sys::mapping::View;

/// Who waits for room looks so often whether there is some, and whether the other end is still there.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Who sends without waiting does so once in this time, in nanoseconds.
const LOOK_WHILE_SENDING: i64 = 10_000_000;

/// How long to wait for room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience<'a> {
    /// Not at all: [`LinkError::Full`].
    None,
    /// [`LinkError::TimedOut`] afterwards.
    Until(Deadline),
    /// [`LinkError::TimedOut`] once this is set.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only futures are given up"))]
    Unless(&'a AtomicBool),
}

impl Patience<'_> {
    /// Whether whoever waits has given up.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Patience::Unless(given_up) => given_up.load(Ordering::Relaxed),
            _ => false,
        }
    }
}

impl End {
    /// An error if the other end is gone. It says so itself when it is dropped; for its death the kernel is
    /// asked, but only so often, since that takes longer than sending.
    #[inline]
    pub(super) fn look_for_the_reader(&self, view: View<'_>, sending: &mut Sending) -> Result<(), LinkError> {
        if sending.producer.reader_left(view) || self.over.load(Ordering::Relaxed) {
            return Err(LinkError::Closed);
        }
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?;
        let now = now.tv_sec() * 1_000_000_000 + now.tv_nsec();
        if now.wrapping_sub(sending.looked) < LOOK_WHILE_SENDING && sending.looked != i64::MIN {
            return Ok(());
        }
        sending.looked = now;
        if self.is_peer_gone()? { Err(LinkError::Closed) } else { Ok(()) }
    }

    /// What comes for this end, and for the one that goes with it.
    fn take_in_all(&self, view: View<'_>) {
        self.take_in(view);
        let Some(companion) = self.companion.get().and_then(Weak::upgrade) else { return };
        // What is wrong with it is told to whoever receives there.
        if let Ok(view) = companion.view() {
            companion.take_in(view);
        }
    }

    /// Waits until a chunk of so many bytes has room.
    pub(super) fn make_room(
        &self,
        view: View<'_>,
        sending: &mut Sending,
        bytes: usize,
        patience: Patience<'_>,
    ) -> Result<(), LinkError> {
        // At most what a ring has.
        let needed = Some(bytes as u32);
        let Sending { producer, spinner, .. } = sending;
        if producer.room(view)? >= needed {
            return Ok(());
        }
        let deadline = match patience {
            Patience::None => return Err(LinkError::Full),
            Patience::Until(deadline) => deadline,
            Patience::Unless(_) => Deadline::NEVER,
        };
        // What the other side sends meanwhile is taken in: it may itself be waiting for room, and read
        // nothing before it has that.
        self.take_in_all(view);
        let mut garbled = None;
        let spun = spinner.spin(|| match producer.room(view) {
            Ok(room) => room >= needed,
            Err(error) => {
                garbled = Some(error);
                true
            }
        });
        if let Some(error) = garbled {
            return Err(error.into());
        }
        if spun {
            return Ok(());
        }
        let word = view.word(producer.room_word());
        loop {
            self.take_in_all(view);
            producer.wait_for_room(view, bytes as u32);
            if producer.room(view)? >= needed {
                return Ok(());
            }
            if producer.reader_left(view) {
                return Err(LinkError::Closed);
            }
            if deadline.has_passed() || patience.is_over() {
                return Err(LinkError::TimedOut);
            }
            let waits = word.load(Ordering::Relaxed);
            if waits == 0 {
                // The reader took it back just now.
                continue;
            }
            let slice = deadline.left().map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN));
            futex::wait(word, waits, Some(slice))?;
            if word.load(Ordering::Relaxed) == waits && self.is_peer_gone()? {
                return Err(LinkError::Closed);
            }
        }
    }
}
