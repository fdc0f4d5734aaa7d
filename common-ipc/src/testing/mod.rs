//! A kit for tests of programs that have processes (feature `testing`).
//!
//! What this project tests itself with. It is for tests: nothing of it belongs into a program that others use.
//!
//! | | for |
//! |---|---|
//! | [`FaultInjector`] | system calls that fail, and processes that are killed in the midst of one, exactly where one wants it; [all of them, one after another](FaultInjector::sweep) |
//! | [`Monkey`] | children that are killed, crashed and stopped at random, with a seed, and a [`Record`] that explains what one sees |
//! | [`LeakPolice`] | children, zombies, descriptors and shared memory that a test has left |
//! | [`run_within`] | programs that must come to their end |
//! | [`proc`] | what the kernel says of a process |
//!
//! A test that forks needs a process with one thread, which no `#[test]` has: it is a plain program (`harness = false`), or
//! an example or binary that a `#[test]` runs by [`run_within`].

mod calls;
mod deadline;
mod injector;
mod leaks;
mod monkey;
pub mod proc;
mod random;
mod record;
mod sweep;

pub use calls::SystemCall;
pub use deadline::{Ran, RunError, run_within};
pub use injector::{Action, Fault, FaultInjector, InjectorError, Scope};
pub use leaks::{LeakPolice, Leaks};
pub use monkey::{Harm, Monkey, MonkeyBuilder};
pub use random::Random;
pub use record::{Deed, Record};
pub use sweep::{Probe, Sweep, Swept};
