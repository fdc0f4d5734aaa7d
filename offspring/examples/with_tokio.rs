//! Tasks in a program full of threads: a plain `main` that calls `init` first, and builds the runtime afterwards.
//!
//! Starting takes a fraction of a millisecond; waiting blocks, and belongs on a thread for that.

use std::error::Error;
use std::time::Duration;

use offspring::{LaunchOptions, Subprocess, Zygote, spawn_in};
use serde::{Deserialize, Serialize};

/// Serialisable, so that it can be started from a zygote.
#[derive(Serialize, Deserialize)]
struct Factor {
    number: u64,
}

impl Subprocess for Factor {
    type Output = Vec<u64>;

    fn run(&mut self) -> Vec<u64> {
        let mut found = Vec::new();
        let mut divisor = 2;
        while divisor * divisor <= self.number {
            while self.number % divisor == 0 {
                found.push(divisor);
                self.number /= divisor;
            }
            divisor += 1;
        }
        found.extend((self.number > 1).then_some(self.number));
        found
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Before there is any thread. `#[tokio::main]` would build the runtime before this line.
    offspring::init()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async_main())
}

async fn async_main() -> Result<(), Box<dyn Error>> {
    for number in [20_241_121, 600_851_475_143, 1 << 40] {
        let task = Factor { number }.spawn_in(&Zygote::global(), LaunchOptions::new())?;
        // Waiting blocks, so it is done on one of the threads for that.
        let factors = tokio::task::spawn_blocking(move || task.wait()).await??;
        println!("{number} = {factors:?}");
    }

    // A task that dies is an error that says so, and can be started again.
    let sleep = |milliseconds| std::thread::sleep(Duration::from_millis(milliseconds));
    let mut sleeper = spawn_in(&Zygote::global(), LaunchOptions::new().name("sleeper"), sleep, 500)?;
    sleeper.kill()?;
    let sleeper = tokio::task::spawn_blocking(move || {
        if let Err(error) = sleeper.wait() {
            println!("{error}");
        }
        sleeper.restart().map(|()| sleeper)
    });
    let sleeper = sleeper.await??;
    // The runtime goes on meanwhile.
    while sleeper.is_alive()? {
        println!("waiting");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(sleeper.wait()?)
}
