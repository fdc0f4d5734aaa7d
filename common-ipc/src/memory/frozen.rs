//! Shared memory that nobody can change any more.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use bytemuck::Pod;
use nix::sys::uio::{pread, pwrite};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::attachments;
use crate::memory::errors::MemoryError;
use crate::memory::segment::{Segment, allocate, wrong_process};
use crate::memory::shape::Shape;
use crate::memory::shared::SharedMemory;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::{Give, Giver, How, private};
use crate::sys;
use crate::sys::frozen::FrozenMapping;
use crate::sys::mapping::Mapping;

/// Elements that processes share and that none of them can change: a plain slice.
///
/// It is made by [`SharedArray::freeze`](crate::memory::SharedArray::freeze) or
/// [`SharedMemory::freeze`], and read as `&[T]`. The kernel holds it to that, against every process, for
/// good: it refuses to map the memory for writing.
///
/// Clones are cheap, and so is sending it. Borrowed elements live as long as the handle that they were borrowed
/// from. **Dropping** it ends this handle; the memory goes with the last one in the last process.
///
/// ```
/// use common_ipc::memory::SharedArray;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let table = SharedArray::from_slice(&[2.0, 3.0, 5.0])?.freeze()?;
/// let in_child = table.clone();
/// let child = Launch::new(&LaunchOptions::new()).start(move || in_child.iter().sum::<f64>())?;
/// assert_eq!(child.output::<f64>()?, 10.0);
/// assert_eq!(table[1..], [3.0, 5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A borrow doesn't outlive it:
///
/// ```compile_fail,E0505
/// use common_ipc::memory::SharedArray;
///
/// let table = SharedArray::from_slice(&[2.0, 3.0, 5.0])?.freeze()?;
/// let last = &table[2];
/// drop(table);
/// println!("{last}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FrozenArray<T> {
    frozen: Arc<Frozen>,
    shape: Shape,
    element: PhantomData<fn(T) -> T>,
}

#[derive(Debug)]
struct Frozen {
    fd: Arc<PrivateFd>,
    mapping: FrozenMapping,
}

/// Seals the memory if nobody else can write to it, else a copy of it.
pub(crate) fn freeze<T: Pod>(
    memory: SharedMemory,
    shape: impl FnOnce(&[usize]) -> Result<Shape, MemoryError>,
) -> Result<FrozenArray<T>, MemoryError> {
    let len = memory.len();
    let shape = shape(&[len])?;
    let fd = match Arc::try_unwrap(memory.into_segment()) {
        Ok(segment) => seal(segment, len)?,
        Err(shared) => Arc::new(sealed_copy(len, from(&shared.mapping))?),
    };
    let frozen = map(fd, len)?;
    Ok(FrozenArray { frozen: Arc::new(frozen), shape, element: PhantomData })
}

fn seal(segment: Segment, len: usize) -> Result<Arc<PrivateFd>, MemoryError> {
    let Segment { fd, mapping } = segment;
    let Ok(number) = fd.get() else {
        // A child that captured it and wasn't given it: all that it has is the mapping.
        return Ok(Arc::new(sealed_copy(len, from(&mapping))?));
    };
    // While this process has it mapped the kernel refuses.
    drop(mapping);
    if FrozenMapping::freeze(number).is_ok() {
        return Ok(fd);
    }
    // It refuses all the same, since others have it mapped.
    let copy = sealed_copy(len, |at, piece| Ok(pread(number, piece, at as libc::off_t)?))?;
    Ok(Arc::new(copy))
}

fn from(mapping: &Mapping) -> impl FnMut(usize, &mut [u8]) -> io::Result<usize> {
    |at, piece| {
        mapping.view().load_bytes(at, piece);
        Ok(piece.len())
    }
}

/// So much is copied at once.
const PIECE: usize = 256 << 10;

/// New memory with what `read` gives for each offset, sealed. It is never mapped before, so that no child can
/// hold a mapping by which it could write.
fn sealed_copy(
    len: usize,
    mut read: impl FnMut(usize, &mut [u8]) -> io::Result<usize>,
) -> Result<PrivateFd, MemoryError> {
    let os = |step| move |source| MemoryError::Os { step, source };
    let memfd = allocate("frozen memory", len)?;
    let fd = memfd.get().map_err(wrong_process)?;
    let mut buffer = vec![0; PIECE.min(len)];
    let mut at = 0;
    while at < len {
        let room = PIECE.min(len - at);
        let filled = sys::retry(|| read(at, &mut buffer[..room])).map_err(os("read shared memory"))?;
        let written = sys::retry(|| Ok(pwrite(fd, &buffer[..filled], at as libc::off_t)?));
        at += match written.map_err(os("copy shared memory"))? {
            0 => return Err(os("copy shared memory")(io::ErrorKind::WriteZero.into())),
            count => count,
        };
    }
    FrozenMapping::freeze(fd).map_err(os("seal shared memory"))?;
    Ok(memfd)
}

