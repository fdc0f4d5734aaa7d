//! A queue in the manager.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::manager::error::ManagerError;
use crate::manager::proxy::{Proxy, next_wait, nonsense};
use crate::manager::waiting::{Granted, WORD};
use crate::manager::wire::{Answer, Op};

/// A queue that several processes share: a proxy of one in the manager, made by
/// [`Manager::queue`](crate::manager::Manager::queue).
///
/// An item is received once, by one of those who receive. Those who wait are served in the order of asking. Unlike a
/// [`link::Queue`](crate::link::Queue), which is faster, it can be handed on as all proxies can, holds as much as it is
/// told, and its waits end with an error when the manager dies.
///
/// # Who gives up, and who dies
///
/// A receiver has its item when `recv` returns. The manager keeps the item until the receiver's library has said that it
/// has come, which it does before `recv` returns: so of a receiver that is killed before, or gives up, the item goes to the
/// next one, at its place in the order; nothing is lost, and nothing comes twice.
///
/// What it does with the item is its own affair from then on: a worker that dies at a job has taken the job along. Where each
/// is to be done, have a [`SharedMap`](crate::manager::SharedMap) of those that are, and send again what isn't there when
/// a worker has died; so a job may be done twice, and its effects have to bear that.
///
/// A sender has sent when `send` returns; one that is killed before may have sent or not. After a time-out the manager is
/// asked once more: `execution()` of the error is `NotRun` if the item wasn't and won't be sent, `Unknown` if the manager
/// hasn't said so within 0.1 s.
#[doc(alias = "Queue")]
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct SharedQueue<T> {
    proxy: Proxy,
    #[serde(skip)]
    items: PhantomData<fn(T) -> T>,
}

impl<T> SharedQueue<T> {
    pub(crate) fn new(proxy: Proxy) -> SharedQueue<T> {
        SharedQueue { proxy, items: PhantomData }
    }

    /// The same queue, each of whose operations may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> SharedQueue<T> {
        SharedQueue::new(Proxy { timeout: Some(timeout), ..self.proxy.clone() })
    }

    /// How many items are there, without those that are on their way to somebody.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize, ManagerError> {
        match self.proxy.ask("SharedQueue::len", &Op::Length)? {
            Answer::Count(count) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => Err(nonsense("SharedQueue::len")),
        }
    }

    /// Whether no items are there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|length| length == 0)
    }

    /// Drops all items that are there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.proxy.ask("SharedQueue::clear", &Op::Clear).map(drop)
    }

    /// Ends it, for all who have it: their operations, also those that wait, are [`ManagerError::Deleted`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn delete(&self) -> Result<(), ManagerError> {
        self.proxy.delete("SharedQueue::delete")
    }
}

impl<T: Serialize + DeserializeOwned> SharedQueue<T> {
    /// Puts an item in, waiting for room as long as it takes.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Full`] if it is longer than the queue may ever hold, or the manager may keep no more; else
    /// [`ManagerError`].
    #[doc(alias = "put")]
    pub fn send(&self, item: &T) -> Result<(), ManagerError> {
        self.send_within("SharedQueue::send", item, None)
    }

    /// As [`send`](SharedQueue::send), for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; else as for [`send`](SharedQueue::send).
    pub fn send_timeout(&self, item: &T, timeout: Duration) -> Result<(), ManagerError> {
        self.send_within("SharedQueue::send_timeout", item, Some(timeout))
    }

    fn send_within(
        &self,
        name: &'static str,
        item: &T,
        timeout: Option<Duration>,
    ) -> Result<(), ManagerError> {
        let item = self.proxy.encode(name, item)?;
        match self.proxy.wait_for_good(name, timeout, |wait| Op::QueueSend { wait, item, now: false })? {
            Answer::Done => Ok(()),
            _ => Err(nonsense(name)),
        }
    }

    /// Puts an item in if there is room now: `false` if there isn't.
    ///
    /// # Errors
    ///
    /// As for [`send`](SharedQueue::send).
    #[doc(alias = "put_nowait")]
    pub fn try_send(&self, item: &T) -> Result<bool, ManagerError> {
        const NAME: &str = "SharedQueue::try_send";
        let op = Op::QueueSend { wait: next_wait(), item: self.proxy.encode(NAME, item)?, now: true };
        match self.proxy.ask(NAME, &op)? {
            Answer::Done => Ok(true),
            Answer::NotNow => Ok(false),
            _ => Err(nonsense(NAME)),
        }
    }

    /// Takes an item out, waiting for one as long as it takes.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    #[doc(alias = "get")]
    pub fn recv(&self) -> Result<T, ManagerError> {
        const NAME: &str = "SharedQueue::recv";
        self.recv_within(NAME, None, false)?.ok_or_else(|| nonsense(NAME))
    }

    /// Takes an item out, waiting for one for up to `timeout`. `Ok(None)`: none came.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; [`ManagerError::Timeout`] if this process had no connection in time.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<T>, ManagerError> {
        self.recv_within("SharedQueue::recv_timeout", Some(timeout), false)
    }

    /// Takes an item out if one is there. `Ok(None)`: none is.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<Option<T>, ManagerError> {
        self.recv_within("SharedQueue::try_recv", None, true)
    }

    fn recv_within(
        &self,
        name: &'static str,
        timeout: Option<Duration>,
        now: bool,
    ) -> Result<Option<T>, ManagerError> {
        let (begin, time) = (Instant::now(), timeout.or(self.proxy.timeout));
        let granted = match self.proxy.wait_for(name, timeout, |wait| Op::QueueRecv { wait, now }) {
            Err(ManagerError::Timeout { .. }) if timeout.is_some() => return Ok(None),
            granted => granted?,
        };
        match granted {
            Granted { answer: Answer::Value(Some(bytes)), wait, caller } => {
                let left = time.map(|time| time.saturating_sub(begin.elapsed()).max(WORD));
                if let Err(error) = self.proxy.tell_by(&caller, &Op::QueueReceived { wait }, left) {
                    // If it can't be said, it is another one's.
                    let _ = self.proxy.say_by(&caller, &Op::GiveUp { wait });
                    return Err(self.proxy.way.failed(name, &caller, error, time));
                }
                self.proxy.decode(name, &bytes).map(Some)
            }
            Granted { answer: Answer::NotNow, .. } if now => Ok(None),
            _ => Err(nonsense(name)),
        }
    }
}

impl<T> Clone for SharedQueue<T> {
    fn clone(&self) -> Self {
        SharedQueue::new(self.proxy.clone())
    }
}

impl<T> fmt::Debug for SharedQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedQueue<{}>(#{})", std::any::type_name::<T>(), self.proxy.address.id)
    }
}
