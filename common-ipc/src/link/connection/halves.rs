//! The two directions of an end, as handles of their own.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::connection::end::End;
use crate::link::connection::room::Patience;
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::ownership::give::{Give, Giver, private};

/// The sending half of a [`Connection`](super::Connection). Clones send through the same end.
///
/// The end is closed when all halves and clones of it are dropped.
pub struct Sender<T> {
    end: Arc<End>,
    types: PhantomData<fn(T)>,
}

/// The receiving half of a [`Connection`](super::Connection). Clones receive from the same end: each message
/// goes to one of them.
///
/// The end is closed when all halves and clones of it are dropped.
pub struct Receiver<T> {
    end: Arc<End>,
    types: PhantomData<fn() -> T>,
}

pub(super) fn split<Out, In>(end: Arc<End>) -> (Sender<Out>, Receiver<In>) {
    let sender = Sender { end: Arc::clone(&end), types: PhantomData };
    (sender, Receiver { end, types: PhantomData })
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// As [`Connection::send`](super::Connection::send).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send(&self, message: &T) -> Result<(), LinkError> {
        self.end.send(message, Patience::Until(Deadline::NEVER))
    }

    /// As [`Connection::try_send`](super::Connection::try_send).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send(&self, message: &T) -> Result<(), LinkError> {
        self.end.send(message, Patience::None)
    }

    /// As [`Connection::send_timeout`](super::Connection::send_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_timeout(&self, message: &T, timeout: Duration) -> Result<(), LinkError> {
        self.end.send(message, Patience::Until(Deadline::after(timeout)))
    }
}

impl<T: Serialize + DeserializeOwned> Receiver<T> {
    /// As [`Connection::recv`](super::Connection::recv).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv(&self) -> Result<T, LinkError> {
        self.end.recv_forever()
    }

    /// As [`Connection::try_recv`](super::Connection::try_recv).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv(&self) -> Result<Option<T>, LinkError> {
        self.end.recv(Deadline::after(Duration::ZERO))
    }

    /// As [`Connection::recv_timeout`](super::Connection::recv_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<T>, LinkError> {
        self.end.recv(Deadline::after(timeout))
    }
}

/// As that of the whole [`Connection`](super::Connection).
impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.pollable()
    }
}

macro_rules! half {
    ($half:ident) => {
        impl<T> Clone for $half<T> {
            fn clone(&self) -> Self {
                $half { end: Arc::clone(&self.end), types: PhantomData }
            }
        }

        impl<T> fmt::Debug for $half<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($half))
                    .field("control", &self.end.wires.control)
                    .finish_non_exhaustive()
            }
        }

        impl<T> private::Sealed for $half<T> {}

        /// Gives the whole end.
        impl<T> Give for $half<T> {
            fn list(&self, giver: &mut Giver<'_>) {
                self.end.list(giver);
            }
        }
    };
}

half!(Sender);
half!(Receiver);
