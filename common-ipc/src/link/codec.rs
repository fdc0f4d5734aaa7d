//! Values as bytes: serde and bincode 2, in this one file.
//!
//! The format is compact and not self-describing: both ends must have the same types. What only a
//! self-describing format can carry doesn't survive it: untagged and internally tagged enums,
//! `flatten`, `skip_serializing_if`, `serde_json::Value`. Debug builds notice that at the sender,
//! where the type can be named (see [`encode_checked`]).

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::link::attachments::{self, Incoming, Outgoing};
use crate::link::guard::Guarded;

/// Integers have the size of their types: encoding and decoding them costs next to nothing.
const CONFIG: bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Fixint> =
    bincode::config::standard().with_fixed_int_encoding();

const UNLIKE: &str = "both ends must have the same type, and it must have none of what a format that isn't \
    self-describing can't carry (untagged or internally tagged enums, flatten, skip_serializing_if)";

const NOT_SELF_DESCRIBING: &str = "untagged or internally tagged enums, flatten and \
    skip_serializing_if don't work with a format that isn't self-describing";

/// A value that can't be written.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value of type {type_name} can't be serialised: {message}")]
pub struct EncodeError {
    /// The value's type.
    pub type_name: &'static str,
    /// What its `Serialize` said.
    pub message: String,
}

crate::error::debug_is_display!(EncodeError);

/// Bytes that aren't a value of the expected type.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bytes received are no value of type {type_name}: {message}")]
pub struct DecodeError {
    /// The type that was expected.
    pub type_name: &'static str,
    /// What the decoder stumbled on.
    pub message: String,
}

crate::error::debug_is_display!(DecodeError);

/// Writes a value, whole, before any byte of it is sent.
///
/// # Errors
///
/// Whatever the value's `Serialize` fails with, and a panic in it.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    encode_onto(value, &mut bytes)?;
    Ok(bytes)
}

fn encode_onto<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), EncodeError> {
    let failed = |message: String| EncodeError { type_name: std::any::type_name::<T>(), message };
    match caught(|| bincode::serde::encode_into_writer(value, Onto(bytes), CONFIG)) {
        Some(Ok(())) => Ok(()),
        Some(Err(bincode::error::EncodeError::OtherString(text))) => Err(failed(text)),
        Some(Err(error)) => Err(failed(format!("{error}; {NOT_SELF_DESCRIBING}"))),
        None => Err(failed("its Serialize panicked".to_owned())),
    }
}

/// Appends.
struct Onto<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Onto<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
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
        check_readable::<T>(&bytes)?;
    }
    Ok(bytes)
}

fn check_readable<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), EncodeError> {
    let error = match decode::<T>(bytes) {
        Ok(copy) => {
            // The drop of a copy that nobody has asked for isn't to be anybody's trouble.
            let _ = caught(|| drop(copy));
            return Ok(());
        }
        Err(error) => error,
    };
    let mut message = format!("it can't be read back: {}", error.message);
    if !message.ends_with(NOT_SELF_DESCRIBING) {
        message = format!("{message}; {NOT_SELF_DESCRIBING}");
    }
    Err(EncodeError { type_name: error.type_name, message })
}

/// Writes a message at the end of `bytes`, and returns what it takes along. Debug builds check it as
/// [`encode_checked`] does, unless it takes something along, which can be read back only once.
#[inline]
pub(crate) fn encode_message<T: Serialize + DeserializeOwned>(
    message: &T,
    bytes: &mut Vec<u8>,
) -> Result<Option<Box<Outgoing>>, EncodeError> {
    encode_message_as::<T, T>(message, bytes)
}

/// As [`encode_message`], for a message that is read as another type.
#[inline]
pub(crate) fn encode_message_as<Read: DeserializeOwned, T: Serialize + ?Sized>(
    message: &T,
    bytes: &mut Vec<u8>,
) -> Result<Option<Box<Outgoing>>, EncodeError> {
    let start = bytes.len();
    let (encoded, outgoing) = attachments::collect(|| encode_onto(message, bytes));
    encoded?;
    if cfg!(debug_assertions) && outgoing.is_none() {
        check_readable::<Read>(&bytes[start..])?;
    }
    Ok(outgoing)
}

/// Reads a message that [`encode_message`] wrote, as [`decode`] does.
#[inline]
pub(crate) fn decode_message<T: DeserializeOwned>(
    bytes: &[u8],
    incoming: Option<Incoming>,
) -> Result<T, DecodeError> {
    match incoming {
        None => decode(bytes),
        Some(incoming) => attachments::offer(incoming, || decode(bytes)),
    }
}

