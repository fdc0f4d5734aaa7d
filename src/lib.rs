//! umbrella
pub use common_ipc;
