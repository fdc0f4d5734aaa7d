//! The example `count_words` counts what another program does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where `cargo test` has built it, beside this test.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/count_words");
    assert!(
        path.exists(),
        "it isn't built: cargo test -p pkit builds it, and --test count_words alone doesn't"
    );
    path
}

fn run(arguments: &[&str]) -> Output {
    Command::new(example()).args(arguments).output().unwrap()
}

/// What it printed, after the times.
fn counted(ran: &Output) -> String {
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    let printed = String::from_utf8(ran.stdout.clone()).unwrap();
    let (times, counts) = printed.split_once("\n\n").unwrap();
    assert!(times.contains("1 thread") && times.contains("processes"), "{printed}");
    counts.to_owned()
}

/// What it must print of this text.
fn expected(text: &str) -> String {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    text.split_whitespace().for_each(|word| *counts.entry(word).or_default() += 1);
    let mut rows: Vec<_> = counts.iter().map(|(word, number)| (u64::MAX - number, *word)).collect();
    rows.sort_unstable();
    let mut lines = format!("{:>10} words, {} different ones\n", counts.values().sum::<u64>(), counts.len());
    for (_, word) in rows.into_iter().take(10) {
        lines += &format!("{:>10} {word}\n", counts[word]);
    }
    lines
}

#[test]
fn it_counts_what_there_is() {
    let file = std::env::temp_dir().join(format!("pkit-count_words-{}", std::process::id()));
    let name = file.to_str().unwrap();
    let long: String = (0..40_000_u32).map(|n| format!("{} of{} naïve\n", n % 37, n / 977)).collect();
    let texts = ["", "\n", "one", " one\ttwo two \n\n two", &"no-end-of-line ".repeat(10_000), &long];
    for text in texts {
        fs::write(&file, text).unwrap();
        for options in [&["--jobs", "1"][..], &["--jobs", "3", "--chunk", "1"], &[]] {
            let ran = run(&[options, &[name]].concat());
            assert_eq!(counted(&ran), expected(text), "{options:?}");
        }
    }
    // Bytes that aren't text are counted as they are, and printed as far as they can be.
    fs::write(&file, b"\xff\xfe \x1b[31m \xff\xfe").unwrap();
    let printed = counted(&run(&[name]));
    assert!(printed.contains("3 words, 2 different ones") && !printed.contains('\x1b'), "{printed}");
    fs::remove_file(&file).unwrap();
}

#[test]
fn it_makes_the_same_text_each_time() {
    let of_chunks = |kib| counted(&run(&["--size", "1", "--jobs", "2", "--chunk", kib]));
    let counts = of_chunks("16");
    assert_eq!(counts.lines().count(), 11, "{counts}");
    assert!(counts.lines().nth(1).unwrap().ends_with(" the"), "{counts}");
    assert_eq!(counts, of_chunks("100000"));
}

#[test]
fn exit_codes_say_what_happened() {
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"usage: count_words"), "{help:?}");
    for wrong in [&["--nonsense"][..], &["--jobs"], &["--jobs", "0"], &["--size", "many"], &["one", "other"]]
    {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    for (unreadable, why) in [("/nonexistent/file", "No such file"), ("/", "Is a directory")] {
        let ran = run(&[unreadable]);
        assert_eq!(ran.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ran.stderr).contains(why), "{ran:?}");
    }
}
