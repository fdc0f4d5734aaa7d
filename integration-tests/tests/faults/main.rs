//! The fault suite: each row of FAULTS.md, and how many of them hold.
//!
//! All scenarios that begin with `fault_`, each in a process of its own, under a watchdog and the leak police; programs
//! whose ends are looked at from outside; and some that don't compile. `cargo test -p integration-tests --test faults fault_13` runs those
//! of one row, `-- --list` names all.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compile_fail;
mod programs;

use std::path::Path;
use std::process::ExitCode;

use integration_tests::faults;
use integration_tests::suite::Suite;

fn main() -> ExitCode {
    let scenario = Path::new(env!("CARGO_BIN_EXE_scenario"));
    let mut suite = Suite::of_scenarios(scenario, |name| name.starts_with("fault_"));
    for (name, test) in programs::ALL {
        suite.test(name, test);
    }
    suite.ignorable_test(
        "fault_53_what_borrows_memory_does_not_outlive_it",
        compile_fail::fault_53_what_borrows_memory_does_not_outlive_it,
    );
    let finished = suite.run();
    if finished.outcomes.is_empty() {
        return ExitCode::SUCCESS;
    }
    let rows = faults::rows().into_keys().collect();
    let verdict = faults::verdict(&rows, &finished.outcomes, finished.is_complete);
    println!("{}\n{}", verdict.text, finished.skipped());
    if finished.is_complete {
        println!(
            "(The crates' own tests of rows, {} more, aren't among them.)\n",
            faults::of_the_crates().len()
        );
    }
    if verdict.holds && !finished.has_failed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
