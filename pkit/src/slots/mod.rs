//! A number of slots that several processes share.

mod errors;
mod named;

use std::fmt;
use std::time::Duration;

use common_ipc::sync::{Permit, Semaphore};
use serde::{Deserialize, Serialize};

pub use errors::SlotError;

/// A number of slots, of which each is had by one process at a time: for bounding how much is done at once, in
/// one program or in several processes.
///
/// It knows who has which. What a process had when it died is free again: [`free`](SlotPool::free) counts it, and the
/// next one who finds no other slot gets it; one who sleeps notices within 50 ms.
///
/// A slot is held by a guard, or *kept*: then it stays its process's until that gives it back by
/// [`release`](SlotPool::release).
///
/// Clones are the same pool. So is the copy of a child that captures it, and what arrives where it was sent: over a
/// connection, or as part of the argument of a zygote's child. **Dropping** one ends this handle only. All who use
/// it must be in the same pid namespace, and see it in /proc.
///
/// Not promised: an order among those who wait.
///
/// ```
/// use pkit::{Process, SlotPool};
///
/// let slots = SlotPool::new(2)?;
/// let slot = slots.acquire()?;
/// assert_eq!((slots.free(), slots.size()), (1, 2));
///
/// // A process that ends without giving anything back.
/// let process = Process::new({
///     let slots = slots.clone();
///     move || slots.acquire().unwrap().keep()
/// });
/// process.start()?;
/// process.join()?;
/// assert_eq!(slots.free(), 1);
///
/// drop(slot);
/// assert_eq!(slots.free(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct SlotPool {
    semaphore: Semaphore,
}

impl SlotPool {
    /// A pool of so many slots, all free. It takes a page of memory (for up to 508 slots) and one descriptor.
    ///
    /// # Errors
    ///
    /// [`SlotError::Size`] for none, and for more than 65,536; [`SlotError::Memory`].
    pub fn new(size: usize) -> Result<SlotPool, SlotError> {
        if !(1..=Semaphore::MAX_PERMITS).contains(&size) {
            return Err(SlotError::Size { size });
        }
        Ok(SlotPool { semaphore: Semaphore::new(size).map_err(SlotError::Memory)? })
    }

    /// Takes a slot, waiting for one as long as it takes. A process that has all of them waits for itself.
    ///
    /// # Errors
    ///
    /// [`SlotError::Acquire`].
    pub fn acquire(&self) -> Result<Slot, SlotError> {
        Ok(Slot { permit: self.semaphore.acquire()? })
    }

    /// Takes a slot if one is free, or was a dead process's. `Ok(None)`: neither.
    ///
    /// # Errors
    ///
    /// [`SlotError::Acquire`].
    pub fn try_acquire(&self) -> Result<Option<Slot>, SlotError> {
        self.acquire_timeout(Duration::ZERO)
    }

    /// Takes a slot, waiting for one for up to `timeout`. `Ok(None)`: none came free.
    ///
    /// # Errors
    ///
    /// [`SlotError::Acquire`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Slot>, SlotError> {
        let permit = self.semaphore.acquire_timeout(timeout)?;
        Ok(permit.map(|permit| Slot { permit }))
    }

    /// Gives back one of the slots that this process [keeps](Slot::keep), whichever handle of this pool it was
    /// acquired by.
    ///
    /// # Errors
    ///
    /// [`SlotError::Overflow`] if it keeps none (any more). Nothing has changed then.
    pub fn release(&self) -> Result<(), SlotError> {
        if self.semaphore.release_kept() { Ok(()) } else { Err(SlotError::Overflow) }
    }

    /// How many slots nobody has at this moment. Those of processes that have died are taken from them first, which
    /// takes some 20 us for each process that has slots.
    #[must_use]
    pub fn free(&self) -> usize {
        // Where the dead can't be told from the living, all who have slots are alive.
        let _ = self.semaphore.reclaim();
        self.semaphore.available()
    }

    /// How many slots there are. It doesn't change.
    #[must_use]
    pub fn size(&self) -> usize {
        self.semaphore.permits()
    }

    /// Frees all slots, whoever has them. Every [`Slot`] acquired before is void from then on, and those that were
    /// kept are free: who has one isn't told.
    pub fn reset(&self) {
        self.semaphore.reset();
    }

    /// Calls `function` while it has a slot.
    ///
    /// ```
    /// let slots = pkit::SlotPool::new(1)?;
    /// assert_eq!(slots.with(|| slots.free())?, 0);
    /// assert_eq!(slots.free(), 1);
    /// # Ok::<(), pkit::SlotError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SlotError::Acquire`]; it wasn't called.
    pub fn with<R>(&self, function: impl FnOnce() -> R) -> Result<R, SlotError> {
        let _slot = self.acquire()?;
        Ok(function())
    }

    /// `function`, before whose every call a slot is acquired, which is then kept; some other function
    /// [releases](SlotPool::releasing) it.
    ///
    /// ```
    /// let slots = pkit::SlotPool::new(2)?;
    /// let mut begin = slots.acquiring(|name: &str| println!("{name} begins"));
    /// let mut end = slots.releasing(|name: &str| println!("{name} ends"));
    /// begin("one")?;
    /// begin("two")?;
    /// assert_eq!(slots.free(), 0);
    /// end("one")?;
    /// assert_eq!(slots.free(), 1);
    /// # Ok::<(), pkit::SlotError>(())
    /// ```
    ///
    /// The errors of the new function are those of [`acquire`](SlotPool::acquire); `function` wasn't called then.
    #[doc(alias = "acquire")]
    pub fn acquiring<A, R>(&self, mut function: impl FnMut(A) -> R) -> impl FnMut(A) -> Result<R, SlotError> {
        let slots = self.clone();
        move |argument| {
            slots.acquire()?.keep();
            Ok(function(argument))
        }
    }

    /// `function`, after whose every call a kept slot is released, also if it panics.
    ///
    /// The error of the new function is that of [`release`](SlotPool::release); `function` was called then, and what
    /// it returned is lost.
    #[doc(alias = "release")]
    pub fn releasing<A, R>(&self, mut function: impl FnMut(A) -> R) -> impl FnMut(A) -> Result<R, SlotError> {
        let slots = self.clone();
        move |argument| {
            let release = Release(Some(&slots));
            let result = function(argument);
            release.now().map(|()| result)
        }
    }

    /// The semaphore that it stands on: to [give](common_ipc::process::LaunchOptions::give) it to a forked child that
    /// is to send it on.
    #[must_use]
    pub fn semaphore(&self) -> &Semaphore {
        &self.semaphore
    }
}

