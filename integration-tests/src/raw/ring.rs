//! A ring in shared memory: one process writes, one reads, both spin and yield.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::shared::{Line, Shareable, between_looks};

/// Slots of `SIZE` bytes. Each has a commit word of its own beside its bytes, so that a message costs
/// the reader no cache line besides those that it lies in.
#[repr(C)]
pub struct Ring<const SIZE: usize, const SLOTS: usize> {
    writer_taken: AtomicBool,
    reader_taken: AtomicBool,
    /// How many messages were taken out, as far as the reader has told.
    taken_out: Line<AtomicU64>,
    slots: [Slot<SIZE>; SLOTS],
}

#[repr(C)]
struct Slot<const SIZE: usize> {
    /// One more than the number of the message that is in it.
    commit: AtomicU64,
    bytes: UnsafeCell<[u8; SIZE]>,
}

// SAFETY: atomics and bytes. Only the one writer writes the bytes, of a slot that the reader has told
// to be free; only the one reader reads them, of a slot that the writer has committed.
unsafe impl<const SIZE: usize, const SLOTS: usize> Shareable for Ring<SIZE, SLOTS> {}

impl<const SIZE: usize, const SLOTS: usize> std::fmt::Debug for Ring<SIZE, SLOTS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("taken_out", &self.taken_out).finish_non_exhaustive()
    }
}

/// The end that writes.
#[derive(Debug)]
pub struct Writer<'a, const SIZE: usize, const SLOTS: usize> {
    ring: &'a Ring<SIZE, SLOTS>,
    next: u64,
    /// So far there is room for certain: looking at the reader's word costs its cache line.
    free_until: u64,
}

/// The end that reads.
#[derive(Debug)]
pub struct Reader<'a, const SIZE: usize, const SLOTS: usize> {
    ring: &'a Ring<SIZE, SLOTS>,
    next: u64,
}

impl<const SIZE: usize, const SLOTS: usize> Ring<SIZE, SLOTS> {
    /// The end that writes.
    ///
    /// # Panics
    ///
    /// If this or another process has it already.
    pub fn writer(&self) -> Writer<'_, SIZE, SLOTS> {
        assert!(!self.writer_taken.swap(true, Ordering::Relaxed), "a ring has one writer");
        Writer { ring: self, next: 0, free_until: SLOTS as u64 }
    }

    /// The end that reads.
    ///
    /// # Panics
    ///
    /// If this or another process has it already.
    pub fn reader(&self) -> Reader<'_, SIZE, SLOTS> {
        assert!(!self.reader_taken.swap(true, Ordering::Relaxed), "a ring has one reader");
        Reader { ring: self, next: 0 }
    }
}

impl<const SIZE: usize, const SLOTS: usize> Writer<'_, SIZE, SLOTS> {
    /// Copies a message in, once there is room.
    pub fn write(&mut self, message: &[u8; SIZE]) {
        while self.next >= self.free_until {
            self.free_until = self.ring.taken_out.0.load(Ordering::Acquire) + SLOTS as u64;
            if self.next >= self.free_until {
                between_looks();
            }
        }
        let slot = &self.ring.slots[self.next as usize % SLOTS];
        // SAFETY: this is the only writer, and the reader is done with the slot: it said so.
        unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), slot.bytes.get().cast(), SIZE) };
        self.next += 1;
        slot.commit.store(self.next, Ordering::Release);
    }
}

impl<const SIZE: usize, const SLOTS: usize> Reader<'_, SIZE, SLOTS> {
    /// How often the writer learns of room: seldom, as each time costs it a cache line.
    const TELL_EVERY: u64 = if SLOTS >= 4 { SLOTS as u64 / 4 } else { 1 };

    /// Copies the next message out, once it is there.
    pub fn read(&mut self, message: &mut [u8; SIZE]) {
        let slot = &self.ring.slots[self.next as usize % SLOTS];
        while slot.commit.load(Ordering::Acquire) != self.next + 1 {
            between_looks();
        }
        // SAFETY: this is the only reader, and the writer leaves a committed slot alone until it is
        // told that it is free.
        unsafe { std::ptr::copy_nonoverlapping(slot.bytes.get().cast(), message.as_mut_ptr(), SIZE) };
        self.next += 1;
        if self.next % Self::TELL_EVERY == 0 {
            self.ring.taken_out.0.store(self.next, Ordering::Release);
        }
    }
}
