//! The example `untrusted_parser` survives whatever it is given, and tells what became of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod examples;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;

use flate2::Compression;
use flate2::write::GzEncoder;

use examples::{Example, example, run, stderr, stdout};

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// What became of a file, and why.
fn outcome(ran: &Output, name: &str) -> (String, String) {
    let output = stdout(ran);
    let line = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {name} in {output}")).trim_start();
    let (word, reason) = line.split_once("  ").unwrap();
    (word.trim().to_owned(), reason.trim().to_owned())
}

#[test]
fn hostile_samples_end_as_they_should() {
    let ran = run("untrusted_parser", &[]);
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    let parsed = outcome(&ran, "good.json.gz");
    assert_eq!(parsed.0, "parsed");
    assert!(parsed.1.contains("1000 strings, 500 numbers"), "{parsed:?}");
    assert_eq!(outcome(&ran, "truncated.json.gz").0, "invalid");
    assert_eq!(outcome(&ran, "spaces.json.gz").0, "too slow");
    // After all of these.
    assert_eq!(outcome(&ran, "good.json"), parsed);
}

#[test]
fn the_parser_has_next_to_no_rights() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "[null]").unwrap();
    let ran = run("untrusted_parser", &[file.to_str().unwrap()]);
    assert!(ran.status.success(), "{ran:?}");
    let output = stdout(&ran);
    let user = if is_root() { "as user 65534, another user," } else { "this program's own user," };
    assert!(output.contains(user) && output.contains(", in /\n"), "{output}");
    assert!(output.contains("environment variables: 0\n"), "{output}");
    assert!(output.contains("it can't open a file: Too many open files"), "{output}");
    assert!(output.contains("it can't start a thread: "), "{output}");
}

#[test]
fn one_bad_file_is_one_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let deep = "[".repeat(100_000);
    // Twelve million numbers, of 32 bytes each in memory.
    let numbers = format!("[{}0]", "1,".repeat(12_000_000));
    let files = [
        ("first", gzip(r#"{"a": [1, 2.5, "three", null, true]}"#)),
        ("deep", gzip(&deep)),
        ("numbers", gzip(&numbers)),
        ("twice", gzip("").repeat(3)),
        ("last", b"[[[0]]] ".to_vec()),
    ];
    for (name, bytes) in &files {
        fs::write(path(name), bytes).unwrap();
    }
    File::create(path("long")).unwrap().set_len((16 << 20) + 1).unwrap();
    File::create(path("longest")).unwrap().set_len(16 << 20).unwrap();
    let names = ["first", "deep", "numbers", "twice", "missing", "long", "longest", "last"].map(path);
    let arguments: Vec<&str> =
        ["--timeout", "600"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let ran = run("untrusted_parser", &arguments);
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    let outcome = |name: &str| outcome(&ran, &path(name));
    let first = outcome("first");
    assert_eq!(first.1, "1 objects, 1 arrays, 1 strings, 2 numbers, 2 words, 3 deep");
    let (word, reason) = outcome("deep");
    // By the kernel, or by the handler that tells a stack overflow from other faults.
    assert!(word == "died" && (reason.contains("SIGSEGV") || reason.contains("SIGABRT")), "{reason}");
    let (word, reason) = outcome("numbers");
    assert!(word == "died" && reason.contains("SIGABRT") && reason.contains("want of memory"), "{reason}");
    assert_eq!(outcome("twice").0, "invalid");
    assert_eq!(outcome("missing").0, "unread");
    assert_eq!(outcome("long"), ("unread".to_owned(), "more than 16777216 bytes".to_owned()));
    // As long as may be: it gets there.
    assert_eq!(outcome("longest").0, "invalid");
    assert_eq!(outcome("last").1, "0 objects, 3 arrays, 0 strings, 1 numbers, 0 words, 4 deep");

    let good = run("untrusted_parser", &[&path("first"), &path("last")]);
    assert!(good.status.success(), "{good:?}");
}

#[test]
fn a_plain_user_can_run_it() {
    if !is_root() {
        return;
    }
    // Where the user can get at it.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("untrusted_parser");
    fs::copy(example("untrusted_parser"), &program).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "[]").unwrap();
    let run_as_nobody = |file: &Path| {
        let mut it = Example::new(&program, &[file.to_str().unwrap()]);
        it.command.uid(65534).gid(65534);
        it.run()
    };
    let ran = run_as_nobody(&file);
    assert!(ran.status.success(), "{ran:?}");
    assert!(stdout(&ran).contains("this program's own user"), "{ran:?}");
    assert_eq!(outcome(&ran, file.to_str().unwrap()).0, "parsed");
    fs::write(&file, "[".repeat(100_000)).unwrap();
    assert_eq!(run_as_nobody(&file).status.code(), Some(2));
}

#[test]
fn wrong_arguments_are_told() {
    let help = run("untrusted_parser", &["--help"]);
    assert!(help.status.success() && stdout(&help).starts_with("usage: untrusted_parser"), "{help:?}");
    for wrong in [&["--nonsense"][..], &["--memory"], &["--memory", "0"], &["--timeout", "soon"]] {
        let ran = run("untrusted_parser", wrong);
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        assert!(stderr(&ran).contains(wrong[0]), "{ran:?}");
    }
    // Too little for anything.
    let starved = run("untrusted_parser", &["--memory", "1"]);
    assert_eq!(starved.status.code(), Some(1), "{starved:?}");
}
