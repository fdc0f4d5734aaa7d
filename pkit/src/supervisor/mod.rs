//! Children that are kept running: restarted when they fail, alone or with those that depend on them.
//!
//! ```
//! use std::time::Duration;
//! use pkit::supervisor::{ChildSpec, Restart, Strategy, Supervisor};
//!
//! fn serve() {
//!     loop {
//!         pkit::progress();
//!         std::thread::sleep(Duration::from_millis(20));
//!     }
//! }
//!
//! let supervisor = Supervisor::builder()
//!     .strategy(Strategy::RestForOne)
//!     .child(ChildSpec::new("store", serve).hang_timeout(Duration::from_secs(5)))
//!     .child(ChildSpec::new("web", || serve()).restart(Restart::Transient))
//!     .start()?;
//! let first = supervisor.child("store")?.pid;
//! supervisor.restart("store")?;
//! assert_ne!(supervisor.child("store")?.pid, first);
//! println!("{:?}", supervisor.stop()?); // what it took to stop each of them
//! # Ok::<(), pkit::supervisor::SupervisorError>(())
//! ```
//!
//! # What happens when
//!
//! - **The start** ([`SupervisorBuilder::start`]) starts the children in order. Each waits until the one before is
//!   *ready*: runs its target, or has called [`ready`](crate::ready), as its spec says.
//! - **A child that ends** is started again if its [`Restart`] says so, after a wait that grows with each failure in a
//!   row ([`Backoff`]), and with it those that the [`Strategy`] names. Starts that fail, children that aren't ready in
//!   time and children that hang count as failures like the end of a process. The words, and what they mean, are those
//!   of Erlang's supervisors; different is that there is a backoff, and that a child that somebody has stopped by name
//!   isn't started again with its group.
//! - **Too many failures** in a short time end the supervisor ([`SupervisorBuilder::intensity`]): all children are
//!   stopped, and [`Supervisor::wait`] returns [`Ended::Failed`] with what has happened.
//! - **When no child runs any more**, since all were temporary or had done their work, the supervisor is still there
//!   until it is stopped.
//! - **The program's exit** stops children that run. Should the program be killed, they die with it.
//!
//! What happens is told by [`Supervisor::events`], and goes to the `log` crate with the target `pkit`: the logger is
//! called on the supervisor's thread, and isn't to block.
//!
//! A hundred children more cost a hundred children more: there is one thread for all, which sleeps until something
//! happens, and looks at single children only where they have a [`hang_timeout`](ChildSpec::hang_timeout) or a
//! [`max_memory`](ChildSpec::max_memory), or aren't ready yet. Starts are made one after another on that thread, which
//! takes about a millisecond each; a template or zygote that takes longer, because it is stopped by a signal, say, delays
//! what happens to others for so long, for up to 5 s, or what
//! [`LaunchOptions::ready_timeout`](common_ipc::process::LaunchOptions::ready_timeout) says.

mod backoff;
mod builder;
mod core;
mod errors;
mod event;
mod handle;
#[cfg(feature = "tokio")]
mod handle_async;
mod outcome;
mod policy;
mod runtime;
mod shared;
mod spec;
mod subscribers;

pub use self::backoff::Backoff;
pub use self::builder::SupervisorBuilder;
pub use self::core::Status;
pub use self::errors::SupervisorError;
pub use self::event::{Cause, Ended, Event, Failure, StoppedChild};
pub use self::handle::{ChildState, Supervisor};
pub use self::outcome::Outcome;
pub use self::policy::{RecycleReason, Restart, Strategy};
pub use self::spec::ChildSpec;
pub use self::subscribers::Events;
