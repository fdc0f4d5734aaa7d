//! Reusable, restartable processes; pools, slots and supervision.

mod starter;
pub mod supervisor;

pub use common_ipc::init_before_main;
pub use common_ipc::process::{Zygote, init, progress, ready};
