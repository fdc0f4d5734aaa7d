//! Task objects that run in a process of their own, once or in a loop.
//!
//! ```
//! let total = offspring::spawn(|| (1..=1_000_000u64).sum::<u64>())?.join()?;
//! assert_eq!(total, 500_000_500_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! That is all there is to a closure. It is moved into the child by a fork, so it may capture
//! anything; what it returns comes back serialised. If it panics, is killed or crashes, `join` says
//! so: no call hangs because a process died.
//!
//! A unit of work with a name and a state is an object. Implement [`Subprocess`] to run it once:
//!
//! ```
//! use offspring::{RemoteError, Subprocess};
//!
//! struct FileSize {
//!     path: std::path::PathBuf,
//! }
//!
//! impl Subprocess for FileSize {
//!     type Output = Result<u64, RemoteError>;
//!
//!     fn run(&mut self) -> Self::Output {
//!         Ok(std::fs::metadata(&self.path)?.len())
//!     }
//! }
//!
//! let size = FileSize { path: "/proc/self/exe".into() }.spawn()?.wait()??;
//! assert!(size > 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! or [`SubprocessLoop`] to run it again and again until it is told to stop.
//!
//! # What to know
//!
//! - **Start processes before threads.** A fork copies the locks of other threads in whatever state
//!   they are; so a start in a program with other threads is refused, and the error says what to
//!   do: [`StartError::Refused`]. Or call [`init`] on the first line of `main`, and start tasks that
//!   are serialisable from a zygote, at any time: [`Subprocess::spawn_in`], [`spawn_in`](spawn_in()).
//!   A task that is to be started again and again once there are threads is
//!   [`RESTARTABLE`](Subprocess::RESTARTABLE).
//! - **Dropping a handle doesn't stop its task.** The exit of the program does: it tells every
//!   running task to terminate, or waits for it, as the task says
//!   ([`Subprocess::TERMINATE_ON_SHUTDOWN`]). Should the program be killed, its tasks are killed
//!   with it.
//! - **What the task holds exists twice** from the start on. The parent's copy is dropped when the
//!   task was started, the child's when `run` returns: values that delete or write something when
//!   they are dropped belong into `run`.
//! - **The types of outputs** are serde types in a format that isn't self-describing: untagged or
//!   internally tagged enums, `flatten` and `skip_serializing_if` don't survive; in debug builds
//!   such an output is an error that names its type.
//!
//! # Talking to a task
//!
//! A task that should hear from its parent while it runs, or tell it more than one result, is given
//! one end of a [`Connection`](link::Connection) or of a [`pipe`](link::pipe()). What it shares with its
//! parent needs no giving: an [`Event`](sync::Event), a [`Semaphore`](sync::Semaphore), a
//! [`Mutex`](sync::Mutex), a [`SharedArray`](memory::SharedArray); unless the task is to send it on.
//!
//! ```
//! use offspring::link::Connection;
//! use offspring::{LaunchOptions, spawn_with};
//!
//! // Here: sends `u32`, receives `String`. There: the other way round.
//! let (here, there) = Connection::<u32, String>::pair()?;
//! let task = spawn_with(LaunchOptions::new().give(&there), move || {
//!     while let Ok(number) = there.recv() {
//!         there.send(&format!("{number} squared is {}", number * number)).unwrap();
//!     }
//! })?;
//! here.send(&12)?;
//! assert_eq!(here.recv()?, "12 squared is 144");
//! drop(here); // the task's `recv` ends with `LinkError::Closed`
//! task.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From the Python package offspring
//!
//! | Python | here |
//! |---|---|
//! | `init(*args)` | a constructor of your own: it runs in the parent |
//! | `run()` | [`Subprocess::run`], with a typed result |
//! | `begin()`, `loop()`, `end()` | [`SubprocessLoop::begin`], [`step`](SubprocessLoop::step), [`end`](SubprocessLoop::end) |
//! | a duration, `False` or nothing from `loop()` | [`LoopStep::After`], [`LoopStep::Stop`], [`LoopStep::Again`] |
//! | `MyTask(..)` starts | [`Subprocess::spawn`] |
//! | `.start()` with `EXPLICIT_START` | [`Handle::start`] |
//! | `.wait()`, `.shutdown()`, `.process` | [`Handle::wait`], [`Handle::shutdown`], [`Handle::process`] |
//! | `.process.pid`, `.is_alive()`, `.terminate()`, `.kill()` | [`Handle::id`], [`Handle::is_alive`], [`Handle::stop`], [`Handle::kill`] |
//! | `.process.exitcode` | [`Child::wait`] of the `process`: an [`ExitStatus`] |
//! | `WAIT_FOR_CHILD`, `TERMINATE_ON_SHUTDOWN`, `EXPLICIT_START` | constants of the same names; a loop is always waited for |
//! | the atexit handler | the same, bounded: a task that doesn't end within 5 s of SIGTERM is killed |
//! | Ctrl-C, which raises `KeyboardInterrupt` and so runs the atexit handler | ends a program that doesn't handle it at once; its loops still run `end`, for up to 0.9 s |
//!
//! Where the original hangs - a child that dies while its start waits for it, a `shutdown` of one
//! that ignores SIGTERM - these return, and say what happened. Where it skips `end()` - SIGTERM
//! right after the start - this runs it.

mod handle;
mod stage;
mod subprocess;
mod subprocess_loop;

pub use common_ipc::process::{
    AtExit, Child, ChildError, ExitStatus, JoinError, LaunchOptions, PanicReport, ParentDeath, Portable,
    ProcessGroup, Refusal, Resource, Sigint, Signal, StartError, Stdio, StopStep, Stopped, Zygote,
    active_children, init,
};
pub use common_ipc::{RemoteError, init_before_main};
#[doc(no_inline)]
pub use common_ipc::{link, logging, memory, process, sync};
pub use handle::Handle;
pub use subprocess::{Subprocess, spawn, spawn_in, spawn_restartable, spawn_with};
pub use subprocess_loop::{LoopStep, SubprocessLoop};

/// The README's programs are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