/// Reads a value from exactly these bytes.
///
/// They may be hostile. Texts and byte strings are copied out of them, so a length inside them costs
/// nothing; a value may nest up to 256 levels deep (structs, enums, options, tuples, sequences and
/// maps count one each), and up to 65,536 elements of its sequences and maps may be of a type that
/// takes no bytes, such as `()`. What remains to the receiver: an element that takes one byte may, as
/// a value, be as large as its type is.
///
/// # Errors
///
/// Bytes that end too early, are left over, aren't such a value, or exceed those bounds; a panic in
/// its `Deserialize`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let failed = |message: String| DecodeError { type_name: std::any::type_name::<T>(), message };
    let mut value = None;
    let read = caught(|| {
        let (read, used) = read_guarded(bytes)?;
        value = Some(read);
        Ok(used)
    });
    match (read, value) {
        (Some(Ok(used)), Some(value)) if used == bytes.len() => Ok(value),
        (Some(Ok(used)), _) => Err(failed(format!("{} bytes are left over", bytes.len() - used))),
        (Some(Err(bincode::error::DecodeError::Serde(error))), _) => {
            Err(failed(format!("{error:?}; {NOT_SELF_DESCRIBING}")))
        }
        (Some(Err(bincode::error::DecodeError::OtherString(text))), _) => Err(failed(text)),
        (Some(Err(error)), _) => Err(failed(format!("{error}; {UNLIKE}"))),
        (None, _) => Err(failed("its Deserialize panicked".to_owned())),
    }
}

/// Into the room that the bytes themselves take, and no deeper than the stack bears.
fn read_guarded<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    let elements_left = Guarded::<()>::budget(bytes);
    let seed = Guarded::new(std::marker::PhantomData::<T>, &elements_left);
    bincode::serde::seed_decode_from_slice(seed, bytes, CONFIG)
}

/// Runs code of the value's type. A panic in it is an error; so that its payload can't panic again,
/// that is forgotten rather than dropped.
fn caught<R>(run: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(std::mem::forget).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::guard::{EMPTY_ELEMENTS_MAX, LEVELS_MAX};
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
        // A string of 2^60 bytes, says the length.
        let mut bytes = vec![1, 0, 0, 0];
        bytes.extend((1u64 << 60).to_le_bytes());
        bytes.extend(b"short");
        assert!(decode::<Message>(&bytes).unwrap_err().message.contains("UnexpectedEnd"));
        assert!(decode::<Vec<String>>(&bytes[4..]).unwrap_err().message.contains("fewer bytes"));
    }

    #[test]
    fn elements_without_bytes_are_limited() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "it is about the room that it takes")]
        struct Large {
            #[serde(skip)]
            room: Option<[u64; 32]>,
        }
        let bytes = (1u64 << 60).to_le_bytes();
        let errors = [
            decode::<Vec<()>>(&bytes).unwrap_err(),
            decode::<Vec<Large>>(&bytes).unwrap_err(),
            decode::<std::collections::VecDeque<[(); 3]>>(&bytes).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.message.contains("take no bytes")), "{errors:?}");
        let many = vec![(); EMPTY_ELEMENTS_MAX];
        assert_eq!(decode::<Vec<()>>(&encode(&many).unwrap()).unwrap().len(), many.len());
        // Fields are the type's business: this has more of them than bytes.
        let fields = vec![(1u8, (), (), ()); 100_000];
        assert_eq!(decode::<Vec<(u8, (), (), ())>>(&encode(&fields).unwrap()).unwrap(), fields);
    }

    #[test]
    fn a_value_nests_only_so_deep() {
        #[derive(Debug, Serialize, Deserialize)]
        enum Tree {
            Leaf,
            Node(Box<Tree>),
        }
        let error = decode::<Tree>(&[1, 0, 0, 0].repeat(1 << 18)).unwrap_err();
        assert!(error.message.contains("levels deep"), "{error}");
        let mut deep = Tree::Leaf;
        for _ in 1..LEVELS_MAX {
            deep = Tree::Node(Box::new(deep));
        }
        assert!(decode::<Tree>(&encode(&deep).unwrap()).is_ok());
        assert!(decode::<Tree>(&encode(&Tree::Node(Box::new(deep))).unwrap()).is_err());
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

        struct BombInBomb;
        impl Drop for BombInBomb {
            fn drop(&mut self) {
                panic!("boom again")
            }
        }
        impl Serialize for BombInBomb {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                std::panic::panic_any(BombInBomb)
            }
        }
        let bomb = std::mem::ManuallyDrop::new(BombInBomb);
        assert_eq!(encode(&*bomb).unwrap_err().message, "its Serialize panicked");
    }
}
