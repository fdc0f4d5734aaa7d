//! Values as bytes: MessagePack, in this one file.
//!
//! The bytes may be hostile. Room is made as elements come, not as lengths announce them; so what is read takes at most
//! some thirty times as many bytes as it was (each value has the size of [`Value`](super::Value)), and a few times that
//! while it is read.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::value::LEVELS_MAX;

/// Writes a value, or the parameters of a message.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::new();
    // Human-readable means here: values as what they are.
    value.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_human_readable())?;
    Ok(bytes)
}

/// Reads them again, from exactly these bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::new(bytes).with_human_readable();
    // The map of the parameters is a level as well; and it counts down to 1.
    deserializer.set_max_depth(LEVELS_MAX + 2);
    let value = T::deserialize(&mut deserializer).map_err(|error| match error {
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
