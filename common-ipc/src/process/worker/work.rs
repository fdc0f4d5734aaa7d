//! A job: a function of the program's, and its argument.

use std::any::{Any, type_name};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::LinkError;
use crate::link::codec;
use crate::link::connection::scratch;
use crate::link::jobs::{Answer, Job, Parcel};
use crate::process::panic_report::{PanicReport, cut};
use crate::process::portable::Portable;
use crate::process::worker::kind;
use crate::process::worker::reply::{Each, WorkFailure};
use crate::sys::function;

/// What a [`Worker`](crate::process::Worker) is to do: a function, and an argument that is encoded already. It can be sent
/// to one worker after another, until one has done it.
///
/// The function is a plain one, or a closure that captures nothing. It is called by its address, in a process that has the
/// program's code.
#[derive(Debug)]
pub struct Work {
    pub(super) parcel: Parcel,
}

/// Decodes the argument of a job, calls the function, and replies.
pub(super) type JobThunk = fn(function: usize, state: &mut dyn Any, job: Job<'_>);

impl Work {
    /// A call of `function` with this argument, of up to `max` bytes.
    ///
    /// # Errors
    ///
    /// [`LinkError::Encode`]; [`LinkError::TooLarge`]; [`LinkError::Io`] if there is no memory for a long one.
    pub fn call<A, R>(function: fn(A) -> R, argument: &A, max: usize) -> Result<Work, LinkError>
    where
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        let thunk: JobThunk = call::<A, R>;
        Work::pack::<A, A>(thunk, function::address(function), argument, max)
    }

    /// A call of `function` with the state of the worker that does it, and this argument.
    ///
    /// # Errors
    ///
    /// As for [`call`](Work::call).
    pub fn call_with<S, A, R>(
        function: fn(&mut S, A) -> R,
        argument: &A,
        max: usize,
    ) -> Result<Work, LinkError>
    where
        S: 'static,
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        let thunk: JobThunk = call_with::<S, A, R>;
        Work::pack::<A, A>(thunk, function::address(function), argument, max)
    }

    /// A call of `function` with each of these items, one after another. The reply is an [`Each`]: an item that panics, or
    /// whose result can't be written, has its error, and the others have their results.
    ///
    /// # Errors
    ///
    /// As for [`call`](Work::call).
    pub fn each<A, R>(function: fn(A) -> R, items: &[A], max: usize) -> Result<Work, LinkError>
    where
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        let thunk: JobThunk = each::<A, R>;
        Work::pack::<Vec<A>, [A]>(thunk, function::address(function), items, max)
    }

    /// As [`each`](Work::each), with the state of the worker.
    ///
    /// # Errors
    ///
    /// As for [`call`](Work::call).
    pub fn each_with<S, A, R>(
        function: fn(&mut S, A) -> R,
        items: &[A],
        max: usize,
    ) -> Result<Work, LinkError>
    where
        S: 'static,
        A: Portable,
        R: Serialize + DeserializeOwned,
    {
        let thunk: JobThunk = each_with::<S, A, R>;
        Work::pack::<Vec<A>, [A]>(thunk, function::address(function), items, max)
    }

    fn pack<A, T>(thunk: JobThunk, function: usize, argument: &T, max: usize) -> Result<Work, LinkError>
    where
        A: DeserializeOwned,
        T: Serialize + ?Sized,
    {
        Ok(Work { parcel: Parcel::pack::<A, T>([function::address(thunk), function], argument, max)? })
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.parcel.size()
    }

    /// Whether something goes with it that belongs to one process, such as an end of a connection: once sent, it can't be
    /// sent to another worker.
    #[must_use]
    pub fn moves_something(&self) -> bool {
        self.parcel.moves_something()
    }

    /// Whether it can be sent, or sent again: not if something went with it that belongs to one process, such as an end
    /// of a connection.
    #[must_use]
    pub fn can_be_sent(&self) -> bool {
        self.parcel.is_whole()
    }
}

// The functions below are reached by their addresses, each together with that of the function for which it was made above:
// so the types are the same.

fn call<A: Portable, R: Serialize + DeserializeOwned>(function: usize, _: &mut dyn Any, job: Job<'_>) {
    run(job, |argument| function::at::<fn(A) -> R>(function)(argument));
}

