//! A contact sheet: one picture with a small tile for each picture below a folder, as one would make it of pictures that
//! one doesn't trust. Each is decoded by a worker process that may have so much memory and time, and no files; one that is
//! broken, a bomb, or no picture at all costs its own tile, on which is said why.
//!
//! `cargo run --release --example contact_sheet -- DIR OUT.png`; without arguments it makes a folder of samples, hostile
//! ones among them, and a sheet of those. `--help` says the rest.
//!
//! ```text
//! settings    what is asked for
//! samples     the folder of samples
//! files       which files there are, and what is in them
//! decode      what a worker does                          (in a process of its own)
//!   reason      why there is no picture
//! run         all of it: files to workers, tiles to the sheet
//!   chaos       workers killed at random, if one wants to see that
//! sheet       tiles as rows of a PNG
//!   text        letters
//! summary     what came of it
//! ```

mod chaos;
mod decode;
mod files;
mod reason;
mod run;
mod samples;
mod settings;
mod sheet;
mod summary;
mod text;

use std::error::Error;
use std::fmt::Display;
use std::io::{Write, stdout};
use std::process::ExitCode;

use crate::settings::{HELP, Settings};
use crate::summary::Summary;

/// As a shell says of a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let settings = match Settings::of_arguments(std::env::args_os().skip(1)) {
        Ok(Some(settings)) => settings,
        Ok(None) => return ended(say(HELP).map(|()| ExitCode::SUCCESS)),
        Err(problem) => {
            eprintln!("contact_sheet: {problem}; see --help");
            return ExitCode::FAILURE;
        }
    };
    ended(if settings.paths.is_none() { of_samples(&settings) } else { of_folder(&settings) })
}

fn ended(outcome: Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("contact_sheet: {error}");
        ExitCode::FAILURE
    })
}

/// A line on standard output, which may be full.
fn say(line: impl Display) -> Result<(), Box<dyn Error>> {
    let mut out = stdout().lock();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    said.map_err(|error| format!("standard output: {error}").into())
}

fn of_folder(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    let Some((folder, out)) = &settings.paths else { return Ok(ExitCode::FAILURE) };
    let Some(summary) = run::run(settings, folder, out)? else { return Ok(ExitCode::from(INTERRUPTED)) };
    say(&summary)?;
    Ok(if summary.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Some of the samples are meant to fail, each alone.
fn of_samples(settings: &Settings) -> Result<ExitCode, Box<dyn Error>> {
    let samples = samples::make()?;
    let out = std::env::temp_dir().join("contact_sheet.png");
    let summary = say(format_args!("samples, removed at the end, in {}", samples.folder.display()))
        .and_then(|()| run::run(settings, &samples.folder, &out));
    std::fs::remove_dir_all(&samples.folder)?;
    let Some(summary) = summary? else { return Ok(ExitCode::from(INTERRUPTED)) };
    say(&summary)?;
    if summary.decoded == samples.good && summary.failed() == samples.hostile {
        return Ok(ExitCode::SUCCESS);
    }
    let Summary { decoded, .. } = summary;
    Err(format!("{decoded} of the samples were decoded, and {} should have been", samples.good).into())
}
