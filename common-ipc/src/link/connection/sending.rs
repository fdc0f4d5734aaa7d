//! Sending: from a value to the chunks of a frame.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::poll::{PollFd, PollFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::attachments::Outgoing;
use crate::link::codec::{self, EncodeError};
use crate::link::connection::Connection;
use crate::link::connection::end::End;
use crate::link::connection::moving::Moving;
use crate::link::connection::room::{LOOK_AGAIN, Patience};
use crate::link::connection::scratch;
use crate::link::control;
use crate::link::error::LinkError;
use crate::link::frame::{FrameTooLarge, Table};
use crate::link::poll::{Deadline, wait_until};
use crate::link::ring::{ABORT, END, Producer, START, TABLE};
use crate::link::spin::Spinner;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::How;
use crate::sys::mapping::View;

/// What only the one who sends has.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(super) producer: Producer,
    pub(super) spinner: Spinner,
    broken: Option<&'static str>,
    /// A frame was given up half-way, and the other end doesn't know yet.
    abort_due: bool,
    /// The number of the last frame with descriptors.
    number: u32,
    /// When the other end was last seen alive.
    pub(super) looked: i64,
}

impl Sending {
    pub(super) fn new(producer: Producer) -> Sending {
        Sending {
            producer,
            spinner: Spinner::default(),
            broken: None,
            abort_due: false,
            number: 0,
            looked: i64::MIN,
        }
    }

    /// Whether a frame is cut that the other end waits for the rest of.
    pub(super) fn is_midway(&self) -> bool {
        self.abort_due
    }
}

impl End {
    /// Whether what was sent up to a place may have been received, or taken in. To be asked when the other end is
    /// gone for good: else it may do so at any time.
    pub(crate) fn was_taken(&self, place: u64) -> bool {
        let since = self.sent.load(Ordering::Relaxed).wrapping_sub(place);
        let Ok(view) = self.view() else { return true };
        since > u64::from(self.wires.capacity) || self.wires.sending_lane().was_read_to(view, place as u32)
    }

    /// Has the other end take nothing more than it has by now, should it still be able to: one that can't be reached
    /// any more isn't always gone.
    pub(crate) fn give_up_the_rest(&self) {
        if let Ok(view) = self.view() {
            self.wires.sending_lane().give_up_the_rest(view);
        }
    }

