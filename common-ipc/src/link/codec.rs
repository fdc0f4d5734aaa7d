//! Values as bytes: serde and bincode 2, in this one file.
//!
//! The format is compact and not self-describing: both ends must have the same types. What only a
//! self-describing format can carry doesn't survive it: untagged and internally tagged enums,
//! `flatten`, `skip_serializing_if`, `serde_json::Value`. Debug builds notice that at the sender,
//! where the type can be named (see [`encode_checked`]).

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value of type {type_name} can't be serialised: {message}")]
pub struct EncodeError {
    /// The value's type.
    pub type_name: &'static str,
    /// What its `Serialize` said.
    pub message: String,
}

/// Bytes that aren't a value of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bytes received are no value of type {type_name}: {message}")]
pub struct DecodeError {
    /// The type that was expected.
    pub type_name: &'static str,
    /// What the decoder stumbled on.
    pub message: String,
}

/// Writes a value, whole, before any byte of it is sent.
///
/// # Errors
///
/// Whatever the value's `Serialize` fails with, and a panic in it.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let failed = |message: String| EncodeError { type_name: std::any::type_name::<T>(), message };
    let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        bincode::serde::encode_to_vec(value, bincode::config::standard())
    }));
    match written {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("its Serialize panicked".to_owned())),
    }
}

/// As [`encode`]; in debug builds it also reads the bytes back, so that a type that this format
/// can't carry fails at its sender, by name, instead of as nonsense at the receiver.
///
/// # Errors
///
/// As for [`encode`].
pub fn encode_checked<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let bytes = encode(value)?;
    if cfg!(debug_assertions) {
        decode::<T>(&bytes).map_err(|error| EncodeError {
            type_name: error.type_name,
            message: format!(
                "it can't be read back ({}); untagged or internally tagged enums, flatten and \
                 skip_serializing_if don't work with a format that isn't self-describing",
                error.message
            ),
        })?;
    }
    Ok(bytes)
}

/// Reads a value from exactly these bytes.
///
/// A length inside them that is larger than they could hold is an error before anything of that
/// size is allocated.
///
/// # Errors
///
/// Bytes that end too early, are left over, or aren't such a value; a panic in its `Deserialize`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let failed = |message: String| DecodeError { type_name: std::any::type_name::<T>(), message };
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read_bounded(bytes)));
    match read {
        Ok(Ok((value, used))) if used == bytes.len() => Ok(value),
        Ok(Ok((_, used))) => Err(failed(format!("{} bytes are left over", bytes.len() - used))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("its Deserialize panicked".to_owned())),
    }
}

/// bincode allocates what a length asks for, up to a limit that is part of the configuration's
/// type; so a few limits are compiled in, and the smallest that fits the bytes is used.
///
/// The limit counts bytes of decoded integers too, which are shorter when written; 16 times the
/// written length covers the widest (128 bits in one byte).
fn read_bounded<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    fn read<T: DeserializeOwned, const LIMIT: usize>(
        bytes: &[u8],
    ) -> Result<(T, usize), bincode::error::DecodeError> {
        bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>())
    }
    match bytes.len().saturating_mul(16) {
        0..=0x1_0000 => read::<T, 0x1_0000>(bytes),
        0x1_0001..=0x40_0000 => read::<T, 0x40_0000>(bytes),
        0x40_0001..=0x1000_0000 => read::<T, 0x1000_0000>(bytes),
        0x1000_0001..=0x1_0000_0000 => read::<T, 0x1_0000_0000>(bytes),
        _ => read::<T, 0x100_0000_0000>(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Message {
        Empty,
        Text(String),
        Many { numbers: Vec<u128>, bytes: Vec<u8>, inner: Option<Box<Message>> },
    }

    fn messages() -> impl Strategy<Value = Message> {
        let leaf = prop_oneof![Just(Message::Empty), ".*".prop_map(Message::Text)];
        leaf.prop_recursive(3, 8, 1, |inner| {
            (any::<Vec<u128>>(), any::<Vec<u8>>(), proptest::option::of(inner)).prop_map(
                |(numbers, bytes, inner)| Message::Many { numbers, bytes, inner: inner.map(Box::new) },
            )
        })
    }

    proptest! {
        #[test]
        fn a_value_comes_back(message in messages()) {
            prop_assert_eq!(decode::<Message>(&encode_checked(&message).unwrap()).unwrap(), message);
        }

        #[test]
        fn garbage_is_an_error_or_a_value(bytes in any::<Vec<u8>>()) {
            // Whatever it is read as, writing it again must not fail.
            if let Ok(message) = decode::<Message>(&bytes) {
                prop_assert!(encode(&message).is_ok());
            }
        }

        #[test]
        fn a_truncated_value_is_an_error(message in messages(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&message).unwrap();
            let cut = cut.index(bytes.len());
            prop_assert!(decode::<Message>(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn a_hostile_length_allocates_nothing() {
        // A string of 2^60 bytes, says the length (253 announces eight bytes of it).
        let mut bytes = vec![1, 253];
        bytes.extend((1u64 << 60).to_le_bytes());
        bytes.extend(b"short");
        assert!(decode::<Message>(&bytes).unwrap_err().message.contains("LimitExceeded"));
    }

    #[test]
    fn what_is_left_over_is_an_error() {
        assert_eq!(decode::<u8>(&[1, 2]).unwrap_err().message, "1 bytes are left over");
    }

    #[test]
    fn a_type_that_this_format_cannot_carry_fails_at_the_sender() {
        #[derive(Serialize, Deserialize)]
        #[serde(untagged)]
        enum Untagged {
            Number(u32),
        }
        let sent = encode_checked(&Untagged::Number(1));
        if cfg!(debug_assertions) {
            assert!(sent.unwrap_err().type_name.contains("Untagged"));
        }
    }

    #[test]
    fn a_serialize_that_panics_is_an_error() {
        struct Bomb;
        impl Serialize for Bomb {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                panic!("boom")
            }
        }
        assert_eq!(encode(&Bomb).unwrap_err().message, "its Serialize panicked");
    }
}
