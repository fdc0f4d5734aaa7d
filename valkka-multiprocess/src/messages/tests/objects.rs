//! Messages as their users see them.

use std::collections::HashMap;

use super::{MessageObject, Value, bytes_of, parameter, read};
use crate::ParameterError;
use crate::message;

#[test]
fn a_message_is_a_command_and_parameters() {
    let owned = vec![1, 2, 3];
    let message = message!("ping", lis = owned, name = "x", "two words" = -1,);
    assert_eq!(message.command(), "ping");
    assert_eq!(message.names().collect::<Vec<_>>(), ["lis", "name", "two words"]);
    assert_eq!((message.len(), message.is_empty()), (3, false));
    assert_eq!(message["lis"], Value::new(&owned).unwrap());
    assert!(message["name"] == "x" && message["two words"] == -1);
    assert_eq!(message.get::<&str>("name"), Ok("x"));
    assert_eq!(message.get("lis"), Ok(owned));
    assert_eq!(message.value("none"), None);
    assert!(message!("quit").is_empty());
}

#[test]
fn optional_parameters() {
    let message = message!("ping", n = 1);
    assert_eq!(message.get::<Option<u8>>("n"), Ok(Some(1)));
    assert_eq!(message.get::<Option<u8>>("m"), Ok(None));
    assert_eq!(message.get_or("n", 5u8), Ok(1));
    assert_eq!(message.get_or("m", 5u8), Ok(5));
    assert!(matches!(message.get_or("n", ""), Err(ParameterError::Wrong { .. })));
    let missing = message.get::<u8>("m").unwrap_err();
    assert_eq!(missing, ParameterError::Missing { parameter: "m".to_owned() });
    assert_eq!(missing.to_string(), "the parameter 'm' is missing");
    assert!(message.get::<()>("m").is_err());
}

#[test]
fn messages_are_shown_as_in_python() {
    assert_eq!(message!("ping", lis = [1, 2, 3]).to_string(), "<MessageObject: ping: {'lis': [1, 2, 3]}>");
    let spoilt = MessageObject::new("a\nb").with("x", Some(())).with("o", 1.0);
    assert_eq!(
        format!("{spoilt:?}"),
        "<MessageObject: a\\nb: {'o': 1.0} (the parameter 'x' can't be sent: a `Some` of nothing can't be told from \
         `None`)>"
    );
}

#[test]
fn a_reply_is_nothing_else() {
    let message = parameter(crate::Reply::<u8>::wanted());
    assert_eq!(message.to_string(), "<MessageObject: c: {'p': <Reply>}>");
    let message: MessageObject = read(&bytes_of(&message).unwrap()).unwrap();
    assert!(message.get::<Option<crate::Reply<u8>>>("p").unwrap().is_some());
    assert!(message.get::<()>("p").is_err() && message.get::<Option<u8>>("p").is_err());
    let error = parameter(()).get::<crate::Reply<u8>>("p").unwrap_err();
    assert_eq!(error.to_string(), "the parameter 'p' must be the reply of a request, and is unit value");
}

#[test]
fn the_order_of_parameters_does_not_matter() {
    assert_eq!(message!("c", a = 1, b = 2), message!("c", b = 2, a = 1));
    assert_ne!(message!("c", a = 1), message!("c", a = 1, b = 2));
    assert_ne!(message!("c", a = 1), message!("c", a = 2));
    assert_ne!(message!("c"), message!("d"));
    let map: HashMap<u32, u32> = (0..100).map(|n| (n, n)).collect();
    let same: HashMap<u32, u32> = (0..100).rev().map(|n| (n, n)).collect();
    assert_eq!(parameter(map), parameter(same));
    assert_eq!(parameter(f64::NAN), parameter(f64::NAN));
}

#[test]
fn the_last_one_of_a_name_counts() {
    let message = message!("c", a = 1, b = 2, a = 3);
    assert_eq!(message.to_string(), "<MessageObject: c: {'a': 3, 'b': 2}>");
}

#[test]
#[should_panic(expected = "<MessageObject: ping: {'a': 1}> has no parameter 'b'")]
fn the_index_of_a_missing_parameter_panics() {
    let _ = message!("ping", a = 1)["b"];
}

#[test]
fn messages_can_be_sent_to_threads() {
    fn check<T: Send + Sync + Clone + 'static>() {}
    check::<MessageObject>();
}

#[test]
fn a_message_can_be_part_of_a_typed_one() {
    let message = message!("ping", lis = [1, 2]);
    let bytes = bytes_of(&(1u8, vec![&message], "after")).unwrap();
    assert_eq!(
        read::<(u8, Vec<MessageObject>, String)>(&bytes).unwrap(),
        (1, vec![message], "after".to_owned())
    );
}

#[test]
fn a_raw_identifier_is_the_name_that_serde_knows() {
    #[derive(serde::Deserialize)]
    struct Typed {
        r#type: u8,
    }
    let message = crate::message!("c", r#type = 3);
    assert_eq!(message["type"], 3);
    assert_eq!(message.read::<Typed>().unwrap().r#type, 3);
}
