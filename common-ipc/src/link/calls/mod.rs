//! Calls: requests and their replies over one connection, from any number of threads at once.
//!
//! [`calls`] are of one type of request and one of reply; [`open_calls`] of any types, from call to call. Both
//! stand on the same engine.

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "tokio")]
mod asynchronous_server;
mod caller;
#[cfg(feature = "tokio")]
mod driver;
mod engine;
mod error;
mod outbox;
mod server;
mod slots;
mod typed;

#[cfg(test)]
mod tests;

use std::io;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncOpenCaller;
#[cfg(feature = "tokio")]
pub use asynchronous_server::AsyncOpenServer;
pub use caller::{OpenCaller, OpenReply};
pub use error::{CallError, CallProgress, Execution, ReplyError};
pub use server::{KeptRequest, OpenRequest, OpenResponder, OpenServer};
pub use typed::{Caller, Received, Responder, Server, calls};

use crate::link::connection::Connection;

/// Makes both sides of calls whose arguments and replies may be of another type each time.
///
/// A call names by a number what is called, and both sides know which types that has. The longest request or
/// reply has `max_frame` bytes ([`DEFAULT_MAX_FRAME`](crate::link::DEFAULT_MAX_FRAME) serves most).
///
/// ```
/// use common_ipc::link::{DEFAULT_MAX_FRAME, open_calls};
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// const LENGTH: u32 = 1;
/// const SUM: u32 = 2;
/// const DONE: u32 = 0;
/// const UNKNOWN: u32 = 1;
///
/// let (caller, server) = open_calls(DEFAULT_MAX_FRAME)?;
/// let child = Launch::new(&LaunchOptions::new().give(&server)).start(move || {
///     let mut buffer = Vec::new();
///     while let Ok(request) = server.recv(&mut buffer) {
///         match request.what() {
///             LENGTH => {
///                 let (text, responder) = request.decode::<String>();
///                 responder.reply::<usize, _>(DONE, &text.unwrap().len()).unwrap();
///             }
///             SUM => {
///                 let (numbers, responder) = request.decode::<Vec<i64>>();
///                 responder.reply::<i64, _>(DONE, &numbers.unwrap().iter().sum::<i64>()).unwrap();
///             }
///             _ => request.responder().reply::<(), _>(UNKNOWN, &()).unwrap(),
///         }
///     }
/// })?;
/// // The argument is borrowed: a `str`, which the other side reads as a `String`.
/// let length = caller.call::<String, str, _>(LENGTH, "nine chars", None, |reply| reply.decode::<usize>())??;
/// assert_eq!(length, 10);
/// let sum = caller.call::<Vec<i64>, _, _>(SUM, &[1_i64, 2, 3][..], None, |reply| reply.decode::<i64>())??;
/// assert_eq!(sum, 6);
/// assert_eq!(caller.call::<(), _, _>(99, &(), None, |reply| reply.kind())?, UNKNOWN);
/// drop(caller); // ends the child's loop
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As for [`Connection::pair`].
pub fn open_calls(max_frame: usize) -> io::Result<(OpenCaller, OpenServer)> {
    let (connection, served) = Connection::pair_with_max(max_frame)?;
    Ok((OpenCaller::new(connection), OpenServer::new(served)))
}

/// What a call's request begins with: its number, then what is called. A number of zero: no reply is wanted.
pub(super) const REQUEST_HEADER: usize = 12;
/// What a reply begins with: the number of its request, then its kind.
pub(super) const REPLY_HEADER: usize = 12;
/// All that says that there will be no reply: the number of its request.
pub(super) const NO_REPLY: usize = 8;

/// The `count`-th four bytes.
pub(super) fn word(bytes: &[u8], count: usize) -> u32 {
    bytes.chunks_exact(4).nth(count).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The number at the beginning.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}
