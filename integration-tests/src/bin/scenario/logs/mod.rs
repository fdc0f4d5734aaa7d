//! Log records of children.

mod abuse;
pub(crate) mod collector;
mod faults;
pub(crate) mod programs;
mod records;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] = &[abuse::ALL, faults::ALL, records::ALL];
