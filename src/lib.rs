//! Rust objects in processes of their own.
//!
//! ```
//! # fn expensive() -> u64 { 42 }
//! let total = multiprocess::spawn(|| expensive())?.join()?;
//! # assert_eq!(total, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! That closure runs in a child of this program, and what it returns comes back. Should it panic, crash, be killed or run out
//! of memory, `join` says so, and the program goes on. It is good for work that may do such things, that leaks, that changes
//! what belongs to a whole process - its user, its directory, its environment -, that one doesn't trust, or that is to use
//! another core while this one does something else.
//!
//! **The one promise at the centre: no call ever hangs because a process died, and every error says why.**
//!
//! What comes back is a serde type that owns what it holds: `String` rather than `&str`, and instead of an `io::Result<T>` a
//! `Result<T, RemoteError>` ([`RemoteError`]). The crate isn't published; the program's Cargo.toml has, with a path instead
//! of a version,
//!
//! ```toml
//! [dependencies]
//! multiprocess = { path = "path/to/multiprocess" }
//! # For outputs, arguments and messages of types of your own:
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! # What to take
//!
//! | for | take | what it costs |
//! |---|---|---|
//! | one task, and its result | [`spawn`]; as an object, [`Subprocess`] | a start: 0.2 ms |
//! | a task that goes on until it is told to stop | [`SubprocessLoop`] | |
//! | a process that is started, stopped, and started again | [`Process`] | |
//! | processes that are to be there all the time | a [`Supervisor`](supervisor::Supervisor) | |
//! | many tasks, each in a fresh process, so many at once | a [`ProcessPool`] | a start each |
//! | many small tasks, in processes that stay | a [`WorkerPool`], or a [`StatePool`] for those that keep something | some microseconds each |
//! | an object there, its methods called from here | [`#[bridge]`](macro@bridge) | a microsecond, or a few, for a call |
//! | a service that is told what to do, and tells what has happened | a [`MessageProcess`] | a microsecond, or a few, for a message |
//! | the program's loop over many of these, timers, signals | a [`MainLoop`], a [`MainContext`] | |
//! | lists, maps, locks, any bridged object, for many processes | a [`Manager`] | two messages for each operation |
//! | so many of something at once, over several processes | a [`SlotPool`] | nothing where there is room |
//! | a conversation between two processes | a [`Connection`](link::Connection), or [calls](link::Caller) | 0.2 to 3 microseconds there and back |
//! | items from any of some processes to any others | a [`Queue`](link::Queue) | |
//! | numbers, pictures, tables, without a copy for each process | [`memory`]: [`SharedArray`](memory::SharedArray), [`FrozenArray`](memory::FrozenArray) | the copy into it |
//! | an event, a lock, so many permits | [`sync`] | |
//!
//! The first ones are for those who want results; the middle ones for those who want something to stay there and be talked
//! to; the last ones are what all of these are made of, and go well with each of them: they can be captured by closures, be
//! part of arguments and results, and be sent over connections.
//!
//! # How a process is started
//!
//! **The fork rule**: a forked child has one thread and a copy of all memory, so a lock that another thread held at that moment
//! stays locked in the child for ever. A start by fork is therefore refused while threads are running that don't belong to
//! the library, and the error says what to do: [`Refusal`]. There are three ways:
//!
//! | | a fork | a template | a zygote |
//! |---|---|---|---|
//! | it runs | any closure or object | any closure or object | a function, on what is serialised |
//! | it can be started | while there is one thread | at any time | at any time |
//! | if | | it was made while there was one thread | [`init`] is the first line of `main` |
//! | it has the memory of | the program | the program, as it was then | the program, as it was in `init` |
//! | it takes | 0.2 ms, and some 40 ms more for each GiB that the program has | 0.2 ms | 0.2 ms |
//! | tasks | [`spawn`], [`Subprocess::spawn`] | [`spawn_restartable`], [`Subprocess::RESTARTABLE`] | [`spawn_in`], [`Subprocess::spawn_in`] |
//! | processes | [`Process::new`] | [`build_template`](ProcessBuilder::build_template) | [`build_in`](ProcessBuilder::build_in), [`build_function_in`](ProcessBuilder::build_function_in) |
//! | children of supervisors | | [`ChildSpec::new`](supervisor::ChildSpec::new) | [`ChildSpec::in_zygote`](supervisor::ChildSpec::in_zygote) |
//! | pools | [`execute`](ProcessPool::execute), [`map`](ProcessPool::map) | | [`execute_in`](ProcessPool::execute_in), [`map_in`](ProcessPool::map_in); all of a [`WorkerPool`] |
//! | bridges | `start` | [`launch_from_template`](BridgeProcess::launch_from_template) | [`launch_in`](BridgeProcess::launch_in) |
//! | message processes | `start` | [`launch_from_template`](MessageProcess::launch_from_template) | [`launch_in`](MessageProcess::launch_in) |
//!
//! In a program with an async runtime: a plain `fn main` that calls [`init`], makes templates and supervisors if it has any,
//! and then builds the runtime. `#[tokio::main]` would build it before the first line. What waits has a twin named `.._async`
//! with the feature `tokio`.
//!
//! ```
//! use multiprocess::WorkerPool;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     multiprocess::init()?;
//!     let thread = std::thread::spawn(|| {
//!         let pool = WorkerPool::new(2)?;
//!         pool.map(1..=4u64, |n: u64| n * n).collect::<Result<Vec<_>, _>>()
//!     });
//!     assert_eq!(thread.join().unwrap()?, [1, 4, 9, 16]);
//!     Ok(())
//! }
//! ```
//!
//! What a child may have and do - its name in `ps`, user, directory, environment, streams, limits of memory and time, nice
//! level, cores - is said by [`LaunchOptions`], everywhere the same.
//!
//! # Who ends what
//!
//! | that is dropped | ends |
//! |---|---|
//! | a [`Handle`], a [`Process`], a [`Child`], a [`Task`], a [`ProcessPool`] | nothing: what runs goes on, and is collected when it ends |
//! | a [`Supervisor`](supervisor::Supervisor) | its children, in order; the drop doesn't wait for that |
//! | the last handle of a [`WorkerPool`] | all of it, at once: what waits isn't begun |
//! | a [`TaskHandle`] | nothing, unless it is told to ([`cancel_on_drop`](TaskHandle::cancel_on_drop)) |
//! | the last handle of a bridge, a [`Manager`], a [`MessageProcess`] | its process: it is asked to end, and killed after 1.5 s |
//! | an end of a connection | the conversation: the other side hears `Closed`, after all that was sent |
//! | memory, an event, a lock, a queue | this handle of it: it is gone with the last one in the last process |
//!
//! The program's exit ends all that still runs - SIGTERM, and SIGKILL 5 s later - or waits for it, as its [`AtExit`] says. If
//! the program is killed, all that it has started is killed with it ([`ParentDeath`]), and what those have started with them.
//! Nothing has a name that could be left over: no file, no socket, nothing in /dev/shm.
//!
//! # Errors
//!
//! Each step that can fail has an error type of its own, which says which step it was, why, and what can be done:
//! [`StartError`], [`JoinError`], [`WorkError`], [`BridgeError`], [`ProcessError`], [`ManagerError`],
//! [`LinkError`](link::LinkError). Those of calls and tasks say whether what was asked for has run - [`Execution::Ran`],
//! `NotRun` or `Unknown` -, which decides whether it may be asked for again:
//!
//! ```
//! use multiprocess::{JoinError, spawn};
//!
//! let task = spawn(|| -> u32 { std::process::abort() })?;
//! match task.join() {
//!     Ok(number) => println!("{number}"),
//!     Err(JoinError::Died(status)) => println!("the task {status}"), // was ended by SIGABRT, ...
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A panic in a child is a [`PanicReport`], with message, place and, with `RUST_BACKTRACE`, the stack: for that the first
//! panic of a process reads the program's symbols, 0.1 to 0.3 s in a debug build, and with a shorter time limit the error is
//! `TimedOut`. Errors of one's own cross as [`RemoteError`], which `?` makes of any error, and [`RemoteError::msg`] of a text;
//! or as types that are serialisable.
//!
//! # Whom one has to trust
//!
//! A child may be hostile, or have been taken over by what it has read. What it sends is checked: the worst is an error of
//! that one call, or the end of that one connection. What it writes into shared memory is taken for data. Its numbers can't
//! make this process take more memory than the caller has allowed. What **is** data must be looked at by whoever uses it: a
//! result of the right type is a result.
//!
//! | what a child has | |
//! |---|---|
//! | the parent's memory | by a fork or from a template all of it, as it was then; from a zygote nothing but what it was at `init` |
//! | descriptors | those that it was given, and no others; by a fork or from a template the files that the program has opened itself as well |
//! | the parent's environment | a copy, unless [`env_clear`](LaunchOptions::env_clear), which says what of it stays in memory |
//! | the parent's rights | the same, unless [`user`](LaunchOptions::user), [`no_new_privs`](LaunchOptions::no_new_privs) and [`limit`](LaunchOptions::limit) say less |
//!
//! It is no sandbox: a process that was taken over can call the kernel as its user may. A filter of system calls can be set
//! by the child itself, before it reads anything.
//!
//! # What isn't promised
//!
//! Other systems than Linux (5.10 or later, with glibc); other processes than those of one program, from one build; that what
//! types say with `serde(untagged)`, `flatten` or `skip_serializing_if` crosses (an error says so in debug builds); an order
//! among those who wait for the same thing.
//!
//! # The crates
//!
//! This crate has no logic of its own: it re-exports a family of crates, each of which can be used alone, by one cargo
//! feature for each. At the root is what most programs name; the rest of each crate is in its module. [`prelude`] has what is
//! needed to write `use multiprocess::prelude::*;` on top of a program.
//!
//! | feature | module | what it is |
//! |---|---|---|
//! | `offspring` (default) | [`offspring`] | task objects that run in a subprocess, once or in a loop |
//! | `pkit` (default) | [`pkit`] | reusable, restartable, supervised processes; pools of processes and of workers; slots |
//! | `cross-process-bridge` (default) | [`cross_process_bridge`] | an object in another process, its methods called as if it were here; objects that processes share |
//! | `valkka-multiprocess` (default) | [`valkka_multiprocess`] | message processes: a back end that is told what to do, and tells what has happened; the program's loop over many |
//! | always | [`process`], [`link`], [`memory`], [`sync`], [`logging`] | the base: children; connections, calls and queues; shared memory; events and locks; log records of children |
//! | `tokio` | `link::AsyncConnection`, and methods named `.._async` | sending, receiving and waiting in tasks of that runtime |
//! | `testing` | `testing` | for tests alone: faults that are injected, a chaos monkey, leak police, deadlines |

