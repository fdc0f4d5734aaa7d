//! Bytes that somebody else has written.

use super::{Value, with_parameters};
use crate::messages::value::LEVELS_MAX;

/// Reads these bytes as parameters; what that takes in memory is bounded by how many they are.
pub(super) fn read_bounded(bytes: &[u8]) -> Result<crate::MessageObject, String> {
    let mut read = None;
    let taken = allocation_counter::measure(|| read = Some(with_parameters(bytes)));
    let most = 128 * bytes.len() as u64 + 8192;
    assert!(taken.bytes_max <= most, "{} bytes for {}", taken.bytes_max, bytes.len());
    read.unwrap()
}

/// A map of one parameter `p`, of these bytes.
fn one(bytes: &[u8]) -> Vec<u8> {
    [b"\x81\xa1p", bytes].concat()
}

#[test]
fn fault_43_lengths_that_are_not_true() {
    let lying: [&[u8]; 9] = [
        b"\xdf\xff\xff\xff\xff",
        &one(b"\xdd\xff\xff\xff\xff"),
        &one(b"\xdf\xff\xff\xff\xff"),
        &one(b"\xdb\xff\xff\xff\xffabc"),
        &one(b"\xc6\xff\xff\xff\xffabc"),
        &one(b"\xc9\xff\xff\xff\xff\x01abc"),
        b"\x81\xdb\xff\xff\xff\xffabc",
        &one(&b"\xdd\xff\xff\xff\xff".repeat(100)),
        &one(&b"\xdf\xff\xff\xff\xff".repeat(100)),
    ];
    for bytes in lying {
        read_bounded(bytes).unwrap_err();
    }
}

#[test]
fn fault_43_depth() {
    for byte in [b"\x91", b"\x81"] {
        let error = read_bounded(&one(&byte.repeat(1 << 16))).unwrap_err();
        assert!(error.contains("more than 128 levels deep"), "{error}");
    }
    let deep = |levels: usize| one(&[b"\x91".repeat(levels), b"\xc0".to_vec()].concat());
    assert!(read_bounded(&deep(LEVELS_MAX)).is_ok());
    assert!(read_bounded(&deep(LEVELS_MAX + 1)).is_err());
}

#[test]
fn many_values_cost_what_they_are() {
    for element in [&b"\xc0"[..], b"\x90", b"\x80", b"\xa0", b"\xcb\x7f\xf8\0\0\0\0\0\0"] {
        let list = [b"\xdd\0\x01\0\0", &*element.repeat(1 << 16)].concat();
        let message = read_bounded(&one(&list)).unwrap();
        assert!(matches!(&message["p"], Value::List(list) if list.len() == 1 << 16));
    }
}

/// A list of so many values of these bytes.
fn list(count: u32, element: &[u8]) -> Vec<u8> {
    one(&[b"\xdd".to_vec(), count.to_be_bytes().to_vec(), element.repeat(count as usize)].concat())
}

#[test]
fn fault_43_too_many_values_for_so_few_bytes() {
    // A byte each, or two.
    for (element, values) in [(&b"\xc0"[..], 1), (b"\x90", 1), (b"\x91\xc0", 2), (b"\x81\x01\x02", 3)] {
        let error = read_bounded(&list(2_000_000, element)).unwrap_err();
        assert!(error.contains("the parameters of 'ping': there are too many values"), "{error}");
        assert!(read_bounded(&list(1_000_000 / values, element)).is_ok());
    }
    // Those that have as many bytes as they take anyway.
    let floats = list(2_000_000, b"\xcb\x7f\xf8\0\0\0\0\0\0");
    assert_eq!(read_bounded(&floats).unwrap().get::<Vec<f64>>("p").unwrap().len(), 2_000_000);
}

