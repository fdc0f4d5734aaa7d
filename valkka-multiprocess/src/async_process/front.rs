//! Front ends in programs that use tokio.

use common_ipc::process::Stopped;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

use crate::message_process::{Ended, FrontEnd, ProcessError, Reply, STOP_GRACE};

/// For tasks: nothing of this blocks the thread, but for the time that encoding and decoding take.
///
/// Each future belongs to the runtime in which it was first polled, which needs I/O and time. It may be dropped at any time:
/// a command arrives whole or not at all, no event is lost, and a late reply is dropped. To give one of them a time-out,
/// wrap it in `tokio::time::timeout`. Threads may use the same front end beside tasks.
///
/// In a program that has a runtime the process is started from a zygote; that takes about a millisecond, and is no
/// `async fn`. Dropping a [`MessageProcess`](crate::MessageProcess) whose back end runs blocks the thread until that has
/// ended: [`stop_async`](FrontEnd::stop_async) it before.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError, Reply, Zygote, init};
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Add { number: i64, reply: Reply<i64> },
///     Tell,
/// }
///
/// #[derive(Serialize, Deserialize, Default)]
/// struct Sum(i64);
///
/// impl Backend for Sum {
///     type Command = Command;
///     type Event = i64;
///
///     fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
///         match command {
///             Command::Add { number, reply } => {
///                 self.0 += number;
///                 reply.send(&self.0)?;
///             }
///             Command::Tell => cx.send_out(&self.0)?,
///         }
///         Ok(())
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     init()?; // first of all
///     let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
///     runtime.block_on(async {
///         let sum = MessageProcess::new("sum", Sum::default()).launch_in(&Zygote::global());
///         sum.start()?;
///         assert_eq!(sum.request_async(|reply| Command::Add { number: 40, reply }).await?, 40);
///         assert_eq!(sum.request_async(|reply| Command::Add { number: 2, reply }).await?, 42);
///         sum.send_async(&Command::Tell).await?;
///         assert_eq!(sum.recv_async().await?, 42);
///         sum.stop_async().await?;
///         Ok(())
///     })
/// }
/// ```
impl<C, E> FrontEnd<C, E>
where
    C: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    /// As [`send`](FrontEnd::send).
    ///
    /// # Errors
    ///
    /// As there; [`ProcessError::OutsideRuntime`].
    pub async fn send_async(&self, command: &C) -> Result<u64, ProcessError> {
        self.run()?.send_async(command).await
    }

    /// As [`request`](FrontEnd::request).
    ///
    /// # Errors
    ///
    /// As there; [`ProcessError::OutsideRuntime`].
    pub async fn request_async<R>(&self, make: impl FnOnce(Reply<R>) -> C) -> Result<R, ProcessError>
    where
        R: Serialize + DeserializeOwned,
    {
        let (run, command) = (self.run()?, make(Reply::wanted()));
        run.request_async(&command).await
    }

    /// As [`recv`](FrontEnd::recv).
    ///
    /// # Errors
    ///
    /// As there; [`ProcessError::OutsideRuntime`].
    pub async fn recv_async(&self) -> Result<E, ProcessError> {
        self.run()?.event_async().await
    }

    /// As [`wait_stop`](FrontEnd::wait_stop).
    ///
    /// # Errors
    ///
    /// As there; [`ProcessError::OutsideRuntime`].
    pub async fn wait_stop_async(&self) -> Result<Ended, ProcessError> {
        self.run()?.wait_stop_async().await.cloned()
    }

    /// As [`stop`](FrontEnd::stop). If the future is dropped, the back end may have been asked to end, and is as it is at
    /// that point.
    ///
    /// # Errors
    ///
    /// As there; [`ProcessError::OutsideRuntime`].
    pub async fn stop_async(&self) -> Result<Stopped, ProcessError> {
        self.stop_timeout_async(STOP_GRACE).await
    }

    /// As [`stop_timeout`](FrontEnd::stop_timeout).
    ///
    /// # Errors
    ///
    /// As there; [`ProcessError::OutsideRuntime`].
    pub async fn stop_timeout_async(&self, grace: Duration) -> Result<Stopped, ProcessError> {
        self.run()?.stop_async(grace).await
    }
}
