//! What comes back when a task fails, panics, is killed or doesn't end: a value each time.
//!
//! `cargo run -p offspring --example errors`

use std::error::Error;
use std::time::Duration;

use offspring::{JoinError, LaunchOptions, RemoteError, StartError, spawn, spawn_with};

fn main() -> Result<(), Box<dyn Error>> {
    // A body that fails returns its error.
    let failed = spawn(|| -> Result<u64, RemoteError> { Ok(std::fs::metadata("/does/not/exist")?.len()) })?;
    if let Err(error) = failed.join()? {
        println!("it returned an error: {error}");
    }

    // A body that panics.
    let panicked = spawn(|| -> u64 { panic!("on purpose") })?.join();
    if let Err(JoinError::Panicked(report)) = &panicked {
        println!("it panicked at {} with {:?}", report.location, report.message);
    }

    // A process that dies.
    if let Err(error) = spawn(|| -> u64 { std::process::abort() })?.join() {
        println!("it died: {error}");
    }

    // One that doesn't end.
    let endless = spawn(|| std::thread::sleep(Duration::from_secs(3600)))?;
    if endless.wait_timeout(Duration::from_millis(50))?.is_none() {
        println!("it took too long, and {}", endless.stop(Duration::from_secs(1))?.status);
    }

    // One that can't even begin.
    let options = LaunchOptions::new().cwd("/does/not/exist");
    match spawn_with(options, || ()) {
        Err(error @ StartError::Setup { .. }) => println!("it was not started: {error}"),
        other => println!("unexpected: {other:?}"),
    }
    Ok(())
}
