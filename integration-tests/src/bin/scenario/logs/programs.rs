//! Programs whose log is looked at from outside.

use std::io::Write;
use std::time::Duration;

use common_ipc::logging;
use common_ipc::process::{AtExit, Launch, LaunchOptions};
use integration_tests::raw;
use log::{LevelFilter, Log, Metadata, Record};

use crate::logs::collector::log_numbers;
use crate::processes::children::start;

/// Runs the program of this name, if there is one.
pub(crate) fn run(name: &str) -> bool {
    match name {
        "program_that_exits_while_its_child_logs" => exits_while_its_child_logs(),
        "program_that_ends_its_children_as_they_log" => ends_its_children(),
        "program_with_plain_lines" => plain_lines(),
        _ => return false,
    }
    true
}

/// Writes to standard output, late: what isn't flushed is lost.
struct Writes;

static PENDING: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());

impl Log for Writes {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        writeln!(PENDING.lock().unwrap(), "{}", record.args()).unwrap();
    }

    fn flush(&self) {
        let pending = std::mem::take(&mut *PENDING.lock().unwrap());
        // Standard output's own buffer is gone at the program's exit.
        let mut rest = &pending[..];
        while !rest.is_empty() {
            let written = nix::unistd::write(std::io::stdout(), rest).unwrap();
            rest = &rest[written..];
        }
    }
}

/// Its last record is from after the return of `main`.
fn exits_while_its_child_logs() {
    logging::install(Box::new(Writes)).unwrap();
    log::set_max_level(LevelFilter::Info);
    let options = LaunchOptions::new();
    let launch = Launch::new(&options).at_exit(AtExit::Wait).wait_until_ready(true);
    drop(launch.start(|| log_numbers(2000)).unwrap());
}

/// It ends by `exit` while they log; they are asked to stop.
fn ends_its_children() {
    logging::install(Box::new(Writes)).unwrap();
    log::set_max_level(LevelFilter::Info);
    let children: Vec<_> = ["a", "b"]
        .map(|name| {
            start(move || -> () {
                for number in 0u64.. {
                    log::info!("{name} {number}");
                }
            })
        })
        .into();
    while PENDING.lock().unwrap().len() < 1000 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(children);
    std::process::exit(3);
}

/// Several processes that write lines to the same standard error.
fn plain_lines() {
    valkka_multiprocess::format_logger(LevelFilter::Info).unwrap();
    let log = |name: &str| {
        for number in 0..500 {
            let target = format!("Class.{name}");
            log::warn!(target: &target, "{number} {}", "x".repeat(number % 100));
            log::debug!("nobody reads this");
        }
    };
    let copy = raw::fork(|| {
        log("copy");
        0
    });
    let children = ["one", "two"].map(|name| start(move || log(name)));
    log("program");
    children.iter().for_each(|child| assert!(child.wait().unwrap().success()));
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(copy), None).unwrap();
    // Only the level: there is one logger.
    valkka_multiprocess::format_logger(LevelFilter::Debug).unwrap();
    log::debug!(target: "Class.program", "last");
}
