//! For models: a place in memory of which the model checker sees every access that isn't an atomic's.

use loom::cell::UnsafeCell;

/// Holds nothing; it stands for bytes that are kept elsewhere.
#[derive(Debug)]
pub(crate) struct Raced(UnsafeCell<()>);

// SAFETY: nothing is behind the pointers that it hands out, and nobody follows them. What it is for is that
// the model checker reports accesses that aren't ordered.
unsafe impl Sync for Raced {}

impl Raced {
    pub(crate) fn new() -> Raced {
        Raced(UnsafeCell::new(()))
    }

    /// The bytes are read: nobody may write them at the same time.
    pub(crate) fn read(&self) {
        self.0.with(|_| ());
    }

    /// The bytes are written: nobody may read or write them at the same time.
    pub(crate) fn write(&self) {
        self.0.with_mut(|_| ());
    }
}
