//! Reusable, restartable processes; pools, slots and supervision.

mod process;
mod starter;
pub mod supervisor;
mod target;

pub use common_ipc::process::{
    AtExit, ChildError, ExitStatus, JoinError, LaunchOptions, Portable, Refusal, Signal, StartError,
    StopStep, Stopped, Zygote, init, join_callbacks, progress, ready,
};
pub use common_ipc::{RemoteError, init_before_main, link, memory, sync};
pub use process::{Current, Process, ProcessBuilder, ProcessExit, ProcessOpen, RestartPolicy, current};
pub use target::Target;
