//! A process that is started, joined, terminated and started again; callbacks tell of each end.
//!
//! `cargo run -p pkit --example process`

use std::error::Error;
use std::thread;
use std::time::Duration;

use pkit::{Process, RestartPolicy, Target};

/// A target with a state of its own: each run has a copy.
struct Sleeper {
    time: Duration,
}

impl Target for Sleeper {
    type Output = String;

    fn run(self) -> String {
        let name = pkit::current().name.unwrap_or_default();
        println!("{} {}: here", name.to_string_lossy(), std::process::id());
        thread::sleep(self.time);
        format!("slept for {:?}", self.time)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let process = Process::builder()
        .name("sleeper")
        .on_exit(|exit| println!("run {} of {:?} {}", exit.generation(), exit.name(), exit.status()))
        .build_template(Sleeper { time: Duration::from_millis(50) })?;

    // Reusable: what it returned is there until the next start.
    let pid = process.start()?;
    println!("{pid}: {}", process.join()?);
    assert_eq!(process.pid(), None);

    // A start, and an end, that wait.
    process.start_wait()?;
    let stopped = process.terminate_wait()?;
    println!("stopped: {}, return code {:?}", stopped.status, stopped.status.returncode());

    // Restartable, also beside threads, since the target is in a template.
    let thread = thread::spawn(move || -> Result<String, Box<dyn Error + Send + Sync>> {
        process.restart(RestartPolicy::Join)?;
        process.restart(RestartPolicy::Terminate)?;
        Ok(process.join()?)
    });
    println!("{}", thread.join().map_err(|_| "the thread panicked")?.map_err(|error| error.to_string())?);

    // Four callbacks are due, one for each run.
    assert!(pkit::join_callbacks(None));
    Ok(())
}
