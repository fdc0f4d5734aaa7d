//! In the caller: the items of an iterator that runs in the object's process.

#[cfg(feature = "tokio")]
mod asynchronous;
mod batch;

use std::fmt;
use std::sync::Arc;

use common_ipc::link::{OpenReply, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncBridgeStream;
use batch::{Items, Next};

use crate::crosses::Crosses;
use crate::error::BridgeError;
use crate::handle::Handle;
use crate::method::{self, Method};
use crate::occupied::Occupied;
use crate::outlet::Batch;
use crate::reply::{self, OPENED};

/// The items of an iterator that a method has returned: it runs in the object's process, and they come here in batches.
///
/// As a rule of iterators it goes ahead of its consumer, but only so far: by one item to begin with, by more and more while they
/// are taken as fast as they come, and by 256 KiB at most, as they are encoded. So one without an end is as good as any other,
/// and takes no more memory. An item that is there is never held back for others.
///
/// **The last item may be an error**: the process has died; the iterator has panicked (the object goes on to be usable);
/// an item can't be serialised, or is too long; none came in the time of [`with_timeout`](crate::Timeout), which each item has
/// for itself. After that, and after the end, there is `None` for ever.
///
/// **Dropping** it ends the iterator: that is dropped in the process, once it has made the item that it is at, and items that
/// weren't taken are lost. The drop doesn't wait for that.
///
/// While a stream is open, from the call that returns it to its end or drop, the object is occupied: other calls are
/// [`BridgeError::Busy`], but the process can be stopped, restarted and killed. A stream keeps the process as a clone of
/// the bridge does.
///
/// ```
/// use cross_process_bridge::{BridgeError, bridge};
///
/// struct Numbers;
///
/// #[bridge]
/// impl Numbers {
///     fn new() -> Numbers {
///         Numbers
///     }
///     fn squares(&self, from: u64) -> impl Iterator<Item = u64> {
///         (from..).map(|number| number * number)
///     }
/// }
///
/// let numbers = NumbersBridge::new();
/// numbers.start()?;
/// let mut squares = numbers.squares(3)?;
/// assert_eq!(squares.next().unwrap()?, 9);
/// assert!(matches!(numbers.squares(4), Err(BridgeError::Busy { .. })));
/// let rest: Vec<u64> = squares.take(3).collect::<Result<_, _>>()?;
/// assert_eq!(rest, [16, 25, 36]);
/// assert_eq!(numbers.squares(10)?.next().unwrap()?, 100);
/// # Ok::<(), BridgeError>(())
/// ```
#[must_use = "a stream that is dropped ends its iterator"]
pub struct BridgeStream<T> {
    handle: Handle,
    method: Method,
    items: Items<T>,
    /// Until the end.
    occupied: Option<Occupied>,
}

impl<T> BridgeStream<T> {
    /// By `read` an item is made of what came.
    pub(crate) fn next_item(&mut self) -> Option<Result<T, BridgeError>> {
        loop {
            match self.items.next() {
                Next::Item(item) => return Some(Ok(item)),
                Next::End(result) => {
                    if let Some(occupied) = self.occupied.take() {
                        occupied.over();
                    }
                    return result.map(Err);
                }
                Next::Nonsense(error) => {
                    self.occupied = None;
                    return Some(Err(error));
                }
                Next::Empty => {}
            }
            let occupied = self.occupied.as_ref()?;
            let (run, method) = (Arc::clone(&occupied.run), self.method);
            let read = |came: OpenReply<'_>| reply::read::<Batch>(method.name, came);
            let called =
                run.caller.call::<u64, _, _>(method::NEXT, &occupied.number, self.handle.time(), read);
            let error = match called {
                Ok(Ok(batch)) => {
                    self.items.refill(batch);
                    continue;
                }
                Ok(Err(error)) => error,
                Err(error) => self.handle.explain(&run, method, error).begun(),
            };
            self.occupied = None;
            return Some(Err(error));
        }
    }
}

impl<T> Iterator for BridgeStream<T> {
    type Item = Result<T, BridgeError>;

    fn next(&mut self) -> Option<Result<T, BridgeError>> {
        self.next_item()
    }
}

impl<T> std::iter::FusedIterator for BridgeStream<T> {}

impl<T> fmt::Debug for BridgeStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BridgeStream")
            .field("method", &self.method.name)
            .field("is_open", &self.occupied.is_some())
            .finish_non_exhaustive()
    }
}

/// What a method has returned beside its items.
#[derive(Debug)]
pub struct Opened<R> {
    result: R,
    handle: Handle,
    method: Method,
    /// If there are any.
    occupied: Option<Occupied>,
}

impl<R> Opened<R> {
    /// Both. By `read` an item is made of what crosses for it.
    pub fn stream<W, T>(self, read: fn(W) -> T) -> (R, BridgeStream<T>)
    where
        W: Crosses,
        T: 'static,
    {
        let Opened { result, handle, method, occupied } = self;
        let items = Items::new(method.name, move |bytes| codec::decode::<W>(bytes).map(read));
        (result, BridgeStream { handle, method, items, occupied })
    }
}

impl Handle {
    /// As [`call`](Handle::call), of a method that returns an iterator, and `R` beside it.
    pub fn open<W, A, R>(&self, method: Method, arguments: &A) -> Result<Opened<R>, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        let run = self.run(method)?;
        let occupied = run.occupy(method)?;
        let request = (occupied.number, arguments);
        let read = |came: OpenReply<'_>| (came.kind() == OPENED, reply::read::<R>(method.name, came));
        let called = run.caller.call::<(u64, W), _, _>(method.id, &request, self.time(), read);
        match called {
            Ok((true, Ok(result))) => {
                Ok(Opened { result, handle: self.clone(), method, occupied: Some(occupied) })
            }
            Ok((is_open, result)) => {
                if !is_open {
                    occupied.over();
                }
                Ok(Opened { result: result?, handle: self.clone(), method, occupied: None })
            }
            Err(error) => {
                let error = self.explain(&run, method, error);
                drop(occupied);
                Err(error)
            }
        }
    }
}
