//! Receiving: from the chunks of a frame to a value.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::attachments::Incoming;
use crate::link::codec;
use crate::link::connection::end::End;
use crate::link::connection::raw::Came;
use crate::link::connection::scratch;
use crate::link::connection::waiting::Wait;
use crate::link::control::Descriptors;
use crate::link::error::LinkError;
use crate::link::frame::{Assembly, Beside, Frame};
use crate::link::poll::Deadline;
use crate::link::ring::{ABORT, Chunk, Consumer, END, Garbled, START, TABLE};
use crate::link::spin::Spinner;
use crate::sys::futex;
use crate::sys::mapping::View;

/// What only the one who receives has.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(super) consumer: Consumer,
    /// A frame that hasn't arrived whole.
    pub(super) partial: Option<Assembly>,
    /// Frames that were taken in by somebody who waited for room to send.
    pub(super) inbox: VecDeque<Frame>,
    /// How many bytes they take.
    held: usize,
    pub(super) spinner: Spinner,
    /// The other side has said something that wasn't taken in.
    pub(super) news: bool,
}

impl Receiving {
    pub(super) fn new(consumer: Consumer) -> Receiving {
        Receiving {
            consumer,
            partial: None,
            inbox: VecDeque::new(),
            held: 0,
            spinner: Spinner::default(),
            news: false,
        }
    }

    /// Tells the other side that nobody will receive any more.
    pub(super) fn leave(&self, view: View<'_>) {
        self.consumer.leave(view);
        futex::wake_all(view.word(self.consumer.room_word()));
    }

    /// The first time that somebody polls: whether there is nothing to be received.
    pub(super) fn begin_to_be_polled(&mut self, end: &End, view: View<'_>) -> bool {
        // What was said so far wasn't asked for.
        self.news = true;
        self.is_empty(end, view)
    }

    /// Whether there is nothing to be received.
    pub(super) fn is_empty(&self, end: &End, view: View<'_>) -> bool {
        self.inbox.is_empty() && end.broken.get().is_none() && self.consumer.is_empty(view)
    }

    /// The ring's reader, if nothing that it has read is left here.
    pub(super) fn bare_consumer(&self) -> Option<&Consumer> {
        (self.partial.is_none() && self.inbox.is_empty()).then_some(&self.consumer)
    }

    /// The next frame, its message's bytes appended to `head`, as far as it is there.
    #[inline]
    pub(super) fn next(&mut self, end: &End, view: View<'_>, head: &mut Vec<u8>) -> Result<Next, LinkError> {
        if let Some(why) = end.broken.get() {
            self.partial = None;
            return Err(LinkError::Broken(why.clone()));
        }
        if let Some(frame) = self.inbox.pop_front() {
            self.held -= frame.size();
            *head = frame.head;
            return Ok(Next::Frame(frame.beside));
        }
        self.next_from_ring(end, view, head)
    }

    #[inline]
    fn next_from_ring(&mut self, end: &End, view: View<'_>, head: &mut Vec<u8>) -> Result<Next, LinkError> {
        // However fast the other side writes what is no whole frame, the caller looks at the time.
        let mut budget = 2 * end.wires.capacity as usize;
        while let Some(mut chunk) = self.consumer.peek(view)? {
            let length = chunk.left();
            let frame = match (chunk.flags, &mut self.partial) {
                (flags, None) if flags == START | END => {
                    if length > end.wires.max_frame {
                        return Err(Garbled("a frame longer than allowed").into());
                    }
                    self.consumer.take(view, &mut chunk, length, head);
                    Some(None)
                }
                (_, partial) => {
                    let frame = assemble(end, view, &self.consumer, &mut chunk, partial)?;
                    frame.map(|frame| {
                        *head = frame.head;
                        frame.beside
                    })
                }
            };
            if self.consumer.finish(chunk) {
                self.publish(view);
            }
            if let Some(beside) = frame {
                return Ok(Next::Frame(beside));
            }
            budget = budget.saturating_sub(length + 8);
            if budget == 0 {
                self.publish(view);
                return Ok(Next::Bits);
            }
        }
        self.publish(view);
        Ok(Next::Nothing)
    }

    /// Lets the other side have the room of what was received, and wakes it if it waits for that.
    pub(super) fn publish(&mut self, view: View<'_>) {
        if self.consumer.publish(view) {
            futex::wake_all(view.word(self.consumer.room_word()));
        }
    }
}

/// What was found.
pub(super) enum Next {
    Frame(Option<Box<Beside>>),
    /// Two rings full of chunks, and no end of a frame.
    Bits,
    Nothing,
}

/// A chunk of a frame that isn't one chunk.
fn assemble(
    end: &End,
    view: View<'_>,
    consumer: &Consumer,
    chunk: &mut Chunk,
    partial: &mut Option<Assembly>,
) -> Result<Option<Frame>, LinkError> {
    let max = end.wires.max_frame;
    if chunk.flags & ABORT != 0 {
        let given_up = partial.take().ok_or(Garbled("the end of a frame that hasn't begun"))?;
        if let Some((number, count)) = given_up.descriptors() {
            drop(end.peer.lock().descriptors(end.wires.control.get()?, number, count)?);
        }
        return Ok(None);
    }
    let assembly = match (partial.as_mut(), chunk.flags & START != 0) {
        (None, true) if chunk.flags & TABLE != 0 => {
            partial.insert(Assembly::begin(view, consumer, chunk, max)?)
        }
        (Some(assembly), false) => assembly,
        (Some(_), true) => return Err(Garbled("a frame within a frame").into()),
        (None, _) => return Err(Garbled("a frame without a beginning").into()),
    };
    let frame = assembly.add(view, consumer, chunk)?;
    if frame.is_some() {
        *partial = None;
    }
    Ok(frame)
}

