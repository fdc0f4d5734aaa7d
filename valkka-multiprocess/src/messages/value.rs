//! A value that says itself what it is.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use super::anything::Anything;
use super::error::Mismatch;
use super::sorted::{Sorted, repeated};
use super::{from_value, repr, to_value, wire};
use crate::message_process::REPLY_NAME;

/// How deep lists and maps may nest in each other, and structs, enums and options in what a value is made from.
pub(super) const LEVELS_MAX: usize = 128;

/// A value that says itself what it is: what a parameter of a [`MessageObject`](crate::MessageObject) is on its way.
///
/// Any serde type becomes one ([`Value::new`]), and is read from one again ([`Value::get`]):
///
/// | Rust | value |
/// |---|---|
/// | `()`, unit structs, `None` | `Nil` |
/// | `Some(x)`, newtype structs | that of `x` |
/// | integers, up to 64 bits wide | `Int` |
/// | `f32`, `f64` | `Float` |
/// | texts, `char`, a variant that holds nothing | `Text` |
/// | what is serialised as bytes (`serde_bytes`, `CString`) | `Bytes` |
/// | sequences, tuples, arrays, `Vec<u8>` too | `List` |
/// | maps, structs | `Map` |
/// | a variant that holds something | a `Map` of one entry: its name, and what it holds |
///
/// Two values are equal if what they hold is. Entries of a map may be in any order, and numbers of different kinds are
/// never equal. Floats are equal if they have the same bits: `NaN` is equal to itself, and `0.0` isn't to `-0.0`.
/// The order of values is a total one, and has no other meaning.
///
/// It is shown as Python shows it: `{'lis': [1, 2.5, None], 'on': True}`.
#[derive(Clone)]
pub enum Value {
    /// Nothing: Python's `None`.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number. What can be sent is `i64::MIN` to `u64::MAX`.
    Int(i128),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in their order.
    List(Vec<Value>),
    /// Values by keys, in the order in which they were written. No key occurs twice in what can be sent.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The value of anything that serde can serialise, as the table [above](Value) says.
    ///
    /// # Errors
    ///
    /// [`ValueError`]: its `Serialize` fails, as that of a connection does, which goes only with a typed message; an
    /// integer below `i64::MIN` or above `u64::MAX`; a `Some` of what is itself `Nil` (`Some(None)`, `Some(())`),
    /// which would come out as `None`; a map with the same key twice; more than 128 levels of nesting.
    pub fn new<T: Serialize + ?Sized>(of: &T) -> Result<Value, ValueError> {
        to_value::to_value(of)
    }

    /// Reads it as a `T`, which may borrow texts and bytes from it.
    ///
    /// Numbers keep their value or are refused: 300 isn't a `u8`, -1 no unsigned number, no float is an integer (not
    /// even `2.0`), and an integer is a float only if that holds it exactly. Between floats of different widths it is
    /// rounded, but not to infinity. A text is never a number. A struct takes no list, and ignores keys that it doesn't
    /// know. (Within `#[serde(flatten)]`, and in enums that are untagged or internally tagged, it is serde that converts
    /// numbers, and it rounds to floats whatever comes.)
    ///
    /// # Errors
    ///
    /// [`ValueError`]: it is no such `T`; with the place inside of it.
    pub fn get<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ValueError> {
        Ok(from_value::read(self)?)
    }

    /// A map, unless a key occurs twice.
    pub(super) fn map(entries: Vec<(Value, Value)>) -> Result<Value, ValueError> {
        match repeated(entries.iter().map(|(key, _)| Sorted::of(key))) {
            None => Ok(Value::Map(entries)),
            Some(place) => {
                let key = repr::short(&entries[place].0, repr::SHORT);
                Err(ValueError(format!("the key {key} occurs twice")))
            }
        }
    }

    /// What a [`Reply`](crate::Reply) is on its way: nothing that anything else becomes.
    pub(super) fn reply() -> Value {
        Value::Map(vec![(Value::Nil, Value::Text(REPLY_NAME.to_owned()))])
    }

