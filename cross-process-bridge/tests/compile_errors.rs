//! What can't be bridged, and what is said of it: the texts beside the programs in `compile_errors/`.
//!
//! Nearly all texts are the macro's own. How they are laid out is the compiler's matter: another one than this is
//! skipped.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

const COMPILER: &str = "rustc 1.95";

#[test]
fn what_cannot_be_bridged_is_explained() {
    let version = Command::new("rustc").arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(COMPILER) {
        println!("SKIPPED: the texts are those of {COMPILER}, and this is {version}");
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_errors/*.rs");
    // Of these the compiler says more if there are asynchronous twins.
    if cfg!(not(feature = "tokio")) {
        cases.compile_fail("tests/compile_errors/bounds/*.rs");
    }
}
