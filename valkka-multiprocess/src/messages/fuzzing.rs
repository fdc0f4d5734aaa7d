//! What the fuzz target of messages runs, on bytes that anybody may have written: only there for the fuzzer and for tests.

use std::collections::BTreeMap;

use common_ipc::link::codec;
use serde::{Deserialize, Serialize};

use super::{MessageObject, Value};

/// Parameters with something of everything, as a handler takes them.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is read, and that is all")]
struct Parameters {
    number: i16,
    float: f32,
    text: String,
    #[serde(default)]
    list: Vec<Option<u8>>,
    #[serde(with = "serde_bytes", default)]
    bytes: Vec<u8>,
    map: Option<BTreeMap<i32, Kind>>,
    pair: (bool, char),
    rest: Value,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "as above")]
enum Kind {
    Unit,
    New(u64),
    Tuple(u8, Box<Kind>),
    Struct { name: String, inner: Option<Box<Kind>> },
}

const NAMES: [&str; 8] = ["number", "float", "text", "list", "bytes", "map", "pair", "rest"];

/// A message as its connection carries it, of which the parameters alone are made up.
#[derive(Serialize)]
#[serde(rename = "MessageObject")]
struct Made<'a> {
    command: &'a str,
    #[serde(with = "serde_bytes")]
    parameters: &'a [u8],
}

/// The data as a whole message, and as the parameters of one.
pub(crate) fn messages(data: &[u8]) {
    if let Ok(message) = codec::decode::<MessageObject>(data) {
        look_at(&message);
    }
    let made = codec::encode(&Made { command: "any", parameters: data });
    if let Some(message) = made.ok().and_then(|bytes| codec::decode::<MessageObject>(&bytes).ok()) {
        look_at(&message);
    }
}

/// What a back end does with a message: it reads it, shows it, and sends it on.
fn look_at(message: &MessageObject) {
    let bytes = codec::encode(message);
    let again = bytes.as_ref().ok().and_then(|bytes| codec::decode::<MessageObject>(bytes).ok());
    assert!(again.as_ref() == Some(message), "{message} comes back as {again:?} ({:?})", bytes.err());
    assert!(!message.to_string().is_empty());
    let _ = message.read::<Parameters>();
    let _ = message.read::<BTreeMap<String, Value>>();
    for name in NAMES.into_iter().chain(message.names()) {
        let _ = message.get::<Parameters>(name);
        let _ = message.get::<Kind>(name);
        let _ = message.get::<&str>(name);
        let _ = message.get::<Vec<f64>>(name);
        let _ = message.get::<Option<u128>>(name);
        let Some(value) = message.value(name) else { continue };
        // A value is what can be made of it.
        let same = Value::new(value);
        assert!(same.as_ref() == Ok(value), "{value} is made {same:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_of_anybody(
            data in proptest::collection::vec(
                prop_oneof![2 => 0x80..0xa4u8, 1 => any::<u8>(), 1 => 0xc0..0xe0u8], 0..300,
            )
        ) {
            super::messages(&data);
        }
    }
}
