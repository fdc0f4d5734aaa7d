//! What belongs to one process, and how it moves to another.
//!
//! A fork copies everything, so each library object knows the process that it belongs to
//! (`generation`); its descriptors are kept from children (`descriptors`) unless they are given to
//! one (`give`).

pub(crate) mod descriptors;
pub(crate) mod generation;
pub(crate) mod give;
