//! What a supervised child may return.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common_ipc::process::Child;
use serde::de::DeserializeOwned;

/// What a supervised child may return: nothing, a `Result`, or never at all.
///
/// An `Err` is a failure like a crash: what it says is in the [`Cause`](super::Cause), and a child that is
/// [`Transient`](super::Restart::Transient) is started again. What an `Ok` holds nobody looks at.
///
/// ```
/// use std::time::Duration;
/// use pkit::supervisor::{Cause, ChildSpec, Restart, Supervisor};
///
/// let spec = ChildSpec::new("reader", || -> Result<(), std::io::Error> {
///     std::fs::read("/no/such/file")?;
///     Ok(())
/// });
/// let supervisor = Supervisor::builder().child(spec.restart(Restart::Transient)).intensity(2, Duration::MAX);
/// let ended = supervisor.start()?.wait()?; // after three failures
/// assert!(ended.to_string().contains("No such file"));
/// # Ok::<(), pkit::supervisor::SupervisorError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a supervised child can't return `{Self}`",
    note = "it returns nothing, or a `Result` whose error can be displayed; whatever else comes out of it goes through \
            a queue, say"
)]
pub trait Outcome {
    /// Whether it has done its work, and if not, why.
    ///
    /// # Errors
    ///
    /// The error, in words.
    fn verdict(self) -> Result<(), String>;
}

impl Outcome for () {
    fn verdict(self) -> Result<(), String> {
        Ok(())
    }
}

impl<T, E: fmt::Display> Outcome for Result<T, E> {
    fn verdict(self) -> Result<(), String> {
        self.map(drop).map_err(|error| error.to_string())
    }
}

/// The type of what never returns, which has no stable name of its own.
type Never = <fn() -> ! as Returns>::Output;

/// What a function returns. It is public because it stands in the signature of something public.
#[doc(hidden)]
#[allow(missing_docs)]
pub trait Returns {
    type Output;
}

impl<O> Returns for fn() -> O {
    type Output = O;
}

impl Outcome for Never {
    fn verdict(self) -> Result<(), String> {
        self
    }
}

/// What a child that has ended by itself, with exit code 0, has returned.
pub(super) fn verdict_of<O: Outcome + DeserializeOwned>(child: &Child) -> Result<(), String> {
    match child.try_output::<O>() {
        // Other people's code, of which the supervisor isn't to die.
        Ok(Some(outcome)) => catch_unwind(AssertUnwindSafe(|| outcome.verdict())).unwrap_or_else(|payload| {
            std::mem::forget(payload);
            Err("what it returned can't be put into words: that panicked".to_owned())
        }),
        // It called `exit`, or executed another program.
        Ok(None) | Err(common_ipc::process::JoinError::Died(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
