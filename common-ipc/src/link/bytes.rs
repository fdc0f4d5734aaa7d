//! Bytes that cross to another process as they are.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::link::attachments;

/// From this length on bytes travel beside their message: for less, the way costs more than a copy.
pub(crate) const BESIDE_FROM: usize = 4 << 10;

/// A byte string: a `Vec<u8>` that serde doesn't take apart, cheap to clone.
///
/// As a message, or anywhere inside of one, it crosses a [`Connection`](crate::link::Connection) at the speed
/// of two copies, into shared memory and out of it. A `Vec<u8>` is serialised byte by byte, which takes some ten
/// times as long. Conversions from and into `Vec<u8>` copy nothing (into it: unless there are clones).
///
/// ```
/// use common_ipc::link::{Bytes, Connection};
///
/// let (here, there) = Connection::<(String, Bytes), ()>::pair()?;
/// here.send(&("pixels".to_owned(), Bytes::from(vec![7; 10_000])))?;
/// let (name, pixels) = there.recv()?;
/// assert_eq!((name.as_str(), pixels.len()), ("pixels", 10_000));
/// let pixels: Vec<u8> = pixels.into();
/// # assert_eq!(pixels[9_999], 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With other formats than that of a connection it is what serde calls bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(Arc<Vec<u8>>);

impl Bytes {
    /// None.
    #[must_use]
    pub fn new() -> Bytes {
        Bytes::default()
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Arc::new(bytes))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes::from(bytes.to_vec())
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Vec<u8> {
        Arc::unwrap_or_clone(bytes.0)
    }
}

impl FromIterator<u8> for Bytes {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Bytes {
        Bytes::from(bytes.into_iter().collect::<Vec<u8>>())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// How many there are, and the first ones.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        let more = if self.len() > SHOWN { ".." } else { "" };
        write!(f, "Bytes({}: {:02x?}{more})", self.len(), &self[..self.len().min(SHOWN)])
    }
}

/// How they are in a message: the variant's number, then the bytes or their place beside it.
const NAME: &str = "Bytes";
const VARIANTS: [&str; 2] = ["Inside", "Beside"];

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_bytes(self);
        }
        let place = if self.len() >= BESIDE_FROM { attachments::attach_bytes(self) } else { None };
        match place {
            Some(place) => serializer.serialize_newtype_variant(NAME, 1, VARIANTS[1], &place),
            None => serializer.serialize_newtype_variant(NAME, 0, VARIANTS[0], &Inside(self)),
        }
    }
}

struct Inside<'a>(&'a [u8]);

impl Serialize for Inside<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_byte_buf(Owned).map(Bytes::from);
        }
        #[derive(serde::Deserialize)]
        #[serde(rename = "Bytes")]
        enum Place {
            Inside(#[serde(deserialize_with = "owned")] Vec<u8>),
            Beside(u32),
        }
        match Place::deserialize(deserializer)? {
            Place::Inside(bytes) => Ok(Bytes::from(bytes)),
            Place::Beside(place) => attachments::take_bytes(place).map_err(D::Error::custom),
        }
    }
}

fn owned<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_byte_buf(Owned)
}

/// Bytes in whichever way a format has them.
struct Owned;

impl<'de> Visitor<'de> for Owned {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = elements.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{BytesDeserializer, Error, SeqDeserializer, U32Deserializer};
    use serde::de::{Deserialize, IntoDeserializer};

    use super::Bytes;

    /// Formats of text may have them as bytes or as a sequence of numbers.
    #[test]
    fn other_formats_have_them_in_their_own_way() {
        let bytes = Bytes::from(vec![1, 2, 255]);
        assert_eq!(Bytes::deserialize(BytesDeserializer::<Error>::new(&bytes)).unwrap(), bytes);
        let numbers = SeqDeserializer::<_, Error>::new([1u8, 2, 255].into_iter());
        assert_eq!(Bytes::deserialize(numbers).unwrap(), bytes);
        let too_large = SeqDeserializer::<_, Error>::new([256u32].into_iter());
        assert!(Bytes::deserialize(too_large).is_err());
        let number: U32Deserializer<Error> = 7u32.into_deserializer();
        let error = Bytes::deserialize(number).unwrap_err().to_string();
        assert!(error.contains("expected bytes"), "{error}");
    }

    #[test]
    fn many_are_shown_by_their_number() {
        assert_eq!(format!("{:?}", Bytes::from(vec![1, 255])), "Bytes(2: [01, ff])");
        let long = format!("{:?}", Bytes::from(vec![0; 1000]));
        assert!(long.starts_with("Bytes(1000: [00, 00") && long.ends_with("]..)"), "{long}");
        assert!(long.len() < 100, "{long}");
    }
}
