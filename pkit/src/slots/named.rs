//! Pools of slots that are found by a name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::LazyLock;

use parking_lot::Mutex;

use crate::slots::{SlotError, SlotPool};

static NAMED: LazyLock<Mutex<HashMap<String, SlotPool>>> = LazyLock::new(Mutex::default);

impl SlotPool {
    /// The pool of this name, with the slots as they are. The first call makes it, with as many slots as there are
    /// processors for this process ([`available_parallelism`](std::thread::available_parallelism)).
    ///
    /// Names mean something within this process only. A child that is forked afterwards has the same names for the
    /// same pools, and shares their slots; one that it makes is its own. A zygote's child, which has nothing of this
    /// process's memory, gets a pool as its argument, or a part of that. Any string is a name. A name stays until it
    /// is [forgotten](SlotPool::forget_named).
    ///
    /// ```
    /// use pkit::SlotPool;
    ///
    /// let processors = SlotPool::named("processors")?;
    /// let size = processors.size();
    /// processors.acquire()?.keep();
    /// assert_eq!(SlotPool::named("processors")?.free(), size - 1);
    /// # Ok::<(), pkit::SlotError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SlotError::Memory`].
    #[doc(alias = "get_slot_pool")]
    pub fn named(name: &str) -> Result<SlotPool, SlotError> {
        find(name, || SlotPool::new(std::thread::available_parallelism().map_or(1, usize::from)))
    }

    /// The pool of this name, made with so many slots if there is none.
    ///
    /// # Errors
    ///
    /// [`SlotError::OtherSize`] if there is one, and it has another size; [`SlotError::Size`];
    /// [`SlotError::Memory`].
    #[doc(alias = "get_slot_pool")]
    pub fn named_with_size(name: &str, size: usize) -> Result<SlotPool, SlotError> {
        let slots = find(name, || SlotPool::new(size))?;
        match slots.size() {
            same if same == size => Ok(slots),
            other => Err(SlotError::OtherSize { size: other, asked: size }),
        }
    }

    /// Forgets a name in this process, and says whether it was known. Handles of the pool are as good as before; the
    /// next one who asks for the name gets a new pool.
    pub fn forget_named(name: &str) -> bool {
        let forgotten = NAMED.lock().remove(name);
        forgotten.is_some()
    }
}

fn find(name: &str, make: impl FnOnce() -> Result<SlotPool, SlotError>) -> Result<SlotPool, SlotError> {
    match NAMED.lock().entry(name.to_owned()) {
        Entry::Occupied(known) => Ok(known.get().clone()),
        Entry::Vacant(new) => Ok(new.insert(make()?).clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_pool_is_made_once_and_found_again_with_its_state() {
        let slots = SlotPool::named("found again").unwrap();
        assert_eq!(slots.size(), std::thread::available_parallelism().unwrap().get());
        slots.acquire().unwrap().keep();
        let again = SlotPool::named("found again").unwrap();
        assert_eq!((again.size(), again.free()), (slots.size(), slots.size() - 1));
        again.release().unwrap();
        assert_eq!(slots.free(), slots.size());
        assert!(SlotPool::forget_named("found again"));
        assert!(!SlotPool::forget_named("found again"));
    }

    #[test]
    fn a_size_is_that_of_the_first_call() {
        assert_eq!(SlotPool::named_with_size("sized", 3).unwrap().size(), 3);
        assert_eq!(SlotPool::named("sized").unwrap().size(), 3);
        let error = SlotPool::named_with_size("sized", 4).unwrap_err();
        assert!(matches!(error, SlotError::OtherSize { size: 3, asked: 4 }), "{error}");
        assert!(matches!(SlotPool::named_with_size("none", 0), Err(SlotError::Size { size: 0 })));
        assert!(SlotPool::forget_named("sized") && !SlotPool::forget_named("none"));
    }

    #[test]
    fn any_string_is_a_name() {
        let long = "x".repeat(10_000);
        for name in ["", "\0", "a\0b", "../../etc/passwd", "/", "\u{202e}", &long] {
            SlotPool::named_with_size(name, 1).unwrap().acquire().unwrap().keep();
            assert_eq!(SlotPool::named(name).unwrap().free(), 0, "{name:?}");
            assert!(SlotPool::forget_named(name));
            assert_eq!(SlotPool::named_with_size(name, 1).unwrap().free(), 1, "{name:?}");
            assert!(SlotPool::forget_named(name));
        }
    }
}
