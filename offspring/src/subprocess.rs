//! A unit of work that runs once.

use common_ipc::process::{AtExit, Child, Launch, LaunchOptions, Portable, StartError, Template, Zygote};
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

    /// Whether its handle can [`restart`](crate::Handle::restart) it. The first start then makes a small process
    /// that keeps the task as it is, and from which it is started each time: any task, also in a program that
    /// has threads by then. Tasks that are started from a zygote can be restarted without it.
    ///
    /// The task may be of a type that isn't `Send`; then its handle isn't either, until
    /// [`into_started`](Handle::into_started) makes one of it that can go to other threads.
    const RESTARTABLE: bool = false;

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

    /// Starts it from a zygote: it is serialised here, made anew in the child, and runs there. That costs the same
    /// however large the program is, and is safe beside any threads.
    ///
    /// ```
    /// use offspring::{LaunchOptions, Subprocess, Zygote};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Square(u64);
    ///
    /// impl Subprocess for Square {
    ///     type Output = u64;
    ///
    ///     fn run(&mut self) -> u64 {
    ///         self.0 * self.0
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     offspring::init()?; // the first line of main
    ///     let mut task = Square(12).spawn_in(&Zygote::global(), LaunchOptions::new())?;
    ///     assert_eq!(task.wait()?, 144);
    ///     task.restart()?;
    ///     assert_eq!(task.wait()?, 144);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// The handle keeps the task, for [`restart`](Handle::restart). A task with
    /// [`EXPLICIT_START`](Subprocess::EXPLICIT_START) is started as well; to start it later, `spawn` it and use
    /// [`Handle::start_in`].
    ///
    /// # Errors
    ///
    /// [`StartError`]: nothing was started. [`StartError::NotInitialised`] without [`init`](crate::init).
    fn spawn_in(
        self,
        zygote: &Zygote,
        options: LaunchOptions,
    ) -> Result<Handle<Self::Output, Self>, StartError>
    where
        Self: Portable,
    {
        let handle = Handle::not_started(self, options);
        handle.start_in(zygote)?;
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

/// Runs a closure in a process of its own, which can be started again: see
/// [`Handle::restart`](crate::Handle::restart). The closure stays in a small process made for it.
///
/// # Errors
///
/// [`StartError`]: nothing was started.
pub fn spawn_restartable<O, F>(options: LaunchOptions, body: F) -> Result<Handle<O>, StartError>
where
    F: FnOnce() -> O,
    O: Serialize + DeserializeOwned,
{
    Handle::from_template(Launch::new(&options).kind("offspring").template(body)?)
}

/// Runs a function in a process of its own that is started from a zygote: at a cost that doesn't grow with the
/// program, and beside any threads.
///
/// The function captures nothing; what it works on is its argument, which is serialised (`|_: ()|` for nothing).
/// Connections, queues, events, locks and memory can be part of it: a connection's end moves to the child. The handle
/// keeps the argument, for [`restart`](Handle::restart).
///
/// ```
/// use offspring::{LaunchOptions, Zygote, spawn_in};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     offspring::init()?; // the first line of main
///     let thread = std::thread::spawn(|| -> Result<usize, offspring::StartError> {
///         let words = vec!["beside".to_owned(), "threads".to_owned()];
///         let task = spawn_in(&Zygote::global(), LaunchOptions::new(), |words: Vec<String>| words.len(), words)?;
///         Ok(task.join().unwrap())
///     });
///     assert_eq!(thread.join().unwrap()?, 2);
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`StartError`]: nothing was started. [`StartError::NotInitialised`] without [`init`](crate::init). After
/// [`StartError::ServerDied`], a zygote's death meanwhile, it can be tried again; to keep the argument over that, make
/// a task of it and use [`Handle::start_in`].
pub fn spawn_in<A, O>(
    zygote: &Zygote,
    options: LaunchOptions,
    run: fn(A) -> O,
    argument: A,
) -> Result<Handle<O, A>, StartError>
where
    A: Portable,
    O: Serialize + DeserializeOwned + 'static,
{
    let start = move |argument: &A, options: &LaunchOptions, zygote: &Zygote| {
        Launch::new(options).kind("offspring").start_in(zygote, run, argument)
    };
    Handle::of_function(zygote, options, argument, Box::new(start))
}

/// How a task of this type is launched.
fn launch<T: Subprocess>(options: &LaunchOptions) -> Launch<'_> {
    Launch::new(options)
        .kind(short_name::<T>())
        .wait_until_ready(T::WAIT_FOR_CHILD)
        .hold_stop_signals(T::HOLDS_STOP_SIGNALS)
        .at_exit(if T::TERMINATE_ON_SHUTDOWN { AtExit::default() } else { AtExit::Wait })
}

/// Starts the process of a task object, which the child takes out of its copy of this process's memory. Here it is
/// dropped, or given back if nothing was started.
pub(crate) fn start_once<T: Subprocess>(task: T, options: &LaunchOptions) -> Result<Child, (StartError, T)> {
    let mut task = Some(task);
    let started = launch::<T>(options).start(|| take(&mut task).run());
    started.map_err(|error| (error, take(&mut task)))
}

/// A process that keeps a copy of the task object, from which it can be started.
pub(crate) fn template<T: Subprocess>(
    task: T,
    options: &LaunchOptions,
) -> Result<(Template, T), (StartError, T)> {
    let mut task = Some(task);
    match launch::<T>(options).template(|| take(&mut task).run()) {
        Ok(template) => Ok((template, take(&mut task))),
        Err(error) => Err((error, take(&mut task))),
    }
}

#[expect(
    clippy::expect_used,
    reason = "a child takes it out of its copy once, and this process out of its own"
)]
fn take<T>(task: &mut Option<T>) -> T {
    task.take().expect("it is taken once")
}

/// As [`start_once`], of a copy that is made in the child.
pub(crate) fn start_in_zygote<T: Subprocess + Portable>(
    task: &T,
    options: &LaunchOptions,
    zygote: &Zygote,
) -> Result<Child, StartError> {
    launch::<T>(options).start_in(zygote, |mut task: T| task.run(), task)
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
