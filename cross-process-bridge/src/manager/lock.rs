//! A lock in the manager.

use std::fmt;
use std::time::Duration;

use common_ipc::link::OpenCaller;
use common_ipc::process::Generation;
use serde::{Deserialize, Serialize};

use crate::manager::error::ManagerError;
use crate::manager::proxy::{Proxy, nonsense};
use crate::manager::waiting::Granted;
use crate::manager::wire::{Answer, Op};

/// A lock that several processes share: a proxy of one in the manager, made by
/// [`Manager::lock`](crate::manager::Manager::lock). Who waits gets it in the order of asking.
///
/// If its holder dies the next one gets it, and [`SharedLockGuard::holder_died`] says so. A holder that is stopped
/// (SIGSTOP) keeps it. It isn't re-entrant: a thread that asks again waits for itself.
#[doc(alias = "Lock")]
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SharedLock {
    proxy: Proxy,
}

/// The lock is held. **Dropping** it unlocks, and never waits: the word goes to the manager when there is room for it. In
/// a forked copy of the process its drop does nothing.
#[must_use = "dropping it unlocks"]
pub struct SharedLockGuard {
    proxy: Proxy,
    caller: OpenCaller,
    wait: u64,
    holder_died: bool,
    home: Generation,
}

impl SharedLock {
    pub(crate) fn new(proxy: Proxy) -> SharedLock {
        SharedLock { proxy }
    }

    /// The same lock, each of whose operations may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> SharedLock {
        SharedLock::new(Proxy { timeout: Some(timeout), ..self.proxy.clone() })
    }

    /// Waits until it is free, as long as it takes, and holds it.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    #[doc(alias = "acquire")]
    pub fn lock(&self) -> Result<SharedLockGuard, ManagerError> {
        self.lock_within("SharedLock::lock", None)
    }

    /// As [`lock`](SharedLock::lock), for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]: it isn't held, nor will be; else [`ManagerError`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<SharedLockGuard, ManagerError> {
        self.lock_within("SharedLock::lock_timeout", Some(timeout))
    }

    fn lock_within(
        &self,
        name: &'static str,
        timeout: Option<Duration>,
    ) -> Result<SharedLockGuard, ManagerError> {
        let granted = self.proxy.wait_for(name, timeout, |wait| Op::Lock { wait, now: false })?;
        self.guard(granted).ok_or_else(|| nonsense(name))
    }

    /// Holds it if it is free: `None` if it isn't.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn try_lock(&self) -> Result<Option<SharedLockGuard>, ManagerError> {
        const NAME: &str = "SharedLock::try_lock";
        let granted = self.proxy.wait_for(NAME, None, |wait| Op::Lock { wait, now: true })?;
        if granted.answer == Answer::NotNow {
            return Ok(None);
        }
        self.guard(granted).map(Some).ok_or_else(|| nonsense(NAME))
    }

    fn guard(&self, granted: Granted) -> Option<SharedLockGuard> {
        let Granted { answer: Answer::Locked { holder_died }, wait, caller } = granted else { return None };
        let (proxy, home) = (self.proxy.clone(), Generation::current());
        Some(SharedLockGuard { proxy, caller, wait, holder_died, home })
    }

    /// Ends it, for all who have it: their operations, also those that wait, are [`ManagerError::Deleted`].
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn delete(&self) -> Result<(), ManagerError> {
        self.proxy.delete("SharedLock::delete")
    }
}

impl SharedLockGuard {
    /// Whether the one that held it before has died with it: what it protects may be half changed.
    #[must_use]
    pub fn holder_died(&self) -> bool {
        self.holder_died
    }

    /// Unlocks it, as its drop does.
    #[doc(alias = "release")]
    pub fn unlock(self) {}
}

impl Drop for SharedLockGuard {
    fn drop(&mut self) {
        if self.home.check().is_ok() {
            // If the manager is gone, so is the lock; if the connection is, the lock is another one's.
            let _ = self.proxy.say_by(&self.caller, &Op::Unlock { wait: self.wait });
        }
    }
}

impl fmt::Debug for SharedLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedLock(#{})", self.proxy.address.id)
    }
}

impl fmt::Debug for SharedLockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedLockGuard(#{}, holder_died: {})", self.proxy.address.id, self.holder_died)
    }
}
