//! Calls by tasks of a tokio runtime.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::link::attachments::Outgoing;
use crate::link::calls::NO_REPLY;
use crate::link::calls::caller::{OpenCaller, OpenReply, encode};
use crate::link::calls::driver::Driving;
use crate::link::calls::engine::Engine;
use crate::link::calls::error::CallError;
use crate::link::calls::slots::Sleeper;
use crate::link::connection::Came;
use crate::link::connection::asynchronous::{Line, until};
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::link::watched::Watched;
use crate::ownership::generation::Generation;

/// An [`OpenCaller`] whose calls don't block the thread: for tasks of a tokio runtime.
///
/// Clones of it, and the caller that it was made from with its clones, share one connection. Any number of tasks
/// and threads may call at once.
///
/// The runtime in which it was made brings the replies: calls that are made in another one wait while that one doesn't run.
/// Make one in each.
///
/// A future may be dropped at any time: a request arrives whole or not at all, a late reply is dropped, and the
/// calls of others aren't touched.
///
/// ```
/// use common_ipc::link::{DEFAULT_MAX_FRAME, OpenServer, open_calls};
/// use common_ipc::process::{self, Launch, LaunchOptions, Zygote};
///
/// fn serve(server: OpenServer) {
///     let mut buffer = Vec::new();
///     while let Ok(request) = server.recv(&mut buffer) {
///         let (number, responder) = request.decode::<u32>();
///         responder.reply::<u32, _>(0, &(number.unwrap() * 2)).unwrap();
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     process::init()?;
///     let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
///     runtime.block_on(async {
///         let (caller, server) = open_calls(DEFAULT_MAX_FRAME)?;
///         let child = Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), serve, &server)?;
///         let tasks = caller.to_async()?;
///         let call = tasks.call::<u32, _, _>(1, &21, None, |reply| reply.decode::<u32>());
///         assert_eq!(call.await??, 42);
///         drop((caller, tasks)); // ends the child's loop
///         child.output_async::<()>().await?;
///         Ok(())
///     })
/// }
/// ```
#[derive(Clone)]
pub struct AsyncOpenCaller {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Arc<Engine>,
    line: Line,
    driver: AbortHandle,
    home: Generation,
}

impl OpenCaller {
    /// This caller, for tasks of the current tokio runtime; it goes on to serve threads. Its connection is
    /// pollable from then on, which costs its server a call of the kernel's for each reply that isn't waited for
    /// by a thread.
    ///
    /// # Errors
    ///
    /// Outside of a runtime; no descriptors left; a caller of another process.
    ///
    /// # Panics
    ///
    /// In a runtime that was built without `enable_io`.
    pub fn to_async(&self) -> io::Result<AsyncOpenCaller> {
        let engine = Arc::clone(&self.engine);
        let readable = Watched::incoming(engine.end())?;
        engine.lock().map_err(io::Error::other)?.drivers += 1;
        let driving = Driving(Arc::downgrade(&engine));
        let driver = Handle::current().spawn(driving.drive(readable)).abort_handle();
        let line = Line::new(Arc::clone(engine.end()));
        let shared = Shared { engine, line, driver, home: Generation::current() };
        Ok(AsyncOpenCaller { shared: Arc::new(shared) })
    }
}

impl AsyncOpenCaller {
    /// Whether replies are brought to its calls: not once the runtime in which it was made has ended, or the connection.
    #[must_use]
    pub fn is_driven(&self) -> bool {
        !self.shared.driver.is_finished()
    }

    /// As [`OpenCaller::call`].
    ///
    /// # Errors
    ///
    /// As there; [`LinkError::Io`] if the runtime has ended in which this was made.
    ///
    /// # Panics
    ///
    /// With a `timeout`, in a runtime that was built without `enable_time`.
    pub async fn call<Check, Argument, R>(
        &self,
        what: u32,
        argument: &Argument,
        timeout: Option<Duration>,
        read: impl FnOnce(OpenReply<'_>) -> R,
    ) -> Result<R, CallError>
    where
        Check: DeserializeOwned,
        Argument: Serialize + ?Sized,
    {
        let mut bytes = Vec::new();
        let outgoing = encode::<Check, Argument>(what, argument, &mut bytes)?;
        let (bytes, came) = self.shared.exchange(bytes, outgoing, timeout).await?;
        Ok(read(OpenReply::new(&bytes, came)))
    }

    /// As [`OpenCaller::send`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As for [`call`](AsyncOpenCaller::call).
    pub async fn send<Check, Argument>(
        &self,
        what: u32,
        argument: &Argument,
        timeout: Option<Duration>,
    ) -> Result<(), CallError>
    where
        Check: DeserializeOwned,
        Argument: Serialize + ?Sized,
    {
        let mut bytes = Vec::new();
        let outgoing = encode::<Check, Argument>(what, argument, &mut bytes)?;
        let sent = self.shared.line.send(bytes, outgoing, deadline(timeout)).await;
        sent.map(drop).map_err(CallError::not_sent)
    }
}

/// Never, if that is further away than time can tell.
fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(timeout?)
}

impl Shared {
    async fn exchange(
        &self,
        mut bytes: Vec<u8>,
        outgoing: Option<Box<Outgoing>>,
        timeout: Option<Duration>,
    ) -> Result<(Vec<u8>, Came), CallError> {
        let deadline = deadline(timeout);
        let call = Call { engine: &self.engine, number: self.engine.reserve()? };
        bytes[..NO_REPLY].copy_from_slice(&call.number.to_le_bytes());
        let place = self.line.send(bytes, outgoing, deadline).await.map_err(CallError::not_sent)?;
        let mut bytes = Vec::new();
        let reply = until(deadline, poll_fn(|context| call.poll(&mut bytes, context))).await;
        let reply = reply.unwrap_or(Err(LinkError::NoReply));
        let came = reply.map_err(|error| self.engine.failed(error, place))?;
        drop(call);
        if bytes.len() == NO_REPLY {
            return Err(CallError::taken(LinkError::Unanswered));
        }
        Ok((bytes, came))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // In a forked child it is a copy of the parent's, and so is its runtime.
        if self.home.check().is_ok() {
            self.driver.abort();
        }
    }
}

/// A call of a task's. If it is dropped, its slot is free, and its late reply is dropped.
struct Call<'a> {
    engine: &'a Engine,
    number: u64,
}

impl Call<'_> {
    fn poll(&self, bytes: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<Result<Came, LinkError>> {
        let mut slots = self.engine.lock()?;
        if let Some(came) = slots.take(self.number, bytes) {
            return Poll::Ready(Ok(came));
        }
        if slots.is_driven() || slots.is_read {
            let before = slots.wake(self.number);
            slots.sleep(self.number, Sleeper::Task(context.waker().clone()));
            // What a waker does when it is dropped is its runtime's.
            drop(slots);
            drop(before);
            return Poll::Pending;
        }
        self.engine.take_the_role(&mut slots);
        drop(slots);
        Poll::Ready(match self.engine.read(self.number, bytes, Deadline::after(Duration::ZERO), 0) {
            Err(LinkError::NoReply) => Err(io::Error::other(
                "the tokio runtime in which to_async was called has ended, and nobody waits for replies",
            )
            .into()),
            read => read,
        })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // In a forked child it is a copy, and the lock may never come free.
        if self.engine.lock().is_ok() {
            self.engine.leave(self.number);
        }
    }
}

impl fmt::Debug for AsyncOpenCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncOpenCaller").field("engine", &self.shared.engine).finish_non_exhaustive()
    }
}
