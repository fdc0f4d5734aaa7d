//! Why there is no slot.

use std::fmt;
use std::io;

use common_ipc::sync::AcquireError;

/// Why there is no pool of slots, or a slot can't be had or given back.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// A pool has from 1 to 65,536 slots.
    #[error("a pool of {size} slots was asked for; it has from 1 to 65,536")]
    Size {
        /// How many were asked for.
        size: usize,
    },
    /// There is a pool of this name, and its size is another one. Ask for it by its name alone, or by its size.
    #[error(
        "the pool of slots of this name has {size} slots, not {asked}; SlotPool::named finds it whatever its size"
    )]
    OtherSize {
        /// How many it has.
        size: usize,
        /// How many were asked for.
        asked: usize,
    },
    /// More slots were released than this process keeps. Nothing has changed.
    #[error(
        "no more slots to release: this process keeps none of this pool's slots. Who acquires a slot releases it \
         by dropping it, or keeps it (Slot::keep) and releases it later"
    )]
    Overflow,
    /// Slots can't be taken here.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// There is no memory, or no descriptor, for the table.
    #[error("could not make a pool of slots: {0}")]
    Memory(#[source] io::Error),
}

impl fmt::Debug for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
