//! A kit for tests of programs that have processes (feature `testing`).
//!
//! What this project tests itself with. It is for tests: nothing of it belongs into a program that others use.
//!
//! - [`FaultInjector`]: system calls that fail, and processes that are killed in the midst of one, exactly where one
//!   wants it; and [all of them, one after another](FaultInjector::sweep).

mod calls;
mod faults;
mod sweep;

pub use calls::SystemCall;
pub use faults::{Action, Fault, FaultInjector, InjectorError, Scope};
pub use sweep::{Probe, Sweep, Swept};
