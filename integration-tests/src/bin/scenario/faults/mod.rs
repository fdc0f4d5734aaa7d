//! Rows of the fault table for processes of every kind.

mod ids;
mod inherited;
mod kinds;
mod starts;
mod stops;
mod told;
mod waits;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] =
    &[ids::ALL, inherited::ALL, starts::ALL, stops::ALL, told::ALL, waits::ALL];
