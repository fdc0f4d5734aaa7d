//! Reusable, restartable, supervised processes; pools of processes and of workers; slots.
//!
//! ```
//! use pkit::Process;
//!
//! let process = Process::new(|| (1..=1_000u64).sum::<u64>());
//! process.start()?;
//! assert_eq!(process.join()?, 500_500);
//! process.start()?; // and again
//! assert_eq!(process.join()?, 500_500);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What to take
//!
//! | for | there is |
//! |---|---|
//! | a process that is started, joined, stopped, and started again | [`Process`]; one run of it is a [`ProcessOpen`] |
//! | processes that are to be there all the time | a [`Supervisor`](supervisor::Supervisor) |
//! | many tasks, each in a process of its own, so many at once | a [`ProcessPool`] |
//! | many small tasks, in processes that stay | a [`WorkerPool`], or a [`StatePool`] |
//! | so many of something at once, over several processes | a [`SlotPool`] |
//!
//! (For a single task in a process of its own there is the crate `offspring`.)
//!
//! # How a process is started
//!
//! A fork copies the locks of other threads in whatever state they are; so a start by fork in a program with other
//! threads is refused, and the error says what to do: [`StartError::Refused`]. There are three ways:
//!
//! | | by a fork | from a template | from a zygote |
//! |---|---|---|---|
//! | runs | any closure or [`Target`] | any closure or [`Target`] | what is serialisable, or a function on that |
//! | can be started | while there is one thread | at any time | at any time |
//! | if | | it was made while there was one thread | the program called [`init`] on its first line |
//! | costs | the more, the more memory the program has | 0.2 ms, and a small process that keeps the closure | 0.2 ms |
//! | [`Process`] | [`new`](Process::new), [`build`](ProcessBuilder::build) | [`build_template`](ProcessBuilder::build_template) | [`build_in`](ProcessBuilder::build_in), [`build_function_in`](ProcessBuilder::build_function_in) |
//! | children of a supervisor | | [`ChildSpec::new`](supervisor::ChildSpec::new) | [`ChildSpec::in_zygote`](supervisor::ChildSpec::in_zygote) |
//! | tasks of a pool | [`execute`](ProcessPool::execute), [`map`](ProcessPool::map) | | [`execute_in`](ProcessPool::execute_in), [`map_in`](ProcessPool::map_in) |
//! | workers | | | [`WorkerPool`], [`StatePool`] |
//!
//! In a program with an async runtime, so: a plain `fn main` that calls [`init`], makes templates and supervisors, and
//! then builds the runtime. `#[tokio::main]` would build it before the first line.
//!
//! ```
//! use pkit::supervisor::{ChildSpec, Supervisor};
//! use pkit::{Process, Zygote};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     pkit::init()?;
//!     let sleep = |seconds| std::thread::sleep(std::time::Duration::from_secs(seconds));
//!     let supervisor = Supervisor::builder().child(ChildSpec::new("sleeper", move || sleep(3600))).start()?;
//!     // From here on there may be threads.
//!     let process = Process::builder().build_function_in(&Zygote::global(), |n: u64| n * 7, 6);
//!     let thread = std::thread::spawn(move || {
//!         process.start().unwrap();
//!         process.join().unwrap()
//!     });
//!     assert_eq!(thread.join().unwrap(), 42);
//!     supervisor.restart("sleeper")?;
//!     supervisor.stop()?;
//!     Ok(())
//! }
//! ```
//!
//! # Talking to processes
//!
//! | what runs | is given | and then |
//! |---|---|---|
//! | once | an end of a [`Connection`](link::Connection), by [`LaunchOptions::give`] or as part of its argument | whoever waits at one end hears at once when the other end's process dies |
//! | again and again | queues, events, locks, memory: they are shared by all runs | who waits for an answer hears of a death by [`Events`](supervisor::Events) or [`on_exit`](Process::on_exit), since a queue doesn't end with one of its users |
//!
//! The example `workers` has supervised children that are asked for something, and what becomes of a request whose
//! child dies. A target says that it is ready by [`ready`], that it gets on by [`progress`], and takes requests to stop
//! between two pieces of work by [`StopSignals`].
//!
//! # Beside tokio
//!
//! With the feature `tokio` what waits has a twin that doesn't block a thread: [`Process`]'s `join_async`, [`Task`]'s
//! `join_async`, the `.._async` methods of [`Supervisor`](supervisor::Supervisor), and `Events::recv_async`. Starting a
//! process takes a fraction of a millisecond. What else stops, joins or waits for a slot blocks: `spawn_blocking` is for
//! that, or the `try_` form. Queues have `send_async` and `recv_async`.
//!
//! # What to know
//!
//! - **Nothing hangs because a process died**, and each error says why: a [`JoinError`] has the panic, the signal or the
//!   exit code; a start that waits for readiness ends with the cause when the process ends before.
//! - **Dropping a handle stops nothing**, but that of a supervisor, which stops its children, and of a pool of workers, which ends it. The program's exit stops all
//!   that runs; if the program is killed, all that it has started is killed with it.
//! - **What a target holds exists in each process anew**, as it was when the process (or its template) was made.
//! - **What targets return** are serde types in a format that isn't self-describing: untagged or internally tagged
//!   enums, `flatten` and `skip_serializing_if` don't survive. Instead of an `io::Result<T>` return a
//!   `Result<T, RemoteError>` ([`RemoteError`]).
//! - To talk to a process, give it an end of a [`Connection`](link::Connection), or let it capture an
//!   [`Event`](sync::Event), a [`Queue`](link::Queue), a [`SharedArray`](memory::SharedArray): [`LaunchOptions::give`]. An
//!   end moves to the first run; what is started again shares a queue.
//!
//! # From the Python package process-kit
//!
//! | Python | here |
//! |---|---|
//! | `Process(target=f, args=(..))` | [`Process::new`] of a closure that captures its arguments |
//! | a subclass with a `run` | a [`Target`] |
//! | `start()`, `start(wait=True)` | [`start`](Process::start), [`start_wait`](Process::start_wait) |
//! | `join()` | [`join`](Process::join), with what the target returned |
//! | `terminate()`, `terminate(wait=True)` | [`terminate`](Process::terminate), [`terminate_wait`](Process::terminate_wait) |
//! | `restart(policy)` | [`restart`](Process::restart) |
//! | `wait(until=.., timeout=..)` | [`wait_until`](Process::wait_until) |
//! | `on_exit=callback` | [`on_exit`](ProcessBuilder::on_exit), any number of them |
//! | `pid`, `name`, `is_alive`, `exitcode` | [`pid`](Process::pid), [`name`](Process::name), [`is_alive`](Process::is_alive), [`exit_status`](Process::exit_status) |
//! | a negative return code | [`ExitStatus::returncode`]; the [`ExitStatus`] says more |
//! | `current_process()` | [`current`](current()) |
//! | `ProcessOpen` | [`ProcessOpen`], also of a [`Process`]: [`open`](Process::open) |
//! | `ProcessPool`, `Task` | [`ProcessPool`], [`Task`] |
//! | `SlotPool`, named slot pools, `acquire_slot`, `release_slot` | [`SlotPool`], [`SlotPool::named`], [`with`](SlotPool::with), [`acquiring`](SlotPool::acquiring), [`releasing`](SlotPool::releasing) |
//! | `terminate` leaves return code 1 | -15: what ended it |
//! | the exit of the program waits for processes | it stops them; `at_exit(AtExit::Wait)` has it wait |
//!
//! Where the original loses exit codes, calls one callback of five, takes a dead process for a ready one or stalls after
//! some tasks, this doesn't.

mod measure;
mod pool;
mod restartable;
mod slots;
mod starter;
pub mod supervisor;
mod target;
mod workers;

pub use common_ipc::process::{
    AtExit, ChildError, ExitStatus, JoinError, LaunchOptions, PanicReport, ParentDeath, Portable,
    ProcessGroup, Refusal, Resource, Sigint, Signal, StartError, Stdio, StopSignals, StopStep, Stopped,
    WorkFailure, Zygote, init, join_callbacks, progress, ready,
};
pub use common_ipc::{RemoteError, init_before_main};
#[doc(no_inline)]
pub use common_ipc::{link, logging, memory, process, sync};
pub use pool::{Map, MapUnordered, PoolError, ProcessPool, Task, TaskError, TaskInfo, TaskStatus};
pub use restartable::{Current, Process, ProcessBuilder, ProcessExit, ProcessOpen, RestartPolicy, current};
pub use slots::{Slot, SlotError, SlotPool};
pub use target::Target;
pub use workers::{
    Chunk, MapProgress, StatePool, Statistics, TaskHandle, WorkError, WorkerChunks, WorkerMap, WorkerPool,
    WorkerPoolBuilder, Workers,
};

/// The README's programs are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
