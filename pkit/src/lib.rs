//! Reusable, restartable processes; pools, slots and supervision.

mod pool;
mod process;
mod slots;
mod starter;
pub mod supervisor;
mod target;

pub use common_ipc::process::{
    AtExit, ChildError, ExitStatus, JoinError, LaunchOptions, Portable, Refusal, Signal, StartError,
    StopStep, Stopped, Zygote, init, join_callbacks, progress, ready,
};
pub use common_ipc::{RemoteError, init_before_main, link, memory, sync};
pub use pool::{Map, MapUnordered, PoolError, ProcessPool, Task, TaskError, TaskInfo, TaskStatus};
pub use process::{Current, Process, ProcessBuilder, ProcessExit, ProcessOpen, RestartPolicy, current};
pub use slots::{Slot, SlotError, SlotPool};
pub use target::Target;
