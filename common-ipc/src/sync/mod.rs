//! Synchronisation between processes.

pub mod event;

pub use event::Event;
