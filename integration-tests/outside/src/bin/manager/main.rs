//! `manager [--seconds N] [--chaos]`: five workers in processes of their own, which fill frames in memory that they
//! share with the program. One loop hears of their events and their ends, of clients (each of which is sent one line of
//! JSON), of the time and of signals: SIGHUP prints statistics, SIGINT and SIGTERM end the program. A worker that dies is
//! started again, and one that doesn't answer for 3 s is replaced.
//!
//! With `--seconds` it ends by itself; with `--chaos` it kills, stops and continues its workers all the time. Exit code
//! 1 if anything is wrong:
//!
//! - each event is of the frame that was asked for, which is complete,
//! - none is lost or comes twice, in any run of a worker,
//! - each request has the answer to itself, or an error that a death or a stop explains,
//! - the loop comes round at least every 10 s (if it doesn't, the program says so and aborts),
//! - no process is left in the end.

mod ask;
mod chaos;
mod managed;
mod manager;
mod tally;
mod worker;

use std::process::ExitCode;

use multiprocess::MainContext;
use multiprocess::valkka_multiprocess::logging::{LevelFilter, format_logger};

use crate::manager::{Error, Manager};

fn main() -> Result<ExitCode, Error> {
    // There are threads when workers are started again.
    multiprocess::init()?;
    format_logger(LevelFilter::Warn)?;
    let (mut seconds, mut has_chaos) = (None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--chaos" => has_chaos = true,
            "--seconds" => seconds = Some(arguments.next().ok_or("--seconds N")?.parse()?),
            _ => return Err(format!("--seconds N and --chaos, not {argument}").into()),
        }
    }

    let mut manager = Manager::new(seconds, has_chaos)?;
    manager.run()?;
    let tally = manager.tally();
    println!("{tally}");
    tally.print_wrong();
    let left = multiprocess::active_children();
    left.iter().for_each(|child| println!("LEFT: {child:?}"));
    Ok(if tally.is_right() && left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
