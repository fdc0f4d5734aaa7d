//! A value that processes change one at a time.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytemuck::Pod;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::poll::Deadline;
use crate::ownership::give::{Give, Giver, private};
use crate::sync::errors::LockError;
use crate::sync::table::{Held, SharedTable, end_of};

/// A value of plain data ([`Pod`](crate::memory::Pod)) that one process has at a time.
///
/// Who locks it gets a copy of the value. When the [guard](MutexGuard) is dropped a changed copy is published,
/// all at once: a process that dies while it has the mutex leaves the value as it was published last, and
/// never half changed. The next one to lock it is told, by [`LockError::OwnerDied`]. One who sleeps notices a
/// death within 50 ms.
///
/// Clones, and what arrives where it was sent, are the same mutex. **Dropping** one ends this handle only. All
/// who use it must be in the same pid namespace, and see it in /proc.
///
/// It is **not re-entrant**: a thread that locks it twice waits for itself. Not promised: an order among
/// those who wait. As each lock copies the value, and each change too, it is for small ones; a large one is
/// better in a [`SharedArray`](crate::memory::SharedArray), with a `Mutex<()>` beside it.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions};
/// use common_ipc::sync::Mutex;
///
/// let total = Mutex::new(0u64)?;
/// let children: Vec<_> = (1..=4u64)
///     .map(|number| {
///         let total = total.clone();
///         Launch::new(&LaunchOptions::new()).start(move || *total.lock().unwrap() += number)
///     })
///     .collect::<Result<_, _>>()?;
/// for child in &children {
///     child.output::<()>()?;
/// }
/// assert_eq!(*total.lock()?, 10);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Lock")]
pub struct Mutex<T> {
    table: Arc<SharedTable>,
    value: PhantomData<fn(T) -> T>,
}

/// After the table's one permit: which copy of the value is the published one, by its last bit.
const PUBLISHED: usize = 40;
/// The two copies, each at a multiple of eight.
const COPIES: usize = 64;
const _: () = assert!(matches!(end_of(1), Some(PUBLISHED)));

fn copy_at<T>(which: u32) -> usize {
    COPIES + (which & 1) as usize * size_of::<T>().next_multiple_of(8)
}

fn len_for<T>() -> usize {
    copy_at::<T>(1) + size_of::<T>()
}

impl<T: Pod> Mutex<T> {
    /// An unlocked mutex with this value. It takes one descriptor, and a page of memory at least.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::OutOfMemory`], or whatever else [`MemoryError`](crate::memory::MemoryError) says.
    pub fn new(value: T) -> io::Result<Mutex<T>> {
        let table = SharedTable::new("mutex", 1, len_for::<T>())?;
        table.segment.view().store_bytes(copy_at::<T>(0), bytemuck::bytes_of(&value));
        Ok(Mutex { table: Arc::new(table), value: PhantomData })
    }

    /// Locks it, waiting for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`], with the guard, if a process died while it had the mutex;
    /// [`LockError::Acquire`].
    pub fn lock(&self) -> Result<MutexGuard<T>, LockError<T>> {
        loop {
            if let Some(guard) = self.lock_until(Deadline::NEVER)? {
                return Ok(guard);
            }
        }
    }

    /// Locks it if nobody has it, or whoever had it has died. `Ok(None)`: somebody has it.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Mutex::lock).
    pub fn try_lock(&self) -> Result<Option<MutexGuard<T>>, LockError<T>> {
        self.lock_timeout(Duration::ZERO)
    }

    /// Locks it, waiting for up to `timeout`. `Ok(None)`: somebody had it for all of that time.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Mutex::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<MutexGuard<T>>, LockError<T>> {
        self.lock_until(Deadline::after(timeout))
    }

    fn lock_until(&self, deadline: Deadline) -> Result<Option<MutexGuard<T>>, LockError<T>> {
        let held = match self.table.acquire(deadline) {
            Ok(Some(held)) => held,
            Ok(None) => return Ok(None),
            Err(error) => return Err(LockError::Acquire(error)),
        };
        let view = held.table.segment.view();
        // Acquire: who died right after publishing has given no permit back by which the copy would be seen.
        let published = view.word(PUBLISHED).load(Ordering::Acquire);
        let mut value = T::zeroed();
        view.load_bytes(copy_at::<T>(published), bytemuck::bytes_of_mut(&mut value));
        let owner_died = held.taken.from_dead;
        let guard =
            MutexGuard { held, published, value, is_changed: false, was_panicking: std::thread::panicking() };
        if owner_died { Err(LockError::OwnerDied(guard)) } else { Ok(Some(guard)) }
    }
}

