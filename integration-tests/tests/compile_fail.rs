//! Mistakes that the compiler finds, and what it says: the texts beside the programs in `compile_fail/`.
//!
//! They are those of one compiler: another one may word its messages in another way, and is skipped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

const COMPILER: &str = "rustc 1.95";

#[test]
fn mistakes_are_explained() {
    let version = Command::new("rustc").arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(COMPILER) {
        println!("SKIPPED: the texts are those of {COMPILER}, and this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    // What can't go to a zygote.
    cases.compile_fail("tests/compile_fail/*.rs");
    // What can't be bridged: nearly all texts are the macro's own.
    cases.compile_fail("tests/compile_fail/bridge/*.rs");
    // Of these the compiler says more if there are asynchronous twins, as in a build of all with the feature `tokio`.
    cases.compile_fail("tests/compile_fail/bridge/bounds/*.rs");
}
