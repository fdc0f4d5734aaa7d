//! Shared memory as elements.

use std::fmt;
use std::marker::PhantomData;

use bytemuck::Pod;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::memory::errors::{MemoryError, NoSuchPlace, OutOfRange};
use crate::memory::frozen::{self, FrozenArray};
use crate::memory::shape::Shape;
use crate::memory::shared::SharedMemory;
use crate::ownership::give::{Give, Giver, private};

/// Elements that processes share, in one dimension or several.
///
/// Elements are plain data ([`Pod`](crate::memory::Pod)): numbers, arrays of them, structs of them without padding. They
/// take at least one byte and are aligned to a page at the most; for other types this doesn't compile.
///
/// [`get`](SharedArray::get) and [`set`](SharedArray::set) of an element of 1, 2, 4 or 8 bytes move it whole. A
/// larger one, and whatever [`read_into`](SharedArray::read_into) copies, is a mixture of old and new if somebody
/// writes at the same time, as for [`SharedMemory`]. Nothing here is a barrier by itself: what is
/// written before a message is sent, or an event set, is seen by whoever receives it, or waits for it.
///
/// Clones are the same memory. **Dropping** one ends this handle; the memory goes with the last one in the
/// last process.
///
/// ```
/// use common_ipc::memory::SharedArray;
/// use common_ipc::process::{Launch, LaunchOptions};
///
/// let image = SharedArray::<u16>::with_shape(&[480, 640])?;
/// let in_child = image.clone();
/// let child = Launch::new(&LaunchOptions::new()).start(move || {
///     let place = in_child.index(&[100, 200]).unwrap();
///     in_child.set(place, 4095).unwrap();
/// })?;
/// child.output::<()>()?;
/// assert_eq!(image.get(100 * 640 + 200)?, 4095);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A type of one's own:
///
/// ```
/// use common_ipc::memory::{Pod, SharedArray, Zeroable};
///
/// #[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
/// #[bytemuck(crate = "common_ipc::memory::bytemuck")]
/// #[repr(C)]
/// struct Point {
///     x: f32,
///     y: f32,
/// }
///
/// let points = SharedArray::<Point>::new(1_000)?;
/// points.set(3, Point { x: 1.0, y: 2.0 })?;
/// assert_eq!(points.get(3)?.y, 2.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedArray<T> {
    memory: SharedMemory,
    shape: Shape,
    element: PhantomData<fn(T) -> T>,
}

impl<T> Clone for SharedArray<T> {
    fn clone(&self) -> Self {
        SharedArray { memory: self.memory.clone(), shape: self.shape.clone(), element: PhantomData }
    }
}

/// Its type and its shape.
impl<T> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedArray<{}>({:?})", std::any::type_name::<T>(), self.shape.dimensions())
    }
}

impl<T: Pod> SharedArray<T> {
    /// So many elements, all of zeroes. It takes one descriptor.
    ///
    /// # Errors
    ///
    /// As for [`SharedMemory::new`].
    pub fn new(len: usize) -> Result<SharedArray<T>, MemoryError> {
        SharedArray::with_shape(&[len])
    }

    /// As many elements as the product of `shape`, all of zeroes. The last index runs fastest. No
    /// dimensions are one element.
    ///
    /// # Errors
    ///
    /// As for [`SharedMemory::new`]; [`MemoryError::TooLarge`] also where the product can't be counted.
    pub fn with_shape(shape: &[usize]) -> Result<SharedArray<T>, MemoryError> {
        let shape = Shape::new::<T>(shape)?;
        let memory = SharedMemory::new(shape.len() * size_of::<T>())?;
        Ok(SharedArray { memory, shape, element: PhantomData })
    }

    /// A copy of these elements.
    ///
    /// # Errors
    ///
    /// As for [`SharedMemory::new`].
    pub fn from_slice(elements: &[T]) -> Result<SharedArray<T>, MemoryError> {
        let array = SharedArray::new(elements.len())?;
        array.memory.view().store_bytes(0, bytemuck::cast_slice(elements));
        Ok(array)
    }

    /// How many elements there are, in all dimensions. It doesn't change.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sizes of the dimensions.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.shape.dimensions()
    }

    /// The index of a place: one number for each dimension.
    ///
    /// # Errors
    ///
    /// [`NoSuchPlace`] for another number of dimensions, or a number that is too large.
    pub fn index(&self, place: &[usize]) -> Result<usize, NoSuchPlace> {
        self.shape.index(place)
    }

    /// The element at `index`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, OutOfRange> {
        OutOfRange::check(index, 1, self.len())?;
        let mut element = T::zeroed();
        self.memory.view().load_element(index * size_of::<T>(), bytemuck::bytes_of_mut(&mut element));
        Ok(element)
    }

    /// Replaces the element at `index`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    #[inline]
    pub fn set(&self, index: usize, element: T) -> Result<(), OutOfRange> {
        OutOfRange::check(index, 1, self.len())?;
        self.memory.view().store_element(index * size_of::<T>(), bytemuck::bytes_of(&element));
        Ok(())
    }

    /// Copies elements out, from index `at` on, as many as `elements` has room for.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if they aren't all there; nothing was read then.
    pub fn read_into(&self, at: usize, elements: &mut [T]) -> Result<(), OutOfRange> {
        OutOfRange::check(at, elements.len(), self.len())?;
        self.memory.view().load_bytes(at * size_of::<T>(), bytemuck::cast_slice_mut(elements));
        Ok(())
    }

    /// Copies elements in, from index `at` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if they don't all fit; nothing was written then.
    pub fn write_from(&self, at: usize, elements: &[T]) -> Result<(), OutOfRange> {
        OutOfRange::check(at, elements.len(), self.len())?;
        self.memory.view().store_bytes(at * size_of::<T>(), bytemuck::cast_slice(elements));
        Ok(())
    }

    /// Copies all of them out.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        let mut elements = vec![T::zeroed(); self.len()];
        self.memory.view().load_bytes(0, bytemuck::cast_slice_mut(&mut elements));
        elements
    }

    /// Makes it an array that nobody can change any more, and that is a plain slice therefore.
    ///
    /// It is a snapshot: as it is at some moment of this call, where somebody writes at the same time. If
    /// this is the only mapping of the memory, in all processes, the kernel seals it, at the price of two
    /// system calls and no copy. Otherwise - there are clones, or a process that it was sent to or that
    /// was forked from this one since it was made - the elements are copied into new memory, and
    /// the others keep the old one, to which they can write as before.
    ///
    /// # Errors
    ///
    /// As for [`SharedMemory::new`], where it has to be copied.
    pub fn freeze(self) -> Result<FrozenArray<T>, MemoryError> {
        let shape = self.shape;
        frozen::freeze(self.memory, |_| Ok(shape))
    }
}