/// The value of a locked [`Mutex`]: a copy that belongs to this guard alone.
///
/// **Dropping** it publishes the copy, if it was borrowed for changes, and unlocks the mutex. A guard that
/// is dropped by a panic publishes nothing, nor does one that is [discarded](MutexGuard::discard). In a
/// forked copy of the process the guard is a plain value, and dropping it there does nothing. One that is
/// forgotten (`std::mem::forget`) keeps the mutex locked until its process has ended.
#[must_use = "the mutex is unlocked when it is dropped"]
pub struct MutexGuard<T: Pod> {
    held: Held,
    published: u32,
    value: T,
    is_changed: bool,
    was_panicking: bool,
}

impl<T: Pod> MutexGuard<T> {
    /// Unlocks the mutex and leaves its value as it was before.
    pub fn discard(mut self) {
        self.is_changed = false;
    }
}

impl<T: Pod> Deref for MutexGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Pod> DerefMut for MutexGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }
}

impl<T: Pod> Drop for MutexGuard<T> {
    fn drop(&mut self) {
        let panics = std::thread::panicking() && !self.was_panicking;
        if self.is_changed && !panics && self.held.is_home() {
            // Into the other copy, which nobody reads, then made the published one by a single store.
            let next = self.published.wrapping_add(1);
            let view = self.held.table.segment.view();
            view.store_bytes(copy_at::<T>(next), bytemuck::bytes_of(&self.value));
            view.word(PUBLISHED).store(next, Ordering::Release);
        }
        // And now the permit is given back.
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for MutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Mutex { table: Arc::clone(&self.table), value: PhantomData }
    }
}

/// Its type; the value may be anybody's at this moment.
impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutex<{}>", std::any::type_name::<T>())
    }
}

impl<T> private::Sealed for Mutex<T> {}

/// Both have it afterwards. A child that captures it has it in any case; given, it can also send it on.
impl<T> Give for Mutex<T> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.table.segment.list(giver);
    }
}

/// Over a connection: it arrives as the same mutex. With other formats it is an error.
impl<T: Pod> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.table.segment.attach().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mutex<T>, D::Error> {
        let place = u32::deserialize(deserializer)?;
        let table = SharedTable::receive(place, 1, len_for::<T>()).map_err(D::Error::custom)?;
        Ok(Mutex { table: Arc::new(table), value: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::in_transit::in_transit;

    #[test]
    fn changes_are_published_and_discarded_ones_are_not() {
        let mutex = Mutex::new([1u16, 2, 3]).unwrap();
        mutex.lock().unwrap()[1] = 20;
        let mut guard = mutex.try_lock().unwrap().unwrap();
        assert_eq!(*guard, [1, 20, 3]);
        assert!(mutex.try_lock().unwrap().is_none());
        assert!(mutex.lock_timeout(Duration::from_millis(5)).unwrap().is_none());
        guard[0] = 10;
        guard.discard();
        assert_eq!(format!("{:?}", mutex.lock().unwrap()), "[1, 20, 3]");
        assert_eq!(format!("{mutex:?}"), "Mutex<[u16; 3]>");
    }

    #[test]
    fn a_panic_publishes_nothing() {
        let mutex = Mutex::new(5u8).unwrap();
        let panicked = std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let mut guard = mutex.lock().unwrap();
                *guard = 6;
                panic!("on purpose");
            });
            panics.join()
        });
        assert!(panicked.is_err());
        assert_eq!(*mutex.lock().unwrap(), 5);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let mutex = Mutex::new([0u64; 2]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let mutex: Mutex<[u64; 2]> = in_transit(&mutex).unwrap();
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        let mut guard = mutex.lock().unwrap();
                        guard[0] += 1;
                        guard[1] += 2;
                    }
                });
            }
        });
        assert_eq!(*mutex.lock().unwrap(), [8_000, 16_000]);
    }

    #[test]
    fn a_hostile_index_is_one_of_the_two() {
        let mutex = Mutex::new(7u32).unwrap();
        mutex.table.segment.view().word(PUBLISHED).store(u32::MAX, Ordering::Relaxed);
        assert_eq!(*mutex.lock().unwrap(), 0, "the copy that was never written");
        *mutex.lock().unwrap() = 8;
        assert_eq!(*mutex.lock().unwrap(), 8);
        // As a value of another size it isn't taken.
        let error = in_transit::<_, Mutex<u64>>(&mutex).unwrap_err();
        assert!(error.to_string().contains("no sealed shared memory"), "{error}");
        drop(Mutex::new(()).unwrap().lock().unwrap());
    }
}
