//! The reading side of a lane.

use std::sync::atomic::Ordering;

use super::{ABORT, END, Garbled, HEADER, LENGTH, Lane, Mem, START, TABLE};

/// Reads chunks. Its position is its own: nothing that the writer does moves it.
#[derive(Debug)]
pub(crate) struct Consumer {
    lane: Lane,
    /// Where the next chunk's header is, or will be.
    read: u32,
    /// What the writer knows of that.
    published: u32,
}

/// A chunk that is there. Its header was read once: whatever the writer does to it now changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) flags: u32,
    length: u32,
    taken: u32,
}

impl Chunk {
    /// How many of its bytes weren't taken yet.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        (self.length - self.taken) as usize
    }
}

impl Consumer {
    /// For a lane from which nothing was ever read.
    pub(crate) fn new(lane: Lane) -> Consumer {
        Consumer { lane, read: 0, published: 0 }
    }

    /// Where it is, for the one who goes on.
    pub(crate) fn position(&self) -> u32 {
        self.read
    }

    /// Goes on where another one was.
    pub(crate) fn resume(lane: Lane, read: u32) -> Result<Consumer, Garbled> {
        if read % HEADER != 0 {
            return Err(Garbled("a position that can't be"));
        }
        Ok(Consumer { lane, read, published: read.wrapping_sub(1) })
    }

    /// Whether there is a chunk.
    #[inline]
    pub(crate) fn is_empty<M: Mem>(&self, mem: M) -> bool {
        mem.load(self.lane.place(self.read), Ordering::Relaxed) == 0
    }

    /// The next chunk, if there is one.
    ///
    /// # Errors
    ///
    /// A header that no honest writer writes.
    #[inline]
    pub(crate) fn peek<M: Mem>(&self, mem: M) -> Result<Option<Chunk>, Garbled> {
        // Acquire: the chunk's bytes, and the zero after it, were written before.
        let header = mem.load(self.lane.place(self.read), Ordering::Acquire);
        if header == 0 {
            return Ok(None);
        }
        let (flags, length) = (header & !LENGTH, header & LENGTH);
        if length > self.lane.capacity - 2 * HEADER {
            return Err(Garbled("a chunk longer than the ring"));
        }
        // A part of a frame that isn't its first has one byte at least: else nothing bounds their number.
        let sensible = match flags & (START | TABLE | ABORT) {
            0 => length > 0,
            START => flags & END != 0,
            ABORT => length == 0 && flags & END == 0,
            both => both == START | TABLE,
        };
        if !sensible {
            return Err(Garbled("a chunk's flags"));
        }
        Ok(Some(Chunk { flags, length, taken: 0 }))
    }

    /// Appends up to `most` of the chunk's bytes to `to`, and says how many.
    #[inline]
    pub(crate) fn take<M: Mem>(&self, mem: M, chunk: &mut Chunk, most: usize, to: &mut Vec<u8>) -> usize {
        let count = most.min(chunk.left());
        let at = self.read.wrapping_add(HEADER + chunk.taken);
        let first = count.min(self.lane.in_a_row(at));
        mem.append_to(self.lane.place(at), first, to);
        if first < count {
            mem.append_to(self.lane.place(at.wrapping_add(first as u32)), count - first, to);
        }
        chunk.taken += count as u32;
        count
    }

    /// Goes on to the next chunk, and says whether the writer is to be told: not for each chunk, since that takes
    /// as long as a short chunk itself, but often enough that it has most of the ring to write to.
    #[inline]
    #[must_use]
    pub(crate) fn finish(&mut self, chunk: Chunk) -> bool {
        self.read = self.read.wrapping_add(Lane::footprint(chunk.length));
        self.read.wrapping_sub(self.published) >= self.lane.capacity / 8
    }

    /// Gives the room of all chunks that were read back to the writer, and says whether that sleeps, has what it
    /// sleeps for, and is to be woken. Says so once. Also to be called when the ring was found empty, before
    /// waiting: the writer may be waiting for what was kept back.
    pub(crate) fn publish<M: Mem>(&mut self, mem: M) -> bool {
        if self.published == self.read {
            return false;
        }
        self.published = self.read;
        // Release: all of it was read before the writer may write there again.
        mem.store(self.lane.consumed(), self.read, Ordering::Release);
        // As in `must_ring`, the other way round.
        mem.fence();
        let waits = self.lane.writer_waits();
        if mem.load(waits, Ordering::Acquire) == 0 {
            return false;
        }
        let wanted = mem.load(self.lane.writer_wants(), Ordering::Relaxed);
        // Positions are at most a ring apart, whatever a dishonest writer says.
        self.read.wrapping_sub(wanted) <= self.lane.capacity && mem.swap(waits, 0) != 0
    }

    /// After a [`publish`](Consumer::publish): whether what was read may be taken. If not, the writer may have seen
    /// it unread, and counts on that.
    #[inline]
    pub(crate) fn may_take<M: Mem>(&self, mem: M) -> bool {
        // The fence between the two is that of the publish.
        mem.load(self.lane.writer_left(), Ordering::Relaxed) == 0
    }

    /// Where the word is that the writer may sleep on.
    pub(crate) fn room_word(&self) -> usize {
        self.lane.writer_waits()
    }

    /// Asks to be rung for the next chunk. Look again afterwards, before sleeping.
    #[inline]
    pub(crate) fn wait_for_chunks<M: Mem>(&self, mem: M) {
        mem.store(self.lane.reader_waits(), 1, Ordering::Relaxed);
        mem.fence();
    }

    /// Whether the writer has rung since it was last asked to.
    pub(crate) fn was_rung<M: Mem>(&self, mem: M) -> bool {
        mem.load(self.lane.reader_waits(), Ordering::Relaxed) == 0
    }

    /// Needn't be rung any more.
    #[inline]
    pub(crate) fn stop_waiting<M: Mem>(&self, mem: M) {
        mem.store(self.lane.reader_waits(), 0, Ordering::Relaxed);
    }

    /// Tells the writer that nobody will read any more.
    pub(crate) fn leave<M: Mem>(&self, mem: M) {
        mem.store(self.lane.reader_left(), 1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn begin_at<M: Mem>(&mut self, position: u32, mem: M) {
        (self.read, self.published) = (position, position);
        mem.store(self.lane.consumed(), position, Ordering::Relaxed);
    }
}