    /// Sends a message. It is encoded whole before anything else happens.
    pub(super) fn send<T>(&self, message: &T, patience: Patience<'_>) -> Result<(), LinkError>
    where
        T: Serialize + DeserializeOwned,
    {
        scratch::with(|bytes| {
            let mut outgoing = codec::encode_message(message, bytes)?;
            self.send_bytes(bytes, &mut outgoing, patience).map(drop)
        })
    }

    /// Sends an encoded message with what it takes along, which is the caller's until it was sent. Returns the
    /// place of its end among all that was sent (see [`was_taken`](End::was_taken)).
    #[inline]
    pub(crate) fn send_bytes(
        &self,
        head: &[u8],
        outgoing: &mut Option<Box<Outgoing>>,
        patience: Patience<'_>,
    ) -> Result<u64, LinkError> {
        let place = self.send_encoded(head, outgoing.as_deref(), patience)?;
        if let Some(outgoing) = outgoing.take() {
            outgoing.sent();
        }
        Ok(place)
    }

    /// As [`send_bytes`](End::send_bytes), of a message that the caller may send once more, elsewhere: what is shared stays
    /// with it. What moves is gone from here once `outgoing` is [`sent`](Outgoing::sent).
    #[inline]
    pub(crate) fn send_encoded(
        &self,
        head: &[u8],
        outgoing: Option<&Outgoing>,
        patience: Patience<'_>,
    ) -> Result<u64, LinkError> {
        let mut moved = outgoing.into_iter().flat_map(Outgoing::moved);
        if moved.any(|(fd, _)| Arc::ptr_eq(fd, &self.wires.control)) {
            let message = "an end can't be sent through itself".to_owned();
            let type_name = std::any::type_name::<Connection<(), ()>>();
            return Err(EncodeError { type_name, message }.into());
        }
        let buffers = outgoing.map_or(&[][..], |outgoing| &outgoing.buffers);
        let length = buffers.iter().fold(head.len(), |sum, buffer| sum + buffer.len());
        if length > self.wires.max_frame {
            return Err(FrameTooLarge { length, max: self.wires.max_frame }.into());
        }
        let view = self.view()?;
        let mut sending = match patience {
            // Whoever sends now may be waiting for room.
            Patience::None => self.sending.try_lock().ok_or(LinkError::Full)?,
            Patience::Unless(_) => loop {
                let locked = self.sending.try_lock_for(LOOK_AGAIN);
                if patience.is_over() {
                    return Err(LinkError::TimedOut);
                }
                if let Some(locked) = locked {
                    break locked;
                }
            },
            Patience::Until(deadline) => deadline.lock(&self.sending).ok_or(LinkError::TimedOut)?,
        };
        let sending = &mut *sending;
        // It may have been given away while this waited for the lock.
        self.wires.control.get()?;
        if let Some(why) = sending.broken {
            return Err(LinkError::Broken(why.to_owned()));
        }
        let sent = self.send_frame(view, sending, head, outgoing, patience);
        if let Err(LinkError::Garbled(why)) = sent {
            sending.broken = Some(why);
        }
        sent.map(|()| self.sent.load(Ordering::Relaxed))
    }

    #[inline]
    fn send_frame(
        &self,
        view: View<'_>,
        sending: &mut Sending,
        head: &[u8],
        outgoing: Option<&Outgoing>,
        patience: Patience<'_>,
    ) -> Result<(), LinkError> {
        self.look_for_the_reader(view, sending)?;
        if sending.abort_due {
            self.make_room(view, sending, 0, patience)?;
            self.commit(view, &mut sending.producer, ABORT)?;
            sending.abort_due = false;
        }
        let one_chunk = (self.wires.capacity / 4) as usize;
        if outgoing.is_none() && head.len() <= one_chunk {
            if sending.producer.known_room() < Some(head.len() as u32) {
                self.make_room(view, sending, head.len(), patience)?;
            }
            sending.producer.put(view, head);
            return self.commit(view, &mut sending.producer, START | END);
        }
        self.send_in_parts(view, sending, head, outgoing, patience)
    }

    fn send_in_parts(
        &self,
        view: View<'_>,
        sending: &mut Sending,
        head: &[u8],
        outgoing: Option<&Outgoing>,
        patience: Patience<'_>,
    ) -> Result<(), LinkError> {
        let (fds, buffers) = outgoing.map_or((&[][..], &[][..]), |all| (&all.fds, &all.buffers));
        let table = Table {
            number: sending.number.wrapping_add(1),
            descriptors: fds.len(),
            head: head.len(),
            buffers: buffers.iter().map(|buffer| buffer.len()).collect(),
        };
        let mut first = Vec::new();
        table.write(&mut first);
        let total = first.len() + table.frame_length();
        let capacity = self.wires.capacity as usize;
        if matches!(patience, Patience::None) {
            // All at once, or not at all.
            let most = capacity - 8;
            if total > most {
                return Err(FrameTooLarge { length: total, max: most }.into());
            }
        }

        let mut rest = [first.as_slice(), head].into_iter().chain(buffers.iter().map(|bytes| &**bytes));
        let mut part = rest.next().unwrap_or_default();
        let mut moving = None;
        let (mut left, mut flags) = (total, START | TABLE);
        while left > 0 {
            // In quarters of the ring: the other side reads one while this one writes the next. Who doesn't
            // wait sends all at once.
            let wanted = if matches!(patience, Patience::None) { left } else { left.min(capacity / 4) };
            if let Err(error) = self.make_room(view, sending, wanted, patience) {
                if left < total {
                    sending.abort_due = true;
                    if self.make_room(view, sending, 0, Patience::None).is_ok() {
                        self.commit(view, &mut sending.producer, ABORT)?;
                        sending.abort_due = false;
                    }
                }
                return Err(error);
            }
            if left == total && !fds.is_empty() {
                // Where there is room for the frame, or its beginning, it follows them at once.
                moving = outgoing.map(|outgoing| Moving::begin(outgoing, patience)).transpose()?;
                self.send_descriptors(table.number, fds, patience)?;
                sending.number = table.number;
            }
            let mut put = 0;
            while put < wanted {
                if part.is_empty() {
                    part = rest.next().unwrap_or_default();
                    continue;
                }
                let (now, later) = part.split_at(part.len().min(wanted - put));
                sending.producer.put(view, now);
                put += now.len();
                part = later;
            }
            left -= wanted;
            if left == 0 {
                flags |= END;
            }
            self.commit(view, &mut sending.producer, flags)?;
            flags = 0;
        }
        if let Some(moving) = moving {
            moving.have_arrived();
        }
        Ok(())
    }

    /// Publishes a chunk and wakes whoever sleeps for it.
    #[inline]
    fn commit(&self, view: View<'_>, producer: &mut Producer, flags: u32) -> Result<(), LinkError> {
        let before = producer.position();
        producer.commit(view, flags);
        // Whoever sends is alone with that.
        let length = producer.position().wrapping_sub(before);
        self.sent.store(self.sent.load(Ordering::Relaxed) + u64::from(length), Ordering::Relaxed);
        if producer.must_ring(view) {
            control::ring(self.wires.control.get()?);
        }
        Ok(())
    }

    fn send_descriptors(
        &self,
        number: u32,
        fds: &[(Arc<PrivateFd>, How)],
        patience: Patience<'_>,
    ) -> Result<(), LinkError> {
        let control = self.wires.control.get()?;
        // What moves was claimed, so it is had as what it is at home.
        let fds: Vec<BorrowedFd<'_>> = fds.iter().filter_map(|(fd, _)| fd.at_home()).collect();
        loop {
            let Err(error) = control::send_descriptors(control, number, &fds) else { return Ok(()) };
            match (error.raw_os_error(), patience) {
                (Some(libc::EPIPE | libc::ECONNRESET), _) => return Err(LinkError::Closed),
                (Some(libc::EAGAIN), Patience::None) => return Err(LinkError::Full),
                (Some(libc::EAGAIN), _) => {
                    let deadline = match patience {
                        Patience::Until(deadline) => deadline,
                        _ => Deadline::NEVER,
                    };
                    let mut fds = [PollFd::new(control, PollFlags::POLLOUT)];
                    if !wait_until(&mut fds, deadline.or_after(LOOK_AGAIN))? {
                        if deadline.has_passed() || patience.is_over() {
                            return Err(LinkError::TimedOut);
                        }
                        if self.is_peer_gone()? {
                            return Err(LinkError::Closed);
                        }
                    }
                }
                _ => return Err(error.into()),
            }
        }
    }
}
