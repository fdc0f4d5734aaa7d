//! Reserve, tell, wait, release.

use std::error::Error;
use std::time::Duration;

use common_ipc::process::Child;
use common_ipc::sync::{Event, EventFlag};

use crate::events::errors::EventError;
use crate::events::group::EventGroup;
use crate::events::index::EventIndex;
use crate::events::reserved::Reserved;

/// An event that is reserved for one answer of a child: every end of the wait but that it is set is an error, and ends the
/// reservation.
///
/// **Dropping** it releases the event and doesn't wait. [`EventGroup::sync`] is the same in one call.
///
/// ```
/// use common_ipc::link::Connection;
/// use common_ipc::process::{Launch, LaunchOptions};
/// use valkka_multiprocess::{EventError, EventGroup, EventIndex, SyncIndex};
///
/// let events = EventGroup::new(10)?;
/// let (front, back) = Connection::<EventIndex, ()>::pair()?;
/// let (in_child, options) = (events.clone(), LaunchOptions::new().give(&back));
/// let child = Launch::new(&options).start(move || {
///     in_child.set(back.recv().unwrap()).unwrap();
///     back.recv().unwrap(); // and ends without an answer
/// })?;
///
/// let sync = SyncIndex::reserve(&events)?;
/// front.send(&sync.index())?;
/// sync.wait(&child)?;
///
/// let sync = SyncIndex::reserve(&events)?;
/// front.send(&sync.index())?;
/// assert!(matches!(sync.wait(&child), Err(EventError::DiedBeforeSet { status, .. }) if status.success()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing waits by itself"]
pub struct SyncIndex<E: EventFlag = Event> {
    reserved: Reserved<E>,
}

impl<E: EventFlag> SyncIndex<E> {
    /// Reserves an event, at once.
    ///
    /// # Errors
    ///
    /// As for [`EventGroup::reserve`].
    pub fn reserve(group: &EventGroup<E>) -> Result<SyncIndex<E>, EventError> {
        Ok(SyncIndex { reserved: group.reserve()? })
    }

    /// Its name, for the process that is to set it.
    #[must_use]
    pub fn index(&self) -> EventIndex {
        self.reserved.index()
    }

    /// Waits until it is set, and releases it.
    ///
    /// # Errors
    ///
    /// [`EventError::DiedBeforeSet`] if `child` has ended and hasn't set it, which is noticed within 50 ms; otherwise as
    /// for [`Reserved::wait_or_death`].
    pub fn wait(self, child: &Child) -> Result<(), EventError> {
        while !self.reserved.wait_or_death(child, None)? {}
        Ok(())
    }

    /// Waits until it is set, for up to `timeout`, and releases it.
    ///
    /// # Errors
    ///
    /// [`EventError::TimedOut`] if the child lives and hasn't set it; otherwise as for [`wait`](SyncIndex::wait).
    pub fn wait_timeout(self, child: &Child, timeout: Duration) -> Result<(), EventError> {
        if self.reserved.wait_or_death(child, Some(timeout))? {
            return Ok(());
        }
        Err(EventError::TimedOut { index: self.index(), after: timeout })
    }
}

impl<E: EventFlag> EventGroup<E> {
    /// Reserves an event, calls `tell` with its index, waits until it is set, and releases it; then returns what `tell`
    /// returned. `child` is who is to set it: its death is noticed within 50 ms.
    ///
    /// If `tell` fails, or panics, nothing is waited for. [`SyncIndex`] is the same in steps. A child that lives and never sets
    /// it, since its handler has failed for example, is waited for without end: where that may be, take
    /// [`sync_timeout`](EventGroup::sync_timeout), or a [request](crate::FrontEnd::request), which a failure ends.
    ///
    /// # Errors
    ///
    /// [`EventError::NotEnoughEvents`] and the others of [`reserve`](EventGroup::reserve); [`EventError::Call`] with the
    /// error of `tell`; [`EventError::DiedBeforeSet`] and the others of [`SyncIndex::wait`].
    #[doc(alias = "SyncIndex")]
    pub fn sync<T, X>(
        &self,
        child: &Child,
        tell: impl FnOnce(EventIndex) -> Result<T, X>,
    ) -> Result<T, EventError>
    where
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        let (sync, told) = self.begin(tell)?;
        sync.wait(child)?;
        Ok(told)
    }

    /// As [`sync`](EventGroup::sync); from the return of `tell` on it waits for up to `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`sync`](EventGroup::sync), and [`EventError::TimedOut`].
    pub fn sync_timeout<T, X>(
        &self,
        child: &Child,
        timeout: Duration,
        tell: impl FnOnce(EventIndex) -> Result<T, X>,
    ) -> Result<T, EventError>
    where
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        let (sync, told) = self.begin(tell)?;
        sync.wait_timeout(child, timeout)?;
        Ok(told)
    }

    fn begin<T, X>(
        &self,
        tell: impl FnOnce(EventIndex) -> Result<T, X>,
    ) -> Result<(SyncIndex<E>, T), EventError>
    where
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        let sync = SyncIndex::reserve(self)?;
        let told = tell(sync.index()).map_err(|error| EventError::Call(error.into()))?;
        Ok((sync, told))
    }
}
