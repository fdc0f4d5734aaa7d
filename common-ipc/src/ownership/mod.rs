//! What belongs to one process, and how it moves to another.
//!
//! A fork copies everything, so each library object knows the process that it belongs to
//! (`generation`), and each process has its own of what there is one of (`per_process`).
//! Descriptors are kept from children (`descriptors`) unless they are given to one (`give`) or
//! harm nobody (`harmless`).

pub(crate) mod descriptors;
pub(crate) mod generation;
pub(crate) mod give;
pub(crate) mod harmless;
pub(crate) mod per_process;
