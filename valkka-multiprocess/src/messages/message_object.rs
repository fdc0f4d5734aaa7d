//! A command with named parameters.

use std::fmt;
use std::ops::Index;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeStruct, Serializer};

use super::anything::OwnNames;
use super::error::ParameterError;
use super::sorted::Sorted;
use super::value::Value;
use super::{from_value, parameters, repr, wire};
use crate::message_process::{NAMED_BY_ITS_FIRST_FIELD, ReplySlot, decoded_slot, decoding};

/// A command with named parameters, each of any serde type: for commands that aren't known when the program is
/// compiled, or come from a program of another version. (Where they are, an enum is checked by the compiler.)
///
/// ```
/// use valkka_multiprocess::{MessageObject, message};
///
/// let message = MessageObject::new("a-command").with("par1", 1).with("par2", [0.5, 2.0]);
/// assert_eq!(message.command(), "a-command");
/// assert_eq!(message["par1"], 1);
/// assert_eq!(message.get::<Vec<f64>>("par2")?, [0.5, 2.0]);
///
/// // The same, shorter:
/// assert_eq!(message!("a-command", par1 = 1, par2 = [0.5, 2.0]), message);
/// assert_eq!(message.to_string(), "<MessageObject: a-command: {'par1': 1, 'par2': [0.5, 2.0]}>");
///
/// // A parameter is what it is asked for, or an error that says what it is.
/// let error = message!("volume", percent = 300).get::<u8>("percent").unwrap_err();
/// assert_eq!(error.to_string(), "the parameter 'percent' must be u8, and is integer `300`");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What a parameter can be, and as what it can be read, says [`Value`]. Two messages are equal if their commands and
/// parameters are; the order of the parameters doesn't matter.
///
/// A back end hands messages to handlers by their commands with a [`Router`](crate::Router).
///
/// # Sending
///
/// A parameter can also be the reply of a [request](crate::FrontEnd::request), which its handler takes as a [`Reply`](crate::Reply).
/// While nobody has answered, whoever asked waits for as long as the message, or a clone of it, is kept in the back end.
///
/// It is a serde type, so a connection carries it as any other, and it can be a part of a typed command. It travels as its
/// command and the MessagePack of its parameters. A receiver takes as an error, and makes no room for: parameters
/// that nest more than 128 levels deep, lengths that aren't true, names or keys that occur twice, names that
/// aren't text, too many values (see below), and bytes that are left over.
///
/// Each value in it - each number of a list, say, and a `Vec<u8>` is a list of numbers - takes some 32 bytes of memory
/// while it is there, however few it has on its way. So a message may have up to 1,048,576 values, and one more for each 8 bytes
/// that its parameters have on their way: with more, sending it is an error, and so is receiving it. For bytes by the
/// megabyte use `serde_bytes`, a typed command, or shared memory.
#[derive(Clone)]
pub struct MessageObject {
    command: String,
    parameters: Vec<(String, Value)>,
    /// The first parameter that couldn't become a value.
    failure: Option<ParameterError>,
    /// What answers, in the back end, if a parameter is the reply of a request.
    reply: Option<ReplySlot>,
}

impl MessageObject {
    /// A message without parameters.
    pub fn new(command: impl Into<String>) -> MessageObject {
        MessageObject { command: command.into(), parameters: Vec::new(), failure: None, reply: None }
    }

    /// Adds a parameter, or replaces the one of that name.
    ///
    /// If it can't become a [`Value`] (for the reasons see [`Value::new`]), the message has a [`failure`](Self::failure)
    /// from now on: sending it, or reading that parameter, is that error.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Serialize) -> MessageObject {
        let name = name.into();
        match Value::new(&value) {
            Ok(value) => match self.parameters.iter_mut().find(|(known, _)| *known == name) {
                Some((_, replaced)) => *replaced = value,
                None => self.parameters.push((name, value)),
            },
            Err(error) => {
                let failure = ParameterError::Unserialisable { parameter: name, reason: error.to_string() };
                self.failure.get_or_insert(failure);
            }
        }
        self
    }

    /// Its command.
    #[doc(alias = "__call__")]
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Reads a parameter as a `T`, which may borrow texts and bytes from it. A parameter that isn't there is `None`, if `T` is
    /// an `Option`. For the conversions see [`Value::get`].
    ///
    /// # Errors
    ///
    /// [`ParameterError`]: `Missing`; `Wrong` and `Refused`, if it is no such `T`; `Unserialisable`, if it never became
    /// a value.
    ///
    /// ```
    /// use valkka_multiprocess::message;
    ///
    /// let message = message!("open", address = "rtsp://localhost", ports = [554, 70_000]);
    /// assert_eq!(message.get::<&str>("address")?, "rtsp://localhost");
    /// assert_eq!(message.get::<Option<u32>>("timeout")?, None);
    /// let error = message.get::<Vec<u16>>("ports").unwrap_err();
    /// assert_eq!(error.to_string(), "the parameter 'ports'[1] must be u16, and is integer `70000`");
    /// # Ok::<(), valkka_multiprocess::ParameterError>(())
    /// ```
    pub fn get<'de, T: Deserialize<'de>>(&'de self, name: &str) -> Result<T, ParameterError> {
        match self.present(name)? {
            Some(value) => {
                decoding(self.reply.clone(), || from_value::read(value)).map_err(|mismatch| mismatch.of(name))
            }
            None => parameters::missing(name),
        }
    }

    /// As [`get`](Self::get), and `default` if it isn't there.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get), but for `Missing`.
    pub fn get_or<'de, T: Deserialize<'de>>(&'de self, name: &str, default: T) -> Result<T, ParameterError> {
        match self.present(name)? {
            Some(_) => self.get(name),
            None => Ok(default),
        }
    }

    /// A parameter, unless that is the one which never became a value.
    fn present(&self, name: &str) -> Result<Option<&Value>, ParameterError> {
        match &self.failure {
            Some(failure @ ParameterError::Unserialisable { parameter, .. }) if parameter == name => {
                Err(failure.clone())
            }
            _ => Ok(self.value(name)),
        }
    }

    /// A parameter as it is, if it is there.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The names of its parameters, in the order in which they were added.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.parameters.iter().map(|(name, _)| name.as_str())
    }

    /// How many parameters it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Why it can't be sent: the first parameter that couldn't become a value.
    #[must_use]
    pub fn failure(&self) -> Option<&ParameterError> {
        self.failure.as_ref()
    }

    /// The parameters in the order of their names.
    fn sorted(&self) -> Vec<(&str, Sorted<'_>)> {
        let mut sorted: Vec<_> =
            self.parameters.iter().map(|(name, value)| (name.as_str(), Sorted::of(value))).collect();
        sorted.sort_unstable();
        sorted
    }

    /// All parameters as one struct. Each must be asked for.
    pub(super) fn read<'de, P: Deserialize<'de>>(&'de self) -> Result<P, ParameterError> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None => decoding(self.reply.clone(), || parameters::read(&self.parameters)),
        }
    }
}

