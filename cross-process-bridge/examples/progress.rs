//! A long job in a process of its own says how far it is, by a closure that runs here, and asks whether to go on.
//!
//! `cargo run -p cross-process-bridge --example progress`

use std::time::Duration;

use cross_process_bridge::{BridgeError, bridge};

/// What to do with the rest.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
enum Next {
    GoOn,
    Stop,
}

struct Job {
    done: u32,
}

#[bridge]
impl Job {
    fn new() -> Job {
        Job { done: 0 }
    }

    /// Returns how much of it is done.
    fn run(&mut self, parts: u32, mut progress: impl FnMut(&str, u32) -> Next) -> u32 {
        while self.done < parts {
            std::thread::sleep(Duration::from_millis(30));
            self.done += 1;
            let name = format!("part {} of {parts}", self.done);
            if progress(&name, self.done * 100 / parts) == Next::Stop {
                break;
            }
        }
        self.done
    }
}

fn main() -> Result<(), BridgeError> {
    let job = JobBridge::new();
    job.start()?;
    let mut seen = Vec::new(); // borrowed by the closure: it runs in this thread
    let done = job.run(20, |name, percent| {
        println!("{name}: {percent} %");
        seen.push(percent);
        // The object is occupied meanwhile, and says so at once.
        if let Err(error @ BridgeError::Busy { .. }) = job.run(1, |_, _| Next::GoOn) {
            if percent == 50 {
                println!("{error}");
            }
        }
        if percent < 70 { Next::GoOn } else { Next::Stop }
    })?;
    println!("stopped after {done} parts, of which {} were told", seen.len());
    job.stop()
}
