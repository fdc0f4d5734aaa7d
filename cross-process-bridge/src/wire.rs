//! What values are while they cross, where that isn't what they are at both ends.

use std::fmt;

use common_ipc::link::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

use crate::crosses::Crosses;
use crate::error::BridgeError;
use common_ipc::link::Execution;

/// Bytes that are lent. They are read as [`Bytes`].
#[derive(Debug, Clone, Copy)]
pub struct ByteSlice<'a>(pub &'a [u8]);

impl Serialize for ByteSlice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::from(self.0).serialize(serializer)
    }
}

/// An array of any length: serde knows those of up to 32 elements.
#[derive(Clone)]
pub struct Array<T, const N: usize>(pub [T; N]);

impl<T, const N: usize> Array<T, N> {
    /// The array itself.
    pub fn into_inner(self) -> [T; N] {
        self.0
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Array<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize, const N: usize> Serialize for Array<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ArrayRef(&self.0).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Array<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Array<T, N>, D::Error> {
        let wrong = |list: Vec<T>| D::Error::invalid_length(list.len(), &"an array of another length");
        Vec::deserialize(deserializer)?.try_into().map(Array).map_err(wrong)
    }
}

/// An array that is lent. It is read as an [`Array`].
#[derive(Debug, Clone, Copy)]
pub struct ArrayRef<'a, T, const N: usize>(pub &'a [T; N]);

impl<T: Serialize, const N: usize> Serialize for ArrayRef<'_, T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

/// A `Result`, by whichever name.
pub trait Fallible {
    /// The same with another type of success.
    type With<T>;
}

impl<T, E> Fallible for Result<T, E> {
    type With<U> = Result<U, E>;
}

/// A type that is asked for by itself, where its user has written it: should it not cross, that is the place that the
/// compiler shows.
pub trait Asked {
    /// The same.
    type Itself;
}

impl<T: Crosses> Asked for T {
    type Itself = T;
}

/// Something that lends itself: what an argument `impl AsRef<T>` is in the child.
#[derive(Debug, Clone, Copy)]
pub struct Lends<T>(pub T);

impl<T> AsRef<T> for Lends<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

/// A vector of other values.
pub fn map_all<T, U>(list: Vec<T>, each: impl FnMut(T) -> U) -> Vec<U> {
    list.into_iter().map(each).collect()
}

/// What is serialised in place of each element.
pub fn map_each<'a, T, U>(list: &'a [T], each: impl FnMut(&'a T) -> U) -> Vec<U> {
    list.iter().map(each).collect()
}

/// An array of other values.
pub fn map_array<T, U, const N: usize>(array: [T; N], each: impl FnMut(T) -> U) -> [U; N] {
    array.map(each)
}

/// What is serialised in place of each element.
pub fn map_array_ref<'a, T, U, const N: usize>(array: &'a [T; N], each: impl FnMut(&'a T) -> U) -> [U; N] {
    array.each_ref().map(each)
}

/// Whether a slice can be written back.
///
/// # Errors
///
/// It can't if it has another length.
pub fn same_length(expected: usize, came: usize, method: &'static str) -> Result<(), BridgeError> {
    if came == expected {
        return Ok(());
    }
    Err(BridgeError::Decode {
        method,
        type_name: format!("a slice of {expected} elements"),
        message: format!("{came} elements came back"),
        execution: Execution::Ran,
    })
}

/// Writes a slice back that has the same length.
pub fn copy_back<T>(target: &mut [T], came: Vec<T>) {
    for (place, value) in target.iter_mut().zip(came) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common_ipc::link::codec::{decode, encode};

    #[test]
    fn long_arrays_come_back() {
        let array: [u16; 40] = std::array::from_fn(|index| index as u16);
        let bytes = encode(&ArrayRef(&array)).unwrap();
        assert_eq!(bytes, encode(&Array(array)).unwrap());
        assert_eq!(decode::<Array<u16, 40>>(&bytes).unwrap().into_inner(), array);
        let error = decode::<Array<u16, 41>>(&bytes).unwrap_err();
        assert!(error.to_string().contains("40"), "{error}");
    }

    #[test]
    fn lent_bytes_are_read_as_bytes() {
        for length in [0, 10, 10_000] {
            let bytes = vec![7; length];
            let read: Bytes = decode(&encode(&ByteSlice(&bytes)).unwrap()).unwrap();
            assert_eq!(Vec::from(read), bytes);
        }
    }

    #[test]
    fn a_slice_is_written_back_if_it_has_its_length() {
        let mut slice = [1, 2];
        assert!(same_length(slice.len(), 3, "Counter::fill").unwrap_err().to_string().contains("3 elements"));
        same_length(slice.len(), 2, "Counter::fill").unwrap();
        copy_back(&mut slice, vec![3, 4]);
        assert_eq!(slice, [3, 4]);
    }
}
