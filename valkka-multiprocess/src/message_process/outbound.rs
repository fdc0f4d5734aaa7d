//! The back end's way out.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use common_ipc::link::{LinkError, OpenCaller};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message_process::failure::Failure;
use crate::message_process::wire::{EVENT, FAILED};

/// After this the front end isn't told of a failure any more: it doesn't receive.
pub(crate) const TELLING: Duration = Duration::from_secs(1);

/// Sends a back end's events to its front end, from any of its threads: [`Context::sender`](crate::Context::sender).
/// Clones send in the same way.
pub struct EventSender<E> {
    pub(crate) caller: OpenCaller,
    of: PhantomData<fn(E)>,
}

impl<E: Serialize + DeserializeOwned> EventSender<E> {
    pub(crate) fn new(caller: OpenCaller) -> EventSender<E> {
        EventSender { caller, of: PhantomData }
    }

    /// Sends an event, waiting for room as long as it takes.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] if the front end is gone; [`LinkError::Encode`] and [`LinkError::TooLarge`] with nothing sent.
    #[doc(alias = "send_out__")]
    pub fn send(&self, event: &E) -> Result<(), LinkError> {
        self.caller.send::<E, E>(EVENT, event, None).map_err(|error| error.cause)
    }

    /// As [`send`](EventSender::send), if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`LinkError::TimedOut`] if there isn't; else as for [`send`](EventSender::send).
    pub fn try_send(&self, event: &E) -> Result<(), LinkError> {
        self.caller.send::<E, E>(EVENT, event, Some(Duration::ZERO)).map_err(|error| error.cause)
    }

    /// Logs a failure, and sends it to the front end.
    pub(crate) fn tell(&self, logger: &str, failure: &Failure) {
        log::error!(target: logger, "{failure}");
        let told = self.caller.send::<Failure, _>(FAILED, failure, Some(TELLING));
        was_told(logger, told.map_err(|error| error.cause));
    }
}

/// Logs it if the front end wasn't told of a failure.
pub(crate) fn was_told(logger: &str, told: Result<(), LinkError>) {
    match told {
        // Nobody is there to be told.
        Ok(()) | Err(LinkError::Closed) => {}
        Err(error) => log::warn!(target: logger, "the front end wasn't told of that: {error}"),
    }
}

impl<E> Clone for EventSender<E> {
    fn clone(&self) -> Self {
        EventSender { caller: self.caller.clone(), of: PhantomData }
    }
}

impl<E> fmt::Debug for EventSender<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSender").finish_non_exhaustive()
    }
}
