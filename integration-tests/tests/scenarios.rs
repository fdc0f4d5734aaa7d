//! Every scenario that isn't one of the fault suite's, each in a process of its own, under a watchdog and the leak police.

use std::path::Path;
use std::process::ExitCode;

use integration_tests::suite::Suite;
use integration_tests::watchdog;

fn scenario() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_scenario"))
}

fn main() -> ExitCode {
    let mut suite = Suite::of_scenarios(scenario(), |name| !name.starts_with("fault_"));
    suite.test(
        "the_watchdog_and_the_police_see_what_they_are_for",
        the_watchdog_and_the_police_see_what_they_are_for,
    );
    let finished = suite.run();
    print!("{}", finished.skipped());
    if finished.has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn the_watchdog_and_the_police_see_what_they_are_for() {
    let unknown = watchdog::run(scenario(), &["no_such_scenario"]);
    assert_eq!(unknown.status.code(), Some(2));
    // Side by side, since each is given its time to go away.
    std::thread::scope(|scope| {
        for (kind, word) in [
            ("child", "a child:"),
            ("descriptor", "a descriptor:"),
            ("shm", "shared memory:"),
            ("template", "a child: tmpl:"),
            ("zygote", "a child: mp-zygote"),
        ] {
            scope.spawn(move || {
                let ran = watchdog::run(scenario(), &["program_that_leaks", kind]);
                assert_eq!(ran.status.code(), Some(1), "{kind}: {ran:?}");
                assert!(ran.stderr.contains(word), "{kind}: {ran:?}");
            });
        }
    });
}
