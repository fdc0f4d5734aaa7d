//! An object that lives in another process, its methods called from this one.
//!
//! Nothing is here yet: this crate holds the place in the workspace until its turn comes.
//! It will stand on `common-ipc`, like its siblings, and depend on none of them; its attribute
//! macro will live in the nested crate `cross-process-bridge-macros`. For a task in a process
//! of its own today, use the crate `offspring`.
