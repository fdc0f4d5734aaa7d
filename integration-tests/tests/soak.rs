//! The soak, for some seconds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use integration_tests::{stress_factor, watchdog};

fn soak(arguments: &[&str]) -> watchdog::Ran {
    watchdog::run(Path::new(env!("CARGO_BIN_EXE_soak")), arguments)
}

fn must_be_right(seconds: u32, more: &[&str]) {
    let seconds = (seconds * stress_factor()).to_string();
    let ran = soak(&[&["--seconds", &seconds], more].concat());
    assert_eq!(ran.status.code(), Some(0), "--- stdout\n{}\n--- stderr\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("all is right"), "{}", ran.stdout);
}

#[test]
fn fault_47_all_kinds_together_are_right_whoever_dies() {
    must_be_right(6, &[]);
}

/// What could not be started because there were no descriptors has not begun, nor will it.
#[test]
fn fault_47_starts_without_descriptors_say_the_truth() {
    must_be_right(4, &["--only", "tasks,pools", "--seed", "2"]);
}

#[test]
fn wrong_use_is_told() {
    for arguments in [&["--only", "nothing"][..], &["--seconds", "soon"]] {
        let ran = soak(arguments);
        assert_eq!(ran.status.code(), Some(2), "{ran:?}");
        assert!(ran.stderr.contains("--help"), "{ran:?}");
    }
    let help = soak(&["--help"]);
    assert!(
        help.status.success() && help.stdout.contains("--seed") && help.stdout.contains("managers"),
        "{help:?}"
    );
}
