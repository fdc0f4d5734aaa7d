//! Permits that processes take and give back.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::poll::Deadline;
use crate::ownership::give::{Give, Giver, private};
use crate::sync::errors::AcquireError;
use crate::sync::freeing;
use crate::sync::permits::{FREE, Table};
use crate::sync::table::{Held, SharedTable, end_of};

/// A number of permits, of which each is had by one process at a time.
///
/// It knows who has which. What a process held when it died goes to the next one who finds no free permit, and
/// who is told: [`Permit::previous_owner_died`]. One who sleeps notices a death within 50 ms. As long as others
/// are free nobody is told, and a dead one's permit isn't counted as [`available`](Semaphore::available).
///
/// Clones, and what arrives where it was sent, are the same semaphore. **Dropping** one ends this handle
/// only; a [`Permit`] is given back when it is dropped. All who use it must be in the same pid namespace, and
/// see it in /proc.
///
/// Not promised: an order among those who wait. The time that looking for a free permit takes grows with their
/// number when most are taken.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions};
/// use common_ipc::sync::Semaphore;
///
/// let two_at_a_time = Semaphore::new(2)?;
/// let children: Vec<_> = (0..4)
///     .map(|number| {
///         let semaphore = two_at_a_time.clone();
///         Launch::new(&LaunchOptions::new()).start(move || {
///             let _permit = semaphore.acquire().unwrap();
///             number * number // at most two of them at the same time
///         })
///     })
///     .collect::<Result<_, _>>()?;
/// for child in &children {
///     child.output::<u32>()?;
/// }
/// assert_eq!(two_at_a_time.available(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[doc(alias = "BoundedSemaphore")]
pub struct Semaphore {
    table: Arc<SharedTable>,
}

const HOW_MANY: &str = "a semaphore has from 1 to 65,536 permits";

impl Semaphore {
    /// The most permits that one can have.
    pub const MAX_PERMITS: usize = crate::sync::table::PERMITS_MAX;

    /// A semaphore with so many permits, all free. It takes a page of memory (for up to 508 permits) and one
    /// descriptor.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for none, since nobody could ever add one, and for more than 65,536;
    /// [`io::ErrorKind::OutOfMemory`], or whatever else [`MemoryError`](crate::memory::MemoryError) says.
    pub fn new(permits: usize) -> io::Result<Semaphore> {
        let len = end_of(permits).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, HOW_MANY))?;
        Ok(Semaphore { table: Arc::new(SharedTable::new("semaphore", permits, len)?) })
    }

    /// Takes a permit, waiting for one as long as it takes.
    ///
    /// A process that has all the permits itself waits for itself.
    ///
    /// # Errors
    ///
    /// [`AcquireError`].
    pub fn acquire(&self) -> Result<Permit, AcquireError> {
        loop {
            if let Some(permit) = self.acquire_until(Deadline::NEVER)? {
                return Ok(permit);
            }
        }
    }

    /// Takes a permit if one is free, or was held by a process that has died. `Ok(None)`: neither. To say that
    /// takes some 20 us for each of the processes that have one, since each is looked at.
    ///
    /// # Errors
    ///
    /// [`AcquireError`].
    pub fn try_acquire(&self) -> Result<Option<Permit>, AcquireError> {
        self.acquire_timeout(Duration::ZERO)
    }

    /// Takes a permit, waiting for one for up to `timeout`. `Ok(None)`: none came free.
    ///
    /// # Errors
    ///
    /// [`AcquireError`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit>, AcquireError> {
        self.acquire_until(Deadline::after(timeout))
    }

    #[inline]
    fn acquire_until(&self, deadline: Deadline) -> Result<Option<Permit>, AcquireError> {
        Ok(self.table.acquire(deadline)?.map(|held| Permit { held }))
    }

    /// How many permits nobody has at this moment. Those of the dead count once they were taken and given back.
    #[must_use]
    pub fn available(&self) -> usize {
        self.table.available()
    }

    /// Whether nobody has the permit of this [index](Permit::index) at this moment. As for
    /// [`available`](Semaphore::available); there is none beyond [`permits`](Semaphore::permits).
    #[must_use]
    pub fn is_free(&self, index: usize) -> bool {
        index < self.permits() && self.table.permit(index).load(Ordering::Relaxed) == FREE
    }

    /// Frees the permits that processes held when they died, and says how many those were. The next ones to take
    /// them are not told of the deaths. It takes some 20 us for each process that has permits.
    ///
    /// ```
    /// use common_ipc::process::{Launch, LaunchOptions};
    /// use common_ipc::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(2)?;
    /// let child = Launch::new(&LaunchOptions::new()).start(|| semaphore.acquire().unwrap().keep())?;
    /// child.wait()?;
    /// assert_eq!((semaphore.reclaim()?, semaphore.available()), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError::OtherNamespace`].
    pub fn reclaim(&self) -> Result<usize, AcquireError> {
        self.table.reclaim()
    }

    /// Frees all permits, whoever has them. Every [`Permit`] taken before is void from then on: its drop does
    /// nothing, also if its process has taken the same place again. (A permit that outlives 511 resets may be taken
    /// for a new one.) Who takes a permit at the same moment has one from before, or one from after.
    pub fn reset(&self) {
        freeing::reset(&*self.table);
    }

    /// Gives back one of the permits that this process [keeps](Permit::keep), whichever handle of this semaphore
    /// it was taken by, and says whether there was one.
    #[must_use]
    pub fn release_kept(&self) -> bool {
        self.table.release_kept()
    }

    /// How many permits there are. It doesn't change.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.table.count()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("permits", &self.permits()).finish_non_exhaustive()
    }
}

