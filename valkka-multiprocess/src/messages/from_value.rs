//! A [`Value`] as whatever serde type it is a value of. Numbers are exact, or refused; errors know their place.

use serde::de::value::SeqDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Error as _, Expected, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::Mismatch;
use super::value::Value;
use crate::message_process::REPLY_NAME;

/// How deep newtypes, options and enums may nest around a value: a recursive type without end would take any.
const WRAPPERS_MAX: usize = 512;

/// Reads a value.
pub(super) fn read<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, Mismatch> {
    T::deserialize(FromValue::new(value))
}

/// Whether an integer is one that can be sent. A wider one may saturate on its way to a float and back.
fn fits(n: i128) -> bool {
    (i64::MIN.into()..=u64::MAX.into()).contains(&n)
}

/// A value that is being read.
#[derive(Clone, Copy)]
pub(super) struct FromValue<'de> {
    value: &'de Value,
    wrappers_left: usize,
}

impl<'de> FromValue<'de> {
    pub(super) fn new(value: &'de Value) -> FromValue<'de> {
        FromValue { value, wrappers_left: WRAPPERS_MAX }
    }

    /// The same value, one level further inside of its type.
    fn unwrapped(self) -> Result<FromValue<'de>, Mismatch> {
        match self.wrappers_left.checked_sub(1) {
            Some(wrappers_left) => Ok(FromValue { value: self.value, wrappers_left }),
            None => Err(Mismatch::custom("its type has no end")),
        }
    }

    fn mismatch<T>(&self, expected: &dyn Expected) -> Result<T, Mismatch> {
        let found = |found: Unexpected<'_>| Err(Mismatch::invalid_type(found, expected));
        match self.value {
            Value::Nil => found(Unexpected::Unit),
            Value::Bool(b) => found(Unexpected::Bool(*b)),
            Value::Int(n) => found(Unexpected::Other(&format!("integer `{n}`"))),
            Value::Float(x) => found(Unexpected::Other(&format!("floating point `{x:?}`"))),
            Value::Text(text) => found(Unexpected::Str(text)),
            Value::Bytes(bytes) => found(Unexpected::Bytes(bytes)),
            Value::List(_) => found(Unexpected::Seq),
            Value::Map(_) => found(Unexpected::Map),
        }
    }

    fn list<V: Visitor<'de>>(values: &'de [Value], visitor: V) -> Result<V::Value, Mismatch> {
        let mut elements = Elements { values: values.iter(), next: 0 };
        let read = visitor.visit_seq(&mut elements)?;
        match elements.values.len() {
            0 => Ok(read),
            _ => {
                Err(Mismatch::invalid_length(values.len(), &format!("a list of {}", elements.next).as_str()))
            }
        }
    }

    fn map<V: Visitor<'de>>(entries: &'de [(Value, Value)], visitor: V) -> Result<V::Value, Mismatch> {
        let mut rest = Entries { entries: entries.iter(), entry: None };
        let read = visitor.visit_map(&mut rest)?;
        match rest.entries.len() {
            0 => Ok(read),
            left => {
                let taken = format!("a map of {}", entries.len() - left);
                Err(Mismatch::invalid_length(entries.len(), &taken.as_str()))
            }
        }
    }
}

impl<'de> Deserializer<'de> for FromValue<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Nil => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(n) => match (i64::try_from(*n), u64::try_from(*n)) {
                (_, Ok(n)) => visitor.visit_u64(n),
                (Ok(n), _) => visitor.visit_i64(n),
                _ => visitor.visit_i128(*n),
            },
            Value::Float(x) => visitor.visit_f64(*x),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::List(values) => FromValue::list(values, visitor),
            Value::Map(entries) => FromValue::map(entries, visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match *self.value {
            Value::Int(n) if fits(n) && (n as f64) as i128 == n => visitor.visit_f64(n as f64),
            Value::Int(_) => self.mismatch(&"an integer that f64 holds exactly"),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match *self.value {
            Value::Int(n) if fits(n) && (n as f32) as i128 == n => visitor.visit_f32(n as f32),
            Value::Int(_) => self.mismatch(&"an integer that f32 holds exactly"),
            Value::Float(x) if x.is_finite() && (x as f32).is_infinite() => {
                self.mismatch(&"in the range of f32")
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self.unwrapped()?),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self.unwrapped()?)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match (name == REPLY_NAME, self.value.is_reply()) {
            (true, true) => visitor.visit_unit(),
            (true, false) => self.mismatch(&visitor),
            (false, _) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Bytes(bytes) => {
                let mut elements = SeqDeserializer::<_, Mismatch>::new(bytes.iter().copied());
                let read = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(read)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_seq(visitor)
    }

    // A struct's derived visitor would also take a list, and keys that are its fields' numbers.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Map(entries) => FromValue::map(entries, visitor),
            _ => self.mismatch(&visitor),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            _ => self.mismatch(&visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let wrappers_left = self.unwrapped()?.wrappers_left;
        match self.value {
            Value::Text(_) => visitor.visit_enum(Variant { name: self.value, holds: None, wrappers_left }),
            Value::Map(entries) => match entries.as_slice() {
                [(name, holds)] => visitor.visit_enum(Variant { name, holds: Some(holds), wrappers_left }),
                _ => Err(Mismatch::invalid_length(entries.len(), &visitor)),
            },
            _ => self.mismatch(&visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string bytes byte_buf unit map
    }
}

struct Elements<'de> {
    values: std::slice::Iter<'de, Value>,
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'de> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mismatch> {
        let Some(value) = self.values.next() else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(FromValue::new(value)).map(Some).map_err(|mismatch| mismatch.at_index(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, (Value, Value)>,
    /// That of which the value is still to be read.
    entry: Option<&'de (Value, Value)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        self.entry = self.entries.next();
        let Some((key, _)) = self.entry else { return Ok(None) };
        seed.deserialize(FromValue::new(key)).map(Some).map_err(|mismatch| mismatch.at_key(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Mismatch> {
        let Some((key, value)) = self.entry.take() else {
            return Err(Mismatch::custom("a value is read before its key"));
        };
        seed.deserialize(FromValue::new(value)).map_err(|mismatch| mismatch.at_key(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant's name, and what it holds.
struct Variant<'de> {
    name: &'de Value,
    holds: Option<&'de Value>,
    wrappers_left: usize,
}

impl<'de> Variant<'de> {
    /// Of a variant that holds something.
    fn holds(&self, expected: &dyn Expected) -> Result<FromValue<'de>, Mismatch> {
        match self.holds {
            Some(value) => Ok(FromValue { value, wrappers_left: self.wrappers_left }),
            None => Err(Mismatch::invalid_type(Unexpected::UnitVariant, expected)),
        }
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = Mismatch;
    type Variant = Variant<'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Variant<'de>), Mismatch> {
        Ok((seed.deserialize(FromValue::new(self.name))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        match self.holds {
            None => Ok(()),
            Some(_) => {
                Err(Mismatch::invalid_type(Unexpected::NewtypeVariant, &"a variant that holds nothing"))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        let holds = self.holds(&"a variant that holds something")?;
        seed.deserialize(holds).map_err(|mismatch| mismatch.at_key(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Mismatch> {
        let holds = self.holds(&visitor)?;
        holds.deserialize_tuple(length, visitor).map_err(|mismatch| mismatch.at_key(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let holds = self.holds(&visitor)?;
        holds.deserialize_struct("", fields, visitor).map_err(|mismatch| mismatch.at_key(self.name))
    }
}
