//! Connections, calls and queues between processes.

mod calls;
mod connections;
mod death;
mod queue;
mod sharing;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] =
    &[calls::ALL, connections::ALL, death::ALL, queue::ALL, sharing::ALL];
