//! Anything that serde can serialise, as a [`Value`].

use std::fmt;

use serde::ser::{self, Serialize};

use super::value::{LEVELS_MAX, Value, ValueError};
use crate::message_process::REPLY_NAME;

/// A sequence's announced length is believed up to this.
const ROOM_MAX: usize = 4096;

/// See [`Value::new`].
pub(super) fn to_value<T: Serialize + ?Sized>(of: &T) -> Result<Value, ValueError> {
    of.serialize(ToValue { levels_left: LEVELS_MAX })
}

impl ser::Error for ValueError {
    fn custom<T: fmt::Display>(text: T) -> ValueError {
        ValueError(text.to_string())
    }
}

#[derive(Clone, Copy)]
struct ToValue {
    levels_left: usize,
}

impl ToValue {
    fn deeper(self) -> Result<ToValue, ValueError> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(ToValue { levels_left }),
            None => Err(ValueError(format!("it nests more than {LEVELS_MAX} levels deep"))),
        }
    }

    fn list(self, length: Option<usize>) -> Result<List, ValueError> {
        let values = Vec::with_capacity(length.unwrap_or(0).min(ROOM_MAX));
        Ok(List { values, inside: self.deeper()? })
    }

    fn map(self) -> Result<Map, ValueError> {
        Ok(Map { entries: Vec::new(), key: None, inside: self.deeper()? })
    }
}

/// A variant that holds something.
fn variant(name: &'static str, holds: Value) -> Value {
    Value::Map(vec![(Value::Text(name.to_owned()), holds)])
}

/// Integers of 64 bits at most, each as it is.
macro_rules! integers {
    ($($method:ident $type:ty),*) => {
        $(
            fn $method(self, n: $type) -> Result<Value, ValueError> {
                Ok(Value::Int(n.into()))
            }
        )*
    };
}

impl ser::Serializer for ToValue {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = Variant<List>;
    type SerializeMap = Map;
    type SerializeStruct = Map;
    type SerializeStructVariant = Variant<Map>;

    integers!(serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64);
    integers!(serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);

    fn serialize_i128(self, n: i128) -> Result<Value, ValueError> {
        if n < i64::MIN.into() || n > u64::MAX.into() {
            return Err(ValueError(format!("the integer {n} is wider than 64 bits")));
        }
        Ok(Value::Int(n))
    }

    fn serialize_u128(self, n: u128) -> Result<Value, ValueError> {
        match u64::try_from(n) {
            Ok(n) => self.serialize_u64(n),
            Err(_) => Err(ValueError(format!("the integer {n} is wider than 64 bits"))),
        }
    }

    fn serialize_bool(self, b: bool) -> Result<Value, ValueError> {
        Ok(Value::Bool(b))
    }

    fn serialize_f32(self, x: f32) -> Result<Value, ValueError> {
        Ok(Value::Float(x.into()))
    }

    fn serialize_f64(self, x: f64) -> Result<Value, ValueError> {
        Ok(Value::Float(x))
    }

    fn serialize_char(self, c: char) -> Result<Value, ValueError> {
        Ok(Value::Text(c.to_string()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, ValueError> {
        Ok(Value::Text(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, ValueError> {
        Ok(Value::Bytes(bytes.to_owned()))
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Nil)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, inner: &T) -> Result<Value, ValueError> {
        match inner.serialize(self.deeper()?)? {
            Value::Nil => Err(ValueError("a `Some` of nothing can't be told from `None`".to_owned())),
            value => Ok(value),
        }
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        Ok(Value::Nil)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<Value, ValueError> {
        Ok(if name == REPLY_NAME { Value::reply() } else { Value::Nil })
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(Value::Text(name.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        inner: &T,
    ) -> Result<Value, ValueError> {
        inner.serialize(self.deeper()?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        inner: &T,
    ) -> Result<Value, ValueError> {
        Ok(variant(name, inner.serialize(self.deeper()?)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List, ValueError> {
        self.list(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<List, ValueError> {
        self.list(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<List, ValueError> {
        self.list(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        length: usize,
    ) -> Result<Variant<List>, ValueError> {
        Ok(Variant { name, holds: self.deeper()?.list(Some(length))? })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Map, ValueError> {
        self.map()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Map, ValueError> {
        self.map()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Variant<Map>, ValueError> {
        Ok(Variant { name, holds: self.deeper()?.map()? })
    }
}

struct List {
    values: Vec<Value>,
    inside: ToValue,
}

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.values.push(value.serialize(self.inside)?);
        Ok(())
    }
}

struct Map {
    entries: Vec<(Value, Value)>,
    /// The key whose value is still to come.
    key: Option<Value>,
    inside: ToValue,
}

impl Map {
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), ValueError> {
        self.entries.push((Value::Text(key.to_owned()), value.serialize(self.inside)?));
        Ok(())
    }
}

struct Variant<T> {
    name: &'static str,
    holds: T,
}

impl ser::SerializeSeq for List {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.push(value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(Value::List(self.values))
    }
}

impl ser::SerializeTuple for List {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.push(value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(Value::List(self.values))
    }
}

impl ser::SerializeTupleStruct for List {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.push(value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(Value::List(self.values))
    }
}

impl ser::SerializeTupleVariant for Variant<List> {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.holds.push(value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(variant(self.name, Value::List(self.holds.values)))
    }
}

impl ser::SerializeMap for Map {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = Some(key.serialize(self.inside)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let key = self.key.take().ok_or_else(|| ValueError("a value without a key".to_owned()))?;
        self.entries.push((key, value.serialize(self.inside)?));
        Ok(())
    }

    fn end(self) -> Result<Value, ValueError> {
        Value::map(self.entries)
    }
}

impl ser::SerializeStruct for Map {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        self.field(key, value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Value::map(self.entries)
    }
}

impl ser::SerializeStructVariant for Variant<Map> {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        self.holds.field(key, value)
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(variant(self.name, Value::map(self.holds.entries)?))
    }
}
