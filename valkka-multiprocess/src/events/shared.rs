//! What all handles of a group in a process share.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use common_ipc::memory::SharedAtomics;
use common_ipc::sync::{EventFlag, Semaphore};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::events::errors::EventError;
use crate::events::index::EventIndex;
use crate::events::slot::{GENERATION_MAX, Slot};

/// The events, who has which, and what of that is set. Parts are handed on in this order.
#[derive(Debug, Serialize)]
pub(super) struct Shared<E> {
    /// Of this group, by which it knows its own indices.
    pub(super) id: u32,
    pub(super) events: Vec<E>,
    /// Who has which, by the permit's index.
    pub(super) permits: Semaphore,
    /// What is reserved, and set.
    pub(super) words: SharedAtomics,
}

impl<E: EventFlag> Shared<E> {
    pub(super) fn new(size: usize, make: impl FnMut() -> io::Result<E>) -> io::Result<Shared<E>> {
        let permits = Semaphore::new(size)?;
        let words = SharedAtomics::new(size)?;
        let events = std::iter::repeat_with(make).take(size).collect::<io::Result<_>>()?;
        Ok(Shared { id: new_id(), events, permits, words })
    }

    /// Of an index of whatever origin.
    pub(super) fn named(&self, index: EventIndex) -> Result<Slot<'_, AtomicU64, E>, EventError> {
        let is_ours = index.group == self.id && index.slot() < self.events.len();
        // An index that was made up may hold anything.
        if is_ours && index.generation <= GENERATION_MAX {
            Ok(self.slot(index))
        } else {
            Err(EventError::NotInGroup { index })
        }
    }

    /// Of an index that is this group's.
    pub(super) fn slot(&self, index: EventIndex) -> Slot<'_, AtomicU64, E> {
        let place = index.slot();
        Slot { word: &self.words[place], bell: &self.events[place], generation: index.generation }
    }
}

/// A number that other groups hardly have, whichever processes make them.
fn new_id() -> u32 {
    // A forked copy of the process has the keys of this one.
    RandomState::new().hash_one((std::process::id(), Instant::now())) as u32
}

impl<'de, E: Deserialize<'de>> Deserialize<'de> for Shared<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<E>, D::Error> {
        let (id, events, permits, words) =
            <(u32, Vec<E>, Semaphore, SharedAtomics)>::deserialize(deserializer)?;
        if [permits.permits(), words.len()] != [events.len(); 2] {
            return Err(D::Error::custom(
                "what came is no group: it has not as many permits and words as events",
            ));
        }
        Ok(Shared { id, events, permits, words })
    }
}
