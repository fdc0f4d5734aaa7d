//! Why an operation on a shared object has failed.

use std::fmt;
use std::time::Duration;

use common_ipc::link::{CallError, ConnectError, Execution, LinkError};
use common_ipc::process::{ExitStatus, Refusal, StartError, WrongProcess};

use crate::error::BridgeError;

/// Why an operation on a shared object has failed. [`execution`](ManagerError::execution) says whether it was carried
/// out.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager's process has ended, or was stopped, and all that it held is gone: make a new manager and new objects.
    #[error("the manager's process {}; as for {operation}, {execution}", Ended(status))]
    Gone {
        /// What was asked for.
        operation: &'static str,
        /// How it ended, where this process can know: the program that started it, or, on Linux 6.15, any that asks when the
        /// program has collected it, a moment later.
        status: Option<ExitStatus>,
        /// Whether it was carried out.
        execution: Execution,
    },
    /// The manager, which lives, has no place for one more client (see
    /// [`max_clients`](crate::manager::ManagerBuilder::max_clients)), has closed this process's connection, or somebody
    /// who has the connector has closed the door to new ones. A later try may work.
    #[error("the manager has refused or closed this process's connection; as for {operation}, {execution}")]
    Refused {
        /// What was asked for.
        operation: &'static str,
        /// Whether it was carried out.
        execution: Execution,
    },
    /// It took longer than it may.
    #[error("{operation} had not succeeded after {after:?}; {execution}")]
    Timeout {
        /// What was asked for.
        operation: &'static str,
        /// The time that it had.
        after: Duration,
        /// `NotRun`, where the manager has said so or was never asked: it won't be carried out.
        execution: Execution,
    },
    /// The object was deleted, or never was one of this manager's.
    #[error("{operation}: the shared object was deleted")]
    Deleted {
        /// What was asked for.
        operation: &'static str,
    },
    /// The object is of another kind than the proxy says.
    #[error("{operation}: the shared object is of another kind, a {is}")]
    WrongKind {
        /// What was asked for.
        operation: &'static str,
        /// What it is.
        is: String,
    },
    /// The manager holds as much as it may: see [`max_memory`](crate::manager::ManagerBuilder::max_memory).
    #[error("{operation}: the manager is full, it may keep {max} bytes")]
    Full {
        /// What was asked for.
        operation: &'static str,
        /// What it may keep.
        max: u64,
    },
    /// So many threads of this process wait for something in the manager already: 4,096.
    #[error("{operation}: {max} threads of this process wait in the manager already")]
    TooManyWaits {
        /// What was asked for.
        operation: &'static str,
        /// How many may.
        max: u64,
    },
    /// The calls that wait for the object of a bridge have so many descriptors with them, together with this one, or this
    /// one alone.
    #[error("{operation}: the calls that wait for the object have more than {max} descriptors with them")]
    TooManyDescriptors {
        /// What was asked for.
        operation: &'static str,
        /// How many may.
        max: u64,
    },
    /// There is no such place in the list.
    #[error("{operation}: there is no place {index} in a list of {length}")]
    OutOfRange {
        /// What was asked for.
        operation: &'static str,
        /// The place.
        index: u64,
        /// How long the list is.
        length: u64,
    },
    /// The value can't be written as bytes.
    #[error("{operation}: a value of type {type_name} can't be serialised: {message}")]
    Encode {
        /// What was asked for.
        operation: &'static str,
        /// The value's type.
        type_name: String,
        /// What its `Serialize` said.
        message: String,
    },
    /// What the manager keeps is no value of the proxy's type: somebody has put another one there.
    #[error("{operation}: what the manager has is no value of type {type_name}: {message}; {execution}")]
    Decode {
        /// What was asked for.
        operation: &'static str,
        /// The type that was expected.
        type_name: String,
        /// What the decoder stumbled on.
        message: String,
        /// Whether it was carried out.
        execution: Execution,
    },
    /// The value is longer than a message may be: see [`max_message`](crate::manager::ManagerBuilder::max_message).
    #[error("{operation}: a message of {length} bytes, where {max} are allowed")]
    TooLarge {
        /// What was asked for.
        operation: &'static str,
        /// The length of its encoding in bytes.
        length: u64,
        /// What is allowed.
        max: u64,
    },
    /// This process couldn't make its connection, or use it.
    #[error("{operation}: the connection to the manager has failed: {source}; {execution}")]
    Connection {
        /// What was asked for.
        operation: &'static str,
        /// What was wrong.
        source: LinkError,
        /// Whether it was carried out.
        execution: Execution,
    },
    /// The manager itself, unlike its proxies, belongs to the process that started it.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The manager's process couldn't be started.
    #[error("the manager's process could not be started: {}{}", .0, way_out(.0))]
    Start(#[source] Box<StartError>),
    /// The manager couldn't be made to share a bridge's object, or be stopped.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
}