fn call_with<S, A, R>(function: usize, state: &mut dyn Any, job: Job<'_>)
where
    S: 'static,
    A: Portable,
    R: Serialize + DeserializeOwned,
{
    let Some(state) = state.downcast_mut::<S>() else {
        return fail(job.decode::<A>().1, WorkFailure::OtherState);
    };
    run(job, |argument| function::at::<fn(&mut S, A) -> R>(function)(state, argument));
}

fn each<A: Portable, R: Serialize + DeserializeOwned>(function: usize, _: &mut dyn Any, job: Job<'_>) {
    run_each(job, |item| function::at::<fn(A) -> R>(function)(item));
}

fn each_with<S, A, R>(function: usize, state: &mut dyn Any, job: Job<'_>)
where
    S: 'static,
    A: Portable,
    R: Serialize + DeserializeOwned,
{
    let Some(state) = state.downcast_mut::<S>() else {
        return fail(job.decode::<Vec<A>>().1, WorkFailure::OtherState);
    };
    run_each(job, |item| function::at::<fn(&mut S, A) -> R>(function)(state, item));
}

fn run<A: Portable, R: Serialize + DeserializeOwned>(job: Job<'_>, call: impl FnOnce(A) -> R) {
    let Some((argument, answer)) = read(job) else { return };
    let mut answered = false;
    let run = || {
        let result = call(argument);
        answered = true;
        if let Err(failure) = send::<R>(answer, &result) {
            fail(answer, failure);
        }
    };
    match PanicReport::catch(run) {
        Err(report) if !answered => fail(answer, WorkFailure::Panicked(report)),
        // The result was sent; what its drop does is nobody's business.
        _ => {}
    }
}

fn run_each<A: Portable, R: Serialize + DeserializeOwned>(job: Job<'_>, mut call: impl FnMut(A) -> R) {
    job.answer().is_at(0);
    let Some((items, answer)) = read::<Vec<A>>(job) else { return };
    let begin = Instant::now();
    let results = items.into_iter().enumerate().map(|(place, item)| {
        answer.is_at(place as u32);
        PanicReport::catch(|| call(item)).map_err(WorkFailure::Panicked)
    });
    let results = results.collect();
    let mut each = Each { results, nanos: begin.elapsed().as_nanos() as u64 };
    let Err(failure) = send::<Each<R>>(answer, &each) else { return };
    if !matches!(failure, WorkFailure::Result { .. }) {
        return fail(answer, failure);
    }
    // Which of them was it?
    for result in &mut each.results {
        let written = |result: &R| scratch::with(|bytes| codec::encode_message(result, bytes).map(drop));
        if let Some(Err(error)) = result.as_ref().ok().map(written) {
            *result = Err(unwritten(error.type_name, error.message));
        }
    }
    if let Err(failure) = send::<Each<R>>(answer, &each) {
        fail(answer, failure);
    }
}

/// The argument. If it can't be read, whoever waits is told.
fn read<A: Portable>(job: Job<'_>) -> Option<(A, Answer<'_>)> {
    let (argument, answer) = job.decode::<A>();
    match argument {
        Ok(argument) => Some((argument, answer)),
        Err(error) => {
            fail(
                answer,
                WorkFailure::Argument { type_name: error.type_name.to_owned(), message: error.message },
            );
            None
        }
    }
}

/// Sends a result. An error is one that is to be told instead.
fn send<R: Serialize + DeserializeOwned>(answer: Answer<'_>, result: &R) -> Result<(), WorkFailure> {
    match answer.reply::<R, R>(kind::RESULT, result) {
        // There is nobody to be told.
        Ok(()) | Err(LinkError::Closed | LinkError::WrongProcess(_)) => Ok(()),
        Err(LinkError::Encode(error)) => Err(unwritten(error.type_name, error.message)),
        Err(LinkError::TooLarge(error)) => {
            Err(WorkFailure::TooLarge { length: error.length as u64, max: error.max as u64 })
        }
        // What is shorter, or takes no descriptors along, may get through.
        Err(error) => Err(unwritten(type_name::<R>(), error.to_string())),
    }
}

fn unwritten(type_name: &str, message: String) -> WorkFailure {
    WorkFailure::Result { type_name: type_name.to_owned(), message }
}

fn fail(answer: Answer<'_>, mut failure: WorkFailure) {
    let tell = |failure: &WorkFailure| answer.reply::<WorkFailure, _>(kind::FAILURE, failure);
    if let Err(LinkError::TooLarge(_)) = tell(&failure) {
        failure.shorten();
        // Should this fail, too, nobody is there to be told.
        let _ = tell(&failure);
    }
}

impl WorkFailure {
    /// Without the texts, which may be of any length.
    fn shorten(&mut self) {
        match self {
            WorkFailure::Panicked(report) => *report = report.shortened(),
            WorkFailure::Argument { type_name, message } | WorkFailure::Result { type_name, message } => {
                *type_name = cut(type_name, 256);
                *message = "(a message too long to be sent)".to_owned();
            }
            _ => {}
        }
    }
}
