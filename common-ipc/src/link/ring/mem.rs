//! The memory that a ring is in, as far as the ring's protocol needs it.
//!
//! The protocol is written once, over this trait: the library runs it on shared memory, the tests on plain
//! memory, and the models on memory that shows every value that the memory model allows.

use std::sync::atomic::Ordering;

use crate::sys::mapping::View;

/// Words, bytes and a fence. Offsets are this side's own: an implementation may panic outside of its memory.
pub(crate) trait Mem: Copy {
    fn load(self, at: usize, order: Ordering) -> u32;
    fn store(self, at: usize, value: u32, order: Ordering);
    /// With acquire and release.
    fn swap(self, at: usize, value: u32) -> u32;
    /// Of sequential consistency.
    fn fence(self);
    fn write(self, at: usize, bytes: &[u8]);
    fn append_to(self, at: usize, len: usize, to: &mut Vec<u8>);
}

impl Mem for View<'_> {
    #[inline]
    fn load(self, at: usize, order: Ordering) -> u32 {
        self.word(at).load(order)
    }

    #[inline]
    fn store(self, at: usize, value: u32, order: Ordering) {
        self.word(at).store(value, order);
    }

    #[inline]
    fn swap(self, at: usize, value: u32) -> u32 {
        self.word(at).swap(value, Ordering::AcqRel)
    }

    #[inline]
    fn fence(self) {
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    #[inline]
    fn write(self, at: usize, bytes: &[u8]) {
        self.copy_in(at, bytes);
    }

    #[inline]
    fn append_to(self, at: usize, len: usize, to: &mut Vec<u8>) {
        View::append_to(self, at, len, to);
    }
}
