//! What serde's attributes make of parameters.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MessageObject, Value, sent};
use crate::message;

#[derive(Debug, PartialEq, Deserialize)]
struct Renamed {
    #[serde(rename = "new-name", alias = "old-name")]
    name: u8,
    #[serde(default)]
    more: Vec<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    x: f64,
    n: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[test]
fn names_by_which_a_parameter_is_also_known() {
    for message in [message!("c", "new-name" = 3), message!("c", "old-name" = 3)] {
        assert_eq!(message.read::<Renamed>().unwrap(), Renamed { name: 3, more: vec![] });
    }
    let error = message!("c", name = 3).read::<Renamed>().unwrap_err();
    assert!(error.to_string().starts_with("there is no parameter 'name'"), "{error}");
    let both = message!("c", "new-name" = 3, "old-name" = 4).read::<Renamed>().unwrap_err();
    assert!(both.to_string().contains("duplicate field"), "{both}");
}

#[test]
fn flattened_structs_take_what_is_left() {
    let message = message!("c", id = 1, x = 0.5, n = u64::MAX, z = [1]);
    let flat = message.read::<Flat>().unwrap();
    assert_eq!(flat.inner, Inner { x: 0.5, n: u64::MAX });
    assert_eq!(flat.rest["z"], Value::new(&[1]).unwrap());
    assert_eq!(sent(&flat), flat);
    assert!(message!("c", id = 1, x = 0.5).read::<Flat>().is_err());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    Empty,
    Holds { n: i64, text: String, list: Vec<Option<u8>> },
    Wraps(Inner),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "is")]
enum Adjacent {
    Empty,
    One(u8),
    Two(u8, char),
    Holds { n: i64 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Large(u64),
    Float(f64),
    Text(String),
    Pair(u8, String),
    Holds { n: i64 },
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Key {
    A,
    B,
}

#[test]
fn enums_of_all_taggings_come_back() {
    let list = vec![Some(1), None];
    for value in [
        Internal::Empty,
        Internal::Holds { n: i64::MIN, text: "t".into(), list },
        Internal::Wraps(Inner { x: -0.0, n: u64::MAX }),
    ] {
        assert_eq!(sent(&value), value);
    }
    for value in [Adjacent::Empty, Adjacent::One(1), Adjacent::Two(2, 'z'), Adjacent::Holds { n: -1 }] {
        assert_eq!(sent(&value), value);
    }
    for value in [
        Untagged::Number(-3),
        Untagged::Large(u64::MAX),
        Untagged::Float(0.5),
        Untagged::Text("t".into()),
        Untagged::Pair(1, "p".into()),
        Untagged::Holds { n: 5 },
    ] {
        assert_eq!(sent(&value), value);
    }
    // All parameters as one of them.
    let message = message!("c", kind = "Holds", n = 1, text = "t", list = [None::<u8>]);
    assert!(matches!(message.read::<Internal>().unwrap(), Internal::Holds { n: 1, .. }));
}

#[test]
fn keys_of_every_kind_come_back() {
    let of = |n: i32| BTreeMap::from([(n, true)]);
    assert_eq!(sent(&BTreeMap::from([(Key::A, 1), (Key::B, 2)])), BTreeMap::from([(Key::A, 1), (Key::B, 2)]));
    assert_eq!(sent(&BTreeMap::from([(true, 1), (false, 2)])), BTreeMap::from([(true, 1), (false, 2)]));
    assert_eq!(
        sent(&BTreeMap::from([(of(1), 'a'), (of(2), 'b')])),
        BTreeMap::from([(of(1), 'a'), (of(2), 'b')])
    );
    assert_eq!(sent(&BTreeMap::from([(i64::MIN, ()), (i64::MAX, ())])).len(), 2);
}

#[test]
fn what_is_borrowed_is_borrowed_from_the_message() {
    #[derive(Deserialize)]
    struct Borrows<'a> {
        text: &'a str,
        #[serde(borrow)]
        bytes: &'a serde_bytes::Bytes,
        #[serde(borrow)]
        cow: Cow<'a, str>,
    }
    let bytes = serde_bytes::Bytes::new(&[1, 0, 255]);
    let message = message!("c", text = "t", bytes = bytes, cow = "cow");
    let borrows = message.read::<Borrows<'_>>().unwrap();
    assert_eq!((borrows.text, borrows.bytes), ("t", bytes));
    assert!(matches!(borrows.cow, Cow::Borrowed("cow")));
    // A list of numbers isn't bytes that can be lent.
    let error = message!("c", p = [1u8, 2]).get::<&[u8]>("p").unwrap_err();
    assert!(error.to_string().contains("must be a borrowed byte array"), "{error}");
}

#[test]
fn numbers_at_every_edge() {
    fn edges<T>(inside: &[i128])
    where
        T: serde::de::DeserializeOwned + TryFrom<i128> + PartialEq + std::fmt::Debug,
    {
        for &n in inside {
            for n in [n - 1, n, n + 1] {
                let Ok(value) = Value::new(&n) else { continue };
                assert_eq!(
                    value.get::<T>().ok(),
                    T::try_from(n).ok(),
                    "{n} as {}",
                    std::any::type_name::<T>()
                );
            }
        }
    }
    let all: Vec<i128> = (0..=64).flat_map(|bits| [1i128 << bits, -(1i128 << bits)]).collect();
    edges::<i8>(&all);
    edges::<u8>(&all);
    edges::<i16>(&all);
    edges::<u16>(&all);
    edges::<i32>(&all);
    edges::<u32>(&all);
    edges::<i64>(&all);
    edges::<u64>(&all);
    edges::<i128>(&all);
    edges::<u128>(&all);
    for n in all {
        let Ok(value) = Value::new(&n) else { continue };
        assert_eq!(value.get::<f64>().ok().map(|x| x as i128), Some(n), "a power of two");
        assert!(value.get::<f32>().is_ok() && value.get::<char>().is_err() && value.get::<bool>().is_err());
    }
    let odd = [(1u64 << 53) + 1, u64::MAX];
    odd.iter().for_each(|n| assert!(Value::new(n).unwrap().get::<f64>().is_err(), "{n}"));
}

/// As the docs say.
#[test]
fn where_serde_reads_ahead_it_rounds() {
    #[derive(Deserialize)]
    struct Ahead {
        #[serde(flatten)]
        inner: Inner,
    }
    let ahead = message!("c", x = u64::MAX, n = 1).read::<Ahead>().unwrap();
    assert_eq!(ahead.inner.x, u64::MAX as f64);
    assert!(message!("c", x = 0.5, n = -1).read::<Ahead>().is_err());
    assert!(message!("c", x = 0.5, n = 2.0).read::<Ahead>().is_err());
}

#[test]
fn odd_names() {
    let long = "n".repeat(100_000);
    for name in ["", " ", "a\nb", "'", "\u{202e}", "\0", long.as_str()] {
        let message: MessageObject =
            super::read(&super::bytes_of(&MessageObject::new(name).with(name, 1)).unwrap()).unwrap();
        assert_eq!((message.command(), message.get::<u8>(name).unwrap()), (name, 1));
        let error = message.get::<String>(name).unwrap_err().to_string();
        assert!(error.len() < 600 && !error.contains(['\n', '\0', '\u{202e}']), "{error}");
        let error = message.read::<()>().unwrap_err().to_string();
        assert!(error.len() < 600 && !error.contains(['\n', '\0', '\u{202e}']), "{error}");
    }
}
