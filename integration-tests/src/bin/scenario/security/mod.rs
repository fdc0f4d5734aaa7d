//! What a child may and may not do to others.

mod honest;
mod liar;
mod rights;
pub(crate) mod secrets;

use crate::Scenario;

pub(crate) const TABLES: &[&[Scenario]] = &[liar::ALL, rights::ALL, secrets::ALL];
