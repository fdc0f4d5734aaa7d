//! Every form of an argument, from here to an object and back.
#![allow(
    clippy::needless_arbitrary_self_type,
    clippy::needless_lifetimes,
    clippy::ptr_arg,
    clippy::toplevel_ref_arg,
    clippy::unnecessary_to_owned,
    reason = "these are forms, too"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use cross_process_bridge::{BridgeError, bridge};

use crate::Outcome::{self, Passed};

scenarios![
    owned_arguments_cross,
    borrowed_arguments_cross,
    optional_and_clone_on_write_arguments_cross,
    arguments_of_any_fitting_type_are_converted_here,
    arrays_of_any_length_and_depth_cross,
    mutable_arguments_are_written_back,
    patterns_and_many_arguments_cross,
];

/// Says what it is given.
struct Forms {
    calls: u32,
}

/// `Path` is also what others may call their types; theirs have a way to them.
mod graph {
    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Path(pub(crate) Vec<u8>);
}

#[bridge]
impl Forms {
    pub(crate) fn new() -> Forms {
        Forms { calls: 0 }
    }

    pub(crate) fn owned(
        &mut self,
        number: u8,
        text: String,
        list: Vec<String>,
        pair: (i32, Option<char>),
    ) -> String {
        self.calls += 1;
        format!("{number} {text} {list:?} {pair:?}")
    }

    pub(crate) fn owned_map(self: &mut Self, map: BTreeMap<String, Vec<u64>>) -> u64 {
        map.values().flatten().sum()
    }

    pub(crate) fn borrowed<'a>(
        &self,
        text: &'a str,
        list: &[String],
        number: &u64,
        map: &BTreeMap<u8, u8>,
    ) -> String {
        format!("{text} {list:?} {number} {map:?}")
    }

    fn borrowed_others(&self, path: &Path, buf: &PathBuf, os: &OsStr, c: &CStr, string: &String) -> String {
        format!(
            "{} {} {} {} {string}",
            path.display(),
            buf.display(),
            os.to_string_lossy(),
            c.to_string_lossy()
        )
    }

    fn borrowed_of_paths(
        &self,
        paths: &[PathBuf],
        pairs: &Vec<(u8, Vec<u8>)>,
        maybe: &Option<PathBuf>,
    ) -> usize {
        paths.iter().map(|path| path.as_os_str().len()).sum::<usize>()
            + pairs.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
            + usize::from(maybe.is_some())
    }

    fn other_path(&self, path: &graph::Path) -> graph::Path {
        path.clone()
    }

    fn optional(
        &self,
        number: Option<&u32>,
        text: Option<&str>,
        list: Option<&[u16]>,
        path: Option<&Path>,
    ) -> String {
        format!("{number:?} {text:?} {list:?} {path:?}")
    }

    fn optional_others(&self, bytes: Option<&[u8]>, buf: Option<&PathBuf>, owned: Option<PathBuf>) -> String {
        format!("{bytes:?} {buf:?} {owned:?}")
    }

    fn cow(&self, text: Cow<'_, str>, list: Cow<'_, [u8]>, path: Cow<'static, Path>) -> String {
        format!("{text} {list:?} {}", path.display())
    }

    fn converted(
        &mut self,
        text: impl Into<String>,
        path: impl Into<PathBuf>,
        bytes: impl Into<Vec<u8>> + Send,
    ) -> String {
        format!("{} {} {:?}", text.into(), path.into().display(), bytes.into())
    }

    fn lending(
        &self,
        path: impl AsRef<Path>,
        text: impl AsRef<str>,
        bytes: impl AsRef<[u8]>,
        own: impl AsRef<Own>,
    ) -> String {
        let (path, text, bytes) = (path.as_ref().display(), text.as_ref(), bytes.as_ref());
        format!("{path} {text} {bytes:?} {}", own.as_ref().0)
    }

    fn many(
        &self,
        numbers: impl IntoIterator<Item = u32>,
        words: impl Iterator<Item = String>,
    ) -> (u32, String) {
        (numbers.into_iter().sum(), words.collect())
    }

    fn text(&self, shown: impl Display, text: impl ToString) -> String {
        format!("{shown} {}", text.to_string())
    }

    fn fill(
        &self,
        list: &mut Vec<String>,
        number: &mut i32,
        bytes: &mut Vec<u8>,
        path: &mut PathBuf,
    ) -> usize {
        list.push("pushed".to_owned());
        *number += 1;
        bytes.reverse();
        path.push("b");
        list.len()
    }

    fn fill_slices(&self, numbers: &mut [i32], bytes: &mut [u8], paths: &mut [PathBuf]) {
        numbers.sort_unstable();
        bytes.fill(7);
        paths.swap(0, 1);
    }

    fn table(&self, table: [[u8; 40]; 3], paths: &[PathBuf; 2], last: &mut [[u16; 33]; 33]) -> [[u8; 40]; 3] {
        last[32][32] = paths.iter().map(|path| path.as_os_str().len() as u16).sum();
        table.map(|row| row.map(|value| value + 1))
    }

    fn turned(&self, mut paths: [PathBuf; 2]) -> Option<[PathBuf; 2]> {
        paths.reverse();
        Some(paths)
    }

    fn patterns(
        &self,
        mut number: i64,
        _: u8,
        (first, second): (u8, u8),
        Own(own): Own,
        ref name: String,
    ) -> String {
        number += 1;
        format!("{number} {first} {second} {own} {name}")
    }

    /// The names are those that generated code might have used, too.
    #[expect(clippy::too_many_arguments, reason = "so many there may be")]
    fn crowd(
        &self,
        handle: u8,
        call: u8,
        object: u8,
        result: u8,
        value: u8,
        came: u8,
        a0: u8,
        back0: u8,
        i: u8,
        j: u8,
        k: u8,
        l: u8,
        m: u8,
        n: u8,
        o: u8,
        p: u8,
        q: u8,
        list: &mut Vec<u8>,
    ) -> u32 {
        let all = [handle, call, object, result, value, came, a0, back0, i, j, k, l, m, n, o, p, q];
        list.extend(all);
        all.into_iter().map(u32::from).sum()
    }
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Own(pub(crate) String);

