//! Atomic numbers in shared memory.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::memory::errors::MemoryError;
use crate::memory::shared::SharedMemory;
use crate::ownership::give::{Give, Giver, private};

/// Atomic numbers that processes share, as a slice of [`AtomicU64`].
///
/// They are what they are within one process: a change is seen whole, and orders what is around it as its
/// [`Ordering`](std::sync::atomic::Ordering) says, whichever processes the two sides are in. What any of them holds is
/// a fact and not a promise: each process that has them may write anything. To wait for a change there is an
/// [`Event`](crate::sync::Event).
///
/// Clones are the same numbers. **Dropping** one ends this handle; the memory goes with the last one in the last
/// process.
///
/// ```
/// use std::sync::atomic::Ordering;
/// use common_ipc::memory::SharedAtomics;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let counts = SharedAtomics::new(2)?;
/// let in_child = counts.clone();
/// let child = Launch::new(&LaunchOptions::new()).start(move || {
///     in_child[0].fetch_add(7, Ordering::Relaxed);
///     in_child[1].fetch_max(9, Ordering::Relaxed);
/// })?;
/// child.output::<()>()?;
/// assert_eq!(counts[0].load(Ordering::Relaxed), 7);
/// assert_eq!(counts[1].load(Ordering::Relaxed), 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedAtomics {
    memory: SharedMemory,
}

impl SharedAtomics {
    /// So many numbers, all zero. It takes one descriptor.
    ///
    /// # Errors
    ///
    /// As for [`SharedMemory::new`].
    pub fn new(len: usize) -> Result<SharedAtomics, MemoryError> {
        let bytes = len.checked_mul(size_of::<AtomicU64>()).ok_or(MemoryError::TooLarge)?;
        Ok(SharedAtomics { memory: SharedMemory::new(bytes)? })
    }
}

impl Deref for SharedAtomics {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        self.memory.view().longs()
    }
}

/// How many there are.
impl fmt::Debug for SharedAtomics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedAtomics({})", self.len())
    }
}

impl private::Sealed for SharedAtomics {}

/// Both have it afterwards. A child that captures it has it in any case; given, it can also send it on.
impl Give for SharedAtomics {
    fn list(&self, giver: &mut Giver<'_>) {
        self.memory.list(giver);
    }
}

/// Over a connection: it arrives as the same numbers. With other formats it is an error.
impl Serialize for SharedAtomics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.memory.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedAtomics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedAtomics, D::Error> {
        let memory = SharedMemory::deserialize(deserializer)?;
        if memory.len() % size_of::<AtomicU64>() != 0 {
            return Err(D::Error::custom(format_args!(
                "{} bytes are no numbers of 8 bytes each",
                memory.len()
            )));
        }
        Ok(SharedAtomics { memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::in_transit::in_transit;
    use std::sync::atomic::Ordering;

    #[test]
    fn they_arrive_as_the_same_numbers() {
        // More than a page of them.
        let here = SharedAtomics::new(1000).unwrap();
        let there: SharedAtomics = in_transit(&here).unwrap();
        std::thread::scope(|scope| {
            for atomics in [&here, &there] {
                scope.spawn(|| {
                    for round in 0..2_000_u64 {
                        atomics[999].fetch_add(1, Ordering::Relaxed);
                        atomics[0].fetch_max(round, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!((here.len(), there.len()), (1000, 1000));
        assert_eq!(here[999].load(Ordering::Relaxed), 4_000);
        assert_eq!(there[0].load(Ordering::Relaxed), 1_999);
        assert!(here.get(1000).is_none());
        assert_eq!(format!("{here:?}"), "SharedAtomics(1000)");
    }

    #[test]
    fn none_are_none_and_too_many_an_error() {
        let none = SharedAtomics::new(0).unwrap();
        assert!(none.is_empty());
        assert!(in_transit::<_, SharedAtomics>(&none).unwrap().is_empty());
        for len in [usize::MAX, usize::MAX / 8, usize::MAX / 16 + 1] {
            assert!(matches!(SharedAtomics::new(len), Err(MemoryError::TooLarge)), "{len}");
        }
    }

    #[test]
    fn a_hostile_peer_gets_an_error() {
        let odd = SharedMemory::new(12).unwrap();
        let error = in_transit::<_, SharedAtomics>(&odd).unwrap_err();
        assert!(error.to_string().contains("12 bytes"), "{error}");
    }
}
