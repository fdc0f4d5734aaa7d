//! What the child answers: the result of a method, or why there is none.

use std::sync::Arc;
use std::time::Duration;

use common_ipc::RemoteError;
use common_ipc::link::codec::DecodeError;
use common_ipc::link::{Execution, LinkError, OpenReply, OpenResponder, ReplyError};
use common_ipc::process::PanicReport;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::crosses::Crosses;
use crate::error::BridgeError;

/// The kinds of replies: what follows is the result, or a [`Failure`].
pub(crate) const RESULT: u32 = 0;
pub(crate) const FAILURE: u32 = 1;
/// What follows is what a method has returned beside its items, and those can be asked for.
pub(crate) const OPENED: u32 = 2;
/// A closure is to be called: the first one by this number, the next one by the next one. What follows are its
/// arguments.
pub(crate) const CLOSURES: u32 = 16;

/// How long an object in a manager waits for a client that has many long results to read: what that doesn't read
/// within this time ends its connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no result.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The constructor returned this.
    Constructor(RemoteError),
    /// The method or the constructor panicked.
    Panicked(PanicReport),
    /// The arguments can't be read; the method wasn't called.
    Arguments { type_name: String, message: String },
    /// The result can't be written.
    Result { type_name: String, message: String },
    /// The result is too long.
    TooLarge { length: u64, max: u64 },
    /// There is no such method.
    Unknown,
    /// A call of this method occupies the object.
    Busy { by: String },
}

/// Answers a call, once.
#[derive(Debug, Default)]
pub(crate) struct Answer(Option<OpenResponder>);

impl Answer {
    /// Of a call that isn't known yet.
    pub(crate) const NONE: Answer = Answer(None);

    pub(crate) fn of(responder: OpenResponder) -> Answer {
        Answer(Some(responder))
    }

    /// With a result; if that can't be sent, with the reason.
    pub(crate) fn result<R: Crosses>(&mut self, result: &R) {
        self.kind(RESULT, result);
    }

    /// With a value of this kind, and whether it is sent: if it can't be, the reason is.
    pub(crate) fn kind<R: Crosses>(&mut self, kind: u32, result: &R) -> bool {
        let Some(responder) = self.0.take() else { return false };
        let Err(ReplyError { cause, responder, .. }) = responder.reply_beside::<R, _>(kind, result, PATIENCE)
        else {
            return true;
        };
        let failure = match cause {
            LinkError::Encode(error) => {
                Failure::Result { type_name: error.type_name.to_owned(), message: error.message }
            }
            LinkError::TooLarge(error) => {
                Failure::TooLarge { length: error.length as u64, max: error.max as u64 }
            }
            // Nobody is there to be told.
            LinkError::Closed => return false,
            // It may be that what is shorter, or takes no descriptors along, can be sent.
            error => {
                let type_name = std::any::type_name::<R>().to_owned();
                Failure::Result { type_name, message: error.to_string() }
            }
        };
        self.0 = Some(responder);
        self.failure(failure);
        false
    }

    /// What answers, if nobody has.
    pub(crate) fn take(&mut self) -> Option<OpenResponder> {
        self.0.take()
    }

    /// With the reason why there is no result.
    pub(crate) fn failure(&mut self, mut failure: Failure) {
        let Some(responder) = self.0.take() else { return };
        let replied = responder.reply_beside::<Failure, _>(FAILURE, &failure, PATIENCE);
        if let Err(ReplyError { cause: LinkError::TooLarge(_), responder, .. }) = replied {
            failure.shorten();
            // Should this fail, too, nobody is there to be told.
            let _ = responder.reply::<Failure, _>(FAILURE, &failure);
        }
    }
}

/// In the caller: the result of a method, or its failure.
pub(crate) fn read<R: DeserializeOwned>(
    method: &'static str,
    reply: OpenReply<'_>,
) -> Result<R, BridgeError> {
    let unreadable = |error| unreadable(method, error);
    match reply.kind() {
        RESULT | OPENED => reply.decode().map_err(unreadable),
        FAILURE => Err(reply.decode::<Failure>().map_or_else(unreadable, |failure| failure.of(method))),
        kind => Err(BridgeError::Decode {
            method,
            type_name: "the kinds of replies".to_owned(),
            message: format!("there is no kind {kind}"),
            execution: Execution::Ran,
        }),
    }
}

/// What came isn't what it should be.
pub(crate) fn unreadable(method: &'static str, error: DecodeError) -> BridgeError {
    let (type_name, message) = (error.type_name.to_owned(), error.message);
    BridgeError::Decode { method, type_name, message, execution: Execution::Ran }
}

impl Failure {
    /// Without the texts, which may be of any length.
    pub(crate) fn shorten(&mut self) {
        let text = "(a message too long to be sent)";
        match self {
            Failure::Constructor(error) => *error = RemoteError::msg(text),
            Failure::Panicked(report) => {
                report.message = text.to_owned();
                report.backtrace = None;
            }
            Failure::Arguments { message, .. } | Failure::Result { message, .. } => {
                *message = text.to_owned()
            }
            Failure::TooLarge { .. } | Failure::Unknown | Failure::Busy { .. } => {}
        }
    }

    /// As the caller's error.
    pub(crate) fn of(self, method: &'static str) -> BridgeError {
        match self {
            Failure::Constructor(error) => BridgeError::Constructor { constructor: method, error },
            Failure::Panicked(report) => BridgeError::Panicked { method, report: Arc::new(report) },
            Failure::Arguments { type_name, message } => {
                BridgeError::Decode { method, type_name, message, execution: Execution::NotRun }
            }
            Failure::Result { type_name, message } => {
                BridgeError::Encode { method, type_name, message, execution: Execution::Ran }
            }
            Failure::TooLarge { length, max } => {
                BridgeError::TooLarge { method, length, max, execution: Execution::Ran }
            }
            Failure::Busy { by } => BridgeError::Busy { method, by },
            Failure::Unknown => BridgeError::Decode {
                method,
                type_name: "the calls that it knows".to_owned(),
                message: "there is no such method".to_owned(),
                execution: Execution::NotRun,
            },
        }
    }
}
