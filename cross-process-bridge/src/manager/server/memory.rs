//! How much the manager keeps, and how much goes into one answer.

use crate::manager::wire::Failure;

/// What is kept beside the bytes of each value.
const OVERHEAD: u64 = 96;
/// A page has no more than about so many bytes, whatever is asked for.
const PAGE_MAX: u64 = 4 << 20;
/// What an element takes in a page beside its bytes.
const BESIDE: u64 = 32;

/// What has room in one answer.
#[derive(Debug)]
pub(super) struct Page {
    left: u64,
    is_empty: bool,
}

impl Page {
    /// Whether one more of this length goes in: the first always does.
    pub(super) fn fits(&mut self, length: usize) -> bool {
        let length = length as u64 + BESIDE;
        let fits = self.is_empty || length <= self.left;
        (self.left, self.is_empty) = (self.left.saturating_sub(length), false);
        fits
    }
}

/// How much is kept, in bytes.
#[derive(Debug)]
pub(super) struct Memory {
    used: u64,
    max: u64,
    /// The longest page.
    max_page: u64,
    /// Of the last change to anything.
    version: u64,
}

impl Memory {
    /// None is used.
    pub(super) fn new(max: u64, max_message: u64) -> Memory {
        Memory { used: 0, max, max_page: PAGE_MAX.min(max_message / 2), version: 0 }
    }

    /// How much is used.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Takes room for values of so many bytes in all.
    pub(super) fn take(&mut self, count: usize, bytes: usize) -> Result<(), Failure> {
        let cost = (bytes as u64).saturating_add(OVERHEAD.saturating_mul(count as u64));
        let used = self.used.saturating_add(cost);
        if used > self.max {
            return Err(Failure::Full { max: self.max });
        }
        self.used = used;
        Ok(())
    }

    pub(super) fn give_back(&mut self, count: usize, bytes: usize) {
        self.used = self.used.saturating_sub(bytes as u64 + OVERHEAD * count as u64);
    }

    /// A page of so many bytes, or of as many as there may be.
    pub(super) fn page(&self, bytes: u64) -> Page {
        Page { left: bytes.min(self.max_page), is_empty: true }
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}
