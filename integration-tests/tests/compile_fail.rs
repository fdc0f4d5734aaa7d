//! Mistakes that the compiler finds, and what it says: the texts beside the programs in `compile_fail/`.
//!
//! They are those of one compiler: another one may word its messages in another way, and is skipped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

const COMPILER: &str = "rustc 1.95";

#[test]
fn what_cannot_go_to_a_zygote_does_not_compile() {
    let version = Command::new("rustc").arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(COMPILER) {
        println!("SKIPPED: the texts are those of {COMPILER}, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