pub mod prelude;

pub use common_ipc;
pub use common_ipc::link::Execution;
pub use common_ipc::process::{
    AtExit, Child, ChildError, ExitStatus, JoinError, LaunchOptions, PanicReport, ParentDeath, Portable,
    ProcessGroup, Refusal, Resource, Sigint, Signal, StartError, Stdio, StopSignals, StopStep, Stopped,
    Zygote, active_children, init, join_callbacks, progress, ready,
};
pub use common_ipc::{RemoteError, init_before_main};
#[doc(no_inline)]
pub use common_ipc::{link, logging, memory, process, sync};

#[cfg(feature = "testing")]
#[doc(no_inline)]
pub use common_ipc::testing;

#[cfg(feature = "offspring")]
pub use offspring;
#[cfg(feature = "offspring")]
#[doc(no_inline)]
pub use offspring::{
    Handle, LoopStep, Subprocess, SubprocessLoop, spawn, spawn_in, spawn_restartable, spawn_with,
};

#[cfg(feature = "cross-process-bridge")]
pub use cross_process_bridge;
#[cfg(feature = "cross-process-bridge")]
#[doc(no_inline)]
pub use cross_process_bridge::manager::{
    Manager, ManagerBuilder, ManagerError, SharedEvent, SharedList, SharedLock, SharedLockGuard, SharedMap,
    SharedQueue, SharedValue,
};
#[cfg(feature = "cross-process-bridge")]
#[doc(no_inline)]
pub use cross_process_bridge::{BridgeError, BridgeProcess, BridgeStream, Crosses, Timeout, bridge};