/// What to do about it.
fn way_out(error: &StartError) -> &'static str {
    match error {
        StartError::Refused(Refusal::OtherThreads { .. }) => {
            ". For a manager: Manager::builder().start_in(&Zygote::global()), or .template() before there are threads"
        }
        _ => "",
    }
}

impl From<StartError> for ManagerError {
    fn from(error: StartError) -> ManagerError {
        match error {
            StartError::WrongProcess(error) => error.into(),
            error => ManagerError::Start(Box::new(error)),
        }
    }
}

/// Its text: this is what `main` and `unwrap` print.
impl fmt::Debug for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Ended<'a>(&'a Option<ExitStatus>);

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => status.fmt(f),
            None => f.write_str("has ended"),
        }
    }
}

impl ManagerError {
    /// Whether the operation was carried out.
    #[must_use]
    pub fn execution(&self) -> Execution {
        match self {
            ManagerError::Gone { execution, .. }
            | ManagerError::Refused { execution, .. }
            | ManagerError::Timeout { execution, .. }
            | ManagerError::Decode { execution, .. }
            | ManagerError::Connection { execution, .. } => *execution,
            ManagerError::Bridge(error) => error.execution(),
            ManagerError::Deleted { .. }
            | ManagerError::WrongKind { .. }
            | ManagerError::Full { .. }
            | ManagerError::TooManyWaits { .. }
            | ManagerError::TooManyDescriptors { .. }
            | ManagerError::OutOfRange { .. }
            | ManagerError::Start(_)
            | ManagerError::Encode { .. }
            | ManagerError::TooLarge { .. }
            | ManagerError::WrongProcess(_) => Execution::NotRun,
        }
    }

    /// Whether the manager is gone for good, and with it all that it held.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, ManagerError::Gone { .. })
    }
}

/// What is known of the other side when a call has failed.
pub(crate) enum Peer {
    Lives,
    Ended(Option<ExitStatus>),
}

/// Why there is no connection.
pub(crate) fn unconnected(
    operation: &'static str,
    error: ConnectError,
    timeout: Option<Duration>,
    peer: impl FnOnce() -> Peer,
) -> ManagerError {
    let execution = Execution::NotRun;
    match error {
        ConnectError::TimedOut => {
            ManagerError::Timeout { operation, after: timeout.unwrap_or_default(), execution }
        }
        ConnectError::Link(source) => ManagerError::Connection { operation, source, execution },
        // One that closed the door is about to end.
        _ => match peer() {
            Peer::Ended(status) => ManagerError::Gone { operation, status, execution },
            Peer::Lives => ManagerError::Refused { operation, execution },
        },
    }
}

/// Why a call was not carried through.
pub(crate) fn failed(
    operation: &'static str,
    error: CallError,
    timeout: Option<Duration>,
    peer: impl FnOnce() -> Peer,
) -> ManagerError {
    let execution = error.execution();
    match error.cause {
        LinkError::NoReply | LinkError::TimedOut => {
            ManagerError::Timeout { operation, after: timeout.unwrap_or_default(), execution }
        }
        LinkError::Encode(error) => {
            let (type_name, message) = (error.type_name.to_owned(), error.message);
            ManagerError::Encode { operation, type_name, message }
        }
        LinkError::TooLarge(error) if execution == Execution::NotRun => {
            ManagerError::TooLarge { operation, length: error.length as u64, max: error.max as u64 }
        }
        LinkError::Closed | LinkError::Truncated => match peer() {
            Peer::Ended(status) => ManagerError::Gone { operation, status, execution },
            Peer::Lives => ManagerError::Refused { operation, execution },
        },
        source => ManagerError::Connection { operation, source, execution },
    }
}
