//! The name of a reservation.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which event of an [`EventGroup`](crate::EventGroup), and for which of its reservations: what a front end sends
/// to its back end in a command.
///
/// It is a name and no right: to send it, copy it or keep it for too long does nothing. What it names ends with
/// the reservation, and no later one has the same name. An index that another process made up is an error, or is
/// over, where it is used.
///
/// Shown, it is the number of the event and that of the reservation: `3#17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventIndex {
    pub(super) group: u32,
    pub(super) slot: u32,
    pub(super) generation: u64,
}

impl EventIndex {
    /// The number of the event in its group, from 0 on: what the index is without the reservation.
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Display for EventIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.slot, self.generation)
    }
}
