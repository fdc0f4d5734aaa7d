//! Replies: the way back of a request, as a part of its command.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use common_ipc::link::{LinkError, OpenResponder};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::message_process::wire::VALUE;

/// The way back of a request, in the command that asks for it: see [`FrontEnd::request`](crate::FrontEnd::request).
///
/// In the back end, [`send`](Reply::send) it, in the handler or later, on any thread. If it is **dropped** instead, the
/// request ends with [`ProcessError::Unanswered`](crate::ProcessError::Unanswered), or, if its handler fails, with that
/// failure.
#[doc(alias = "return_out__")]
#[must_use = "somebody waits for it"]
pub struct Reply<R> {
    slot: Option<ReplySlot>,
    of: PhantomData<fn(R)>,
}

/// A request that waits for its reply, as long as nobody has answered it: for those who are at work on its command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    responder: Option<OpenResponder>,
    /// Nothing is there any more that could answer: no `Reply`, and nothing that one could be read from.
    is_dropped: bool,
    /// How many are at work on the command, who may yet fail.
    at_work: usize,
}

impl Asked {
    /// What its reply is read from. To be asked for once.
    pub(crate) fn slot(&self) -> ReplySlot {
        ReplySlot(Arc::new(Answering(self.clone())))
    }

    /// Somebody begins with what the command asks for.
    pub(crate) fn begin_work(&self) -> AtWork {
        self.0.lock().at_work += 1;
        AtWork(self.clone())
    }

    pub(crate) fn put(&self, responder: OpenResponder) {
        self.0.lock().responder = Some(responder);
    }

    /// Changes something about it, by which it may be certain that nobody will answer.
    fn settle(&self, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.0.lock();
        change(&mut pending);
        let is_settled = pending.is_dropped && pending.at_work == 0;
        let unanswered = if is_settled { pending.responder.take() } else { None };
        drop(pending);
        // Whoever asked is told by this drop.
        drop(unanswered);
    }
}

/// Somebody is at work on a request's command: as long as this is there, its error can be the request's.
#[derive(Debug)]
pub(crate) struct AtWork(Asked);

impl AtWork {
    /// What answers, if nobody has, and the command's `Reply` is gone.
    pub(crate) fn take_if_dropped(&self) -> Option<OpenResponder> {
        let mut pending = self.0.0.lock();
        if pending.is_dropped { pending.responder.take() } else { None }
    }

    /// For others who are to be at work on it.
    #[cfg(feature = "tokio")]
    pub(crate) fn asked(&self) -> Asked {
        self.0.clone()
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.settle(|pending| pending.at_work -= 1);
    }
}

/// A share in what answers a request: a `Reply`'s, or that of something from which one can be read.
#[derive(Debug, Clone)]
pub(crate) struct ReplySlot(Arc<Answering>);

#[derive(Debug)]
struct Answering(Asked);

impl ReplySlot {
    fn take(&self) -> Option<OpenResponder> {
        self.0.0.0.lock().responder.take()
    }

    fn put(&self, responder: OpenResponder) {
        self.0.0.put(responder);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.settle(|pending| pending.is_dropped = true);
    }
}

thread_local! {
    /// Of the request that is being decoded on this thread.
    static DECODED: RefCell<Option<ReplySlot>> = const { RefCell::new(None) };
}

/// Decodes a request, or a part of it later: its `Reply` gets the slot.
pub(crate) fn decoding<T>(slot: Option<ReplySlot>, decode: impl FnOnce() -> T) -> T {
    /// Also by a panic: a slot that stayed here would have whoever asked wait for ever.
    struct Before(Option<ReplySlot>);
    impl Drop for Before {
        fn drop(&mut self) {
            // What the command doesn't have is dropped here: nothing in it can answer.
            drop(DECODED.replace(self.0.take()));
        }
    }
    let _before = Before(DECODED.replace(slot));
    decode()
}

/// The slot of the request that is being decoded: for a part of it that is read later.
pub(crate) fn decoded_slot() -> Option<ReplySlot> {
    DECODED.take()
}

/// What of a reply goes over. It takes no bytes.
#[derive(Serialize, Deserialize)]
#[serde(rename = "valkka_multiprocess::Reply", expecting = "the reply of a request")]
struct Travelling;

/// The name of the unit struct that it is for serde.
pub(crate) const TRAVELLING: &str = "valkka_multiprocess::Reply";

impl<R> Reply<R> {
    /// In the front end: a place to be filled on the way.
    pub(crate) fn wanted() -> Reply<R> {
        Reply { slot: None, of: PhantomData }
    }

    /// Answers the request, waiting for room as long as it takes. (If nobody asks, since the command was sent without a
    /// request, or the one who asked has given up, it does nothing.)
    ///
    /// # Errors
    ///
    /// [`LinkError::Encode`] and [`LinkError::TooLarge`] if the value can't be sent; [`LinkError::Closed`] if the front end
    /// is gone. Return the error from the handler, and whoever asked is told.
    pub fn send(self, value: &R) -> Result<(), LinkError>
    where
        R: Serialize + DeserializeOwned,
    {
        let Some(slot) = &self.slot else { return Ok(()) };
        let Some(responder) = slot.take() else { return Ok(()) };
        responder.reply::<R, R>(VALUE, value).map_err(|error| {
            slot.put(error.responder);
            error.cause
        })
    }

    /// As [`send`](Reply::send), in a task: it waits for room without blocking the thread. If the future is dropped
    /// meanwhile, the reply arrives whole or not at all.
    ///
    /// # Errors
    ///
    /// As for [`send`](Reply::send).
    #[cfg(feature = "tokio")]
    pub async fn send_async(self, value: &R) -> Result<(), LinkError>
    where
        R: Serialize + DeserializeOwned,
    {
        let Some(slot) = &self.slot else { return Ok(()) };
        let Some(responder) = slot.take() else { return Ok(()) };
        responder.reply_async::<R, R>(VALUE, value).await.map_err(|error| {
            slot.put(error.responder);
            error.cause
        })
    }
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("is_wanted", &self.slot.is_some()).finish()
    }
}

/// As a part of the command of a request; of no value elsewhere.
impl<R> Serialize for Reply<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Travelling.serialize(serializer)
    }
}

/// The first one of a command answers its request.
impl<'de, R> Deserialize<'de> for Reply<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Travelling::deserialize(deserializer)?;
        Ok(Reply { slot: DECODED.take(), of: PhantomData })
    }
}
