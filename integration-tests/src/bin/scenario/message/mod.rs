//! Message processes: back ends and their front ends.

#[cfg(feature = "tokio")]
pub(crate) mod asynchronous;
mod commands;
mod hostile;
mod keeping;
mod life;
mod listening;
mod objects;
mod parameters;
mod ways;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] =
    &[commands::ALL, hostile::ALL, keeping::ALL, life::ALL, listening::ALL, objects::ALL, parameters::ALL];