fn map(fd: Arc<PrivateFd>, len: usize) -> Result<Frozen, MemoryError> {
    let mapping = FrozenMapping::new(fd.get().map_err(wrong_process)?, len);
    let mapping = mapping.map_err(|source| MemoryError::Os { step: "map frozen memory", source })?;
    Ok(Frozen { fd, mapping })
}

impl<T: Pod> FrozenArray<T> {
    /// The sizes of the dimensions.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.shape.dimensions()
    }

    /// The index of a place, as for [`SharedArray::index`](crate::memory::SharedArray::index).
    ///
    /// # Errors
    ///
    /// [`NoSuchPlace`](crate::memory::NoSuchPlace).
    pub fn index(&self, place: &[usize]) -> Result<usize, crate::memory::NoSuchPlace> {
        self.shape.index(place)
    }
}

impl<T: Pod> Deref for FrozenArray<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // No mapping, and so no page to be aligned to.
        if self.shape.len() == 0 { &[] } else { bytemuck::cast_slice(self.frozen.mapping.bytes()) }
    }
}

impl<T: Pod> AsRef<[T]> for FrozenArray<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T> Clone for FrozenArray<T> {
    fn clone(&self) -> Self {
        FrozenArray { frozen: Arc::clone(&self.frozen), shape: self.shape.clone(), element: PhantomData }
    }
}

/// Its type and its shape.
impl<T> fmt::Debug for FrozenArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrozenArray<{}>({:?})", std::any::type_name::<T>(), self.shape.dimensions())
    }
}

impl<T> private::Sealed for FrozenArray<T> {}

/// Both have it afterwards. A child that captures it has it in any case; given, it can also send it on.
impl<T> Give for FrozenArray<T> {
    fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.frozen.fd, How::Shared);
    }
}

/// Over a connection: it arrives as the same memory. With other formats it is an error.
impl<T: Pod> Serialize for FrozenArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = attachments::attach(&self.frozen.fd, How::Shared).map_err(S::Error::custom)?;
        (self.shape(), place).serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for FrozenArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FrozenArray<T>, D::Error> {
        let (shape, place) = <(Vec<usize>, u32)>::deserialize(deserializer)?;
        let shape = Shape::new::<T>(&shape).map_err(D::Error::custom)?;
        let fd = attachments::take(place).map_err(D::Error::custom)?;
        let frozen = map(Arc::new(fd), shape.len() * size_of::<T>()).map_err(|error| {
            D::Error::custom(format_args!(
                "what came is no frozen memory of the shape {:?}: {error}",
                shape.dimensions()
            ))
        })?;
        Ok(FrozenArray { frozen: Arc::new(frozen), shape, element: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::in_transit::in_transit;
    use crate::memory::SharedArray;

    #[test]
    fn alone_it_is_sealed_where_it_is() {
        let array = SharedArray::from_slice(&[1u32, 2, 3]).unwrap();
        let mut given = Vec::new();
        array.list(&mut Giver(&mut given));
        let frozen = array.freeze().unwrap();
        assert_eq!(*frozen, [1, 2, 3]);
        assert_eq!(Arc::as_ptr(&frozen.frozen.fd), given[0].fd.as_ptr());
    }

    #[test]
    fn beside_others_it_is_a_snapshot() {
        let array = SharedArray::from_slice(&[1u64; 100_000]).unwrap();
        let clone = array.clone();
        let there: SharedArray<u64> = in_transit(&array).unwrap();
        let first = array.freeze().unwrap();
        clone.set(99_999, 2).unwrap();
        // Now it is the only one here, but not the only mapping.
        let second = clone.freeze().unwrap();
        there.set(99_999, 3).unwrap();
        assert!(first.iter().all(|element| *element == 1));
        assert_eq!(second[99_998..], [1, 2]);
        assert_eq!(there.freeze().unwrap()[99_998..], [1, 3]);
    }

    #[test]
    fn it_travels_and_keeps_its_shape() {
        let array = SharedArray::<u16>::with_shape(&[2, 2]).unwrap();
        array.write_from(0, &[1, 2, 3, 4]).unwrap();
        let frozen = array.freeze().unwrap();
        let there: FrozenArray<u16> = in_transit(&frozen.clone()).unwrap();
        assert_eq!(there.shape(), [2, 2]);
        assert_eq!(there[there.index(&[1, 0]).unwrap()], 3);
        assert_eq!(frozen[..], there[..]);
        // Shared memory that isn't frozen is no frozen array, and the other way round.
        let plain = SharedArray::<u16>::with_shape(&[2, 2]).unwrap();
        let error = in_transit::<_, FrozenArray<u16>>(&plain).unwrap_err();
        assert!(error.to_string().contains("no frozen memory"), "{error}");
        assert!(in_transit::<_, SharedArray<u16>>(&frozen).is_err());
    }

    #[test]
    fn none_is_fine_also_of_what_is_aligned() {
        assert!(SharedArray::<u128>::new(0).unwrap().freeze().unwrap().is_empty());
    }
}
