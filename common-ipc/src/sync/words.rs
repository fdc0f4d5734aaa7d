//! What the algorithms of this room stand on: words in shared memory, or a model of them.
//!
//! The algorithms are written for any kind of word, so that their tests can run the very same code
//! under a model that plays every order in which threads may meet (see `model`).

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use crate::sys::futex;

/// Whoever sleeps looks again this often: one who was chosen to wake and was killed before it did anything
/// then keeps nobody asleep for longer.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many are woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    One,
    All,
}

/// A word on which one can sleep.
pub(crate) trait FutexWord {
    fn load(&self, order: Ordering) -> u32;
    fn store(&self, value: u32, order: Ordering);
    fn swap(&self, value: u32, order: Ordering) -> u32;
    fn fetch_add(&self, value: u32, order: Ordering) -> u32;
    fn compare_exchange(
        &self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32>;

    /// Sleeps while the word is `expected`, for up to `timeout` or any shorter time, and says whether the
    /// time has run out.
    fn sleep(&self, expected: u32, timeout: Duration) -> io::Result<bool>;

    /// Wakes those who sleep on it.
    fn wake(&self, how_many: Wake);

    /// A barrier between all that came before and all that comes after it.
    fn fence();
}

/// A word with room for an owner.
pub(crate) trait LongWord {
    fn load(&self, order: Ordering) -> u64;
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64>;
}

impl FutexWord for AtomicU32 {
    #[inline]
    fn load(&self, order: Ordering) -> u32 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u32, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
    fn swap(&self, value: u32, order: Ordering) -> u32 {
        self.swap(value, order)
    }

    #[inline]
    fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.fetch_add(value, order)
    }

    #[inline]
    fn compare_exchange(
        &self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        self.compare_exchange(current, new, success, failure)
    }

    fn sleep(&self, expected: u32, timeout: Duration) -> io::Result<bool> {
        let begin = Instant::now();
        futex::wait(self, expected, Some(timeout))?;
        Ok(begin.elapsed() >= timeout)
    }

    fn wake(&self, how_many: Wake) {
        match how_many {
            Wake::One => futex::wake(self, 1),
            Wake::All => futex::wake_all(self),
        }
    }

    #[inline]
    fn fence() {
        fence(Ordering::SeqCst);
    }
}

impl LongWord for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline]
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.compare_exchange(current, new, success, failure)
    }
}
