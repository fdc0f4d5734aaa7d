//! Calls that are served by tasks of a tokio runtime.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;

use crate::link::calls::NO_REPLY;
use crate::link::calls::error::ReplyError;
use crate::link::calls::server::{OpenRequest, OpenResponder, OpenServer, encode_reply};
use crate::link::connection::Came;
use crate::link::connection::asynchronous::Line;
use crate::link::connection::room::Patience;
use crate::link::error::LinkError;
use crate::link::watched::Watched;

/// An [`OpenServer`] whose calls don't block the thread: for tasks of a tokio runtime.
///
/// It shares the connection with the server that it was made from, and the clones of that. Any number of tasks may
/// receive at once: each request goes to one of them. It belongs to the runtime in which it was made.
///
/// ```
/// use common_ipc::link::{DEFAULT_MAX_FRAME, open_calls};
///
/// let (caller, server) = open_calls(DEFAULT_MAX_FRAME)?;
/// let asking = std::thread::spawn(move || {
///     caller.call::<u32, _, _>(1, &21, None, |reply| reply.decode::<u32>().unwrap()).unwrap()
/// });
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
/// runtime.block_on(async {
///     let tasks = server.to_async()?;
///     let mut buffer = Vec::new();
///     let (number, responder) = tasks.recv(&mut buffer).await?.decode::<u32>();
///     responder.reply_async::<u32, _>(0, &(number? * 2)).await?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// assert_eq!(asking.join().unwrap(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncOpenServer {
    server: OpenServer,
    readable: Watched,
}

impl OpenServer {
    /// This server, for tasks of the current tokio runtime. Its connection is pollable from then on, which costs its
    /// callers a call of the kernel's for each request that finds it without any.
    ///
    /// # Errors
    ///
    /// Outside of a runtime; no descriptors left; a server of another process.
    ///
    /// # Panics
    ///
    /// In a runtime that was built without `enable_io`.
    pub fn to_async(&self) -> io::Result<AsyncOpenServer> {
        let readable = Watched::incoming(self.connection.end())?;
        let line =
            self.line.clone().unwrap_or_else(|| Arc::new(Line::new(Arc::clone(self.connection.end()))));
        let server = OpenServer { connection: self.connection.clone(), outbox: None, line: Some(line) };
        Ok(AsyncOpenServer { server, readable })
    }
}

impl AsyncOpenServer {
    /// As [`OpenServer::recv`]. If the future is dropped, no request is lost.
    ///
    /// Before it waits, it gives other tasks their turn, and then looks for a request for up to 0.05 ms, unless that was in
    /// vain lately: a wake-up costs as much.
    ///
    /// # Errors
    ///
    /// As there; [`LinkError::Io`] if the runtime in which this was made has ended.
    pub async fn recv<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<OpenRequest<'b>, LinkError> {
        // However many requests there are: other tasks want to run as well.
        consume_budget().await;
        let came = match self.server.take_soon(buffer, false)? {
            Some(came) => came,
            None => self.wait(buffer).await?,
        };
        Ok(self.server.lend(buffer, came))
    }

    async fn wait(&self, buffer: &mut Vec<u8>) -> Result<Came, LinkError> {
        // What others of this thread do first may be what is waited for.
        yield_now().await;
        if let Some(came) = self.server.take_soon(buffer, true)? {
            return Ok(came);
        }
        loop {
            // Whoever finds nothing by this is woken.
            if let Some(came) = self.server.take_now(buffer)? {
                return Ok(came);
            }
            let mut guard = self.readable.wait().await?;
            if let Some(came) = self.server.take_soon(buffer, false)? {
                return Ok(came);
            }
            match self.server.take_now(buffer)? {
                Some(came) => return Ok(came),
                None => guard.clear_ready(),
            }
        }
    }

    /// As [`OpenServer::try_recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<Option<OpenRequest<'b>>, LinkError> {
        self.server.try_recv(buffer)
    }
}

impl OpenResponder {
    /// As [`reply`](OpenResponder::reply), in a task: it waits for room without blocking the thread. If the future is
    /// dropped meanwhile, the reply arrives whole or not at all, and then its caller has [`LinkError::Unanswered`].
    ///
    /// # Errors
    ///
    /// As for [`reply`](OpenResponder::reply).
    ///
    /// # Panics
    ///
    /// Outside of a runtime, when there is no room.
    pub async fn reply_async<Check, T>(mut self, kind: u32, value: &T) -> Result<(), ReplyError>
    where
        Check: DeserializeOwned,
        T: Serialize + ?Sized,
    {
        if !self.wants_reply() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let sent = match encode_reply::<Check, T>(self.number, kind, value, &mut bytes) {
            Ok(outgoing) => self.line().send(bytes, outgoing, None).await.map(drop),
            Err(error) => Err(error.into()),
        };
        match sent {
            Ok(()) => {
                self.number = 0;
                Ok(())
            }
            Err(cause) => Err(ReplyError { cause, responder: self }),
        }
    }

    fn line(&mut self) -> Arc<Line> {
        let end = self.server.connection.end();
        Arc::clone(self.server.line.get_or_insert_with(|| Arc::new(Line::new(Arc::clone(end)))))
    }

    /// Says that there will be no reply, by a task if there is no room, and returns whether that is settled.
    pub(super) fn gives_up_in_a_task(&mut self) -> bool {
        if self.server.line.is_none() {
            return false;
        }
        let Ok(runtime) = Handle::try_current() else { return false };
        let bytes: [u8; NO_REPLY] = self.number.to_le_bytes();
        let sent = self.server.connection.end().send_bytes(&bytes, &mut None, Patience::None);
        if let Err(LinkError::Full) = sent {
            let line = self.line();
            // Should the runtime end before there is room, a time-out is the caller's.
            drop(runtime.spawn(async move { drop(line.send(bytes.into(), None, None).await) }));
        }
        true
    }
}

impl fmt::Debug for AsyncOpenServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncOpenServer").field("server", &self.server).finish_non_exhaustive()
    }
}
