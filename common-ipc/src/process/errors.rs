//! Why a child isn't there, can't be had, or has no output.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::link::codec::{DecodeError, EncodeError};
use crate::ownership::generation::WrongProcess;
use crate::process::fork_rule::Refusal;
use crate::process::fork_server::{ForkServer, ProgramState};
use crate::process::options::OptionError;
use crate::process::panic_report::PanicReport;
use crate::process::setup::SetupStep;
use crate::process::status::ExitStatus;

/// Why nothing was started. Whatever the reason, nothing half-started is left.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The fork rule, or where the call came from, forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An option can't be meant.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The kernel refused something in this process: descriptors, memory or processes ran out. Should no descriptor have come
    /// free for a child that was there by then, it was killed.
    #[error("could not {step}: {source}")]
    Os {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The child couldn't do what the options ask for. Its body didn't run.
    #[error("the child could not {action}: {source}")]
    Setup {
        /// The step.
        step: SetupStep,
        /// The step in words, with the values asked for.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The child ended before it was ready.
    #[error("the child was not ready yet when it {status}")]
    EndedEarly {
        /// How it ended.
        status: ExitStatus,
    },
    /// The child wasn't ready in time, and was killed.
    #[error("the child was not ready after {timeout:?} and was killed (LaunchOptions::ready_timeout)")]
    NotReady {
        /// The time it had.
        timeout: Duration,
    },
    /// An end that the options give was given to another child before, or belongs to another process.
    #[error("an end that the options give is not this process's to give (any more): {0}")]
    GivenTwice(#[source] WrongProcess),
    /// The object belongs to another process, whose business its start is.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The object had been started before.
    #[error("this was started before; a task is started once")]
    AlreadyStarted,
    /// The object runs, or another thread is about to start it.
    #[error("this is running: wait for its end, stop it, or restart it")]
    StillRunning,
    /// The program is at its exit, by which all that it has started is shut down.
    #[error("the program is ending, and starts nothing any more")]
    Exiting,
    /// A zygote is asked for in a program that has no keeper to make one: it didn't call
    /// [`init`](crate::process::init), or this is a child of the process that did.
    #[error(
        "there is no zygote: call init() on the first line of main, before any thread is started (under \
         `cargo test`, put init_before_main!() into the test's file; in a child that is to start children, on the \
         first line of what it runs)"
    )]
    NotInitialised,
    /// [`init`](crate::process::init) came too late.
    #[error(
        "init() came too late: {threads} other thread(s) are running. It belongs on the first line of main, \
         before an async runtime is built (instead of `#[tokio::main]`, a plain `fn main` that calls init() \
         and then builds the runtime); under `cargo test`, put init_before_main!() into the test's file"
    )]
    InitTooLate {
        /// How many.
        threads: usize,
    },
    /// The process that was to make the child died before it had made it.
    #[error("the {server} {status} before it had made the child. {}", server.what_next())]
    ServerDied {
        /// Which process.
        server: ForkServer,
        /// How it ended.
        status: ExitStatus,
    },
    /// The process that was to make the child didn't, and was given up: killed, if this process may.
    #[error(
        "the {server} had not made the child after {timeout:?} and was given up (LaunchOptions::ready_timeout). \
         {}", server.what_next()
    )]
    ServerStuck {
        /// Which process.
        server: ForkServer,
        /// The time it had.
        timeout: Duration,
    },
    /// The program's state is one that a child of the zygote, or of the template, can't take over.
    #[error(
        "the program has changed its {what} since the zygote (or template) was made, and its children can't \
         take that over{}. Make the zygote afterwards, or don't change it",
        source.as_ref().map(|source| format!(": {source}")).unwrap_or_default()
    )]
    ZygoteStale {
        /// Which part of it.
        what: ProgramState,
        /// Why not; `None` if there is no way to.
        source: Option<io::Error>,
    },
    /// The function to run isn't in the zygote: it was made at run time, or is in a library that the program
    /// loaded after [`init`](crate::process::init).
    #[error(
        "the zygote doesn't have the function to run: it is in a library that was loaded after init(). Load \
         it before"
    )]
    UnknownFunction,
    /// What the child is to work on couldn't be serialised.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// What the child is to work on couldn't be read in the child. Its body didn't run.
    #[error("the child could not read what it is to work on: {message}")]
    Argument {
        /// What its `Deserialize` said.
        message: String,
    },
    /// Ends are given to a zygote's child, which has no closure that captured them.
    #[error(
        "a zygote's child can't be given anything by its options: what it is to have belongs into what it \
         works on (connections, queues, events, locks and memory are serialised along with it)"
    )]
    GivenToZygote,
    /// The object can't be started again.
    #[error("this can't be restarted: {why}")]
    NotRestartable {
        /// What was to be done at its first start.
        why: &'static str,
    },
    /// The child couldn't be looked at while it started; it was killed.
    #[error(transparent)]
    Child(#[from] ChildError),
}

