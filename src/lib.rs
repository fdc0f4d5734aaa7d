//! Rust objects in processes of their own.
//!
//! ```
//! # fn expensive() -> u64 { 42 }
//! let total = multiprocess::spawn(|| expensive())?.join()?;
//! # assert_eq!(total, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate has no logic of its own: it re-exports a family of crates, each of which can be used
//! alone, by one cargo feature for each.
//!
//! | feature | module | what it is |
//! |---|---|---|
//! | `offspring` (default) | [`offspring`] | task objects that run in a subprocess, once or in a loop |
//! | `pkit` (default) | [`pkit`] | reusable, restartable, supervised processes; pools and slots |
//! | `cross-process-bridge` (default) | [`cross_process_bridge`] | an object in another process, its methods called as if it were here |
//! | `valkka-multiprocess` (default) | [`valkka_multiprocess`] | message processes: a back end that is told what to do, and tells what has happened; the program's loop over many |
//! | always | [`process`], [`link`], [`memory`], [`sync`], [`logging`] | the base: children; connections, calls and queues; shared memory; events and locks; log records of children |
//! | `tokio` | `link::AsyncConnection`, and methods named `.._async` | sending, receiving and waiting in tasks of that runtime |
//!
//! At the root is what most programs name; the rest of each crate is in its module.
//!
//! The one promise at the centre: **no call ever hangs because a process died, and every error
//! says why.**
//!
//! Start processes before threads, or call [`init`] on the first line of `main` and start them from a
//! [`Zygote`] at any time: see the fork rule in [`common_ipc`](common_ipc#the-fork-rule).

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
