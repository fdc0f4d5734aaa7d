//! Parameters and traits of bridged types.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use cross_process_bridge::{BridgeError, Crosses, bridge};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};

scenarios![
    a_type_with_parameters_has_a_bridge_with_parameters,
    traits_methods_are_the_bridges,
    a_bridge_implements_a_trait_itself,
    a_traits_block_may_ask_for_less,
];

/// With parameters of both kinds, and bounds in both places.
struct Store<K: Ord, V, const N: usize>
where
    V: Clone,
{
    known: BTreeMap<K, V>,
    row: [u64; N],
}

#[bridge(traits(Count, fmt::Debug))]
impl<V, K: Ord + Clone + fmt::Debug, const N: usize> Store<K, V, N>
where
    V: Clone + fmt::Debug,
{
    const TWICE: usize = N + N;

    fn new() -> Self {
        Store { known: BTreeMap::new(), row: [0; N] }
    }

    fn of(known: &[(K, V)]) -> Result<Store<K, V, N>, String> {
        match known {
            [] => Err("nothing is known".to_owned()),
            known => Ok(Store { known: known.iter().cloned().collect(), ..Store::new() }),
        }
    }

    fn put(&mut self, key: K, value: V) -> Option<V> {
        self.known.insert(key, value)
    }

    fn get(&self, key: &K) -> Option<V> {
        self.known.get(key).cloned()
    }

    fn swap_row(&mut self, row: &mut [u64; N]) -> [u64; N] {
        std::mem::swap(&mut self.row, row);
        self.row
    }

    fn long(&self) -> [u8; 5] {
        [Self::TWICE as u8; 5]
    }
}

impl<K: Ord, V: Clone + fmt::Debug, const N: usize> fmt::Debug for Store<K, V, N>
where
    K: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.known.fmt(f)
    }
}

trait Count<K> {
    fn count(&self) -> usize;
    fn keys(&self) -> Vec<K>;
}

/// Its parameters have other names and another order.
#[bridge]
impl<Key: Ord + Clone + fmt::Debug, const N: usize, Value: Clone + fmt::Debug> Count<Key>
    for Store<Key, Value, N>
{
    fn count(&self) -> usize {
        self.known.len()
    }

    fn keys(&self) -> Vec<Key> {
        self.known.keys().cloned().collect()
    }
}

/// A bridge to whatever is stored.
fn filled<V>(value: V) -> StoreBridge<String, V, 2>
where
    V: Crosses + Clone + fmt::Debug + Send,
{
    let store = StoreBridge::of(&[("a".to_owned(), value)]);
    store.start().unwrap();
    store
}

