//! `init_before_main!` in a file of tests: zygotes beside the threads of the test harness.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use multiprocess::process::{Launch, Refusal};
use multiprocess::{LaunchOptions, StartError, Zygote};

multiprocess::init_before_main!();

#[test]
fn children_are_started_beside_the_harness() {
    let options = LaunchOptions::new();
    let forked = Launch::new(&options).start(|| ());
    assert!(matches!(forked, Err(StartError::Refused(Refusal::OtherThreads { .. }))), "{forked:?}");
    let child = Launch::new(&options).start_in(&Zygote::global(), |n: u32| n + 1, &41).unwrap();
    assert_eq!(child.output::<u32>().unwrap(), 42);
}

#[test]
fn init_may_be_called_again() {
    multiprocess::init().unwrap();
    offspring::init().unwrap();
}
