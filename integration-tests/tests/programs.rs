//! Programs whose output is looked at from outside. (Those that a row of the fault table is about are in `faults`.)
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use integration_tests::watchdog::{self, Ran};

fn run(arguments: &[&str]) -> Ran {
    watchdog::run(Path::new(env!("CARGO_BIN_EXE_scenario")), arguments)
}

#[test]
fn a_task_that_nobody_waits_for_prints_all_the_same() {
    let ran = run(&["program_that_does_not_wait"]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(ran.stdout, "This will always print\n");
}

#[test]
fn a_task_that_is_waited_for_has_a_head_start_over_the_exit() {
    for _ in 0..10 {
        let ran = run(&["program_that_exits_at_once"]);
        assert!(ran.status.success(), "{ran:?}");
        assert_eq!(ran.stdout, "This will always print\n");
    }
}

#[test]
fn standard_streams_can_be_crossed() {
    let ran = run(&["program_with_crossed_streams"]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("to the output\n", "to the error\n"));
}

#[test]
fn lines_of_several_processes_never_mix() {
    let ran = run(&["program_with_plain_lines"]);
    assert!(ran.status.success(), "{ran:?}");
    let of =
        |name: &str| ran.stderr.lines().filter(|line| line.starts_with(&format!("Class.{name} - "))).count();
    assert_eq!([of("one"), of("two"), of("copy"), of("program")], [500, 500, 500, 501]);
    for line in ran.stderr.lines().filter(|line| line.contains("WARNING")) {
        let (number, rest) = line.split(" - WARNING - ").nth(1).unwrap().split_once(' ').unwrap();
        assert_eq!(rest, "x".repeat(number.parse::<usize>().unwrap() % 100), "{line}");
    }
    assert!(ran.stderr.contains("\nClass.program - DEBUG - last\n"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("nobody reads this"));
}