impl AsRef<Own> for Own {
    fn as_ref(&self) -> &Own {
        self
    }
}

fn forms() -> FormsBridge {
    let forms = FormsBridge::new();
    forms.start().unwrap();
    forms
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// A path that is no UTF-8.
pub(crate) fn odd() -> PathBuf {
    PathBuf::from(OsStr::from_bytes(b"/odd\xff"))
}

fn owned_arguments_cross() -> Outcome {
    let forms = forms();
    let said = forms.owned(7, "text".to_owned(), texts(&["a", "b"]), (-1, Some('c'))).unwrap();
    assert_eq!(said, r#"7 text ["a", "b"] (-1, Some('c'))"#);
    let map = BTreeMap::from([("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![3])]);
    assert_eq!(forms.owned_map(map).unwrap(), 6);
    Passed
}

fn borrowed_arguments_cross() -> Outcome {
    let forms = forms();
    let said = forms.borrowed("text", &texts(&["a"]), &9, &BTreeMap::from([(1, 2)])).unwrap();
    assert_eq!(said, r#"text ["a"] 9 {1: 2}"#);
    let (path, buf) = (Path::new("/p"), PathBuf::from("/q"));
    let said = forms.borrowed_others(path, &buf, OsStr::new("os"), c"c", &"s".to_owned()).unwrap();
    assert_eq!(said, "/p /q os c s");
    let pairs = vec![(1, vec![0; 3]), (2, vec![0; 4])];
    assert_eq!(forms.borrowed_of_paths(&[odd(), odd()], &pairs, &Some(odd())).unwrap(), 10 + 7 + 1);
    let other = graph::Path(vec![1]);
    assert_eq!(forms.other_path(&other).unwrap(), other);
    Passed
}

fn optional_and_clone_on_write_arguments_cross() -> Outcome {
    let forms = forms();
    let said = forms.optional(Some(&1), Some("t"), Some(&[2, 3]), Some(Path::new("p"))).unwrap();
    assert_eq!(said, r#"Some(1) Some("t") Some([2, 3]) Some("p")"#);
    assert_eq!(forms.optional(None, None, None, None).unwrap(), "None None None None");
    let said = forms.optional_others(Some(&[1]), Some(&PathBuf::from("q")), Some(odd())).unwrap();
    assert_eq!(said, r#"Some([1]) Some("q") Some("/odd\xFF")"#);
    let text = "t".to_owned();
    let said = forms.cow(Cow::Borrowed(&text), Cow::Borrowed(&[1, 2]), Cow::Owned(odd())).unwrap();
    assert_eq!(said, format!("t [1, 2] {}", odd().display()));
    Passed
}

fn arguments_of_any_fitting_type_are_converted_here() -> Outcome {
    let forms = forms();
    assert_eq!(forms.converted("t", "p", *b"\x01\x02").unwrap(), "t p [1, 2]");
    assert_eq!(forms.converted('c', OsString::from("p"), vec![]).unwrap(), "c p []");
    let said = forms.lending("p", "t".to_owned(), [1, 2], Own("own".to_owned())).unwrap();
    assert_eq!(said, "p t [1, 2] own");
    assert_eq!(forms.many([1, 2], texts(&["a", "b"]).into_iter()).unwrap(), (3, "ab".to_owned()));
    assert_eq!(forms.many((1..=3).filter(|n| n % 2 == 1), std::iter::empty()).unwrap(), (4, String::new()));
    // What can't be sent to another process is a text here.
    let here = std::rc::Rc::new(5);
    assert_eq!(forms.text(here, 'c').unwrap(), "5 c");
    Passed
}

fn arrays_of_any_length_and_depth_cross() -> Outcome {
    let forms = forms();
    let mut last = [[0; 33]; 33];
    assert_eq!(forms.table([[1; 40]; 3], &[odd(), odd()], &mut last).unwrap(), [[2; 40]; 3]);
    assert_eq!((last[32][32], last[32][31]), (10, 0));
    assert_eq!(forms.turned([odd(), PathBuf::new()]).unwrap(), Some([PathBuf::new(), odd()]));
    Passed
}

fn mutable_arguments_are_written_back() -> Outcome {
    let forms = forms();
    let (mut list, mut number, mut bytes, mut path) = (texts(&["a"]), 1, vec![1, 2, 3], odd());
    assert_eq!(forms.fill(&mut list, &mut number, &mut bytes, &mut path).unwrap(), 2);
    assert_eq!((list, number, bytes), (texts(&["a", "pushed"]), 2, vec![3, 2, 1]));
    assert_eq!(path, odd().join("b"));
    let (mut numbers, mut bytes, mut paths) = ([3, 1, 2], [0; 5000], [odd(), PathBuf::new()]);
    forms.fill_slices(&mut numbers[..], &mut bytes, &mut paths).unwrap();
    assert_eq!((numbers, bytes, paths), ([1, 2, 3], [7; 5000], [PathBuf::new(), odd()]));

    // Nothing is written back if there is no result.
    forms.process().kill().unwrap();
    let mut list = texts(&["a"]);
    let error = forms.fill(&mut list, &mut number, &mut Vec::new(), &mut PathBuf::new()).unwrap_err();
    assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
    assert_eq!((list, number), (texts(&["a"]), 2));
    Passed
}

fn patterns_and_many_arguments_cross() -> Outcome {
    let forms = forms();
    let said = forms.patterns(1, 0, (2, 3), Own("own".to_owned()), "n".to_owned()).unwrap();
    assert_eq!(said, "2 2 3 own n");
    let mut list = vec![0];
    let sum = forms.crowd(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, &mut list).unwrap();
    assert_eq!((sum, list), ((1..=17).sum(), (0..=17).collect()));
    Passed
}
