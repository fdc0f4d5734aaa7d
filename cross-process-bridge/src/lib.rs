//! An object that lives in another process, its methods called as if it were here.
//!
//! Under construction.

#[cfg(feature = "tokio")]
mod asynchronous;
mod bridge_process;
mod crosses;
mod error;
mod failure;
mod handle;
mod life;
mod method;
mod origin;
mod reentry;
mod reply;
mod serving;
mod timeout;
mod wire;

pub use bridge_process::BridgeProcess;
pub use common_ipc::process::{
    AtExit, Child, ChildError, ExitStatus, LaunchOptions, PanicReport, ParentDeath, ProcessGroup, Refusal,
    Resource, Sigint, Signal, StartError, Stdio, StopStep, Stopped, WrongProcess, Zygote, init,
};
pub use common_ipc::{RemoteError, init_before_main};
#[doc(no_inline)]
pub use common_ipc::{link, memory, process, sync};
pub use cross_process_bridge_macros::bridge;
pub use crosses::Crosses;
pub use error::{BridgeError, Execution};
pub use handle::from_fn;
pub use serving::Bridged;
pub use timeout::Timeout;

/// What `#[bridge]` expands to.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "tokio")]
    pub use crate::asynchronous::AsyncHandle;
    pub use crate::crosses::Crosses;
    pub use crate::handle::Handle;
    pub use crate::method::Method;
    pub use crate::serving::{Bridged, Call, Served};
    pub use common_ipc::RemoteError;
    pub use common_ipc::link::Bytes;
    pub mod failure {
        pub use crate::failure::*;
    }
    pub mod wire {
        pub use crate::wire::*;
    }
}