/// A message's parameter by its name. [`value`](MessageObject::value) doesn't panic.
///
/// # Panics
///
/// If there is none.
impl Index<&str> for MessageObject {
    type Output = Value;

    #[doc(alias = "__getitem__")]
    #[track_caller]
    fn index(&self, name: &str) -> &Value {
        match self.value(name) {
            Some(value) => value,
            None => panic!("{} has no parameter {}", repr::short(self, 400), repr::name(name)),
        }
    }
}

impl PartialEq for MessageObject {
    fn eq(&self, other: &MessageObject) -> bool {
        self.command == other.command
            && self.len() == other.len()
            && self.sorted() == other.sorted()
            && self.failure == other.failure
    }
}

impl Eq for MessageObject {}

/// `<MessageObject: ping: {'lis': [1, 2, 3]}>`, with the parameters as Python shows them.
impl fmt::Display for MessageObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<MessageObject: {}: {{", repr::Plain(&self.command))?;
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            repr::quoted(f, name)?;
            write!(f, ": {value}")?;
        }
        f.write_str("}")?;
        if let Some(failure) = &self.failure {
            write!(f, " ({failure})")?;
        }
        f.write_str(">")
    }
}

/// As its `Display`.
impl fmt::Debug for MessageObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How it comes.
#[derive(serde::Deserialize)]
#[serde(rename = "MessageObject")]
struct Travelling {
    command: String,
    #[serde(with = "serde_bytes")]
    parameters: Vec<u8>,
}

/// How it goes: its command first, by which it is called; the parameters are made into bytes when they are asked for.
impl Serialize for MessageObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct(NAMED_BY_ITS_FIRST_FIELD, 2)?;
        fields.serialize_field("command", &self.command)?;
        fields.serialize_field("parameters", &AsBytes(self))?;
        fields.end()
    }
}

/// The parameters of a message.
struct AsBytes<'a>(&'a MessageObject);

impl Serialize for AsBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let AsBytes(message) = self;
        if let Some(failure) = &message.failure {
            return Err(S::Error::custom(format_args!("{}: {failure}", repr::name(&message.command))));
        }
        let values = message.parameters.iter().map(|(_, value)| value);
        let bytes = wire::encode(&Names(&message.parameters), values)
            .map_err(|error| S::Error::custom(format_args!("{}: {error}", repr::name(&message.command))))?;
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for MessageObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MessageObject, D::Error> {
        let Travelling { command, parameters } = Travelling::deserialize(deserializer)?;
        let OwnNames(parameters) = wire::decode(&parameters).map_err(|error| {
            de::Error::custom(format_args!("the parameters of {}: {error}", repr::name(&command)))
        })?;
        let holds_reply = parameters.iter().any(|(_, value)| value.holds_reply());
        let reply = if holds_reply { decoded_slot() } else { None };
        Ok(MessageObject { command, parameters, failure: None, reply })
    }
}

/// Parameters, as a map.
struct Names<'a>(&'a [(String, Value)]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A [`MessageObject`]: a command, and parameters as `name = value`. Values are borrowed. A name that is no Rust
/// identifier, or a keyword, is written as a text.
///
/// ```
/// use valkka_multiprocess::message;
///
/// let list = vec![1, 2, 3];
/// let message = message!("ping", lis = list, "type" = "long");
/// assert_eq!(message.to_string(), "<MessageObject: ping: {'lis': [1, 2, 3], 'type': 'long'}>");
/// assert_eq!(list.len(), 3);
/// assert!(message!("quit").is_empty());
/// ```
#[macro_export]
macro_rules! message {
    (@name $name:ident) => { ::core::stringify!($name).trim_start_matches("r#") };
    (@name $name:literal) => { $name };
    ($command:expr $(, $name:tt = $value:expr)* $(,)?) => {
        $crate::MessageObject::new($command)$(.with($crate::message!(@name $name), &$value))*
    };
}
