//! `scenario NAME` plays a scenario in this process, which has one thread; `scenario --list` names
//! them all, and `scenario --list of_tasks` those that need the feature `tokio`.
//! Exit code 0: it passed and left nothing behind; 77: it can't be played here, for the reason that is
//! printed; anything else: it failed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scenario fails by panicking")]
#![allow(clippy::zombie_processes, reason = "grandchildren that nobody waits for are what some are about")]

use common_ipc::testing::LeakPolice;
use integration_tests::{raw, watchdog};
use nix::sys::signal::Signal;

/// Scenarios as a table of their names.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        pub(crate) const ALL: &[$crate::Scenario] = &[$((stringify!($name), $name)),*];
    };
}

mod bridge;
mod faults;
mod injected;
mod link;
mod logs;
mod main_loop;
mod manager;
mod message;
mod offspring;
mod pkit;
mod processes;
mod security;
mod servers;
mod sync;
mod together;
mod workers;

/// What became of a scenario that didn't panic.
enum Outcome {
    Passed,
    /// Why it can't be played here.
    Skipped(&'static str),
}

type Scenario = (&'static str, fn() -> Outcome);

fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    let tables = [
        bridge::TABLES,
        faults::TABLES,
        injected::TABLES,
        link::TABLES,
        logs::TABLES,
        main_loop::TABLES,
        manager::TABLES,
        message::TABLES,
        offspring::TABLES,
        pkit::TABLES,
        processes::TABLES,
        security::TABLES,
        servers::TABLES,
        sync::TABLES,
        together::TABLES,
        workers::TABLES,
    ];
    tables.into_iter().flatten().copied().flatten()
}

/// Of back ends, workers and others in tasks of a tokio runtime.
fn of_tasks() -> impl Iterator<Item = &'static Scenario> {
    #[cfg(feature = "tokio")]
    let tables = [
        message::asynchronous::ALL,
        processes::asynchronous::ALL,
        together::asynchronous::ALL,
        workers::asynchronous::ALL,
    ];
    #[cfg(not(feature = "tokio"))]
    let tables: [&[Scenario]; 0] = [];
    tables.into_iter().flatten()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = arguments.first() else {
        eprintln!("usage: scenario NAME | scenario --list");
        std::process::exit(2);
    };
    if name == "--list" {
        let of_tasks_alone = arguments.get(1).is_some_and(|which| which == "of_tasks");
        let others = scenarios().take(if of_tasks_alone { 0 } else { usize::MAX });
        for (name, _) in others.chain(of_tasks()) {
            println!("{name}");
        }
        return;
    }
    if processes::programs::run(name, &arguments[1..])
        || servers::programs::run(name, &arguments[1..])
        || logs::programs::run(name)
        || together::programs::play(name, &arguments[1..])
        || workers::programs::run(name)
        || security::secrets::run(name, &arguments[1..])
    {
        return;
    }
    let Some((_, play)) = scenarios().chain(of_tasks()).find(|(known, _)| known == name) else {
        eprintln!("there is no scenario {name}; try --list");
        std::process::exit(2);
    };
    // Whoever runs the tests may have had it ignored (nohup), which children leave as it is.
    raw::ignore_signal(Signal::SIGHUP, false);
    let before = LeakPolice::new();
    let outcome = play();
    if let Err(leaks) = before.check(watchdog::CLEARING_UP) {
        eprintln!("{name} left behind:\n{leaks}");
        std::process::exit(1);
    }
    if let Outcome::Skipped(why) = outcome {
        println!("{why}");
        std::process::exit(watchdog::SKIPPED);
    }
}
