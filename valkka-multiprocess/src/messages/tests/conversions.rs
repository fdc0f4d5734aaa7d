//! Rust values as values, and back.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Value, parameter, sent, text};
use crate::messages::value::LEVELS_MAX;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Line(i8, u64),
    Rectangle { width: f32, name: Option<String> },
    Nested(Vec<Shape>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapper(Option<u8>);

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    assert_eq!(sent(&value), value);
}

#[test]
fn values_come_back_exactly() {
    comes_back((u64::MAX, i64::MIN, i64::MAX, 0u8, -1i8));
    comes_back((u128::from(u64::MAX), i128::from(i64::MIN)));
    comes_back((f64::INFINITY, f64::MIN_POSITIVE, -0.0f64, 0.1f32, f32::MAX));
    assert!(sent(&f64::NAN).is_nan() && sent(&f32::NAN).is_nan());
    assert!(sent(&-0.0f64).is_sign_negative());
    comes_back(());
    comes_back((Unit, Wrapper(Some(3)), Wrapper(None)));
    comes_back((None::<u8>, Some(7u8), vec![Some('x'), None], true));
    comes_back(serde_bytes::ByteBuf::from(vec![0, 255, 128]));
    comes_back(b"bytes as a list".to_vec());
    comes_back(HashMap::from([(-3, BTreeMap::from([("k".to_owned(), vec![1.5])])), (4, BTreeMap::new())]));
    comes_back(BTreeMap::from([((1u8, 'a'), "pair".to_owned()), ((2, 'b'), String::new())]));
    comes_back(vec![
        Shape::Nothing,
        Shape::Circle(0.5),
        Shape::Line(-128, u64::MAX),
        Shape::Rectangle { width: 1.5, name: None },
        Shape::Nested(vec![Shape::Nothing, Shape::Nested(vec![])]),
    ]);
    comes_back(Ok::<u8, String>(3));
    comes_back(std::time::Duration::new(3, 999_999_999));
    comes_back(std::net::IpAddr::from([127, 0, 0, 1]));
}

#[test]
fn what_only_a_self_describing_format_carries_comes_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(i64),
        Text(String),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Small { n: u8 },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }
    comes_back((Untagged::Number(-5), Untagged::Text("x".to_owned())));
    comes_back(Tagged::Small { n: 255 });
    comes_back(Flat { name: None, rest: BTreeMap::from([("x".to_owned(), Value::Int(1))]) });
}

#[test]
fn values_are_of_the_kinds_that_are_documented() {
    let kinds = [
        (Value::new(&Wrapper(Some(3))), Value::Int(3)),
        (Value::new(&Unit), Value::Nil),
        (Value::new(&'x'), text("x")),
        (Value::new(&Shape::Nothing), text("Nothing")),
        (Value::new(&Shape::Circle(2.0)), Value::Map(vec![(text("Circle"), Value::Float(2.0))])),
        (Value::new(&serde_bytes::Bytes::new(b"b")), Value::Bytes(b"b".to_vec())),
        (Value::new(&b"b".to_vec()), Value::List(vec![Value::Int(98)])),
    ];
    for (made, expected) in kinds {
        assert_eq!(made.unwrap(), expected);
    }
}

#[test]
fn values_can_be_part_of_a_typed_message() {
    let value = Value::new(&BTreeMap::from([("a", vec![Some(1.5), None])])).unwrap();
    let bytes = super::bytes_of(&(7u8, &value)).unwrap();
    assert_eq!(super::read::<(u8, Value)>(&bytes).unwrap(), (7, value));
}

/// What asking for the parameter as a `T` says.
fn refusal<T: DeserializeOwned + Debug>(value: impl Serialize) -> String {
    parameter(value).get::<T>("p").unwrap_err().to_string()
}

#[test]
fn what_is_out_of_range_or_of_another_kind_is_refused() {
    assert_eq!(refusal::<u8>(300), "the parameter 'p' must be u8, and is integer `300`");
    assert_eq!(refusal::<u64>(-1), "the parameter 'p' must be u64, and is integer `-1`");
    assert_eq!(
        refusal::<i64>(u64::MAX),
        "the parameter 'p' must be i64, and is integer `18446744073709551615`"
    );
    assert_eq!(refusal::<i32>(1.5), "the parameter 'p' must be i32, and is floating point `1.5`");
    assert_eq!(refusal::<i32>(2.0), "the parameter 'p' must be i32, and is floating point `2.0`");
    assert_eq!(refusal::<i32>("1"), "the parameter 'p' must be i32, and is string \"1\"");
    assert_eq!(refusal::<i32>(true), "the parameter 'p' must be i32, and is boolean `true`");
    assert_eq!(refusal::<bool>(1), "the parameter 'p' must be a boolean, and is integer `1`");
    assert_eq!(refusal::<String>(1), "the parameter 'p' must be a string, and is integer `1`");
    assert_eq!(refusal::<u8>(()), "the parameter 'p' must be u8, and is unit value");
    assert_eq!(refusal::<()>(0), "the parameter 'p' must be unit, and is integer `0`");
    assert_eq!(refusal::<(u8, u8)>([1, 2, 3]), "the parameter 'p' must be a list of 2, and is of length 3");
    assert_eq!(refusal::<Vec<u8>>("abc"), "the parameter 'p' must be a sequence, and is string \"abc\"");
}