/// A permit of a [`Semaphore`], which is given back when this is dropped.
///
/// It belongs to the process that took it. In a forked copy of that process it is nothing, and dropping it
/// there does nothing. One that is forgotten (`std::mem::forget`) stays with the process until that has
/// ended; so does one whose process replaces its program by `exec`, and one that is [kept](Permit::keep), which
/// can be given back all the same.
#[must_use = "it is given back when it is dropped"]
pub struct Permit {
    held: Held,
}

impl Permit {
    /// Whether this permit was taken out of the hands of a process that died with it. What the permit
    /// stands for may then be as the dead process left it.
    #[must_use]
    pub fn previous_owner_died(&self) -> bool {
        self.held.taken.from_dead
    }

    /// Which of the permits this is: a number below [`Semaphore::permits`]. Nobody else has the same one at the same
    /// time, so it can stand for the one of several things that is used under this permit.
    ///
    /// ```
    /// use common_ipc::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(2)?;
    /// let (one, other) = (semaphore.acquire()?, semaphore.acquire()?);
    /// assert_eq!(one.index() + other.index(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn index(&self) -> usize {
        self.held.taken.index
    }

    /// It stays this process's, without a guard, until [`Semaphore::release_kept`] gives it back, or the process
    /// has ended. Of a forked copy of a permit nothing is kept.
    pub fn keep(self) {
        self.held.keep();
    }
}

impl private::Sealed for Semaphore {}

/// Both have it afterwards. A child that captures it has it in any case; given, it can also send it on.
impl Give for Semaphore {
    fn list(&self, giver: &mut Giver<'_>) {
        self.table.segment.list(giver);
    }
}

