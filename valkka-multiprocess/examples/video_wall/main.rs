//! A video wall: cameras that each have a process of their own, a web server that has another one, and the main program,
//! which starts them, passes frames on, and replaces what has died or hangs.
//!
//! `cargo run -p valkka-multiprocess --example video_wall --features tokio -- --help`
//!
//! Frames are in memory that a camera and the web server share. What is sent is who may do what with which buffer:
//!
//! ```text
//!          Fill(buffer)            Show(camera, buffer)
//! camera <-------------- the wall ----------------------> web server ----> viewers
//!         -------------->          <---------------------
//!          Full(buffer)            Released(camera, buffer)
//! ```
//!
//! So a buffer is written to by its camera alone, read by the web server alone, and never both at a time. The wall knows at
//! every moment who has it, and takes it back from a process that has died.

mod camera;
mod settings;
mod wall;
mod web;

use std::process::ExitCode;

use valkka_multiprocess::MainContext;

use crate::settings::{HELP, Settings};
use crate::wall::{Failed, Wall};

fn main() -> ExitCode {
    let settings = match Settings::of_arguments(std::env::args().skip(1)) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("video_wall: {problem}; see --help");
            return ExitCode::from(2);
        }
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("video_wall: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> Result<(), Failed> {
    // First of all: from here on there is what starts cameras, also beside threads.
    valkka_multiprocess::init()?;
    Wall::new(settings).run()
}
