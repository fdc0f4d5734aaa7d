//! What holds for any value.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::hostile::read_bounded;
use super::{MessageObject, Value, bytes_of, read, sent};
use crate::messages::sorted::repeated;
use crate::messages::wire;

/// A value of any shape, in which no key occurs twice.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| Value::Int(n.into())),
        any::<u64>().prop_map(|n| Value::Int(n.into())),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        any::<String>().prop_map(Value::Text),
        any::<Vec<u8>>().prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let entries = proptest::collection::vec((inner.clone(), inner.clone()), 0..6);
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(Value::List),
            entries
                .prop_filter("a key occurs twice", |entries| repeated(entries.iter().map(|(key, _)| key))
                    .is_none())
                .prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_comes_back(value in values()) {
        prop_assert_eq!(sent(&value), value);
    }

    #[test]
    fn any_message_comes_back(command in ".*", parameters in proptest::collection::btree_map(".*", values(), 0..5)) {
        let message = parameters
            .iter()
            .fold(MessageObject::new(command), |message, (name, value)| message.with(name.as_str(), value));
        prop_assert_eq!(read::<MessageObject>(&bytes_of(&message).unwrap()).unwrap(), message);
    }

    #[test]
    fn a_garbled_message_is_an_error_or_another(
        value in values(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = wire::encode(&BTreeMap::from([("p", value)]), std::iter::empty()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        if let Ok(message) = read_bounded(&bytes) {
            prop_assert_eq!(&read::<MessageObject>(&bytes_of(&message).unwrap()).unwrap(), &message);
        }
    }

    #[test]
    fn values_are_in_a_total_order(a in values(), b in values(), c in values()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(&a, &a.clone());
        let mut sorted = [a, b, c];
        sorted.sort();
        prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
    }

    #[test]
    fn maps_are_equal_in_any_order(value in values(), order in any::<prop::sample::Index>()) {
        if let Value::Map(mut entries) = value.clone() {
            let middle = order.index(entries.len() + 1).min(entries.len());
            entries.rotate_left(middle);
            prop_assert_eq!(Value::Map(entries), value);
        }
    }

    #[test]
    fn an_integer_keeps_its_value_or_is_refused(n in any::<i64>()) {
        let value = Value::Int(n.into());
        prop_assert_eq!(value.get::<u8>().ok(), u8::try_from(n).ok());
        prop_assert_eq!(value.get::<i32>().ok(), i32::try_from(n).ok());
        prop_assert_eq!(value.get::<u64>().ok(), u64::try_from(n).ok());
        if let Ok(x) = value.get::<f64>() {
            prop_assert_eq!(x as i128, i128::from(n));
        }
    }

    #[test]
    fn what_is_shown_is_one_line(value in values()) {
        prop_assert!(!value.to_string().chars().any(char::is_control));
    }
}