/// Over a connection: it arrives as the same semaphore. With other formats it is an error.
impl Serialize for Semaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = self.table.segment.attach().map_err(S::Error::custom)?;
        (self.permits(), place).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Semaphore, D::Error> {
        let (permits, place) = <(usize, u32)>::deserialize(deserializer)?;
        let len = end_of(permits).ok_or_else(|| D::Error::custom(HOW_MANY))?;
        let table = SharedTable::receive(place, permits, len).map_err(D::Error::custom)?;
        Ok(Semaphore { table: Arc::new(table) })
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("index", &self.index()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::in_transit::in_transit;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn permits_are_taken_and_given_back() {
        let semaphore = Semaphore::new(2).unwrap();
        let one = semaphore.acquire().unwrap();
        let two = semaphore.try_acquire().unwrap().unwrap();
        assert!(!one.previous_owner_died());
        assert_eq!((semaphore.available(), semaphore.permits()), (0, 2));
        assert_eq!(
            (one.index() + two.index(), semaphore.is_free(0), semaphore.is_free(2)),
            (1, false, false)
        );
        assert!(semaphore.try_acquire().unwrap().is_none());
        assert!(semaphore.acquire_timeout(Duration::from_millis(5)).unwrap().is_none());
        let index = one.index();
        drop(one);
        assert_eq!((semaphore.available(), semaphore.is_free(index)), (1, true));
        let _three = semaphore.acquire_timeout(Duration::from_secs(20)).unwrap().unwrap();
        drop(two);
        assert_eq!(Semaphore::new(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Semaphore::new(65_536).unwrap().available(), 65_536);
        assert_eq!(Semaphore::new(65_537).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Semaphore::new(usize::MAX).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn no_more_than_the_permits_are_in_at_once() {
        let semaphore = Semaphore::new(3).unwrap();
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                // Each with a mapping and a hint of its own.
                let semaphore: Semaphore = in_transit(&semaphore).unwrap();
                let inside = &inside;
                scope.spawn(move || {
                    for round in 0..500 {
                        let _permit = semaphore.acquire().unwrap();
                        assert!(inside.fetch_add(1, Ordering::Relaxed) < 3);
                        if round % 50 == 0 {
                            std::thread::sleep(Duration::from_micros(100));
                        }
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(semaphore.available(), 3);
    }

    #[test]
    fn hostile_words_break_the_counting_only() {
        let semaphore = Semaphore::new(2).unwrap();
        for word in [u64::MAX, 1 << 24, 1, u64::from(u32::MAX)] {
            let permit = semaphore.acquire().unwrap();
            for at in (0..48).step_by(8).filter(|at| !(8..24).contains(at)) {
                semaphore.table.segment.view().long(at).store(word, Ordering::Relaxed);
            }
            // Process 1 may be alive; nobody else of these is.
            let taken = semaphore.acquire_timeout(Duration::from_millis(60)).unwrap();
            assert!(word == 1 || taken.unwrap().previous_owner_died());
            drop(permit);
            assert!(semaphore.available() <= 2);
            // What these find is whatever the words say.
            assert!(semaphore.reclaim().unwrap() <= 2);
            let _ = semaphore.release_kept();
            for at in [32, 40] {
                semaphore.table.segment.view().long(at).store(0, Ordering::Relaxed);
            }
        }
        assert_eq!(semaphore.available(), 2);
        for word in [u64::MAX, 1, 1 << 63] {
            for at in [24, 32, 40] {
                semaphore.table.segment.view().long(at).store(word, Ordering::Relaxed);
            }
            // Of this epoch is at most what says so by chance.
            semaphore.reset();
            semaphore.reset();
            assert_eq!(semaphore.available(), 2, "{word:x}");
        }
    }

    #[test]
    fn a_reset_voids_what_was_taken_before() {
        let semaphore = Semaphore::new(2).unwrap();
        for _ in 0..1100 {
            let (old, kept) = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
            kept.keep();
            semaphore.reset();
            assert_eq!(semaphore.available(), 2);
            let new = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
            drop(old);
            assert!(!semaphore.release_kept(), "what was kept is free");
            assert_eq!(semaphore.available(), 0);
            drop(new);
            assert_eq!(semaphore.available(), 2);
        }
    }

    #[test]
    fn a_kept_permit_is_given_back_by_any_handle() {
        let semaphore = Semaphore::new(3).unwrap();
        let far: Semaphore = in_transit(&semaphore).unwrap();
        semaphore.acquire().unwrap().keep();
        far.acquire().unwrap().keep();
        let held = semaphore.acquire().unwrap();
        assert_eq!(far.available(), 0);
        assert!(far.release_kept() && far.release_kept());
        assert!(!semaphore.release_kept(), "the last one has a guard");
        assert_eq!(far.available(), 2);
        drop(held);
        assert_eq!((semaphore.available(), semaphore.reclaim().unwrap()), (3, 0));
    }

    #[test]
    fn in_another_namespace_it_is_refused() {
        let semaphore = Semaphore::new(1).unwrap();
        let _: Semaphore = in_transit(&semaphore).unwrap();
        semaphore.table.segment.view().long(8).store(12345, Ordering::Relaxed);
        let error = in_transit::<_, Semaphore>(&semaphore).unwrap_err();
        assert!(error.to_string().contains("namespace"), "{error}");
    }
}
