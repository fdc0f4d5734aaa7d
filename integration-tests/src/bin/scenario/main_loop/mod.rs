//! The loop of a program that has message processes.

mod context;
mod load;
mod processes;
mod signals;
pub(crate) mod sources;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] =
    &[context::ALL, load::ALL, processes::ALL, signals::ALL, sources::ALL];
