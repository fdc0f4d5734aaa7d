//! Values as bytes: MessagePack, in this one file.
//!
//! The bytes may be hostile. Room is made as elements come, not as lengths announce them; and how many values there may
//! be is bounded by how many bytes there are, since a value takes more room than the byte that it may be.

use std::cell::Cell;

use serde::{Deserializer, Serialize};

use super::value::{LEVELS_MAX, Value};

/// So many values are in any bytes, if they fit.
const VALUES_MAX: usize = 1 << 20;
/// And one more for each so many bytes.
const BYTES_PER_VALUE: usize = 8;

/// How many values may be in so many bytes.
fn values_max(bytes: usize) -> usize {
    VALUES_MAX + bytes / BYTES_PER_VALUE
}

pub(super) const TOO_MANY: &str = "there are too many values for so few bytes: more than 1,048,576, and one for each \
                                   8 bytes. Send large data as bytes, or in a typed command";

/// Writes a value, or the parameters of a message, which have these values.
pub(super) fn encode<'a, T: Serialize + ?Sized>(
    what: &T,
    mut values: impl Iterator<Item = &'a Value>,
) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // Human-readable means here: values as what they are.
    what.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_human_readable())
        .map_err(|error| error.to_string())?;
    // Each has a byte at least.
    if bytes.len() > VALUES_MAX {
        let most = values_max(bytes.len());
        if values.try_fold(most, |left, value| value.count_down(left)).is_none() {
            return Err(TOO_MANY.to_owned());
        }
    }
    Ok(bytes)
}

/// What can be read from such bytes. Each value in it is one of those that are `left`.
pub(super) trait Read: Sized {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, left: &Cell<usize>) -> Result<Self, D::Error>;
}

/// Reads it again, from exactly these bytes.
pub(super) fn decode<T: Read>(bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::new(bytes).with_human_readable();
    // The map of the parameters is a level as well; and it counts down to 1.
    deserializer.set_max_depth(LEVELS_MAX + 2);
    let left = Cell::new(values_max(bytes.len()));
    let value = T::read(&mut deserializer, &left).map_err(|error| match error {
        rmp_serde::decode::Error::DepthLimitExceeded => {
            format!("they nest more than {LEVELS_MAX} levels deep")
        }
        error => error.to_string(),
    })?;
    match deserializer.get_ref().len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes are left over")),
    }
}
