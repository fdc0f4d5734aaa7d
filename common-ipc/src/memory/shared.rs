//! Shared memory as bytes.

use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::memory::errors::{MemoryError, OutOfRange};
use crate::memory::frozen::{self, FrozenArray};
use crate::memory::segment::Segment;
use crate::memory::shape::Shape;
use crate::ownership::give::{Give, Giver, private};
use crate::sys::mapping::View;

/// Bytes that processes share.
///
/// Clones are the same memory, and so is what arrives where it was sent. Any process that has it may write to
/// it at any time. A copy out of it is then a mixture of old and new, made of pieces of eight bytes, at
/// multiples of eight, that are each old or new; an [`Event`](crate::sync::Event), a
/// [`Mutex`](crate::sync::Mutex) or a message keeps those apart who want to be. Of what one process wrote before
/// it did one of these, the other one, who waited for it, sees all.
///
/// **Dropping** it ends this handle; the memory goes with the last one in the last process.
///
/// ```
/// use common_ipc::memory::SharedMemory;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let memory = SharedMemory::new(1 << 20)?;
/// let in_child = memory.clone();
/// let child = Launch::new(&LaunchOptions::new()).start(move || in_child.write_from(7, b"hello").unwrap())?;
/// child.output::<()>()?;
/// let mut word = [0; 5];
/// memory.read_into(7, &mut word)?;
/// assert_eq!(&word, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SharedMemory {
    segment: Arc<Segment>,
    len: usize,
}

impl SharedMemory {
    /// So many bytes, all zero. It takes one descriptor.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotEnough`] where that is more than is available, as far as one can know that; the other
    /// errors of [`MemoryError`] where there are no descriptors or mappings left, or a limit forbids it.
    pub fn new(len: usize) -> Result<SharedMemory, MemoryError> {
        Ok(SharedMemory { segment: Arc::new(Segment::new("shared memory", len)?), len })
    }

    /// How many bytes there are. It doesn't change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes out, from offset `at` on, as many as `bytes` has room for.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if they aren't all within the memory; nothing was read then.
    pub fn read_into(&self, at: usize, bytes: &mut [u8]) -> Result<(), OutOfRange> {
        OutOfRange::check(at, bytes.len(), self.len)?;
        self.view().load_bytes(at, bytes);
        Ok(())
    }

    /// Copies bytes in, from offset `at` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if they don't all fit; nothing was written then.
    pub fn write_from(&self, at: usize, bytes: &[u8]) -> Result<(), OutOfRange> {
        OutOfRange::check(at, bytes.len(), self.len)?;
        self.view().store_bytes(at, bytes);
        Ok(())
    }

    /// Copies all of it out.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.view().load_bytes(0, &mut bytes);
        bytes
    }

    /// Makes it memory that nobody can change, as [`SharedArray::freeze`](crate::memory::SharedArray::freeze)
    /// does.
    ///
    /// # Errors
    ///
    /// As for [`new`](SharedMemory::new), where it has to be copied.
    pub fn freeze(self) -> Result<FrozenArray<u8>, MemoryError> {
        frozen::freeze(self, Shape::new::<u8>)
    }

    pub(crate) fn into_segment(self) -> Arc<Segment> {
        self.segment
    }

    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        self.segment.view()
    }

    pub(crate) fn attach<S: Serializer>(&self) -> Result<u32, S::Error> {
        self.segment.attach().map_err(S::Error::custom)
    }

    pub(crate) fn receive<'de, D: Deserializer<'de>>(
        place: u32,
        len: usize,
    ) -> Result<SharedMemory, D::Error> {
        let segment = Segment::receive(place, len).map_err(D::Error::custom)?;
        Ok(SharedMemory { segment: Arc::new(segment), len })
    }
}

impl private::Sealed for SharedMemory {}

/// Both have it afterwards. A child that captures it has it in any case; given, it can also send it on.
impl Give for SharedMemory {
    fn list(&self, giver: &mut Giver<'_>) {
        self.segment.list(giver);
    }
}

/// Over a connection: it arrives as the same memory. With other formats it is an error.
impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.len, self.attach::<S>()?).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedMemory, D::Error> {
        let (len, place) = <(usize, u32)>::deserialize(deserializer)?;
        SharedMemory::receive::<D>(place, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::in_transit::in_transit;

    #[test]
    fn bytes_stay_within_the_memory() {
        let memory = SharedMemory::new(100).unwrap();
        memory.write_from(90, &[7; 10]).unwrap();
        assert_eq!(memory.write_from(91, &[1; 10]), Err(OutOfRange { at: 91, count: 10, len: 100 }));
        let mut bytes = [0; 12];
        assert_eq!(memory.read_into(usize::MAX, &mut bytes).unwrap_err().at, usize::MAX);
        memory.read_into(88, &mut bytes).unwrap();
        assert_eq!(bytes, [0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        assert_eq!(memory.to_vec().len(), 100);
        assert_eq!(memory.freeze().unwrap()[88..], bytes);
    }

    #[test]
    fn none_is_fine() {
        let memory = SharedMemory::new(0).unwrap();
        assert!(memory.is_empty());
        memory.write_from(0, &[]).unwrap();
        let there: SharedMemory = in_transit(&memory).unwrap();
        assert!(there.freeze().unwrap().is_empty());
    }

    #[test]
    fn it_arrives_as_the_same_memory() {
        let here = SharedMemory::new(10_000).unwrap();
        let [one, two]: [SharedMemory; 2] = in_transit(&[here.clone(), here.clone()]).unwrap();
        one.write_from(5_000, b"seen").unwrap();
        let mut bytes = [0; 4];
        for memory in [&here, &two] {
            memory.read_into(5_000, &mut bytes).unwrap();
            assert_eq!(&bytes, b"seen");
        }
        drop(here);
        two.write_from(0, b"still there").unwrap();
    }
}
