//! The example `word_count` counts what can be counted, and says why the rest can't.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// As `cargo test` has built it, beside this test.
fn run(arguments: &[&str]) -> Output {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/word_count");
    assert!(
        path.exists(),
        "it isn't built: cargo test -p offspring builds it, and --test word_count alone doesn't"
    );
    Command::new(path).args(arguments).output().unwrap()
}

#[test]
fn its_samples_are_counted_or_fail_as_they_must() {
    let ran = run(&[]);
    let said = String::from_utf8(ran.stdout.clone()).unwrap();
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(said.matches("failed:").count(), 3, "{said}");
    assert!(said.contains("never-ends.fifo      failed: took longer"), "{said}");
    assert!(said.contains("fork.txt") && said.contains("copy 20000"), "{said}");
}

#[test]
fn files_are_counted_each_alone() {
    let folder = std::env::temp_dir().join(format!("offspring-word_count-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("one"), "Three words, three\n").unwrap();
    fs::write(folder.join("two"), [0xff]).unwrap();
    let ran = run(&[folder.to_str().unwrap()]);
    fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8(ran.stdout.clone()).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(said.contains("3 words: three 2, words 1"), "{said}");
    assert!(said.contains("two                  failed:"), "{said}");
    assert_eq!(run(&["--nothing"]).status.code(), Some(2));
}
