//! How many elements an array has, and in how many dimensions.

use std::sync::Arc;

use bytemuck::Pod;

use crate::memory::errors::{MemoryError, NoSuchPlace};

/// The sizes of the dimensions. The last index runs fastest, as in C and NumPy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    dimensions: Arc<[usize]>,
    len: usize,
}

impl Shape {
    /// Fails where the bytes can't be counted.
    pub(crate) fn new<T: Pod>(dimensions: &[usize]) -> Result<Shape, MemoryError> {
        const {
            assert!(size_of::<T>() > 0, "elements of shared arrays take bytes");
            assert!(align_of::<T>() <= 4096, "elements of shared arrays are aligned to a page at the most");
        }
        let product = |one: usize, other: &usize| one.checked_mul(*other);
        let len = dimensions.iter().try_fold(1, product).ok_or(MemoryError::TooLarge)?;
        let bytes = len.checked_mul(size_of::<T>()).filter(|bytes| isize::try_from(*bytes).is_ok());
        bytes.ok_or(MemoryError::TooLarge)?;
        Ok(Shape { dimensions: dimensions.into(), len })
    }

    /// How many elements there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn dimensions(&self) -> &[usize] {
        &self.dimensions
    }

    pub(crate) fn index(&self, place: &[usize]) -> Result<usize, NoSuchPlace> {
        let within = place.iter().zip(&*self.dimensions).all(|(index, size)| index < size);
        if place.len() != self.dimensions.len() || !within {
            return Err(NoSuchPlace { place: place.to_vec(), shape: self.dimensions.to_vec() });
        }
        // It can't overflow: it stays below the number of elements.
        Ok(place.iter().zip(&*self.dimensions).fold(0, |sum, (index, size)| sum * size + index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_index_runs_fastest() {
        let shape = Shape::new::<u32>(&[2, 3, 4]).unwrap();
        assert_eq!(shape.len(), 24);
        let mut next = 0;
        for a in 0..2 {
            for b in 0..3 {
                for c in 0..4 {
                    assert_eq!(shape.index(&[a, b, c]).unwrap(), next);
                    next += 1;
                }
            }
        }
        for place in [&[2, 0, 0][..], &[0, 3, 0], &[0, 0, 4], &[0, 0], &[0, 0, 0, 0]] {
            let error = shape.index(place).unwrap_err();
            assert!(error.to_string().contains("[2, 3, 4]"), "{error}");
        }
        assert_eq!(Shape::new::<u8>(&[]).unwrap().index(&[]).unwrap(), 0);
        assert!(Shape::new::<u8>(&[0]).unwrap().index(&[0]).is_err());
    }

    #[test]
    fn what_cannot_be_counted_is_an_error() {
        for shape in [
            &[1 << 32, 1 << 32][..],
            &[usize::MAX, 2],
            &[usize::MAX],
            &[isize::MAX as usize],
            &[1 << 32, 1 << 31],
        ] {
            assert!(matches!(Shape::new::<u16>(shape), Err(MemoryError::TooLarge)), "{shape:?}");
        }
        assert_eq!(Shape::new::<u8>(&[isize::MAX as usize]).unwrap().len(), isize::MAX as usize);
    }
}
