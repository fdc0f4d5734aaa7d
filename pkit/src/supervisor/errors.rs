//! Why a supervisor isn't there, or hasn't done what it was told.

use std::io;
use std::sync::Arc;

use common_ipc::process::{StartError, WrongProcess};

use super::event::{Cause, Failure, GaveUp};

/// Why a supervisor wasn't started, or hasn't done what it was told.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// There is nothing to supervise.
    #[error("a supervisor needs a child: SupervisorBuilder::child")]
    NoChildren,
    /// Two children have one name.
    #[error("there are two children named {name}: give each a name of its own, by which it is told apart")]
    NameTaken {
        /// The name.
        name: Arc<str>,
    },
    /// A setting can't be meant.
    #[error("child {child} can't be supervised so: {why}")]
    Setting {
        /// The child's name.
        child: Arc<str>,
        /// What is wrong.
        why: &'static str,
    },
    /// A target can't be kept for its starts. Nothing was started.
    #[error(
        "the target of child {child} can't be kept for its starts: {source}. Start the supervisor before the first \
         thread; beside threads describe the child by ChildSpec::in_zygote"
    )]
    Target {
        /// The child's name.
        child: Arc<str>,
        /// Why.
        source: Arc<StartError>,
    },
    /// The thread that supervises can't be started. Nothing was started.
    #[error("could not start the supervisor's thread: {0}")]
    Thread(#[source] Arc<io::Error>),
    /// A child that was to be started failed before it was ready. The start of a supervisor has stopped again all
    /// children that it had started; after a start or restart by name the supervisor goes on as after any failure of
    /// the child.
    #[error("child {child} {cause}")]
    Child {
        /// The child's name.
        child: Arc<str>,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The new process of a rolling restart failed. The old one goes on.
    #[error("child {child} was not replaced, and the old process goes on: the new one {cause}")]
    NotReplaced {
        /// The child's name.
        child: Arc<str>,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// No child has this name.
    #[error("there is no child named {name}; Supervisor::children lists them")]
    UnknownChild {
        /// The name.
        name: String,
    },
    /// The child, or its group, is in the midst of being started, stopped or replaced.
    #[error(
        "child {child} can't be replaced now: it, or the group that it is restarted with, is being started, stopped \
         or replaced. Try again when it is ready (Event::Ready)"
    )]
    Busy {
        /// The child's name.
        child: Arc<str>,
    },
    /// Something else that was to be done with the child came in between: a stop, or a restart of its group.
    #[error("child {child} was stopped meanwhile, by another call or with its group")]
    Interrupted {
        /// The child's name.
        child: Arc<str>,
    },
    /// The supervisor has ended, or is about to.
    #[error("the supervisor has ended, or is ending: Supervisor::wait says why. Start a new one")]
    Ended,
    /// It has ended since its children failed too often: [`Ended::into_result`](super::Ended::into_result).
    #[error("{}", GaveUp(history))]
    Failed {
        /// The failures, the oldest first.
        history: Vec<Failure>,
    },
    /// The call waits for the supervisor, and was made on the supervisor's own thread: by the logger, which is called
    /// there, or by a `Serialize` of an argument.
    #[error(
        "the supervisor can't be waited for on its own thread, on which it calls the logger and serialises arguments: \
         do it on another one (Supervisor::events tells what the logger is told)"
    )]
    OnItsThread,
    /// The handle is a copy in another process than the supervisor's.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
}

/// Its text: this is what `main` and `unwrap` print.
impl std::fmt::Debug for SupervisorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
