//! What the cross-crate tests share. Never published.
//!
//! A test that forks needs a process with one thread, which no `#[test]` has. So each such test is a
//! *scenario*: a function in the helper binary `scenario`, run in a process of its
//! own, under a watchdog, with the leak police of `common_ipc::testing` looking at what it leaves behind.
//!
//! - [`suite`]: for the tests: all scenarios of one kind, by a harness that finds them at run time.
//! - [`faults`]: the fault table, and whether it holds.
//! - [`watchdog`]: runs a scenario and kills it if it hangs.
//! - [`proc`]: what /proc says of a process.
//! - [`raw`]: what other code in a user's program may do to us, and the bare shared memory and bare zygote
//!   that the benchmarks compare us with; the only unsafe code here.

pub mod faults;
pub mod proc;
pub mod raw;
pub mod suite;
pub mod watchdog;

/// How long a stress test goes on: `MULTIPROCESS_STRESS` times as long as in the quick tier.
///
/// # Panics
///
/// If the variable is set to something that isn't a whole number.
#[must_use]
pub fn stress_factor() -> u32 {
    match std::env::var("MULTIPROCESS_STRESS") {
        Ok(factor) => {
            factor.parse().unwrap_or_else(|_| panic!("MULTIPROCESS_STRESS is not a number: {factor}"))
        }
        Err(_) => 1,
    }
}
