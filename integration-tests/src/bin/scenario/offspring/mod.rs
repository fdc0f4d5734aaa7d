//! Tasks of offspring's.

mod restarts;
mod tasks;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] = &[restarts::ALL, tasks::ALL];