#[test]
fn too_many_values_cannot_be_sent() {
    let most = (1 << 20) + (1 << 20) / 8;
    for (count, sendable) in [(most, true), (2 * most, false)] {
        for sent in [
            super::bytes_of(&super::parameter(vec![1u8; count])),
            super::bytes_of(&Value::new(&vec![1u8; count]).unwrap()),
        ] {
            let sent = sent.map(drop).map_err(|error| error.to_string());
            assert_eq!(sent.is_ok(), sendable, "{count}: {sent:?}");
            assert!(sent.err().is_none_or(|error| error.contains("there are too many values")));
        }
    }
    let typed = super::parameter(serde_bytes::Bytes::new(&vec![1; 2 * most]));
    assert!(super::bytes_of(&typed).is_ok());
}

#[test]
fn names_and_keys() {
    let error = |bytes: &[u8]| with_parameters(bytes).unwrap_err();
    assert!(error(b"\x82\xa1p\x01\xa1p\x02").contains("the parameters of 'ping': 'p' occurs twice"));
    assert!(error(&one(b"\x82\x01\x01\x01\x02")).contains("the key 1 occurs twice"));
    assert!(error(b"\x81\x01\x02").contains("expected a string"));
    assert!(error(b"\x81\xa1\xff\x02").contains("invalid utf-8"));
    assert!(error(b"\x91\x01").contains("expected parameters by their names"));
    assert!(error(b"\xc0").contains("expected parameters by their names"));
    assert!(with_parameters(&one(b"\x82\x01\x01\x02\x02")).is_ok());
}

#[test]
fn what_is_left_over_or_cut() {
    assert!(with_parameters(b"\x80\x80").unwrap_err().contains("1 bytes are left over"));
    assert!(with_parameters(b"").is_err());
    let whole = one(b"\x93\x01\xa3abc\xcb\0\0\0\0\0\0\0\0");
    assert!(with_parameters(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(with_parameters(&whole[..length]).is_err());
    }
    // Kinds that no value has.
    assert!(with_parameters(&one(b"\xd4\x01\x01")).is_err());
    assert!(with_parameters(&one(b"\xc1")).is_err());
}

#[test]
fn many_names_do_not_take_long() {
    let names = 1u32 << 17;
    let mut bytes = vec![0xdf];
    bytes.extend(names.to_be_bytes());
    for n in 0..names {
        bytes.push(0xa8);
        bytes.extend(format!("{n:08}").bytes());
        bytes.push(0xc0);
    }
    assert_eq!(read_bounded(&bytes).unwrap().len(), names as usize);
}

/// Maps of two keys each, which are maps of two keys each, so deep; they differ in the innermost ones only.
fn keys_in_keys(levels: u32, next: &mut u32) -> Vec<u8> {
    if levels == 0 {
        *next += 1;
        return [b"\xce".to_vec(), next.to_be_bytes().to_vec()].concat();
    }
    let key = |next: &mut u32| [keys_in_keys(levels - 1, next), b"\xc0".to_vec()].concat();
    [b"\x82".to_vec(), key(next), key(next)].concat()
}

#[test]
fn keys_in_keys_do_not_take_long() {
    let bytes = one(&keys_in_keys(17, &mut 0));
    let message = read_bounded(&bytes).unwrap();
    assert_eq!(message, message.clone());
    // The same key twice, deep inside.
    let twice =
        [b"\x82".to_vec(), keys_in_keys(3, &mut 0), vec![1], keys_in_keys(3, &mut 0), vec![2]].concat();
    let error = with_parameters(&one(&twice)).unwrap_err();
    assert!(error.contains("the key {{{1: None"), "{error}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn garbage_is_an_error_or_a_message(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        for bytes in [bytes.clone(), one(&bytes)] {
            if let Ok(message) = read_bounded(&bytes) {
                // Whatever it is read as can be shown, compared, and written again.
                let _ = message.to_string();
                let again: crate::MessageObject = super::read(&super::bytes_of(&message).unwrap()).unwrap();
                proptest::prop_assert_eq!(again, message);
            }
        }
    }
}