impl<T> private::Sealed for SharedArray<T> {}

/// Both have it afterwards. A child that captures it has it in any case; given, it can also send it on.
impl<T> Give for SharedArray<T> {
    fn list(&self, giver: &mut Giver<'_>) {
        self.memory.list(giver);
    }
}

/// Over a connection: it arrives as the same memory. With other formats it is an error.
impl<T: Pod> Serialize for SharedArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.shape(), self.memory.attach::<S>()?).serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedArray<T>, D::Error> {
        let (shape, place) = <(Vec<usize>, u32)>::deserialize(deserializer)?;
        let shape = Shape::new::<T>(&shape).map_err(D::Error::custom)?;
        let memory = SharedMemory::receive::<D>(place, shape.len() * size_of::<T>())?;
        Ok(SharedArray { memory, shape, element: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::in_transit::in_transit;

    #[test]
    fn elements_of_all_sizes() {
        fn check<T: Pod + PartialEq + fmt::Debug>(elements: &[T]) {
            let array = SharedArray::from_slice(elements).unwrap();
            assert_eq!(array.to_vec(), elements);
            for (index, element) in elements.iter().enumerate() {
                assert_eq!(array.get(index).unwrap(), *element);
                array.set(index, T::zeroed()).unwrap();
                assert_eq!(array.get(index).unwrap(), T::zeroed());
                array.set(index, *element).unwrap();
            }
            assert_eq!(array.to_vec(), elements);
            assert_eq!(array.get(elements.len()).unwrap_err().len, elements.len());
            assert!(array.set(elements.len(), elements[0]).is_err());
            let mut two = [T::zeroed(); 2];
            array.read_into(1, &mut two).unwrap();
            array.write_from(0, &two).unwrap();
            assert_eq!(array.get(0).unwrap(), two[0]);
            assert!(array.write_from(elements.len() - 1, &two).is_err());
        }
        check::<u8>(&[1, 2, 3, 4, 5]);
        check::<i16>(&[-1, 2, -3]);
        check::<f32>(&[0.5, -1.5, 2.5]);
        check::<u64>(&[u64::MAX, 1, 2]);
        check::<u128>(&[u128::MAX, 1, 2]);
        check::<[u8; 3]>(&[[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
        check::<[u32; 2]>(&[[1, 2], [4, 5], [7, 8]]);
    }

    #[test]
    fn no_element_is_torn() {
        let array = SharedArray::<[u32; 2]>::new(3).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000 {
                    array.set(1, [round; 2]).unwrap();
                    array.write_from(2, &[[round; 2]]).unwrap();
                }
            });
            for _ in 0..20_000 {
                let [one, other] = array.get(1).unwrap();
                assert_eq!(one, other);
                let mut pair = [[0; 2]];
                array.read_into(2, &mut pair).unwrap();
                assert_eq!(pair[0][0], pair[0][1]);
            }
        });
    }

    #[test]
    fn the_shape_travels_along() {
        let array = SharedArray::<f64>::with_shape(&[3, 5]).unwrap();
        array.set(array.index(&[2, 4]).unwrap(), 1.25).unwrap();
        let there: SharedArray<f64> = in_transit(&array).unwrap();
        assert_eq!(there.shape(), [3, 5]);
        assert_eq!(there.get(14).unwrap(), 1.25);
        assert_eq!(format!("{there:?}"), "SharedArray<f64>([3, 5])");
    }

    #[test]
    fn a_hostile_peer_gets_an_error() {
        let array = SharedArray::<f64>::new(15).unwrap();
        // Another size than it says, and sizes that overflow.
        for shape in [vec![16], vec![14], vec![], vec![usize::MAX, usize::MAX], vec![usize::MAX / 4]] {
            let lie = Lie { shape, memory: array.memory.clone() };
            let error = in_transit::<_, SharedArray<f64>>(&lie).unwrap_err();
            assert!(error.to_string().contains("shared memory"), "{error}");
        }
        // A place at which nothing came.
        let bytes = crate::link::codec::encode(&(vec![1usize], 0u32)).unwrap();
        let error = crate::link::codec::decode::<SharedArray<u8>>(&bytes).unwrap_err();
        assert!(error.to_string().contains("didn't come"), "{error}");
    }

    struct Lie {
        shape: Vec<usize>,
        memory: SharedMemory,
    }

    impl Serialize for Lie {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (&self.shape, self.memory.attach::<S>()?).serialize(serializer)
        }
    }

    #[test]
    fn outside_of_a_message_it_is_an_error() {
        let error = crate::link::codec::encode(&SharedArray::<u8>::new(1).unwrap()).unwrap_err();
        assert!(error.to_string().contains("only a Connection"), "{error}");
    }
}
