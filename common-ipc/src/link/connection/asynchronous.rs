//! An end in a program that uses tokio.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::link::attachments::Outgoing;
use crate::link::codec;
use crate::link::connection::Connection;
use crate::link::connection::end::End;
use crate::link::connection::room::Patience;
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::link::watched::Watched;
use crate::ownership::give::{Give, Giver, private};

/// A [`Connection`] whose calls don't block the thread: for tasks of a tokio runtime.
///
/// Clones of it, and of the connection that it was made from, share one end. Any number of tasks and threads may
/// send and receive at once. For time-outs wrap the calls in `tokio::time::timeout`: no message is lost by
/// that, nor sent in part.
///
/// The child's end goes to it in the argument of a start from a zygote, which may be in the midst of a runtime (or,
/// by [`LaunchOptions::give`](crate::process::LaunchOptions::give), at a start by fork before there is one):
///
/// ```
/// use common_ipc::link::Connection;
/// use common_ipc::process::{self, Launch, LaunchOptions, Zygote};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     process::init()?;
///     let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
///     runtime.block_on(async {
///         let (here, there) = Connection::<u32, u32>::pair()?;
///         let here = here.into_async()?;
///         let double = |there: Connection<u32, u32>| {
///             there.iter().flatten().for_each(|number| there.send(&(number * 2)).unwrap());
///         };
///         let child = Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), double, &there)?;
///         here.send(&21).await?;
///         assert_eq!(here.recv().await?, 42);
///         drop(here); // ends the child's loop
///         child.output_async::<()>().await?;
///         Ok(())
///     })
/// }
/// ```
pub struct AsyncConnection<Out, In> {
    shared: Arc<Shared>,
    types: PhantomData<fn(Out) -> In>,
}

struct Shared {
    readable: Watched,
    line: Line,
}

impl<Out, In> Connection<Out, In> {
    /// This end, for tasks of the current tokio runtime. It is pollable from then on (see the implementation
    /// of [`AsFd`]).
    ///
    /// # Errors
    ///
    /// Outside of a runtime; no descriptors left; an end of another process.
    ///
    /// # Panics
    ///
    /// In a runtime that was built without `enable_io`, as everything of tokio's that waits does there.
    pub fn into_async(self) -> io::Result<AsyncConnection<Out, In>> {
        let readable = Watched::incoming(&self.end)?;
        let shared = Shared { readable, line: Line::new(self.end) };
        Ok(AsyncConnection { shared: Arc::new(shared), types: PhantomData })
    }
}

impl<Out, In> AsyncConnection<Out, In>
where
    Out: Serialize + DeserializeOwned,
    In: Serialize + DeserializeOwned,
{
    /// Sends a message, waiting for room as long as it takes.
    ///
    /// It is encoded when this is called, and sent at once if there is room for all of it. Else a thread of
    /// the runtime's for blocking work waits for room. If the future is dropped meanwhile, the message is given up
    /// within 20 ms: it arrives whole or not at all.
    ///
    /// # Errors
    ///
    /// As for [`Connection::send`].
    pub async fn send(&self, message: &Out) -> Result<(), LinkError> {
        let mut bytes = Vec::new();
        let outgoing = codec::encode_message(message, &mut bytes)?;
        self.shared.line.send(bytes, outgoing, None).await.map(drop)
    }

    /// Receives a message, waiting for it as long as it takes. If the future is dropped, none is lost.
    ///
    /// # Errors
    ///
    /// As for [`Connection::recv`].
    pub async fn recv(&self) -> Result<In, LinkError> {
        loop {
            if let Some(message) = self.try_recv()? {
                return Ok(message);
            }
            let mut guard = self.shared.readable.wait().await?;
            match self.try_recv()? {
                Some(message) => return Ok(message),
                None => guard.clear_ready(),
            }
        }
    }

    /// As [`Connection::try_recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv(&self) -> Result<Option<In>, LinkError> {
        self.shared.line.end.recv(Deadline::after(Duration::ZERO))
    }

    /// As [`Connection::try_send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send(&self, message: &Out) -> Result<(), LinkError> {
        self.shared.line.end.send(message, Patience::None)
    }
}

