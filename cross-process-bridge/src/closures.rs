//! In the caller: a call whose method was lent closures, which it has called here while it runs.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use common_ipc::link::codec::{self, EncodeError};
use common_ipc::link::{Bytes, Execution, OpenReply};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crosses::Crosses;
use crate::error::BridgeError;
use crate::handle::Handle;
use crate::lent::Resumed;
use crate::method::{self, Method};
use crate::reply::{self, CLOSURES};

/// A closure is to be called.
#[derive(Debug)]
pub struct Asked<'a> {
    reply: OpenReply<'a>,
    method: &'static str,
}

/// What became of that.
#[derive(Debug)]
pub struct Outcome(Became);

#[derive(Debug)]
enum Became {
    Returned(Bytes),
    Panicked(Box<dyn Any + Send>),
    Failed(BridgeError),
}

impl Asked<'_> {
    /// Calls it, with what came.
    pub fn call<W: DeserializeOwned, R: Crosses>(self, closure: impl FnOnce(W) -> R) -> Outcome {
        let method = self.method;
        Outcome(match self.reply.decode::<W>() {
            Err(error) => Became::Failed(reply::unreadable(method, error)),
            Ok(arguments) => match catch_unwind(AssertUnwindSafe(|| closure(arguments))) {
                Ok(result) => match codec::encode_checked(&result) {
                    Ok(bytes) => Became::Returned(bytes.into()),
                    Err(error) => Became::Failed(unwritable(method, error)),
                },
                Err(payload) => Became::Panicked(payload),
            },
        })
    }

    /// There is no such closure.
    #[must_use]
    pub fn unknown(self) -> Outcome {
        Outcome(Became::Failed(BridgeError::Decode {
            method: self.method,
            type_name: "the closures that it was lent".to_owned(),
            message: "there is no such closure".to_owned(),
            execution: Execution::Ran,
        }))
    }
}

fn unwritable(method: &'static str, error: EncodeError) -> BridgeError {
    BridgeError::Encode {
        method,
        type_name: error.type_name.to_owned(),
        message: error.message,
        execution: Execution::Ran,
    }
}

/// One message of such a call.
pub(crate) enum Step<R> {
    Ended(Result<R, BridgeError>),
    Asked(Outcome),
}

impl<R: Crosses> Step<R> {
    /// Of a reply. A closure is called in here.
    pub(crate) fn of(
        method: Method,
        reply: OpenReply<'_>,
        closures: &mut impl FnMut(u32, Asked<'_>) -> Outcome,
    ) -> Step<R> {
        match reply.kind().checked_sub(CLOSURES) {
            Some(closure) => Step::Asked(closures(closure, Asked { reply, method: method.name })),
            None => Step::Ended(reply::read(method.name, reply)),
        }
    }
}

/// What is known of a call in whose midst closures were called.
pub(crate) struct Progress {
    deadline: Option<Instant>,
    has_begun: bool,
    panic: Option<Box<dyn Any + Send>>,
    failure: Option<BridgeError>,
}

impl Progress {
    pub(crate) fn new(time: Option<Duration>) -> Progress {
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        Progress { deadline, has_begun: false, panic: None, failure: None }
    }

    /// How much there is left of the time for the whole call.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// What the process is told. The first thing that went wrong is what the call ends with.
    pub(crate) fn resume(&mut self, outcome: Outcome) -> Resumed {
        self.has_begun = true;
        match outcome.0 {
            Became::Returned(bytes) => Resumed::Value(bytes),
            Became::Panicked(payload) => {
                self.panic.get_or_insert(payload);
                Resumed::Panicked
            }
            Became::Failed(error) => {
                let why = error.to_string();
                self.failure.get_or_insert(error);
                Resumed::Failed(why)
            }
        }
    }

    /// Of an error that the connection has, or the process.
    pub(crate) fn lost(&self, error: BridgeError) -> BridgeError {
        if self.has_begun { error.begun() } else { error }
    }

