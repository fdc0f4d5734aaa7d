//! An event in the manager.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::manager::error::ManagerError;
use crate::manager::proxy::{Proxy, nonsense};
use crate::manager::wire::{Answer, Op};

/// An event that several processes share: a proxy of one in the manager, made by
/// [`Manager::event`](crate::manager::Manager::event). It is set, or it isn't; who waits while it is set for a moment has
/// seen it.
#[doc(alias = "Event")]
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SharedEvent {
    proxy: Proxy,
}

impl SharedEvent {
    pub(crate) fn new(proxy: Proxy) -> SharedEvent {
        SharedEvent { proxy }
    }

    /// The same event, each of whose operations may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> SharedEvent {
        SharedEvent::new(Proxy { timeout: Some(timeout), ..self.proxy.clone() })
    }

    /// Sets it: all who wait go on.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn set(&self) -> Result<(), ManagerError> {
        self.proxy.ask("SharedEvent::set", &Op::EventSet).map(drop)
    }

    /// Makes it not set.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.proxy.ask("SharedEvent::clear", &Op::EventClear).map(drop)
    }

    /// Whether it is set.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_set(&self) -> Result<bool, ManagerError> {
        match self.proxy.ask("SharedEvent::is_set", &Op::EventIsSet)? {
            Answer::Is(is) => Ok(is),
            _ => Err(nonsense("SharedEvent::is_set")),
        }
    }

    /// Waits until it is set, as long as it takes.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn wait(&self) -> Result<(), ManagerError> {
        self.proxy.wait_for("SharedEvent::wait", None, |wait| Op::EventWait { wait }).map(drop)
    }

    /// Waits until it is set, for up to `timeout`, and says whether it is.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        let waited =
            self.proxy.wait_for("SharedEvent::wait_timeout", Some(timeout), |wait| Op::EventWait { wait });
        match waited {
            Ok(_) => Ok(true),
            Err(ManagerError::Timeout { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends it, for all who have it: their operations, also those that wait, are [`ManagerError::Deleted`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn delete(&self) -> Result<(), ManagerError> {
        self.proxy.delete("SharedEvent::delete")
    }
}

impl fmt::Debug for SharedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedEvent(#{})", self.proxy.address.id)
    }
}
