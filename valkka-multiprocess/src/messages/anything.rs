//! Values as they are read, whatever comes.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer};

use super::sorted::repeated;
use super::value::Value;
use super::{repr, wire};

impl wire::Read for Value {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, left: &Cell<usize>) -> Result<Value, D::Error> {
        Anything { left: Some(left) }.deserialize(deserializer)
    }
}

/// Takes whatever comes.
#[derive(Clone, Copy)]
pub(super) struct Anything<'a> {
    /// How many values there may be yet, if they are counted.
    pub(super) left: Option<&'a Cell<usize>>,
}

impl<'de> DeserializeSeed<'de> for Anything<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if let Some(left) = self.left {
            left.set(left.get().checked_sub(1).ok_or_else(|| de::Error::custom(wire::TOO_MANY))?);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Anything<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Int(n.into()))
    }

    fn visit_i128<E>(self, n: i128) -> Result<Value, E> {
        Ok(Value::Int(n))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Float(x))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_owned()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    // What a length announces isn't believed: room is made as the elements come.
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(self)? {
            values.push(value);
        }
        values.shrink_to_fit();
        Ok(Value::List(values))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry_seed(self, self)? {
            entries.push(entry);
        }
        entries.shrink_to_fit();
        Value::map(entries).map_err(de::Error::custom)
    }
}

/// The parameters of a message, which are a map.
pub(super) struct OwnNames(pub(super) Vec<(String, Value)>);

impl wire::Read for OwnNames {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, left: &Cell<usize>) -> Result<OwnNames, D::Error> {
        struct Reading<'a>(&'a Cell<usize>);
        impl<'de> de::Visitor<'de> for Reading<'_> {
            type Value = OwnNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("parameters by their names")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<OwnNames, A::Error> {
                let mut parameters: Vec<(String, Value)> = Vec::new();
                let any = Anything { left: Some(self.0) };
                while let Some(parameter) = map.next_entry_seed(PhantomData, any)? {
                    parameters.push(parameter);
                }
                match repeated(parameters.iter().map(|(name, _)| name)) {
                    None => Ok(OwnNames(parameters)),
                    Some(place) => {
                        let name = repr::name(&parameters[place].0);
                        Err(de::Error::custom(format_args!("{name} occurs twice")))
                    }
                }
            }
        }
        deserializer.deserialize_map(Reading(left))
    }
}