/// Where encoded messages are sent, by tasks.
#[derive(Debug)]
pub(crate) struct Line {
    end: Arc<End>,
    /// One task at a time occupies a thread with waiting for room.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Line {
    pub(crate) fn new(end: Arc<End>) -> Line {
        Line { end, turn: Arc::default() }
    }

    /// Sends an encoded message, at once if there is room for all of it. Else a thread of the runtime's for
    /// blocking work waits for room, until the deadline. Returns the place of its end (see
    /// [`End::was_taken`]). If the future is dropped, the message arrives whole or not at all.
    ///
    /// # Errors
    ///
    /// As for [`Connection::send`], and [`LinkError::TimedOut`].
    pub(crate) async fn send(
        &self,
        bytes: Vec<u8>,
        outgoing: Option<Box<Outgoing>>,
        deadline: Option<Instant>,
    ) -> Result<u64, LinkError> {
        let mut parcel = Parcel { end: Arc::clone(&self.end), bytes, outgoing };
        if self.turn.try_lock().is_ok() {
            match parcel.send(Patience::None) {
                // What never has room at once may still be sent bit by bit.
                Err(LinkError::Full) => {}
                Err(LinkError::TooLarge(error)) if error.length <= self.end.wires.max_frame => {}
                sent => return sent,
            }
        }
        let turn = until(deadline, Arc::clone(&self.turn).lock_owned()).await.ok_or(LinkError::TimedOut)?;
        let flag = Arc::new(AtomicBool::new(false));
        let is_given_up = Arc::clone(&flag);
        let mut sending = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            parcel.send(Patience::Unless(&is_given_up))
        });
        let give_up = GiveUp(flag, sending.abort_handle());
        let sent = match until(deadline, &mut sending).await {
            Some(sent) => sent,
            None => {
                // Whether it was sent in the last moment is soon known.
                drop(give_up);
                sending.await
            }
        };
        match sent {
            Err(error) if error.is_cancelled() && deadline.is_some() => Err(LinkError::TimedOut),
            // It fails if the runtime shuts down, or if a type's drop panics.
            sent => sent.map_err(io::Error::other)?,
        }
    }
}

/// What a future gives, if that is before the deadline.
pub(crate) async fn until<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
    }
}

/// An encoded message on its way to a thread that may wait.
struct Parcel {
    end: Arc<End>,
    bytes: Vec<u8>,
    outgoing: Option<Box<Outgoing>>,
}

impl Parcel {
    fn send(&mut self, patience: Patience<'_>) -> Result<u64, LinkError> {
        self.end.send_bytes(&self.bytes, &mut self.outgoing, patience)
    }
}

/// Tells whoever waits on behalf of a future that this was dropped; or takes it from the queue, where it would wait
/// for a thread, and keep the end open, for as long as others do.
struct GiveUp(Arc<AtomicBool>, tokio::task::AbortHandle);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.abort();
    }
}

impl<Out, In> Clone for AsyncConnection<Out, In> {
    fn clone(&self) -> Self {
        AsyncConnection { shared: Arc::clone(&self.shared), types: PhantomData }
    }
}

impl<Out, In> fmt::Debug for AsyncConnection<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncConnection")
            .field("control", &self.shared.line.end.wires.control)
            .finish_non_exhaustive()
    }
}

impl<Out, In> AsFd for AsyncConnection<Out, In> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.shared.line.end.pollable()
    }
}

impl<Out, In> private::Sealed for AsyncConnection<Out, In> {}

impl<Out, In> Give for AsyncConnection<Out, In> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.shared.line.end.list(giver);
    }
}
