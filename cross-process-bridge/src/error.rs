//! Why a call has no result, and whether it ran.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::RemoteError;
use common_ipc::link::{Execution, LinkError};
use common_ipc::process::{ChildError, ExitStatus, PanicReport, Refusal, StartError, WrongProcess};

use crate::manager::ManagerError;
use crate::run::is_nonsense;

/// Why a call through a bridge, a start or a stop has failed. What a method itself returns, an `Err` included, is no
/// matter of this type.
///
/// | error | the bridge afterwards |
/// |---|---|
/// | any error of `start` | isn't started: `start` may be tried again |
/// | `PeerDied`, `Timeout` with a kill, `Broken` unless [`needs_start`](BridgeError::needs_start) is false | has no process: each call is `PeerDied` until `start` makes a new object |
/// | `Panicked`, `Timeout`, `Encode`, `Decode`, `TooLarge`, any other `Broken` | is as usable as before |
/// | `Busy` | is as usable as before, once the stream or the call with a closure is over |
/// | `Reentrant`, `WrongProcess` | isn't this process's |
/// | `InManager`, `Manager` | is one to an object in a manager |
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// There is no process: the bridge wasn't started, or was stopped, or its start has failed.
    #[error("the bridge to {object} isn't started: call start() first")]
    NotStarted {
        /// The type of the object.
        object: &'static str,
    },
    /// No process could be started, or it ended before it had made its object.
    #[error("the bridge could not be started: {}{}", .0, way_out(.0))]
    Start(#[source] Box<StartError>),
    /// The constructor returned an error (or `None`).
    #[error("the constructor {constructor} failed: {error}")]
    Constructor {
        /// Which one.
        constructor: &'static str,
        /// What it said.
        error: RemoteError,
    },
    /// The method, or the constructor, panicked. The object is as the panic left it, and further calls reach it.
    #[error("{method} {report}")]
    Panicked {
        /// Which method.
        method: &'static str,
        /// Message, place and, with `RUST_BACKTRACE`, the stack.
        report: Arc<PanicReport>,
    },
    /// The process had ended, or ended before the reply was there. The object is gone with it.
    #[error("the process of the object {status}; as for the call of {method}, {execution}")]
    PeerDied {
        /// What was called.
        method: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Whether the call was carried out.
        execution: Execution,
    },
    /// No reply came in the time that `with_timeout` gave (see [`Timeout`](crate::Timeout)). A late one is dropped.
    #[error(
        "{method} had not answered after {after:?}; {execution}{}",
        if *.killed { ", and its process was killed" } else { "" }
    )]
    Timeout {
        /// What was called.
        method: &'static str,
        /// The time that it had.
        after: Duration,
        /// `NotRun` if there was no room even to send the call.
        execution: Execution,
        /// Whether the process was killed for it: see [`Timeout::and_kill`](crate::Timeout::and_kill).
        killed: bool,
    },
    /// The arguments, or the result, can't be written as bytes.
    #[error("{method}: a value of type {type_name} can't be serialised: {message}; {execution}")]
    Encode {
        /// What was called.
        method: &'static str,
        /// The value's type.
        type_name: String,
        /// What its `Serialize` said.
        message: String,
        /// `NotRun`: an argument; `Ran`: the result.
        execution: Execution,
    },
    /// The bytes of the arguments, or of the result, can't be read as what they should be.
    #[error("{method}: the bytes received are no value of type {type_name}: {message}; {execution}")]
    Decode {
        /// What was called.
        method: &'static str,
        /// The type that was expected.
        type_name: String,
        /// What the decoder stumbled on.
        message: String,
        /// `NotRun`: an argument; `Ran`: the result.
        execution: Execution,
    },
    /// The arguments, or the result, are longer than the bridge allows.
    #[error(
        "{method}: a message of {length} bytes, where {max} are allowed (BridgeProcess::max_message); {execution}"
    )]
    TooLarge {
        /// What was called.
        method: &'static str,
        /// The length of its encoding in bytes.
        length: u64,
        /// What is allowed.
        max: u64,
        /// `NotRun`: the arguments; `Ran`: the result.
        execution: Execution,
    },
    /// The connection failed, or the process wrote what makes no sense, for which it was killed.
    #[error("the connection to the object's process failed in {method}: {source}; {execution}")]
    Broken {
        /// What was called.
        method: &'static str,
        /// What was wrong.
        source: LinkError,
        /// Whether the call was carried out.
        execution: Execution,
    },
    /// A method of the object, or something that it has started, called the object through its own bridge: that call
    /// could begin only when the method has returned.
    #[error(
        "a call through the bridge to {object} from within its own process: call the object itself, or pass what is \
         needed as an argument"
    )]
    Reentrant {
        /// The type of the object.
        object: &'static str,
    },
    /// The object is occupied, and this call would have to wait for what its caller may have to end first: a stream that
    /// is open, or a method that was lent a closure. (Who makes the call may be that closure.) Read the stream to its end,
    /// or drop it; let the other call return. Then call again.
    #[error("{method} can't be called while the object is occupied by {by}; it wasn't carried out")]
    Busy {
        /// What was called.
        method: &'static str,
        /// The method that returned the stream, or that was lent the closure.
        by: String,
    },
    /// The object is in a [manager](crate::manager): it has no process of its own that could be started or stopped,
    /// nor can one caller occupy it, by a stream or by closures that a method is lent.
    #[error(
        "the object of this bridge to {object} is in a manager, which others share: {operation} needs an object, and a \
         process, of its own (it starts or stops one, or occupies the object, by a stream or a closure, or is async)"
    )]
    InManager {
        /// The type of the object.
        object: &'static str,
        /// What was asked for.
        operation: &'static str,
    },
    /// The manager that has the object can't be reached, or has refused the call.
    #[error(transparent)]
    Manager(Box<ManagerError>),
    /// The bridge belongs to another process.
    #[error(transparent)]
    WrongProcess(#[from] WrongProcess),
    /// The process couldn't be waited for or signalled.
    #[error(transparent)]
    Child(#[from] ChildError),
}

/// Its text: this is what `main` and `unwrap` print.
impl fmt::Debug for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl BridgeError {
    /// Whether the bridge has no process any more (or had none), so that the next thing to do with it is `start`.
    ///
    /// What can be done about an error, in a program that goes on:
    ///
    /// ```
    /// use cross_process_bridge::{BridgeError, Execution, bridge};
    ///
    /// struct Counter(i64);
    ///
    /// #[bridge]
    /// impl Counter {
    ///     fn new() -> Counter {
    ///         Counter(0)
    ///     }
    ///     fn add(&mut self, number: i64) -> i64 {
    ///         self.0 += number;
    ///         self.0
    ///     }
    /// }
    ///
    /// fn add(counter: &CounterBridge, number: i64) -> Result<i64, BridgeError> {
    ///     for _ in 0..3 {
    ///         let error = match counter.add(number) {
    ///             Ok(sum) => return Ok(sum),
    ///             Err(error) => error,
    ///         };
    ///         if error.needs_start() {
    ///             counter.start()?; // a new object: what the old one knew is gone
    ///         }
    ///         if error.execution() != Execution::NotRun {
    ///             return Err(error); // only the program knows whether it may be done twice
    ///         }
    ///     }
    ///     counter.add(number)
    /// }
    ///
    /// let counter = CounterBridge::new();
    /// assert_eq!(add(&counter, 3)?, 3); // wasn't started
    /// counter.process().kill()?;
    /// assert_eq!(add(&counter, 4)?, 4); // had been killed
    /// # Ok::<(), BridgeError>(())
    /// ```
    #[must_use]
    pub fn needs_start(&self) -> bool {
        match self {
            BridgeError::NotStarted { .. }
            | BridgeError::Start(_)
            | BridgeError::Constructor { .. }
            | BridgeError::PeerDied { .. } => true,
            BridgeError::Timeout { killed, .. } => *killed,
            BridgeError::Broken { execution, source, .. } => {
                *execution != Execution::NotRun || is_nonsense(source)
            }
            _ => false,
        }
    }

    /// Whether the call was carried out. When [`Unknown`](Execution::Unknown) comes of a [`Timeout`](BridgeError::Timeout)
    /// without a kill, or of a dropped future, it may yet be; once a later call of the same object has returned, it was or
    /// never will be.
    #[must_use]
    pub fn execution(&self) -> Execution {
        match self {
            BridgeError::PeerDied { execution, .. }
            | BridgeError::Timeout { execution, .. }
            | BridgeError::Encode { execution, .. }
            | BridgeError::Decode { execution, .. }
            | BridgeError::TooLarge { execution, .. }
            | BridgeError::Broken { execution, .. } => *execution,
            BridgeError::Manager(error) => error.execution(),
            BridgeError::Panicked { .. } | BridgeError::Constructor { .. } => Execution::Ran,
            BridgeError::NotStarted { .. }
            | BridgeError::Start(_)
            | BridgeError::Busy { .. }
            | BridgeError::Reentrant { .. }
            | BridgeError::InManager { .. }
            | BridgeError::WrongProcess(_)
            | BridgeError::Child(_) => Execution::NotRun,
        }
    }

    /// Of a method that had been begun before what failed now.
    pub(crate) fn begun(mut self) -> BridgeError {
        if let BridgeError::PeerDied { execution, .. }
        | BridgeError::Timeout { execution, .. }
        | BridgeError::Broken { execution, .. } = &mut self
        {
            if *execution == Execution::NotRun {
                *execution = Execution::Unknown;
            }
        }
        self
    }
}

/// What a bridge can do that other things that are started can't.
fn way_out(error: &StartError) -> &'static str {
    match error {
        StartError::Refused(Refusal::OtherThreads { .. }) => {
            ". For a bridge: process().launch_in(&Zygote::global()), or process().launch_from_template() before there \
             are threads"
        }
        _ => "",
    }
}

impl From<StartError> for BridgeError {
    fn from(error: StartError) -> BridgeError {
        match error {
            StartError::WrongProcess(error) => error.into(),
            error => BridgeError::Start(Box::new(error)),
        }
    }
}
