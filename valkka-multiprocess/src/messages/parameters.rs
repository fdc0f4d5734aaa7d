//! The parameters of a message as one struct, and what a parameter is that isn't there.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::{Mismatch, ParameterError};
use super::from_value::FromValue;
use super::repr;
use super::value::Value;

/// Reads all parameters, each of which must be asked for.
pub(super) fn read<'de, P: Deserialize<'de>>(
    parameters: &'de [(String, Value)],
) -> Result<P, ParameterError> {
    P::deserialize(Parameters(parameters)).map_err(Mismatch::of_all)
}

/// What a parameter is that isn't there: `None`, or an error.
pub(super) fn missing<'de, T: Deserialize<'de>>(parameter: &str) -> Result<T, ParameterError> {
    T::deserialize(Missing).map_err(|_: Mismatch| ParameterError::Missing { parameter: parameter.to_owned() })
}

struct Missing;

impl<'de> Deserializer<'de> for Missing {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch::custom("it is missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Parameters<'de>(&'de [(String, Value)]);

impl<'de> Parameters<'de> {
    /// `takes` are those that there are, if that is known.
    fn read<V: Visitor<'de>>(
        self,
        takes: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_map(Named { parameters: self.0.iter(), parameter: None, takes })
    }

    fn none(&self) -> Result<(), Mismatch> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Mismatch::unexpected(name, &[])),
        }
    }
}

impl<'de> Deserializer<'de> for Parameters<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.read(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.read(Some(fields), visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.none()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Named<'de> {
    parameters: std::slice::Iter<'de, (String, Value)>,
    /// That of which the value is still to be read.
    parameter: Option<&'de (String, Value)>,
    takes: Option<&'static [&'static str]>,
}

impl<'de> de::MapAccess<'de> for Named<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        self.parameter = self.parameters.next();
        let Some((name, _)) = self.parameter else { return Ok(None) };
        let key: StrDeserializer<'_, Mismatch> = name.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Mismatch> {
        let Some((name, value)) = self.parameter.take() else {
            return Err(Mismatch::invalid_type(Unexpected::Map, &"a key before its value"));
        };
        match self.takes {
            // What a struct doesn't know it would ignore.
            Some(takes) if !takes.contains(&name.as_str()) => Err(Mismatch::unexpected(name, takes)),
            _ => {
                seed.deserialize(FromValue::new(value)).map_err(|mismatch| mismatch.at_key(repr::name(name)))
            }
        }
    }
}
