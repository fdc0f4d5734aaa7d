//! Functions that a process of this program's carries out for the one that has started it, while it runs.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::codec;
use crate::link::{
    CallError, CallProgress, KeptRequest, LinkError, OpenCaller, OpenRequest, OpenServer, open_calls,
};
use crate::ownership::give::{Give, Giver, private};
use crate::process::panic_report::PanicReport;
use crate::process::portable::Portable;
use crate::sys::function::{self, Modules};

/// The side that asks. It stays where it was made: what a function is called by is a number, which nobody else is to
/// choose.
#[doc(hidden)]
#[derive(Debug)]
pub struct Errands {
    caller: OpenCaller,
    /// The code that both sides have.
    modules: Modules,
}

/// The side that carries them out: one after another, on the thread that calls [`serve`](Performer::serve). It moves by
/// being given at a start, or as (a part of) the argument of one.
#[doc(hidden)]
#[derive(Debug)]
pub struct Performer(OpenServer);

/// Both sides of errands, whose arguments and outputs have up to so many bytes.
///
/// # Errors
///
/// No descriptors or no memory left.
#[doc(hidden)]
pub fn errands(max_frame: usize) -> io::Result<(Errands, Performer)> {
    let (caller, server) = open_calls(max_frame)?;
    Ok((Errands { caller, modules: Modules::loaded() }, Performer(server)))
}

/// Decodes the argument, calls the function, and replies.
type Thunk = fn(function: usize, request: OpenRequest<'_>);

const OUTPUT: u32 = 0;
const FAILURE: u32 = 1;

impl Errands {
    /// Has the other side call a plain function.
    ///
    /// # Errors
    ///
    /// As for [`OpenCaller::call`]; what the function's own panic, or its output's `Serialize`, says is
    /// [`LinkError::Io`].
    pub fn run<A, O>(&self, run: fn(A) -> O, argument: &A, timeout: Option<Duration>) -> Result<O, CallError>
    where
        A: Portable,
        O: Serialize + DeserializeOwned,
    {
        let failed = |progress, text: String| CallError { cause: io::Error::other(text).into(), progress };
        let (thunk, run) = (function::address(perform::<A, O> as Thunk), function::address(run));
        if !self.modules.had([thunk, run]) {
            let text = "the function belongs to a library that was loaded after the process was started";
            return Err(failed(CallProgress::NotSent, text.to_owned()));
        }
        let argument = (thunk as u64, run as u64, argument);
        let read = |reply: crate::link::OpenReply<'_>| match reply.kind() {
            OUTPUT => reply.decode::<O>().map_err(|error| error.to_string()),
            _ => Err(reply.decode::<String>().unwrap_or_else(|error| error.to_string())),
        };
        let output = self.caller.call::<(u64, u64, A), _, _>(0, &argument, timeout, read)?;
        output.map_err(|text| failed(CallProgress::Taken, text))
    }

    /// The caller below it.
    #[must_use]
    pub fn caller(&self) -> &OpenCaller {
        &self.caller
    }
}

const NUMBERS: usize = 2 * size_of::<u64>();

fn perform<A: Portable, O: Serialize + DeserializeOwned>(run: usize, request: OpenRequest<'_>) {
    let (argument, responder) = request.decode::<A>();
    let output = match argument {
        // `Errands::run` made it a number, and named these types.
        Ok(argument) => PanicReport::catch(|| function::at::<fn(A) -> O>(run)(argument)),
        Err(error) => {
            let _ = responder.reply::<String, _>(FAILURE, &error.to_string());
            return;
        }
    };
    let replied = match output {
        Ok(output) => responder.reply::<O, _>(OUTPUT, &output),
        Err(report) => responder.reply::<String, _>(FAILURE, &format!("it {report}")),
    };
    if let Err(error) = replied {
        // Should this fail, too, nobody is there to be told.
        let _ = error.responder.reply::<String, _>(FAILURE, &error.cause.to_string());
    }
}

impl Performer {
    /// Carries out what is asked for, until `is_done` after one of them, or the other side is gone.
    ///
    /// # Errors
    ///
    /// As for [`OpenServer::recv`], but for the end.
    pub fn serve(&self, is_done: impl Fn() -> bool) -> Result<(), LinkError> {
        let modules = Modules::loaded();
        let (mut buffer, mut kept) = (Vec::new(), Vec::new());
        while !is_done() {
            let request = match self.0.recv(&mut buffer) {
                Err(LinkError::Closed) => break,
                request => request?,
            };
            let Some((numbers, request)) = request.keep_after(NUMBERS) else { continue };
            let Ok((thunk, run)) = codec::decode::<(u64, u64)>(&numbers) else { continue };
            let (thunk, run) = (thunk as usize, run as usize);
            let request = KeptRequest::lend(request, &mut kept);
            if modules.had([thunk, run]) {
                function::at::<Thunk>(thunk)(run, request);
            } else {
                let text = "the function belongs to a library that isn't loaded here";
                let _ = request.responder().reply::<String, _>(FAILURE, text);
            }
        }
        Ok(())
    }
}

thread_local! {
    static READS_ARGUMENT: Cell<bool> = const { Cell::new(false) };
}

/// Reads what a process is started with, which comes from the one that starts it.
pub(crate) fn reading_argument<R>(read: impl FnOnce() -> R) -> R {
    // Dropped by a panic, too.
    let _before = Before(READS_ARGUMENT.replace(true));
    read()
}

/// What was so before.
struct Before(bool);

impl Drop for Before {
    fn drop(&mut self) {
        READS_ARGUMENT.set(self.0);
    }
}

impl private::Sealed for Performer {}

impl Give for Performer {
    fn list(&self, giver: &mut Giver<'_>) {
        self.0.list(giver);
    }
}

impl Serialize for Performer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// From the process that starts this one alone: whoever sends this decides what is called.
impl<'de> Deserialize<'de> for Performer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Performer, D::Error> {
        if !READS_ARGUMENT.get() {
            return Err(D::Error::custom("it goes to a process at its start alone"));
        }
        OpenServer::deserialize(deserializer).map(Performer)
    }
}
