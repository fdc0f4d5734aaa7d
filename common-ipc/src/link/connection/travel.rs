//! An end as a part of a message: it moves to the process that receives it.
//!
//! What has been sent and not received stays in the ring, and is received there. Only what this process has
//! taken out of the ring can't be sent after it; so an end is sent when nothing of that is left.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use crate::link::attachments;
use crate::link::connection::Connection;
use crate::link::connection::end::{End, Wires};
use crate::link::ring::{CAPACITY, Consumer, Garbled, Producer};
use crate::ownership::give::How;

/// An end without its descriptors, of which the message has the places.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ticket {
    control: u32,
    memory: u32,
    /// Of the process at the other end.
    owner: Option<u32>,
    side: u8,
    capacity: u32,
    max_frame: u64,
    written: u32,
    consumed: u32,
    read: u32,
}

/// Moves the end: after the message was sent it is of no more use here, as if it had been given to a child.
///
/// It is an error with any other serialiser than that of a connection or a queue, while another thread uses
/// the end, and while it holds messages that were taken in and not received.
impl<Out, In> Serialize for Connection<Out, In> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wires = &self.end.wires;
        let in_use = || S::Error::custom("the end is in use by another thread, or by this very message");
        let sending = self.end.sending.try_lock().ok_or_else(in_use)?;
        let receiving = self.end.receiving.try_lock().ok_or_else(in_use)?;
        let peer = self.end.peer.lock();
        let consumer = receiving.bare_consumer().filter(|_| !peer.has_waiting()).ok_or_else(|| {
            S::Error::custom("the end has taken in messages that weren't received: receive them first")
        })?;
        if sending.is_midway() {
            return Err(S::Error::custom("the end has given up a message half-way: send another one first"));
        }
        let attach = |fd, how| attachments::attach(fd, how).map_err(S::Error::custom);
        Ticket {
            control: attach(&wires.control, How::MovedWithNotice)?,
            memory: attach(&wires.memory, How::Shared)?,
            owner: peer.owner.as_ref().and_then(|owner| attach(owner, How::Shared).ok()),
            side: wires.side as u8,
            capacity: wires.capacity,
            max_frame: wires.max_frame as u64,
            written: sending.producer.position(),
            consumed: sending.producer.consumed(),
            read: consumer.position(),
        }
        .serialize(serializer)
    }
}

/// Takes the end over: it belongs to this process.
impl<'de, Out, In> Deserialize<'de> for Connection<Out, In> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ticket = Ticket::deserialize(deserializer)?;
        let take = |place| attachments::take(place).map(Arc::new).map_err(D::Error::custom);
        let capacity_can_be = ticket.capacity.is_power_of_two() && CAPACITY.contains(&ticket.capacity);
        if !capacity_can_be || ticket.side > 1 || ticket.max_frame > u32::MAX.into() {
            return Err(D::Error::custom("no connection is like this"));
        }
        let wires = Wires {
            control: take(ticket.control)?,
            memory: take(ticket.memory)?,
            side: ticket.side.into(),
            capacity: ticket.capacity,
            // What came over a link that takes less doesn't bring more.
            max_frame: attachments::max_frame().min(ticket.max_frame as usize),
        };
        if !wires.are_what_they_should() {
            return Err(D::Error::custom("the connection's descriptors are others than it has"));
        }
        let garbled = |garbled: Garbled| D::Error::custom(garbled.0);
        let producer = Producer::resume(wires.sending_lane(), ticket.written, ticket.consumed);
        let consumer = Consumer::resume(wires.receiving_lane(), ticket.read);
        let owner = ticket.owner.map(take).transpose()?;
        let end = End::resume(wires, producer.map_err(garbled)?, consumer.map_err(garbled)?);
        end.other_end_is_of(owner);
        // Otherwise it is announced when it is first used.
        if !attachments::is_provisional() {
            end.announce();
        }
        Ok(Connection { end: Arc::new(end), types: PhantomData })
    }
}
