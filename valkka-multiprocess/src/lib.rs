//! Message processes: a front end in this process, a back end in another, typed messages between them.
#[cfg(feature = "tokio")]
mod async_process;
mod events;
mod main_loop;
mod message_process;
mod messages;
mod reactor;

#[cfg(feature = "tokio")]
pub use async_process::{AsyncBackMessageProcess, AsyncBackend, AsyncContext};
pub use common_ipc::link::safe_select;
pub use common_ipc::process::{
    AtExit, Child, ChildError, ExitStatus, LaunchOptions, PanicReport, ParentDeath, Portable, ProcessGroup,
    Refusal, Resource, Sigint, Signal, StartError, Stdio, StopStep, Stopped, WrongProcess, Zygote, init,
};
pub use common_ipc::{RemoteError, init_before_main};
#[doc(no_inline)]
pub use common_ipc::{link, memory, process, sync};
pub use events::{EventError, EventGroup, EventIndex, Reserved, SyncIndex};
pub use main_loop::source::Watch;
pub use main_loop::{LoopError, MainContext, MainLoop, Polled, RunningContext, StopHandle, ThreadError};
pub use message_process::{
    Backend, Cause, Context, During, Ended, EventSender, Execution, Failure, FrontEnd, Incoming,
    MessageProcess, Pipe, Policy, ProcessError, Reply,
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
