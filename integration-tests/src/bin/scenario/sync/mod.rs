//! Locks, events and memory that processes share.

mod event_faults;
mod event_sweep;
mod events;
mod locks;
mod memory;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] =
    &[event_faults::ALL, event_sweep::ALL, events::ALL, locks::ALL, memory::ALL];
