//! A unit of work that runs once.

use common_ipc::process::{AtExit, Launch, LaunchOptions, StartError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handle::Handle;

/// A unit of work for a process of its own.
///
/// The object is made here, by whatever constructor it has, and [`run`](Subprocess::run) runs in
/// the child, on the child's copy of the object.
///
/// ```
/// use offspring::Subprocess;
///
/// struct Greeting {
///     name: String,
/// }
///
/// impl Subprocess for Greeting {
///     type Output = String;
///
///     fn run(&mut self) -> String {
///         format!("{} greets {}", std::process::id(), self.name)
///     }
/// }
///
/// let task = Greeting { name: "its parent".into() }.spawn()?;
/// let pid = task.process().expect("it was started").id();
/// assert_eq!(task.wait()?, format!("{pid} greets its parent"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nothing need be `Send`, `'static` or serialisable but the output.
pub trait Subprocess: Sized {
    /// What `run` returns. It comes back serialised.
    type Output: Serialize + DeserializeOwned;

    /// Whether starting it returns only when the child is about to call `run`: then `run` is called
    /// even if the program ends right afterwards, and has [`AtExit::HEAD_START`], 0.1 s, before the
    /// exit asks it to stop. Work that takes longer and is to be done all the same needs
    /// [`TERMINATE_ON_SHUTDOWN`](Subprocess::TERMINATE_ON_SHUTDOWN) off. A program that is killed
    /// gives no head start.
    const WAIT_FOR_CHILD: bool = false;

    /// Whether [`Handle::shutdown`] and the program's exit terminate the child. Otherwise they wait
    /// until `run` returns. It is about the program's own tasks: those of a task that is terminated
    /// end with it, whatever they say.
    const TERMINATE_ON_SHUTDOWN: bool = true;

    /// Whether [`spawn`](Subprocess::spawn) only makes the handle, and [`Handle::start`] the process.
    const EXPLICIT_START: bool = false;

    /// Whether the child takes SIGTERM and SIGINT itself, between two steps of a loop.
    #[doc(hidden)]
    const HOLDS_STOP_SIGNALS: bool = false;

    /// The work. What it changes of the task it changes in the child alone. A panic in it is [`JoinError::Panicked`](crate::JoinError::Panicked) at whoever
    /// waits.
    fn run(&mut self) -> Self::Output;

    /// Starts it, unless [`EXPLICIT_START`](Subprocess::EXPLICIT_START) is set.
    ///
    /// # Errors
    ///
    /// [`StartError`]; never with `EXPLICIT_START`.
    fn spawn(self) -> Result<Handle<Self::Output, Self>, StartError> {
        self.spawn_with(LaunchOptions::new())
    }

    /// As [`spawn`](Subprocess::spawn), with options.
    ///
    /// # Errors
    ///
    /// As for `spawn`. What the child can't do of the options is [`StartError::Setup`].
    fn spawn_with(self, options: LaunchOptions) -> Result<Handle<Self::Output, Self>, StartError> {
        let handle = Handle::not_started(self, options);
        if !Self::EXPLICIT_START {
            handle.start()?;
        }
        Ok(handle)
    }
}

/// Runs a closure in a process of its own.
///
/// Its output must be made of serde types that own what they hold: `String` rather than `&str`, and
/// instead of an `io::Result<T>` a `Result<T, RemoteError>`, which `?` makes of it
/// ([`RemoteError`](crate::RemoteError)). For types of your own derive serde's `Serialize` and
/// `Deserialize`. What the closure changes, it changes in the child, which has a copy of everything:
/// return it, or send it through a [`Connection`](crate::link::Connection).
///
/// ```
/// let mut count = 0;
/// let counted = offspring::spawn(|| {
///     count += 1;
///     count
/// })?;
/// assert_eq!(counted.join()?, 1);
/// assert_eq!(count, 0); // here, nothing has happened
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// let words = ["any", "closure"].map(std::rc::Rc::new); // nothing need be Send
/// let task = offspring::spawn(move || words.len())?;
/// assert_eq!(task.join()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`StartError`]: nothing was started.
pub fn spawn<O, F>(body: F) -> Result<Handle<O>, StartError>
where
    F: FnOnce() -> O,
    O: Serialize + DeserializeOwned,
{
    spawn_with(LaunchOptions::new(), body)
}

/// Runs a closure in a process of its own that is set up by `options`.
///
/// ```
/// use offspring::{LaunchOptions, spawn_with};
///
/// let task = spawn_with(LaunchOptions::new().cwd("/").name("in-root"), || std::env::current_dir().unwrap())?;
/// assert_eq!(task.join()?, std::path::Path::new("/"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`StartError`]: nothing was started.
pub fn spawn_with<O, F>(options: LaunchOptions, body: F) -> Result<Handle<O>, StartError>
where
    F: FnOnce() -> O,
    O: Serialize + DeserializeOwned,
{
    let child = Launch::new(&options).kind("offspring").start(body)?;
    Ok(Handle::started(child))
}

/// Starts the process of a task object, which the child takes out of its copy of `task`. In this
/// process it stays there: the caller drops it, or keeps it if nothing was started.
#[expect(clippy::expect_used, reason = "the caller puts it in, and the body takes it out once")]
pub(crate) fn launch<T: Subprocess>(
    task: &mut Option<T>,
    options: &LaunchOptions,
) -> Result<common_ipc::process::Child, StartError> {
    Launch::new(options)
        .kind(short_name::<T>())
        .wait_until_ready(T::WAIT_FOR_CHILD)
        .hold_stop_signals(T::HOLDS_STOP_SIGNALS)
        .at_exit(if T::TERMINATE_ON_SHUTDOWN { AtExit::default() } else { AtExit::Wait })
        .start(|| task.take().expect("the child runs its body once").run())
}

/// The name of a type without its path and its parameters.
fn short_name<T>() -> &'static str {
    let path = std::any::type_name::<T>();
    let plain = path.split('<').next().unwrap_or(path);
    plain.rsplit("::").next().unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_after_its_type() {
        assert_eq!(short_name::<std::collections::HashMap<String, Vec<u8>>>(), "HashMap");
        assert_eq!(short_name::<u8>(), "u8");
    }
}
