//! Message processes: a front end in this process, a back end in another, typed messages between them.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use valkka_multiprocess::{Backend, Context, MessageProcess, ProcessError, RemoteError};
//!
//! #[derive(Serialize, Deserialize)]
//! enum Command {
//!     Ping(Vec<i32>),
//! }
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! enum Event {
//!     Pong(Vec<i32>),
//! }
//!
//! struct Player;
//!
//! impl Backend for Player {
//!     type Command = Command;
//!     type Event = Event;
//!
//!     fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
//!         match command {
//!             Command::Ping(list) => cx.send_out(&Event::Pong(list))?,
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> Result<(), ProcessError> {
//!     let process = MessageProcess::new("my-process", Player);
//!     process.start()?;
//!     process.send(&Command::Ping(vec![1, 2, 3]))?;
//!     assert_eq!(process.recv()?, Event::Pong(vec![1, 2, 3]));
//!     process.stop()?;
//!     Ok(())
//! }
//! ```
//!
//! What is it good for? Work that goes on in the background, is told what to do, and tells what has happened: cameras,
//! decoders, detectors, players, servers - each in a process of its own, so that one that crashes, leaks or hangs takes
//! nothing else with it, and all of them use all cores.
//!
//! | | |
//! |---|---|
//! | [`MessageProcess`] over a [`Backend`] | a process that handles commands one after another and sends events |
//! | [`FrontEnd`] | the program's side of it: [`send`](FrontEnd::send), [`request`](FrontEnd::request), [`recv`](FrontEnd::recv), [`stop`](FrontEnd::stop) |
//! | [`Context`] | what the back end can do: send events, watch descriptors and times beside the commands, stop |
//! | `AsyncBackMessageProcess` over an `AsyncBackend` | the same with a tokio runtime in the back end (feature `tokio`) |
//! | [`MessageObject`], [`Router`] | commands with names and self-describing parameters, for those who don't want an enum |
//! | [`MainLoop`] | what comes from many back ends, timers, signals and descriptors as events of one type |
//! | [`MainContext`] | a program around such a loop: processes, then threads, then the loop, then the end |
//! | [`EventGroup`], [`SyncIndex`] | events that are made once and reserved for one wait each: the back end sets one by its index |
//! | [`memory::SharedArray`], [`memory::FrozenArray`] | pictures and other large data, without a copy through a link |
//! | [`format_logger`], [`logging`] | log lines of all processes in one place |
//!
//! # Nothing hangs
//!
//! A back end that dies, by whatever cause, ends every call that waits for it, with the cause
//! ([`ProcessError::Ended`]), and is an event of the loop that watches it ([`Incoming::Ended`]). Whether a command was handled is
//! told by [`ProcessError::execution`]. A handler that fails or panics is a [`Failure`], which is logged and sent to the front
//! end with the command that it belongs to; the back end goes on, unless its [policy](Backend::policy) says otherwise. One that
//! never returns is ended by [`stop`](FrontEnd::stop), in three steps.
//!
//! Where waiting is no option, as in a loop: [`child()?.kill()?`](FrontEnd::child) returns at once, the end comes as
//! [`Incoming::Ended`], and then `start()` and [`watch`](MainLoop::watch) begin anew.
//!
//! What is on its way is bounded: a back end that floods the front end waits, as does a front end that sends more than is
//! handled ([`try_send`](FrontEnd::try_send) and [`send_timeout`](FrontEnd::send_timeout) don't).
//!
//! # Beside threads and runtimes
//!
//! A back end that is started by a plain `start()` is forked, which is refused beside threads ([`Refusal`]). Start processes
//! before threads, as [`MainContext`] does; or from a zygote ([`MessageProcess::launch_in`]) or a template
//! ([`MessageProcess::launch_from_template`]), which can be done at any time.
//!
//! # From the Python package valkka.multiprocess
//!
//! | Python | here |
//! |---|---|
//! | `class P(MessageProcess)` with `c__ping(self, lis)` | `impl Backend for P`, with an enum of commands; or [`Router`] with [`MessageObject`]s |
//! | `preRun__`, `postRun__`, `readPipes__` | [`pre_run`](Backend::pre_run), [`post_run`](Backend::post_run), [`Context::watch`] |
//! | `self.listening` | [`Context::set_listening`] and [`Backend::listen`] |
//! | `send_out__`, `return_out__` | [`Context::send_out`], [`Reply::send`] |
//! | `p.sendMessageToBack(..)`, `p.returnFromBack()` | [`send`](FrontEnd::send), [`request`](FrontEnd::request) |
//! | `p.getPipe()` in `select` | [`pipe`](FrontEnd::pipe) in [`safe_select`], or a [`MainLoop`] |
//! | `p.ignoreSIGINT()`, `p.go()` | [`ignore_sigint`](MessageProcess::ignore_sigint), [`start`](MessageProcess::start) |
//! | `p.requestStop()`, `p.waitStop()`, `p.stop()` | [`request_stop`](FrontEnd::request_stop), [`wait_stop`](FrontEnd::wait_stop), [`stop`](FrontEnd::stop) |
//! | `formatLogger(level)` | [`format_logger`] |
//! | `MainContext`: `startProcesses`, `startThreads`, `__call__`, `close` | [`MainContext`]: `start_processes`, `start_threads`, `handle`, `close`; [`run`](MainContext::run) |
//! | `runAsThread`, `stopThread` | [`run_as_thread`](MainContext::run_as_thread), [`stop_thread`](RunningContext::stop_thread) |
//! | `EventGroup(10, Event)`, `EventGroup(10, EventFd)` | [`EventGroup::new`], [`EventGroup::from_fn`] |
//! | `reserve`, `release`, `set(i)`, `fromIndex` | [`reserve`](EventGroup::reserve), dropping what it gave, [`set`](EventGroup::set), [`event`](EventGroup::event) |
//! | `with SyncIndex(group) as i:` | [`EventGroup::sync`]; or the guard [`SyncIndex`] |

#[cfg(feature = "tokio")]
mod async_process;
mod events;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod logging;
mod main_loop;
mod message_process;
mod messages;
mod reactor;

#[cfg(feature = "tokio")]
pub use async_process::{AsyncBackMessageProcess, AsyncBackend, AsyncContext};
pub use common_ipc::link::{Execution, safe_select};
pub use common_ipc::process::{
    AtExit, Child, ChildError, ExitStatus, LaunchOptions, PanicReport, ParentDeath, Portable, ProcessGroup,
    Refusal, Resource, Sigint, Signal, StartError, Stdio, StopStep, Stopped, WrongProcess, Zygote, init,
};
pub use common_ipc::{RemoteError, init_before_main};
#[doc(no_inline)]
pub use common_ipc::{link, memory, process, sync};
pub use events::{EventError, EventGroup, EventIndex, Reserved, SyncIndex};
pub use logging::format_logger;
pub use main_loop::source::Watch;
pub use main_loop::{LoopError, MainContext, MainLoop, Polled, RunningContext, StopHandle, ThreadError};
pub use message_process::{
    Backend, Cause, Context, During, Ended, EventSender, Failure, FrontEnd, Incoming, MessageProcess, Pipe,
    Policy, ProcessError, Reply,
};
pub use messages::{MessageObject, ParameterError, RouteError, Router, Value, ValueError};
pub use reactor::{WatchError, WatchId};

/// Under which name the processes of a class log: `Class.name`.
fn logger_name<B>(name: &str) -> String {
    let class = std::any::type_name::<B>();
    let class = class.split('<').next().unwrap_or(class);
    let class = class.rsplit("::").next().unwrap_or(class);
    format!("{class}.{name}")
}

/// The README's programs are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
