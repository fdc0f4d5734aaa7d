//! Managers, and what they keep.

pub(crate) mod death;
mod hostile;
pub(crate) mod kinds;
mod many;
mod shared;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] = &[death::ALL, hostile::ALL, kinds::ALL, many::ALL, shared::ALL];
