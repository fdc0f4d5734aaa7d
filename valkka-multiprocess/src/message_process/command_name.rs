//! What a command is called: the name of its variant, without a bound on its type or a look at what is in it.

use std::borrow::Cow;
use std::fmt;

use serde::ser::{Error, Impossible, Serialize, SerializeStruct, Serializer};

use crate::messages::unquoted;

/// The name of an enum's variant, else that of a struct; `command` for anything else.
///
/// A [`MessageObject`](crate::MessageObject) is called by the command that it has, the first field of the struct.
pub(crate) fn command_name<C: Serialize>(command: &C) -> Cow<'static, str> {
    match command.serialize(Name) {
        Err(Found(Some(name))) => name,
        Ok(()) | Err(Found(None)) => Cow::Borrowed("command"),
    }
}

/// A serializer that goes no further than to the first name. It finds by failing.
struct Name;

#[derive(Debug)]
struct Found(Option<Cow<'static, str>>);

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Found {}

impl Error for Found {
    fn custom<T: fmt::Display>(_: T) -> Found {
        Found(None)
    }
}

fn found<T>(name: &'static str) -> Result<T, Found> {
    Err(Found(Some(Cow::Borrowed(name))))
}

/// The struct whose first field is its name.
pub(crate) const NAMED_BY_ITS_FIRST_FIELD: &str = "MessageObject";

struct FirstField;

impl SerializeStruct for FirstField {
    type Ok = ();
    type Error = Found;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Found> {
        value.serialize(Name)
    }

    fn end(self) -> Result<(), Found> {
        Err(Found(None))
    }
}

macro_rules! nameless {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> Result<(), Found> {
            Err(Found(None))
        })*
    };
}

impl Serializer for Name {
    type Ok = ();
    type Error = Found;
    type SerializeSeq = Impossible<(), Found>;
    type SerializeTuple = Impossible<(), Found>;
    type SerializeTupleStruct = Impossible<(), Found>;
    type SerializeTupleVariant = Impossible<(), Found>;
    type SerializeMap = Impossible<(), Found>;
    type SerializeStruct = FirstField;
    type SerializeStructVariant = Impossible<(), Found>;

    nameless!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_bytes: &[u8],
    );

    /// Only as the first field of such a struct, or as the whole command.
    fn serialize_str(self, text: &str) -> Result<(), Found> {
        Err(Found(Some(Cow::Owned(unquoted(text)))))
    }

    fn serialize_none(self) -> Result<(), Found> {
        Err(Found(None))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Found> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Found> {
        Err(Found(None))
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Found> {
        found(name)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Found> {
        found(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, _: &T) -> Result<(), Found> {
        found(name)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Result<(), Found> {
        found(variant)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Found> {
        Err(Found(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Found> {
        Err(Found(None))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Found> {
        found(name)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Found> {
        found(variant)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Found> {
        Err(Found(None))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<FirstField, Found> {
        if name == NAMED_BY_ITS_FIRST_FIELD { Ok(FirstField) } else { found(name) }
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Found> {
        found(variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[test]
    fn a_command_is_called_by_its_variant() {
        #[derive(Serialize)]
        enum Command {
            Unit,
            Newtype(String),
            Tuple(i32, i32),
            Struct { list: Vec<i32> },
        }
        assert_eq!(command_name(&Command::Unit), "Unit");
        assert_eq!(command_name(&Command::Newtype("text".into())), "Newtype");
        assert_eq!(command_name(&Command::Tuple(1, 2)), "Tuple");
        assert_eq!(command_name(&Command::Struct { list: vec![1] }), "Struct");
        assert_eq!(command_name(&Some(Command::Unit)), "Unit");
    }

    #[test]
    fn others_by_what_they_have() {
        #[derive(Serialize)]
        struct Shutdown;
        #[derive(Serialize)]
        struct Move {
            x: i32,
        }
        #[derive(Serialize)]
        struct MessageObject {
            command: String,
            parameters: Vec<u8>,
        }
        assert_eq!(command_name(&Shutdown), "Shutdown");
        assert_eq!(command_name(&Move { x: 1 }), "Move");
        assert_eq!(command_name(&MessageObject { command: "ping".into(), parameters: vec![] }), "ping");
        assert_eq!(command_name(&(1, 2)), "command");
        assert_eq!(command_name(&vec![Shutdown]), "command");
    }
}
