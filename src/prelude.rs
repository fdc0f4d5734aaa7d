//! What most programs name: `use multiprocess::prelude::*;`.
//!
//! The traits and the attribute without which nothing works, and what is made first.
//!
//! ```
//! use multiprocess::prelude::*;
//!
//! struct Sum(Vec<u64>);
//!
//! impl Subprocess for Sum {
//!     type Output = u64;
//!
//!     fn run(&mut self) -> u64 {
//!         self.0.iter().sum()
//!     }
//! }
//!
//! assert_eq!(Sum(vec![20, 22]).spawn()?.wait()?, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[doc(no_inline)]
pub use common_ipc::RemoteError;
#[doc(no_inline)]
pub use common_ipc::process::{JoinError, LaunchOptions, Zygote, init};

#[cfg(feature = "cross-process-bridge")]
#[doc(no_inline)]
pub use cross_process_bridge::manager::Manager;
#[cfg(feature = "cross-process-bridge")]
#[doc(no_inline)]
pub use cross_process_bridge::{BridgeError, Timeout, bridge};
#[cfg(feature = "offspring")]
#[doc(no_inline)]
pub use offspring::{LoopStep, Subprocess, SubprocessLoop, spawn};
#[cfg(feature = "pkit")]
#[doc(no_inline)]
pub use pkit::supervisor::{ChildSpec, Supervisor};
#[cfg(feature = "pkit")]
#[doc(no_inline)]
pub use pkit::{Process, ProcessPool, SlotPool, StatePool, Target, WorkError, WorkerPool};
#[cfg(all(feature = "valkka-multiprocess", feature = "tokio"))]
#[doc(no_inline)]
pub use valkka_multiprocess::{AsyncBackMessageProcess, AsyncBackend, AsyncContext};
#[cfg(feature = "valkka-multiprocess")]
#[doc(no_inline)]
pub use valkka_multiprocess::{
    Backend, Context, Incoming, MainContext, MainLoop, MessageProcess, ProcessError, Reply,
};
