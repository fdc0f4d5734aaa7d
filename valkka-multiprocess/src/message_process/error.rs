//! Why something that was asked of a message process has failed.

use std::fmt;
use std::time::Duration;

use common_ipc::link::{Execution, LinkError};
use common_ipc::process::{ChildError, StartError, WrongProcess};

use crate::message_process::failure::Failure;
use crate::message_process::incoming::Ended;

/// Why something that was asked of a message process has failed.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// There is no back end yet.
    #[error("{name} isn't started: call start() first")]
    NotStarted {
        /// The process's name.
        name: String,
    },
    /// There is a back end already.
    #[error("{name} runs already: stop() it before it is started again")]
    Running {
        /// The process's name.
        name: String,
    },
    /// A fork was asked for inside of a tokio runtime, of which the back end would have a copy that nobody runs.
    #[cfg(feature = "tokio")]
    #[error(
        "{name} can't be forked inside of a tokio runtime: launch_in(&Zygote::global()), or start() it before block_on"
    )]
    InsideRuntime {
        /// The process's name.
        name: String,
    },
    /// An asynchronous call outside of a tokio runtime.
    #[cfg(feature = "tokio")]
    #[error("this is outside of a tokio runtime: call it within block_on, or in a task")]
    OutsideRuntime,
    /// No process could be started.
    #[error("the back end could not be started: {}{}", .0, way_out(.0))]
    Start(#[source] Box<StartError>),
    /// The back end has ended; all that it had sent was received before. `start()` starts a new one.
    #[error("{ended}{}", of_a_command(*.execution))]
    Ended {
        /// How.
        ended: Box<Ended>,
        /// Whether the command was handled, if this is about one.
        execution: Option<Execution>,
    },
    /// A handler has failed: of a request, the request's own; of a [`recv`](crate::FrontEnd::recv), some earlier one. The back end goes on,
    /// unless its policy says otherwise.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// The back end has dropped the request's [`Reply`](crate::Reply).
    #[error("the back end has dropped the reply to the request")]
    Unanswered,
    /// It took longer than it may.
    #[error("{}; as for the command, {execution}", in_vain(*.after))]
    TimedOut {
        /// How long it might take.
        after: Duration,
        /// Whether the command was handled: `NotRun` if there was no room to send it.
        execution: Execution,
    },
    /// The command can't be sent: it can't be serialised, or is longer than a message may be. Or what came can't be read.
    #[error("{source}{}", of_a_command(*.execution))]
    Message {
        /// Why.
        source: LinkError,
        /// Whether the command was handled, if this is about one: `NotRun` if it couldn't be sent, `Ran` if its reply can't
        /// be read.
        execution: Option<Execution>,
    },
    /// The back end wrote what makes no sense, and was killed for that, or the connection to it failed.
    #[error("the connection to the back end failed: {source}{}", of_a_command(*.execution))]
    Broken {
        /// Why.
        source: LinkError,
        /// Whether the command was handled, if this is about one.
        execution: Option<Execution>,
    },
    /// It belongs to another process: a forked child has a copy that is of no use.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The back end's process couldn't be waited for or signalled.
    #[error(transparent)]
    Child(#[from] ChildError),
}

/// Its text: this is what `main` and `unwrap` print.
impl fmt::Debug for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ProcessError {
    /// Whether the command that this is about was handled: what decides whether to send it again.
    /// [`Unknown`](Execution::Unknown) also where it is about none in particular: those that were sent before may have been.
    #[must_use]
    pub fn execution(&self) -> Execution {
        match self {
            ProcessError::Ended { execution, .. }
            | ProcessError::Message { execution, .. }
            | ProcessError::Broken { execution, .. } => execution.unwrap_or(Execution::Unknown),
            ProcessError::TimedOut { execution, .. } => *execution,
            ProcessError::Failed(_) | ProcessError::Unanswered => Execution::Ran,
            // It comes where the links are closed: of a command that was sent nobody can tell more.
            ProcessError::Child(_) => Execution::Unknown,
            ProcessError::NotStarted { .. }
            | ProcessError::Running { .. }
            | ProcessError::Start(_)
            | ProcessError::WrongProcess(_) => Execution::NotRun,
            #[cfg(feature = "tokio")]
            ProcessError::InsideRuntime { .. } | ProcessError::OutsideRuntime => Execution::NotRun,
        }
    }

    /// How the back end has ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        match self {
            ProcessError::Ended { ended, .. } => Some(ended),
            _ => None,
        }
    }
}

impl From<StartError> for ProcessError {
    fn from(error: StartError) -> ProcessError {
        match error {
            StartError::WrongProcess(error) => error.into(),
            error => ProcessError::Start(Box::new(error)),
        }
    }
}

/// What a message process can do that other things that are started can't.
fn way_out(error: &StartError) -> &'static str {
    match error {
        StartError::Refused(_) => {
            ". For a message process: launch_in(&Zygote::global()), or launch_from_template() before there are threads"
        }
        _ => "",
    }
}

fn of_a_command(execution: Option<Execution>) -> String {
    execution.map_or_else(String::new, |execution| format!("; as for the command, {execution}"))
}

fn in_vain(after: Duration) -> String {
    if after.is_zero() { "there is no room now".to_owned() } else { format!("not within {after:?}") }
}