fn a_type_with_parameters_has_a_bridge_with_parameters() -> Outcome {
    let store = filled(1.5);
    assert_eq!(store.put("b".to_owned(), 2.5).unwrap(), None);
    assert_eq!(store.get(&"a".to_owned()).unwrap(), Some(1.5));
    let mut row = [1, 2];
    assert_eq!(store.swap_row(&mut row).unwrap(), [1, 2]);
    assert_eq!((row, store.long().unwrap()), ([0, 0], [4; 5]));
    assert_eq!(store.to_debug_string().unwrap(), r#"{"a": 1.5, "b": 2.5}"#);
    assert_eq!((store.count().unwrap(), store.keys().unwrap().concat()), (2, "ab".to_owned()));
    assert_eq!(filled(vec![()]).clone().get(&"a".to_owned()).unwrap().unwrap(), [()]);
    let long = StoreBridge::<u8, u8, 100>::new();
    long.start().unwrap();
    assert_eq!(long.swap_row(&mut [7; 100]).unwrap(), [7; 100]);
    let empty = StoreBridge::<u8, u8, 1>::of(&[]);
    assert!(empty.start().unwrap_err().to_string().contains("nothing is known"));
    Passed
}

/// With traits, some of which the bridge has, too.
struct Shelf {
    books: Vec<String>,
}

pub(crate) trait Named {
    const KIND: &'static str;
    fn name(&self) -> String;
    fn kind() -> String {
        Self::KIND.to_owned()
    }
}

mod library {
    pub(crate) trait Lending {
        type Book;
        fn lend(&mut self, name: &str) -> Option<Self::Book>;
        fn take_back(&mut self, book: Self::Book, log: &mut Vec<String>);
        fn close(self) -> usize;
        fn start(&self) -> u8;
        fn twice(&self) -> u8 {
            2
        }
    }
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
enum ShelfError {
    #[error("there is no {0}")]
    Missing(String),
    #[error("lost: {0}")]
    Lost(String),
}

impl From<BridgeError> for ShelfError {
    fn from(error: BridgeError) -> ShelfError {
        ShelfError::Lost(error.to_string())
    }
}

/// What a shelf is, here or elsewhere.
trait Search {
    type Found;
    const MOST: usize;
    fn find(&self, part: &str) -> Result<Self::Found, ShelfError>;
    fn shelve(&mut self, books: &mut Vec<String>) -> Result<usize, ShelfError>;
    fn cover(&self, name: &str) -> Result<PathBuf, ShelfError>;
    fn find_or_none(&self, part: &str) -> Option<Self::Found> {
        self.find(part).ok()
    }
    #[cfg(any())]
    fn never(&self) -> Result<(), ShelfError>;
}

#[bridge(traits(Named, library::Lending, Search, Display, Debug, Default))]
impl Shelf {}

#[bridge]
impl Default for Shelf {
    fn default() -> Self {
        Shelf { books: vec!["Dune".to_owned()] }
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} books", self.books.len())
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.books.fmt(f)
    }
}

#[bridge(vis = pub(crate))]
impl Named for Shelf {
    const KIND: &'static str = "shelf";

    fn name(&self) -> String {
        Self::kind()
    }
}

#[bridge]
impl library::Lending for Shelf {
    type Book = (PathBuf, String);

    fn lend(&mut self, name: &str) -> Option<Self::Book> {
        let place = self.books.iter().position(|book| book == name)?;
        Some((PathBuf::from(name), self.books.remove(place)))
    }

    fn take_back(&mut self, (_, name): Self::Book, log: &mut Vec<String>) {
        log.push(format!("{name} is back"));
        self.books.push(name);
    }

    fn close(self) -> usize {
        self.books.len()
    }

    #[bridge(rename = "start_lending")]
    fn start(&self) -> u8 {
        self.twice() - 1
    }
}

#[bridge(implement)]
impl Search for Shelf {
    type Found = Vec<String>;
    const MOST: usize = 3;

    fn find(&self, part: &str) -> Result<Self::Found, ShelfError> {
        let found = self.books.iter().filter(|book| book.contains(part)).take(Self::MOST);
        let found: Vec<String> = found.cloned().collect();
        if found.is_empty() { Err(ShelfError::Missing(part.to_owned())) } else { Ok(found) }
    }

    fn shelve(&mut self, books: &mut Vec<String>) -> Result<usize, ShelfError> {
        self.books.append(books);
        Ok(self.books.len())
    }

    fn cover(&self, name: &str) -> Result<PathBuf, ShelfError> {
        Ok(PathBuf::from(name))
    }

    #[cfg(any())]
    fn never(&self) -> Result<(), ShelfError> {
        Ok(())
    }
}

fn shelf() -> ShelfBridge {
    let shelf = ShelfBridge::default();
    shelf.start().unwrap();
    shelf
}

fn traits_methods_are_the_bridges() -> Outcome {
    let shelf = shelf();
    assert_eq!(shelf.name().unwrap(), "shelf");
    let book = shelf.lend("Dune").unwrap().unwrap();
    assert_eq!(shelf.to_string().unwrap(), "0 books");
    let mut log = Vec::new();
    shelf.take_back(book, &mut log).unwrap();
    assert_eq!((log.concat(), shelf.start_lending().unwrap()), ("Dune is back".to_owned(), 1));
    assert_eq!(shelf.to_debug_string().unwrap(), r#"["Dune"]"#);
    assert_eq!(shelf.clone().close().unwrap(), 1);
    assert!(matches!(shelf.name().unwrap_err(), BridgeError::NotStarted { .. }));
    Passed
}

fn a_bridge_implements_a_trait_itself() -> Outcome {
    fn use_of(search: &mut impl Search<Found = Vec<String>>) -> Result<Vec<String>, ShelfError> {
        let mut books = vec!["Emma".to_owned(), "Dubliners".to_owned()];
        assert_eq!(search.shelve(&mut books)?, 3);
        assert!(books.is_empty());
        assert_eq!(search.cover("c")?, PathBuf::from("c"));
        search.find("Du")
    }
    let mut shelf = shelf();
    assert_eq!(use_of(&mut shelf).unwrap(), ["Dune", "Dubliners"]);
    assert_eq!(<ShelfBridge as Search>::MOST, 3);
    assert!(matches!(shelf.find("x").unwrap_err(), ShelfError::Missing(_)));
    assert!(shelf.find_or_none("x").is_none());
    shelf.process().kill().unwrap();
    assert!(matches!(shelf.find("Du").unwrap_err(), ShelfError::Lost(why) if why.contains("process")));
    Passed
}

trait Size {
    fn size(&self) -> usize;
}

trait Merge<T> {
    type Size;
    fn merge(&mut self, other: T) -> Self::Size;
}

/// Its own block has more bounds than those of its traits.
#[derive(Serialize, Deserialize)]
struct Bag<T> {
    values: Vec<T>,
}

#[bridge(traits(Size, Merge))]
impl<T: Clone + Ord> Bag<T>
where
    Self: Size,
{
    fn of(values: &[T]) -> Self {
        Bag { values: values.to_vec() }
    }

    fn sorted(mut self) -> Vec<T> {
        self.values.sort();
        self.values
    }
}

#[bridge]
impl<T> Size for Bag<T> {
    fn size(&self) -> usize {
        self.values.len()
    }
}

#[bridge]
impl<E> Merge<Self> for Bag<E>
where
    Self: Size,
{
    type Size = usize;

    fn merge(&mut self, mut other: Self) -> Self::Size {
        self.values.append(&mut other.values);
        self.size()
    }
}

fn a_traits_block_may_ask_for_less() -> Outcome {
    let bag = BagBridge::of(&[3, 1]);
    bag.start().unwrap();
    assert_eq!((bag.size().unwrap(), bag.merge(Bag { values: vec![2] }).unwrap()), (2, 3));
    assert_eq!(bag.sorted().unwrap(), [1, 2, 3]);
    Passed
}