    pub(super) fn is_reply(&self) -> bool {
        match self {
            Value::Map(entries) => match entries.as_slice() {
                [(Value::Nil, Value::Text(name))] => name == REPLY_NAME,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether a reply is in it, however deep.
    pub(super) fn holds_reply(&self) -> bool {
        match self {
            Value::List(values) => values.iter().any(Value::holds_reply),
            Value::Map(entries) => self.is_reply() || entries.iter().any(|(_, value)| value.holds_reply()),
            _ => false,
        }
    }

    /// How many are left of so many values without this one and those in it; `None` if there aren't so many.
    pub(super) fn count_down(&self, left: usize) -> Option<usize> {
        let left = left.checked_sub(1)?;
        match self {
            Value::List(values) => values.iter().try_fold(left, |left, value| value.count_down(left)),
            Value::Map(entries) => {
                entries.iter().try_fold(left, |left, (key, value)| value.count_down(key.count_down(left)?))
            }
            _ => Some(left),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Value::Nil => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Float(_) => 3,
            Value::Text(_) => 4,
            Value::Bytes(_) => 5,
            Value::List(_) => 6,
            Value::Map(_) => 7,
        }
    }
}

/// A value that can't be made from something, or read as something.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub(super) String);

/// Its text: this is what `main` and `unwrap` print.
impl fmt::Debug for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Mismatch> for ValueError {
    fn from(mismatch: Mismatch) -> ValueError {
        ValueError(mismatch.to_string())
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
            (Value::Int(left), Value::Int(right)) => left.cmp(right),
            (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
            (Value::Text(left), Value::Text(right)) => left.cmp(right),
            (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
            (Value::List(left), Value::List(right)) => left.cmp(right),
            (Value::Map(left), Value::Map(right)) => {
                left.len().cmp(&right.len()).then_with(|| Sorted::of(self).cmp(&Sorted::of(other)))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Value) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

/// Compared with what it holds, so that `message["n"] == 7` reads as it is meant.
macro_rules! equal_to {
    ($($type:ty: $self:ident, $other:ident => $equal:expr;)*) => {
        $(
            impl PartialEq<$type> for Value {
                fn eq(&self, $other: &$type) -> bool {
                    let $self = self;
                    $equal
                }
            }

            impl PartialEq<Value> for $type {
                fn eq(&self, other: &Value) -> bool {
                    other == self
                }
            }
        )*
    };
}

/// Every integer type of at most 64 bits.
macro_rules! equal_to_integers {
    ($($type:ty)*) => {
        equal_to! { $($type: value, other => matches!(value, Value::Int(n) if *n == i128::from(*other));)* }
    };
}

equal_to_integers! { i8 i16 i32 i64 u8 u16 u32 u64 }
equal_to! {
    bool: value, other => matches!(value, Value::Bool(b) if b == other);
    f64: value, other => matches!(value, Value::Float(x) if x.to_bits() == other.to_bits());
    str: value, other => matches!(value, Value::Text(text) if text == other);
    &str: value, other => matches!(value, Value::Text(text) if text == other);
    String: value, other => matches!(value, Value::Text(text) if text == other);
}

/// In a format for people (JSON, say), and in MessagePack as it is inside of a message: as what it is. In a compact one,
/// which isn't self-describing: as the bytes of its MessagePack. So it can be a part of a typed message as well.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            let bytes = wire::encode(self, std::iter::once(self)).map_err(S::Error::custom)?;
            return serializer.serialize_bytes(&bytes);
        }
        match self {
            Value::Nil => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Int(n) => match (i64::try_from(*n), u64::try_from(*n)) {
                (Ok(n), _) => serializer.serialize_i64(n),
                (_, Ok(n)) => serializer.serialize_u64(n),
                _ => Err(S::Error::custom(format_args!("the integer {n} is too large"))),
            },
            Value::Float(x) => serializer.serialize_f64(*x),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::List(values) => serializer.collect_seq(values),
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// Reads what its `Serialize` wrote, and whatever else says itself what it is.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        if deserializer.is_human_readable() {
            return Anything { left: None }.deserialize(deserializer);
        }
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        wire::decode(&bytes).map_err(de::Error::custom)
    }
}
