//! An object that lives in another process, its methods called from this one.
//!
//! Of its own nothing is here yet: this crate holds the place in the workspace until its turn comes.
//! It stands on `common-ipc`, like its siblings, and depends on none of them; its attribute
//! macro will live in the nested crate `cross-process-bridge-macros`. For a task in a process
//! of its own today, use the crate `offspring`.

pub use common_ipc::init_before_main;
pub use common_ipc::process::{Zygote, init};