#[test]
fn integers_are_floats_if_that_is_exact() {
    assert_eq!(parameter(1u64 << 53).get::<f64>("p"), Ok(9_007_199_254_740_992.0));
    assert_eq!(parameter(i64::MIN).get::<f32>("p"), Ok(-9_223_372_036_854_775_808.0));
    assert_eq!(
        refusal::<f64>((1u64 << 53) + 1),
        "the parameter 'p' must be an integer that f64 holds exactly, and is integer `9007199254740993`"
    );
    assert!(refusal::<f64>(u64::MAX).contains("exactly"));
    assert!(refusal::<f32>((1 << 24) + 1).contains("exactly"));
    assert!(refusal::<Vec<f64>>([u64::MAX]).starts_with("the parameter 'p'[0] must be an integer that"));
    // Too wide to be sent, but not to be asked.
    assert!(Value::Int(i128::MAX).get::<f64>().is_err());
    // Between floats it is rounded.
    assert_eq!(parameter(0.1f64).get::<f32>("p"), Ok(0.1f32));
    assert_eq!(parameter(f64::INFINITY).get::<f32>("p"), Ok(f32::INFINITY));
    assert_eq!(
        refusal::<f32>(1e300),
        "the parameter 'p' must be in the range of f32, and is floating point `1e300`"
    );
}

#[test]
fn errors_name_the_place() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is about what can't be read")]
    struct Inner {
        sizes: Vec<u8>,
        shape: Shape,
    }
    let inner = |sizes: Vec<i32>, shape: Value| {
        BTreeMap::from([("sizes", Value::new(&sizes).unwrap()), ("shape", shape)])
    };
    assert_eq!(
        refusal::<Inner>(inner(vec![1, 256], text("Nothing"))),
        "the parameter 'p'['sizes'][1] must be u8, and is integer `256`"
    );
    assert_eq!(
        refusal::<Inner>(inner(vec![], text("Oval"))),
        "the parameter 'p'['shape'] must be a known variant, and is 'Oval', where there are 'Nothing', 'Circle', 'Line', \
         'Rectangle', 'Nested'"
    );
    let line = Value::Map(vec![(text("Line"), Value::List(vec![Value::Int(0), Value::Int(-1)]))]);
    assert_eq!(
        refusal::<Inner>(inner(vec![], line)),
        "the parameter 'p'['shape']['Line'][1] must be u64, and is integer `-1`"
    );
    assert_eq!(
        refusal::<Inner>(inner(vec![], text("Circle"))),
        "the parameter 'p'['shape'] must be a variant that holds something, and is unit variant"
    );
    assert_eq!(
        refusal::<Inner>(BTreeMap::from([("sizes", [1])])),
        "the parameter 'p' isn't accepted: it lacks 'shape'"
    );
    assert_eq!(refusal::<Inner>([1, 2]), "the parameter 'p' must be struct Inner, and is sequence");
    assert!(refusal::<u8>("x".repeat(1_000_000)).len() < 200);
    let error = Value::new(&[300]).unwrap().get::<[u8; 1]>().unwrap_err();
    assert_eq!(error.to_string(), "it[0] must be u8, and is integer `300`");
}

#[test]
fn what_a_type_says_stays_on_one_short_line() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Even;
    impl TryFrom<String> for Even {
        type Error = String;
        fn try_from(text: String) -> Result<Even, String> {
            Err(format!("{text} isn't even"))
        }
    }
    assert_eq!(refusal::<Even>("o\nne"), "the parameter 'p' isn't accepted: o\\nne isn't even");
    assert!(refusal::<Even>("\n".repeat(1_000_000)).len() < 500);
}

/// What a parameter that can't be sent says.
fn unsendable(value: impl Serialize) -> String {
    let message = parameter(value);
    let failure = message.failure().unwrap().clone();
    assert_eq!(message.get::<Option<Value>>("p"), Err(failure.clone()));
    assert_eq!(message.get_or("p", Value::Nil), Err(failure.clone()));
    assert!(super::bytes_of(&message).unwrap_err().to_string().contains(&failure.to_string()));
    failure.to_string()
}

#[test]
fn what_would_come_out_as_something_else_cannot_be_sent() {
    let nothing = "the parameter 'p' can't be sent: a `Some` of nothing can't be told from `None`";
    assert_eq!(unsendable(Some(())), nothing);
    assert_eq!(unsendable(Some(None::<u8>)), nothing);
    assert!(unsendable(u128::MAX).ends_with("is wider than 64 bits"));
    assert!(unsendable(i128::MIN).ends_with("is wider than 64 bits"));
    assert!(unsendable(Value::Int(1 << 64)).contains("too large"));
    let twice = Value::Map(vec![(text("k"), Value::Nil), (text("k"), Value::Nil)]);
    assert_eq!(unsendable(twice), "the parameter 'p' can't be sent: the key 'k' occurs twice");
}

#[test]
fn values_nest_only_so_deep() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Endless(Option<Box<Endless>>);

    let nested = |levels: usize| (0..levels).fold(Value::Nil, |inner, _| Value::List(vec![inner]));
    assert_eq!(sent(&nested(LEVELS_MAX)), nested(LEVELS_MAX));
    assert!(unsendable(nested(LEVELS_MAX + 1)).contains("more than 128 levels"));
    let endless = (0..100_000).fold(Endless(None), |inner, _| Endless(Some(Box::new(inner))));
    assert!(unsendable(&endless).contains("more than 128 levels"));
    // Its drop is as deep as it is.
    let mut rest = endless;
    while let Some(inner) = rest.0.take() {
        rest = *inner;
    }
    assert_eq!(refusal::<Endless>(1), "the parameter 'p' isn't accepted: its type has no end");
}