#[cfg(all(feature = "cross-process-bridge", feature = "tokio"))]
#[doc(no_inline)]
pub use cross_process_bridge::AsyncBridgeStream;

#[cfg(feature = "valkka-multiprocess")]
pub use valkka_multiprocess;
#[cfg(feature = "valkka-multiprocess")]
#[doc(no_inline)]
pub use valkka_multiprocess::{
    Backend, Context, EventGroup, FrontEnd, Incoming, MainContext, MainLoop, MessageObject, MessageProcess,
    ProcessError, Reply, Router, SyncIndex,
};

#[cfg(all(feature = "valkka-multiprocess", feature = "tokio"))]
#[doc(no_inline)]
pub use valkka_multiprocess::{AsyncBackMessageProcess, AsyncBackend, AsyncContext};

#[cfg(feature = "pkit")]
pub use pkit;
#[cfg(feature = "pkit")]
#[doc(no_inline)]
pub use pkit::{
    Chunk, Current, Map, MapUnordered, PoolError, Process, ProcessBuilder, ProcessExit, ProcessOpen,
    ProcessPool, RestartPolicy, Slot, SlotError, SlotPool, StatePool, Target, Task, TaskError, TaskHandle,
    TaskInfo, TaskStatus, WorkError, WorkerPool, current, supervisor,
};

/// The README's programs are tests as well.
#[cfg(all(
    doctest,
    feature = "offspring",
    feature = "pkit",
    feature = "cross-process-bridge",
    feature = "valkka-multiprocess"
))]
#[doc = include_str!("../README.md")]
struct Readme;