    /// The call has come to its end, by whatever. A panic of a closure goes on.
    pub(crate) fn end<R>(self, result: Result<R, BridgeError>) -> Result<R, BridgeError> {
        if let Some(payload) = self.panic {
            resume_unwind(payload);
        }
        match (result, self.failure) {
            (Ok(_) | Err(BridgeError::Panicked { .. }), Some(failure)) => Err(failure),
            (result, _) => result,
        }
    }
}

impl Handle {
    /// As [`call`](Handle::call), of a method that is lent closures. `closures` calls the one of the number that it is
    /// given.
    pub fn call_with<W, A, R>(
        &self,
        method: Method,
        arguments: &A,
        mut closures: impl FnMut(u32, Asked<'_>) -> Outcome,
    ) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        let run = self.run(method)?;
        let occupied = run.occupy(method)?;
        let mut progress = Progress::new(self.time());
        let mut read = |came: OpenReply<'_>| Step::of(method, came, &mut closures);
        let request = (occupied.number, arguments);
        let mut step = run.caller.call::<(u64, W), _, _>(method.id, &request, self.time(), &mut read);
        let result = loop {
            match step {
                Ok(Step::Asked(outcome)) => {
                    let resumed = (occupied.number, progress.resume(outcome));
                    let left = progress.left();
                    step = run.caller.call::<(u64, Resumed), _, _>(method::RESUME, &resumed, left, &mut read);
                }
                Ok(Step::Ended(result)) => {
                    occupied.over();
                    break result;
                }
                Err(error) => {
                    let error = progress.lost(self.explain(&run, method, error));
                    drop(occupied);
                    break Err(error);
                }
            }
        };
        progress.end(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{Answer, FAILURE, Failure};
    use common_ipc::link::{DEFAULT_MAX_FRAME, open_calls};

    const METHOD: Method = Method::new(0, 0, "Numbers::visit");

    /// What a caller makes of such a reply, when its closure doubles numbers.
    fn step(kind: u32, value: u64) -> Step<u64> {
        let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut buffer = Vec::new();
                let responder = server.recv(&mut buffer).unwrap().responder();
                let _ = Answer::of(responder).kind(kind, &(value,));
            });
            let mut closures = |number, asked: Asked<'_>| match number {
                0 => asked.call::<(u64,), u64>(|(number,)| number * 2),
                1 => asked.call::<(String,), u64>(|_| unreachable!()),
                2 => asked.call::<(u64,), u64>(|_| panic!("{number}")),
                _ => asked.unknown(),
            };
            let read = |reply: OpenReply<'_>| Step::of(METHOD, reply, &mut closures);
            caller.call::<(), _, _>(1, &(), None, read).unwrap()
        })
    }

    fn resumed(kind: u32) -> (Resumed, Result<u64, BridgeError>) {
        let Step::Asked(outcome) = step(CLOSURES + kind, 21) else { panic!("it ended") };
        let mut progress = Progress::new(None);
        let resumed = progress.resume(outcome);
        (resumed, if progress.panic.is_some() { Ok(1) } else { progress.end(Ok(0)) })
    }

    #[test]
    fn a_closure_is_called_with_what_came() {
        let (Resumed::Value(bytes), Ok(0)) = resumed(0) else { panic!("it failed") };
        assert_eq!(codec::decode::<u64>(&bytes), Ok(42));
        assert!(matches!(resumed(2), (Resumed::Panicked, Ok(1))));
    }

    #[test]
    fn what_makes_no_sense_is_an_error_of_the_call() {
        for kind in [1, 3, u32::MAX - CLOSURES] {
            let (Resumed::Failed(_), Err(error)) = resumed(kind) else { panic!("it was called") };
            assert!(matches!(error, BridgeError::Decode { execution: Execution::Ran, .. }), "{error}");
        }
        for kind in [FAILURE, 3, 15] {
            let Step::Ended(Err(error)) = step(kind, 1 << 40) else { panic!("it went on") };
            assert!(matches!(error, BridgeError::Decode { .. }), "{error}");
        }
        assert!(matches!(step(0, 7), Step::Ended(Ok(7))));
        assert!(matches!(Failure::Unknown.of("f"), BridgeError::Decode { execution: Execution::NotRun, .. }));
    }
}
