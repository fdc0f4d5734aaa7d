//! Every form of a result, from an object to here.
#![allow(clippy::ptr_arg, reason = "that is one of the forms")]

use std::ffi::{CString, OsStr, OsString};
use std::num::ParseIntError;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use cross_process_bridge::{RemoteError, bridge};

use crate::Outcome::{self, Passed};
use crate::bridge::shapes::{Own, odd};

scenarios![
    long_bytes_and_arrays_cross,
    paths_that_are_no_text_cross,
    results_of_every_form_cross,
    errors_cross_as_data_or_as_what_they_say,
];

/// Returns what it is asked for.
struct Results {
    calls: u32,
}

#[bridge]
impl Results {
    fn new() -> Self {
        Results { calls: 0 }
    }

    fn bytes(&self, owned: Vec<u8>, lent: &[u8], vec: &Vec<u8>) -> Vec<u8> {
        [&owned[..], lent, vec].concat()
    }

    fn array(&self, array: [u16; 100], lent: &[u8; 64]) -> [u16; 100] {
        array.map(|number| number + u16::from(lent[63]))
    }

    fn join(&self, path: PathBuf, below: &Path) -> PathBuf {
        path.join(below)
    }

    fn split(&self, path: &Path) -> (usize, Vec<PathBuf>, Option<OsString>) {
        let all: Vec<PathBuf> = path.iter().map(PathBuf::from).collect();
        (all.len(), all, path.file_name().map(OsString::from))
    }

    fn maybe_path(&self, path: Option<PathBuf>) -> Option<PathBuf> {
        path
    }

    fn checked_path(&self, path: &Path) -> Result<PathBuf, String> {
        if path.is_absolute() { Ok(path.to_owned()) } else { Err("relative".to_owned()) }
    }

    fn aliased(&self, ok: bool) -> Result<Vec<u8>> {
        if ok { Ok(vec![1, 2]) } else { Err(7) }
    }

    fn nothing(&mut self) {
        self.calls += 1;
    }

    fn c_text(&self) -> CString {
        c"text".to_owned()
    }

    fn parse(&self, text: &str) -> Result<i32, Own> {
        text.parse().map_err(|_| Own(text.to_owned()))
    }

    #[bridge(remote_error)]
    fn parse_remotely(&self, text: &str) -> Result<i32, ParseIntError> {
        text.parse()
    }

    #[bridge(remote_error)]
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    #[bridge(remote_error)]
    fn boxed(&self, text: &str) -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
        text.parse::<u8>()?;
        Ok(vec![PathBuf::from(text)])
    }

    #[bridge(remote_error)]
    fn only_debug(&self) -> Result<(), OnlyDebug> {
        Err(OnlyDebug)
    }

    fn count(&self) -> u32 {
        self.calls
    }
}

/// An alias, as many crates have one.
type Result<T, E = u8> = std::result::Result<T, E>;

#[derive(Debug)]
struct OnlyDebug;

fn results() -> ResultsBridge {
    let results = ResultsBridge::new();
    results.start().unwrap();
    results
}

fn long_bytes_and_arrays_cross() -> Outcome {
    let results = results();
    for length in [0, 1, 5_000, 3_000_000] {
        let part = vec![length as u8; length];
        assert_eq!(results.bytes(part.clone(), &part, &part).unwrap(), vec![length as u8; 3 * length]);
    }
    assert_eq!(results.array([1; 100], &[2; 64]).unwrap(), [3; 100]);
    Passed
}

fn paths_that_are_no_text_cross() -> Outcome {
    let results = results();
    let path = results.join(odd(), Path::new(OsStr::from_bytes(b"\xfe"))).unwrap();
    assert_eq!(path.as_os_str().as_bytes(), b"/odd\xff/\xfe");
    let (count, all, last) = results.split(&path).unwrap();
    assert_eq!((count, &all[1]), (3, &PathBuf::from(OsStr::from_bytes(b"odd\xff"))));
    assert_eq!(last.unwrap().as_bytes(), b"\xfe");
    assert_eq!(results.maybe_path(Some(odd())).unwrap(), Some(odd()));
    assert_eq!(results.maybe_path(None).unwrap(), None);
    assert_eq!(results.checked_path(&odd()).unwrap().unwrap(), odd());
    Passed
}

fn results_of_every_form_cross() -> Outcome {
    let results = results();
    results.nothing().unwrap();
    assert_eq!(results.count().unwrap(), 1);
    assert_eq!(results.aliased(true).unwrap(), Ok(vec![1, 2]));
    assert_eq!(results.aliased(false).unwrap(), Err(7));
    assert_eq!(results.c_text().unwrap().as_c_str(), c"text");
    assert_eq!(results.checked_path(Path::new("r")).unwrap().unwrap_err(), "relative");
    Passed
}

fn errors_cross_as_data_or_as_what_they_say() -> Outcome {
    let results = results();
    assert_eq!(results.parse("5").unwrap(), Ok(5));
    assert_eq!(results.parse("five").unwrap(), Err(Own("five".to_owned())));
    assert_eq!(results.parse_remotely("5").unwrap().unwrap(), 5);
    let error: RemoteError = results.parse_remotely("five").unwrap().unwrap_err();
    assert_eq!(error.to_string(), "invalid digit found in string");
    assert!(results.read(Path::new("/proc/self/comm")).unwrap().unwrap().starts_with(b"Results"));
    let error = results.read(Path::new("/nowhere")).unwrap().unwrap_err();
    assert_eq!(error.type_name(), "std::io::error::Error");
    assert_eq!(results.boxed("7").unwrap().unwrap(), [PathBuf::from("7")]);
    let error = results.boxed("seven").unwrap().unwrap_err();
    assert!(error.type_name().contains("Box<dyn") && error.message().contains("invalid digit"));
    assert_eq!(results.only_debug().unwrap().unwrap_err().message(), "OnlyDebug");
    Passed
}
