//! The example `checksum` prints what `sha256sum` does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where `cargo test` has built it, beside this test.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/checksum");
    assert!(path.exists(), "it isn't built: cargo test -p pkit builds it, and --test checksum alone doesn't");
    path
}

fn run(arguments: &[&str]) -> Output {
    Command::new(example()).args(arguments).output().unwrap()
}

fn lines(text: &[u8]) -> BTreeSet<&[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect()
}

/// One process, and another program.
fn sha256sum(directory: &str) -> Vec<u8> {
    let found =
        Command::new("find").args([directory, "-type", "f", "-exec", "sha256sum", "{}", "+"]).output();
    let found = found.unwrap();
    assert!(found.status.success(), "{found:?}");
    found.stdout
}

#[test]
fn it_prints_what_one_process_computes() {
    let directory = std::env::temp_dir().join(format!("pkit-checksum-{}", std::process::id()));
    fs::create_dir_all(directory.join("below")).unwrap();
    fs::write(directory.join("empty"), b"").unwrap();
    fs::write(directory.join("large"), vec![7; 3_000_000]).unwrap();
    for number in 0..20 {
        fs::write(directory.join("below").join(format!("{number} a\\b\n")), number.to_string()).unwrap();
    }
    let name = directory.to_str().unwrap();
    let expected = sha256sum(name);
    for jobs in ["1", "2", "7"] {
        let ran = run(&["--jobs", jobs, name]);
        assert!(ran.status.success(), "{ran:?}");
        assert_eq!(lines(&ran.stdout), lines(&expected));
        assert_eq!(lines(&ran.stdout).len(), 22);
        assert!(ran.stderr.is_empty(), "{ran:?}");
    }
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn it_has_files_without_an_argument() {
    let ran = run(&[]);
    assert!(ran.status.success() && !ran.stdout.is_empty(), "{ran:?}");
    assert_eq!(lines(&ran.stdout), lines(&sha256sum(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))));
}

#[test]
fn exit_codes_say_what_happened() {
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"usage: checksum"), "{help:?}");
    assert_eq!(run(&["--nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["--jobs"]).status.code(), Some(2));
    let nowhere = run(&["/nonexistent/directory"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("No such file"), "{nowhere:?}");
    // Files that are there, and that can't be read as a rule, by whomever.
    let directory = "/proc/self/attr";
    let files = || fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let all_read = Path::new(directory).exists()
        && files().filter(|path| path.is_file()).all(|path| fs::read(path).is_ok());
    assert_eq!(run(&[directory]).status.success(), all_read);
}
