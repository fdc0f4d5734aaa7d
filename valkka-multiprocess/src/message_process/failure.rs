//! What went wrong in a back end, as the front end is told.

use std::borrow::Cow;
use std::fmt;

use common_ipc::RemoteError;
use common_ipc::process::PanicReport;
use serde::{Deserialize, Serialize};

/// An error or a panic in a back end, and what that was at.
///
/// The back end has logged it, and has told the front end: as [`Incoming::Failed`](crate::Incoming::Failed), or, if it
/// was at a [request](crate::FrontEnd::request), as the error of that. What becomes of the back end is up to its
/// [policy](crate::Backend::policy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The process's name, as the front end knows it; empty in the back end itself.
    #[serde(skip)]
    pub name: String,
    /// What the back end was at.
    pub during: During,
    /// What happened.
    pub cause: Cause,
}

/// Whether something was done in a back end.
pub(crate) type Done = Result<(), Box<Failure>>;

impl Failure {
    /// What became of something that was tried.
    pub(crate) fn of(during: During, tried: Result<Result<(), RemoteError>, PanicReport>) -> Done {
        let cause = match tried {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Cause::Error(error),
            Err(report) => Cause::Panicked(report),
        };
        Err(Failure::new(during, cause))
    }

    pub(crate) fn new(during: During, cause: Cause) -> Box<Failure> {
        Box::new(Failure { name: String::new(), during, cause })
    }

    pub(crate) fn error(during: During, error: impl Into<RemoteError>) -> Box<Failure> {
        Failure::new(during, Cause::Error(error.into()))
    }

    /// As the front end tells of it.
    pub(crate) fn of_process(self, name: &str) -> Failure {
        Failure { name: name.to_owned(), ..self }
    }
}

/// What a back end is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum During {
    /// [`pre_run`](crate::Backend::pre_run).
    PreRun,
    /// A command, or what was started for it.
    Command {
        /// Its number, as [`send`](crate::FrontEnd::send) returned it: from 1 on in each run, requests included; 0 if it
        /// couldn't be read.
        number: u64,
        /// The name of the enum's variant, of the struct, or of the [`MessageObject`](crate::MessageObject)'s command.
        name: Cow<'static, str>,
    },
    /// A descriptor that it watches.
    Watch,
    /// A timer.
    Timer,
    /// [`listen`](crate::Backend::listen).
    Listen,
    /// A task that belongs to no command.
    Task,
    /// [`post_run`](crate::Backend::post_run).
    PostRun,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// An error was returned.
    Error(RemoteError),
    /// There was a panic. The back end is as that left it.
    Panicked(PanicReport),
}

/// What becomes of a back end after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// It goes on with the next command.
    GoOn,
    /// It ends: `post_run` is called, then the process ends, and [`Ended::failure`](crate::Ended::failure) says why.
    Die,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{}: ", self.name)?;
        }
        write!(f, "{} {}", self.during, self.cause)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            During::PreRun => f.write_str("pre_run"),
            During::Command { number: 0, name } => write!(f, "a command {name}"),
            During::Command { number, name } => write!(f, "command {number} ({name})"),
            During::Watch => f.write_str("the handler of a descriptor"),
            During::Timer => f.write_str("the handler of a timer"),
            During::Listen => f.write_str("listen"),
            During::Task => f.write_str("a task in the background"),
            During::PostRun => f.write_str("post_run"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Error(error) => write!(f, "failed: {error}"),
            Cause::Panicked(report) => write!(f, "{report}"),
        }
    }
}
