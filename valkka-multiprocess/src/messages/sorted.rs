//! Values in an order in which they can be compared.

use super::value::Value;

/// Where there is a key that occurs more than once.
pub(super) fn repeated<K: Ord>(keys: impl Iterator<Item = K>) -> Option<usize> {
    let mut keys: Vec<(K, usize)> = keys.enumerate().map(|(place, key)| (key, place)).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1)
}

/// A value with the entries of its maps in order. Maps within the keys of maps are sorted once, from the inside to the
/// outside; sorted at each comparison, a few of them within each other would take hours.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sorted<'a> {
    Plain(&'a Value),
    List(Vec<Sorted<'a>>),
    Map(usize, Vec<(Sorted<'a>, Sorted<'a>)>),
}

impl<'a> Sorted<'a> {
    pub(super) fn of(value: &'a Value) -> Sorted<'a> {
        match value {
            Value::List(values) => Sorted::List(values.iter().map(Sorted::of).collect()),
            Value::Map(entries) => {
                let mut sorted: Vec<_> =
                    entries.iter().map(|(key, value)| (Sorted::of(key), Sorted::of(value))).collect();
                sorted.sort_unstable();
                Sorted::Map(sorted.len(), sorted)
            }
            plain => Sorted::Plain(plain),
        }
    }
}
