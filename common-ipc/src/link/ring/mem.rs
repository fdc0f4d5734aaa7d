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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// Memory of this process's own, which the interpreter that looks for undefined behaviour can follow.
    pub(in super::super) struct Plain(Vec<AtomicU32>);

    impl Plain {
        pub(in super::super) fn new(len: usize) -> Plain {
            Plain((0..len / 4).map(|_| AtomicU32::new(0)).collect())
        }
    }

    impl Mem for &Plain {
        fn load(self, at: usize, order: Ordering) -> u32 {
            self.0[at / 4].load(order)
        }

        fn store(self, at: usize, value: u32, order: Ordering) {
            self.0[at / 4].store(value, order);
        }

        fn swap(self, at: usize, value: u32) -> u32 {
            self.0[at / 4].swap(value, Ordering::AcqRel)
        }

        fn fence(self) {
            std::sync::atomic::fence(Ordering::SeqCst);
        }

        fn write(self, at: usize, bytes: &[u8]) {
            for (index, byte) in bytes.iter().enumerate() {
                let word = &self.0[(at + index) / 4];
                let mut four = word.load(Ordering::Relaxed).to_ne_bytes();
                four[(at + index) % 4] = *byte;
                word.store(u32::from_ne_bytes(four), Ordering::Relaxed);
            }
        }

        fn append_to(self, at: usize, len: usize, to: &mut Vec<u8>) {
            for place in at..at + len {
                to.push(self.0[place / 4].load(Ordering::Relaxed).to_ne_bytes()[place % 4]);
            }
        }
    }
}