impl End {
    /// Receives a message. `None`: there was none before the deadline.
    pub(super) fn recv<T>(&self, deadline: Deadline) -> Result<Option<T>, LinkError>
    where
        T: Serialize + DeserializeOwned,
    {
        scratch::with(|head| {
            let Some(incoming) = self.recv_bytes(head, Wait::until(deadline))? else { return Ok(None) };
            codec::decode_message(head, incoming).map(Some).map_err(|error| self.fail(error.into()))
        })
    }

    /// What came along with a message.
    #[inline]
    pub(super) fn complete(
        &self,
        view: View<'_>,
        receiving: &mut Receiving,
        head: &mut Vec<u8>,
        beside: Option<Box<Beside>>,
    ) -> Result<Came, LinkError> {
        let came = beside.map(|beside| self.gather(receiving, head, *beside)).transpose()?;
        if self.polled().is_some() {
            // An error that comes after the message is told after it.
            let _ = self.silence_if_empty(view, receiving);
        }
        Ok(came)
    }

    /// The next message's bytes, in `head`, and what came with it.
    #[inline]
    pub(super) fn recv_locked(
        &self,
        view: View<'_>,
        receiving: &mut Receiving,
        head: &mut Vec<u8>,
        wait: Wait<'_>,
    ) -> Result<Option<Came>, LinkError> {
        // It may have been given away while this waited for the lock.
        self.wires.control.get()?;
        let mut bits_of_the_dead = 0;
        loop {
            match receiving.next(self, view, head)? {
                Next::Frame(beside) => {
                    return self.complete(view, receiving, head, beside).map(Some);
                }
                Next::Bits => {
                    if wait.deadline.has_passed() {
                        // Something is left, and whoever saw a change before is to see one more.
                        self.polled().inspect(|polled| polled.remind_again());
                        return Ok(None);
                    }
                    // Who is dead writes no more than what is there: one ring.
                    bits_of_the_dead += u32::from(self.listen()?);
                    if bits_of_the_dead > 1 {
                        return Err(Garbled("a ring without an end").into());
                    }
                    continue;
                }
                Next::Nothing => {}
            }
            if !self.wait_for_more(view, receiving, wait)? {
                return Ok(None);
            }
        }
    }

    /// Adds its descriptors to what came with a message.
    #[cold]
    pub(super) fn gather(
        &self,
        receiving: &mut Receiving,
        head: &mut Vec<u8>,
        beside: Beside,
    ) -> Result<Incoming, LinkError> {
        let mut fds = Vec::new();
        let mut lost = false;
        if beside.descriptors > 0 {
            let control = self.wires.control.get()?;
            match self.peer.lock().descriptors(control, beside.number, beside.descriptors) {
                Ok(Some(Descriptors::Here(came))) => fds = came,
                Ok(Some(Descriptors::Lost)) => lost = true,
                Ok(None) => return Err(Garbled("a frame's descriptors didn't come").into()),
                Err(LinkError::Io(error)) => {
                    // No room for them: the message can be received when there is.
                    let head = std::mem::take(head);
                    let frame = Frame { head, beside: Some(Box::new(beside)) };
                    receiving.held += frame.size();
                    receiving.inbox.push_front(frame);
                    self.remind_of(receiving);
                    return Err(LinkError::Io(error));
                }
                Err(error) => return Err(error),
            }
        }
        let buffers = beside.buffers.into_iter().map(Some).collect();
        let fds = fds.into_iter().map(Some).collect();
        Ok(Incoming { fds, buffers, max_frame: self.wires.max_frame, provisional: false, lost })
    }

    /// By somebody who waits for room to send: takes in what the other side sends, as far as nobody is
    /// receiving, up to as many bytes as one frame may have. What is wrong with it is told to whoever
    /// receives it.
    pub(super) fn take_in(&self, view: View<'_>) {
        let Some(mut guard) = self.receiving.try_lock() else { return };
        let receiving = &mut *guard;
        // A ring's worth, then whoever waits looks at the time.
        let most = receiving.held + self.wires.capacity as usize;
        while self.broken.get().is_none() {
            let arriving = receiving.partial.as_ref().map_or(0, Assembly::arrived);
            if receiving.held + arriving >= self.wires.max_frame || receiving.held >= most {
                break;
            }
            let mut head = Vec::new();
            match receiving.next_from_ring(self, view, &mut head) {
                Ok(Next::Frame(beside)) => {
                    let frame = Frame { head, beside };
                    receiving.held += frame.size();
                    receiving.inbox.push_back(frame);
                }
                Ok(Next::Bits | Next::Nothing) => break,
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
        }
        self.remind_of(receiving);
        drop(guard);
        self.remind_who_missed();
    }
}

impl Frame {
    /// About how much memory it takes.
    fn size(&self) -> usize {
        const OVERHEAD: usize = 128;
        let buffers = self.beside.as_ref().map_or(&[][..], |beside| &beside.buffers);
        buffers.iter().fold(OVERHEAD + self.head.capacity(), |sum, buffer| sum + OVERHEAD + buffer.len())
    }
}
