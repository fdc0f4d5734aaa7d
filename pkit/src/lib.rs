//! Reusable, restartable processes; pools, slots and supervision.
//!
//! Nothing is here yet: this crate holds the place in the workspace until its turn comes.
//! It will stand on `common-ipc`, like its siblings, and depend on none of them. For a task
//! in a process of its own today, use the crate `offspring`.
