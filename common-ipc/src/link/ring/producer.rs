//! The writing side of a lane.

use std::sync::atomic::Ordering;

use super::{Garbled, HEADER, Lane, Mem};

/// Writes chunks. Its position is its own: nothing that the reader does moves it.
#[derive(Debug)]
pub(crate) struct Producer {
    lane: Lane,
    /// Where the next chunk's header is. The word there is zero.
    written: u32,
    /// How much of the next chunk was put in.
    filled: u32,
    /// The reader's position when it was last looked at.
    consumed: u32,
}

impl Producer {
    /// For a lane into which nothing was ever written.
    pub(crate) fn new(lane: Lane) -> Producer {
        Producer { lane, written: 0, filled: 0, consumed: 0 }
    }

    /// Where it is, for the one who goes on.
    pub(crate) fn position(&self) -> u32 {
        self.written
    }

    /// Goes on where another one was, of whom the reader had read nothing beyond `consumed`.
    pub(crate) fn resume(lane: Lane, written: u32, consumed: u32) -> Result<Producer, Garbled> {
        if written % HEADER != 0 || written.wrapping_sub(consumed) > lane.capacity {
            return Err(Garbled("a position that can't be"));
        }
        Ok(Producer { lane, written, filled: 0, consumed })
    }

    /// The reader's position as far as it is known.
    pub(crate) fn consumed(&self) -> u32 {
        self.consumed
    }

    /// How many bytes a chunk could have without another look at the reader. `None`: there is no room
    /// for a chunk without bytes, even.
    #[inline]
    pub(crate) fn known_room(&self) -> Option<u32> {
        let used = self.written.wrapping_sub(self.consumed);
        // Its own header, and the zero that follows it.
        (self.lane.capacity - used).checked_sub(2 * HEADER)
    }

    /// As [`known_room`](Producer::known_room), with a look at the reader.
    ///
    /// # Errors
    ///
    /// A reader that was further than the writer, or went back.
    #[inline]
    pub(crate) fn room<M: Mem>(&mut self, mem: M) -> Result<Option<u32>, Garbled> {
        // Acquire: what the reader read there was read before it is written over.
        let consumed = mem.load(self.lane.consumed(), Ordering::Acquire);
        let beyond = consumed.wrapping_sub(self.consumed) > self.written.wrapping_sub(self.consumed);
        if beyond || consumed % HEADER != 0 {
            return Err(Garbled("the reader's position can't be"));
        }
        self.consumed = consumed;
        Ok(self.known_room())
    }

    /// Puts bytes into the chunk that is being made, for which there is room.
    #[inline]
    pub(crate) fn put<M: Mem>(&mut self, mem: M, bytes: &[u8]) {
        let at = self.written.wrapping_add(HEADER + self.filled);
        let (first, rest) = bytes.split_at(bytes.len().min(self.lane.in_a_row(at)));
        mem.write(self.lane.place(at), first);
        if !rest.is_empty() {
            mem.write(self.lane.place(at.wrapping_add(first.len() as u32)), rest);
        }
        self.filled += bytes.len() as u32;
    }

    /// Publishes the chunk. The zero after it first: whoever sees the header sees that, too.
    #[inline]
    pub(crate) fn commit<M: Mem>(&mut self, mem: M, flags: u32) {
        let next = self.written.wrapping_add(Lane::footprint(self.filled));
        mem.store(self.lane.place(next), 0, Ordering::Relaxed);
        mem.store(self.lane.place(self.written), flags | self.filled, Ordering::Release);
        self.written = next;
        self.filled = 0;
    }

    /// After a commit: whether the reader sleeps, or may be about to, and is to be woken. Says so once.
    #[inline]
    pub(crate) fn must_ring<M: Mem>(&self, mem: M) -> bool {
        // Between the chunk's header and this look; the reader has the same between its word and its
        // last look at the header. So one of the two sees what the other wrote.
        mem.fence();
        let waits = self.lane.reader_waits();
        mem.load(waits, Ordering::Relaxed) != 0 && mem.swap(waits, 0) != 0
    }

    /// Whether the reader has said that it won't read any more.
    #[inline]
    pub(crate) fn reader_left<M: Mem>(&self, mem: M) -> bool {
        mem.load(self.lane.reader_left(), Ordering::Relaxed) != 0
    }

    /// Asks to be woken when half of the ring is empty, and a chunk of `bytes` has room: being woken for each
    /// message that is read would cost more than reading it. Look again afterwards, before sleeping, and, since
    /// the reader may stop before that, after a while.
    pub(crate) fn wait_for_room<M: Mem>(&self, mem: M, bytes: u32) {
        let free = (Lane::footprint(bytes) + HEADER).max(self.lane.capacity / 2);
        let wanted = self.written.wrapping_add(free).wrapping_sub(self.lane.capacity);
        mem.store(self.lane.writer_wants(), wanted, Ordering::Relaxed);
        // Release: whoever sees that somebody waits sees for what.
        mem.store(self.lane.writer_waits(), 1, Ordering::Release);
        mem.fence();
    }

    /// Where the word is that [`wait_for_room`](Producer::wait_for_room) writes.
    pub(crate) fn room_word(&self) -> usize {
        self.lane.writer_waits()
    }

    #[cfg(test)]
    pub(super) fn begin_at(&mut self, position: u32) {
        (self.written, self.consumed) = (position, position);
    }
}
