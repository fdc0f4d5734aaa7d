//! Message processes: a front end in this process, a back end in another, typed messages between them.
//!
//! Nothing is here yet: this crate holds the place in the workspace until its turn comes.
//! It will stand on `common-ipc`, like its siblings, and depend on none of them. For a task
//! in a process of its own today, use the crate `offspring`.
