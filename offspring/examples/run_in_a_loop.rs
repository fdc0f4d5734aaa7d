//! Runs something in a loop in a process of its own, until it is shut down.
//!
//! `cargo run -p offspring --example run_in_a_loop`

use std::error::Error;
use std::time::Duration;

use offspring::{LoopStep, Subprocess, SubprocessLoop};

struct Heartbeat {
    beats: u32,
}

impl SubprocessLoop for Heartbeat {
    fn begin(&mut self) {
        println!("begin");
    }

    fn step(&mut self) -> LoopStep {
        self.beats += 1;
        println!("beat {}", self.beats);
        LoopStep::After(Duration::from_millis(20))
    }

    fn end(&mut self) {
        println!("end after {} beats", self.beats);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let heart = Heartbeat { beats: 0 }.spawn()?;
    std::thread::sleep(Duration::from_millis(90));
    let stopped = heart.shutdown()?;
    println!("the loop {} ({:?})", stopped.status, stopped.by);
    assert!(stopped.status.success());
    Ok(())
}
