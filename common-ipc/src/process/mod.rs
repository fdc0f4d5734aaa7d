//! Children: how they are started, what they are like, how they end.
//!
//! ```text
//! options/        what a child is to be like                  (LaunchOptions)
//! launch          the ways to start one                       (Launch)
//!   plan, forking       what is common to them; the fork and everything around it
//!   fork_rule, gate     who may fork when                     (ForkRule, Refusal)
//!   lifeline            how it learns of its parent's death
//! fork_server/    processes that make children for the program
//!   keeper, zygote, portable    of functions on serialised values   (init, Zygote, Portable)
//!   template                    of a closure                        (Template)
//! child_side      the child's way to its end
//!   signals, setup, after_fork, panic_report
//! report, word    what it tells its parent: how it ended; while it runs  (ready, progress)
//! child/, record  the handle and what stands behind it        (Child, ExitStatus)
//!   several             waiting for several, and stopping them
//! worker/         one that does job after job, for pools          (Worker, Work)
//! errors          why there is no child, or no output         (StartError, ChildError, JoinError)
//! reaper, callbacks, exit_hook    what happens when nobody waits
//! caught          signals to this process, as something to wait for   (CaughtSignals)
//! errands         functions that a child carries out while it runs        (for the crates of this family)
//! library_thread  threads beside which one can fork                      (LibraryThread)
//!   log_thread          the one that hands over the records of children
//! state           all that belongs to one process
//! ```

mod after_fork;
mod callbacks;
mod caught;
mod child;
pub(crate) mod child_side;
mod errands;
mod errors;
mod exit_hook;
pub(crate) mod fork_rule;
mod fork_server;
mod forking;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod keeper;
mod launch;
mod library_thread;
mod lifeline;
mod log_thread;
pub(crate) mod options;
mod panic_report;
mod plan;
mod portable;
mod reaper;
mod record;
mod report;
mod setup;
mod several;
mod signal;
mod signals;
#[cfg(feature = "tokio")]
mod signals_async;
mod state;
mod status;
mod template;
mod word;
mod worker;
mod zygote;

pub use crate::ownership::generation::{Generation, WrongProcess};
pub use crate::ownership::give::Give;
pub use crate::sys::fork_rule::set_fork_rule;
pub use after_fork::after_fork;
pub use callbacks::{Exit, join_callbacks};
pub use caught::{CatchError, CaughtSignals};
pub use child::{Child, Readiness, StopStep, Stopped, active_children};
#[doc(hidden)]
pub use errands::{Errands, Performer, errands};
pub use errors::{ChildError, JoinError, StartError};
pub use exit_hook::{AtExit, is_exiting};
pub use fork_rule::{ForkRule, Refusal};
pub use fork_server::{ForkServer, ProgramState};
pub use keeper::init;
#[doc(hidden)]
pub use keeper::init_before_main;
pub use launch::Launch;
pub use library_thread::{LibraryThread, start_library_thread};
pub use options::{
    DEFAULT_MAX_OUTPUT, LaunchOptions, OptionError, ParentDeath, ProcessGroup, Resource, Sigint, Stdio,
};
pub use panic_report::PanicReport;
pub use portable::Portable;
pub use setup::SetupStep;
pub use several::{stop_all, wait_any};
pub use signal::{NoSuchSignal, Signal};
pub use signals::StopSignals;
pub use status::{ExitStatus, PANIC_EXIT_CODE};
pub use template::Template;
pub use word::{current_name, progress, ready};
pub use worker::{Each, Reply, Told, Work, WorkFailure, Worker};
pub use zygote::Zygote;
