//! The attribute macro of `cross-process-bridge`.
//!
//! Nothing is here yet: this crate holds the place in the workspace until its turn comes.
