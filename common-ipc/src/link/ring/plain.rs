//! The ring's memory for tests of its logic.

use std::sync::atomic::{AtomicU32, Ordering};

use super::Mem;

/// Memory of this process's own, which the interpreter that looks for undefined behaviour can follow.
pub(crate) struct Plain(Vec<AtomicU32>);

impl Plain {
    pub(crate) fn new(len: usize) -> Plain {
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
