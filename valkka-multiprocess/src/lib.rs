//! Message processes: a front end in this process, a back end in another, typed messages between them.
//!
//! Of its own nothing is here yet: this crate holds the place in the workspace until its turn comes.
//! It stands on `common-ipc`, like its siblings, and depends on none of them. For a task
//! in a process of its own today, use the crate `offspring`.

mod events;

pub use common_ipc::init_before_main;
pub use common_ipc::process::{Zygote, init};
pub use events::{EventError, EventGroup, EventIndex, Reserved, SyncIndex};
