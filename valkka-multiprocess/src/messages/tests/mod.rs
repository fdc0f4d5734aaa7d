//! What serves the tests of this room, and the tests by subject.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{MessageObject, Value};

mod attributes;
mod conversions;
mod hostile;
mod objects;
mod properties;
mod routing;

/// As a connection writes it.
fn bytes_of<T: Serialize>(message: &T) -> Result<Vec<u8>, bincode::error::EncodeError> {
    bincode::serde::encode_to_vec(message, bincode::config::standard().with_fixed_int_encoding())
}

/// As a connection reads it, but for its own bounds.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let config = bincode::config::standard().with_fixed_int_encoding();
    match bincode::serde::decode_from_slice(bytes, config) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok(_) => Err("left over".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A message with these bytes for parameters, whatever they are.
fn with_parameters(parameters: &[u8]) -> Result<MessageObject, String> {
    read(&bytes_of(&("ping", serde_bytes::Bytes::new(parameters))).unwrap())
}

/// A value's way there and back as a parameter.
fn sent<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let message = MessageObject::new("c").with("p", value);
    let received: MessageObject = read(&bytes_of(&message).unwrap()).unwrap();
    assert_eq!(received, message);
    received.get("p").unwrap()
}

/// The parameter `p` of this value.
fn parameter(value: impl Serialize) -> MessageObject {
    MessageObject::new("c").with("p", value)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
