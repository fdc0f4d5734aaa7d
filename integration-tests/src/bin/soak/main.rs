//! `soak --seconds N [--seed S] [--only KIND,..]`: chaos, checked against a model.
//!
//! ```text
//! arguments   the command line
//! outer       runs the rest in a process of its own, and counts what comes to it as orphans
//! inner       actors, monkey, watch; what is left in the end
//!   stage     what the actors have in common
//!   actors/   who does what with processes
//!   faults    what harm is done to them, by the monkey of `common_ipc::testing`
//!   model/    what has to hold nevertheless
//! report      the table
//! ```

mod actors;
mod arguments;
mod faults;
mod inner;
mod model;
mod outer;
mod report;
mod stage;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use arguments::{Arguments, Refused};

fn main() -> ExitCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let result = match Arguments::read(std::env::args().skip(1), now.as_nanos() as u64 % 1_000_000_007) {
        Ok(arguments) if arguments.inner => inner::run(&arguments),
        Ok(arguments) => outer::run(&arguments),
        Err(Refused::Help) => {
            print!("{}", Refused::Help);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}
