//! The same for tasks of a tokio runtime.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use common_ipc::link::{OpenReply, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::asynchronous::AsyncHandle;
use crate::crosses::Crosses;
use crate::error::BridgeError;
use crate::method::{self, Method};
use crate::occupied::Occupied;
use crate::outlet::Batch;
use crate::reply::{self, OPENED};
use crate::stream::batch::{Items, Next};

type Asking = Pin<Box<dyn Future<Output = Result<Batch, BridgeError>> + Send>>;

/// A [`BridgeStream`](crate::BridgeStream) for tasks: what the methods of an asynchronous bridge return for those that return
/// iterators. All that is said there holds here.
///
/// A future of [`next`](AsyncBridgeStream::next) may be dropped at any time, and no item is lost by that. To make it a `Stream`
/// of the crate `futures-core`, forward to [`poll_next`](AsyncBridgeStream::poll_next). (The example `call_from_tasks` of this
/// crate reads one.)
#[must_use = "a stream that is dropped ends its iterator"]
pub struct AsyncBridgeStream<T> {
    handle: AsyncHandle,
    method: Method,
    items: Items<T>,
    /// What is under way: it stays here when who waits for it is gone.
    asking: Option<Asking>,
    /// Until the end.
    occupied: Option<Occupied>,
}

impl<T> AsyncBridgeStream<T> {
    /// The next item, or `None` after the last one. An error is the last one.
    pub async fn next(&mut self) -> Option<Result<T, BridgeError>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same, once.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, BridgeError>>> {
        loop {
            if self.asking.is_none() {
                match self.items.next() {
                    Next::Item(item) => return Poll::Ready(Some(Ok(item))),
                    Next::End(result) => {
                        if let Some(occupied) = self.occupied.take() {
                            occupied.over();
                        }
                        return Poll::Ready(result.map(Err));
                    }
                    Next::Nonsense(error) => {
                        self.occupied = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Next::Empty => {}
                }
            }
            let Some(occupied) = &self.occupied else { return Poll::Ready(None) };
            let asking = self.asking.get_or_insert_with(|| ask(self.handle.clone(), self.method, occupied));
            let came = ready!(asking.as_mut().poll(context));
            self.asking = None;
            match came {
                Ok(batch) => self.items.refill(batch),
                Err(error) => {
                    self.occupied = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

fn ask(handle: AsyncHandle, method: Method, occupied: &Occupied) -> Asking {
    let (run, number) = (Arc::clone(&occupied.run), occupied.number);
    Box::pin(async move {
        let caller = handle.caller(&run, method)?;
        let read = |came: OpenReply<'_>| reply::read::<Batch>(method.name, came);
        match caller.call::<u64, _, _>(method::NEXT, &number, handle.time(), read).await {
            Ok(batch) => batch,
            Err(error) => Err(handle.explain(&run, method, error).await.begun()),
        }
    })
}

impl<T> fmt::Debug for AsyncBridgeStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncBridgeStream")
            .field("method", &self.method.name)
            .field("is_open", &self.occupied.is_some())
            .finish_non_exhaustive()
    }
}

/// As [`Opened`](crate::stream::Opened).
#[derive(Debug)]
pub struct AsyncOpened<R> {
    result: R,
    handle: AsyncHandle,
    method: Method,
    occupied: Option<Occupied>,
}

impl<R> AsyncOpened<R> {
    /// As [`Opened::stream`](crate::stream::Opened::stream).
    pub fn stream<W, T>(self, read: fn(W) -> T) -> (R, AsyncBridgeStream<T>)
    where
        W: Crosses,
        T: 'static,
    {
        let AsyncOpened { result, handle, method, occupied } = self;
        let items = Items::new(method.name, move |bytes| codec::decode::<W>(bytes).map(read));
        (result, AsyncBridgeStream { handle, method, items, asking: None, occupied })
    }
}

impl AsyncHandle {
    /// As [`Handle::open`](crate::handle::Handle::open). If the future is dropped, so is the iterator.
    pub async fn open<W, A, R>(&self, method: Method, arguments: &A) -> Result<AsyncOpened<R>, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        let run = self.run(method)?;
        let caller = self.caller(&run, method)?;
        let occupied = run.occupy(method)?;
        let request = (occupied.number, arguments);
        let read = |came: OpenReply<'_>| (came.kind() == OPENED, reply::read::<R>(method.name, came));
        let called = caller.call::<(u64, W), _, _>(method.id, &request, self.time(), read).await;
        match called {
            Ok((true, Ok(result))) => {
                Ok(AsyncOpened { result, handle: self.clone(), method, occupied: Some(occupied) })
            }
            Ok((is_open, result)) => {
                if !is_open {
                    occupied.over();
                }
                Ok(AsyncOpened { result: result?, handle: self.clone(), method, occupied: None })
            }
            Err(error) => {
                let error = self.explain(&run, method, error).await;
                drop(occupied);
                Err(error)
            }
        }
    }
}