impl fmt::Debug for SlotPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotPool").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// Releases, at the latest when it is dropped.
struct Release<'a>(Option<&'a SlotPool>);

impl Release<'_> {
    fn now(mut self) -> Result<(), SlotError> {
        self.0.take().map_or(Ok(()), SlotPool::release)
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if let Some(slots) = self.0 {
            // The panic is the news.
            let _ = slots.release();
        }
    }
}

/// A slot of a [`SlotPool`], which is given back when this is dropped.
///
/// It belongs to the process that acquired it. In a forked copy of that process it is nothing, and dropping it there
/// does nothing.
#[must_use = "it is given back when it is dropped"]
pub struct Slot {
    permit: Permit,
}

impl Slot {
    /// It stays this process's without a guard, until [`SlotPool::release`] gives it back, or the process has
    /// ended.
    pub fn keep(self) {
        self.permit.keep();
    }

    /// Whether it was taken out of the hands of a process that died with it.
    #[must_use]
    pub fn previous_owner_died(&self) -> bool {
        self.permit.previous_owner_died()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_from_1_to_65536() {
        for size in [0, 65_537, usize::MAX] {
            let error = SlotPool::new(size).unwrap_err();
            assert!(matches!(error, SlotError::Size { size: said } if said == size), "{error}");
        }
        assert_eq!(SlotPool::new(65_536).unwrap().free(), 65_536);
    }

    #[test]
    fn acquire_and_release_move_free() {
        let slots = SlotPool::new(2).unwrap();
        slots.acquire().unwrap().keep();
        assert_eq!(slots.free(), 1);
        let guard = slots.try_acquire().unwrap().unwrap();
        assert!(!guard.previous_owner_died());
        assert_eq!(slots.free(), 0);
        assert!(slots.try_acquire().unwrap().is_none());
        assert!(slots.acquire_timeout(Duration::from_millis(5)).unwrap().is_none());
        slots.release().unwrap();
        assert_eq!(slots.free(), 1);
        drop(guard);
        assert_eq!(slots.free(), 2);
    }

    #[test]
    fn releasing_more_than_are_kept_is_an_error_and_changes_nothing() {
        let slots = SlotPool::new(2).unwrap();
        assert!(matches!(slots.release(), Err(SlotError::Overflow)));
        let guard = slots.acquire().unwrap();
        assert!(matches!(slots.release(), Err(SlotError::Overflow)));
        assert_eq!(slots.free(), 1);
        drop(guard);
        assert_eq!(slots.free(), 2);
    }

    #[test]
    fn reset_restores_all() {
        let slots = SlotPool::new(2).unwrap();
        let guard = slots.acquire().unwrap();
        slots.acquire().unwrap().keep();
        slots.reset();
        assert_eq!(slots.free(), 2);
        assert!(matches!(slots.release(), Err(SlotError::Overflow)));
        let again = [slots.acquire().unwrap(), slots.acquire().unwrap()];
        drop(guard);
        assert_eq!(slots.free(), 0, "the guard is void");
        drop(again);
        assert_eq!(slots.free(), 2);
    }

    #[test]
    fn wrappers_move_free_around_a_call() {
        let slots = SlotPool::new(2).unwrap();
        let mut acquire = slots.acquiring(|number: u32| (number + 1, slots.free()));
        assert_eq!(acquire(1).unwrap(), (2, 1));
        assert_eq!(slots.free(), 1);
        let mut release = slots.releasing(|()| slots.free());
        assert_eq!(release(()).unwrap(), 1);
        assert_eq!(slots.free(), 2);
        assert!(matches!(release(()), Err(SlotError::Overflow)));
        acquire(2).unwrap();
        let mut panics = slots.releasing(|()| panic!("on purpose"));
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panics(())));
        assert_eq!(slots.free(), 2, "released after a panic as well");
    }
}
