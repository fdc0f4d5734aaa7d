//! Back ends that are tokio runtimes, and front ends for tasks, in programs that have runtimes and threads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod commands;
mod ends;
mod front;
mod large;
mod probe;
mod runtimes;

valkka_multiprocess::init_before_main!();
