//! Supervision.

mod backoff;
mod core;
mod errors;
mod event;
mod policy;

pub use self::backoff::Backoff;
pub use self::errors::SupervisorError;
pub use self::event::{Cause, Ended, Event, Failure, StoppedChild};
pub use self::policy::{RecycleReason, Restart, Strategy};