crate::error::debug_is_display!(StartError);

/// Why a child couldn't be waited for or signalled.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The handle is a copy in another process than the child's parent.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// There is no child yet.
    #[error("this has no process yet: start it first")]
    NotStarted,
    /// The kernel refused.
    #[error("could not {step}: {source}")]
    Os {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

crate::error::debug_is_display!(ChildError);

/// Why there is no output of a child.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The body panicked.
    #[error("the child {0}")]
    Panicked(Arc<PanicReport>),
    /// The child ended before its body returned, or closed the descriptor by which it reports.
    #[error("the child delivered no output: it {0}")]
    Died(ExitStatus),
    /// The child couldn't be set up, and its body didn't run. A start that waits for its child
    /// returns this as [`StartError::Setup`](crate::process::StartError::Setup).
    #[error("the child could not be set up ({step:?}): {source}")]
    Setup {
        /// The step.
        step: SetupStep,
        /// Why it failed.
        source: io::Error,
    },
    /// The body returned, but its value couldn't be serialised.
    #[error("the child's output of type {type_name} could not be serialised: {message}")]
    Encode {
        /// The type of the value.
        type_name: String,
        /// What its `Serialize` said.
        message: String,
    },
    /// The body returned, but its value is longer than
    /// [`LaunchOptions::max_output`](crate::process::LaunchOptions::max_output) allows.
    #[error("the child's output has {bytes} bytes, where {max} are allowed (LaunchOptions::max_output)")]
    TooLarge {
        /// The length of its encoding.
        bytes: u64,
        /// What is allowed.
        max: u64,
    },
    /// The body returned, but its value couldn't be sent: outputs of more than 512 bytes need a
    /// descriptor and memory in the child, and count as a file for its limits.
    #[error("the child's output could not be sent: {0}")]
    Undeliverable(#[source] io::Error),
    /// The value isn't of the type that was asked for.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What the child sent is nothing that this library sends.
    #[error("{0}")]
    Garbled(String),
    /// The child has sent something, but the kernel doesn't hand it over, now or later. What is only short at the moment,
    /// descriptors or memory, is [`Wait`](JoinError::Wait): the output waits, and can be asked for again.
    #[error("the child's report could not be received: {0}")]
    Unreceived(#[source] Arc<io::Error>),
    /// The child couldn't be waited for.
    #[error(transparent)]
    Wait(#[from] ChildError),
}

/// Its text, and after a panic the child's backtrace, if there is one.
impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let JoinError::Panicked(report) = self else { return Ok(()) };
        let Some(backtrace) = &report.backtrace else { return Ok(()) };
        write!(f, "\n\nstack backtrace of the child:\n{backtrace}")
    }
}

impl From<WrongProcess> for JoinError {
    fn from(error: WrongProcess) -> JoinError {
        JoinError::Wait(error.into())
    }
}
