//! Tasks in a program full of threads: a plain `main` that calls `init` first, and builds the runtime afterwards.
//!
//! `cargo run -p offspring --example with_tokio --features tokio`
//!
//! Starting takes a fraction of a millisecond. What waits for the end of a process (`wait`, `stop`, `shutdown`,
//! `restart` of one that runs) blocks; `wait_async` doesn't.

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
    let start = |number| Factor { number }.spawn_in(&Zygote::global(), LaunchOptions::new());
    for number in [20_241_121, 600_851_475_143, 1 << 40] {
        println!("{number} = {:?}", start(number)?.wait_async().await?);
    }

    // A time-out ends the wait, and not the process.
    let sleep = |seconds| std::thread::sleep(Duration::from_secs(seconds));
    let options = LaunchOptions::new().name("sleeper");
    let mut sleeper = spawn_in(&Zygote::global(), options, sleep, 3600)?;
    if tokio::time::timeout(Duration::from_millis(200), sleeper.wait_async()).await.is_err() {
        sleeper.kill()?;
    }
    // A task that has died is an error that says so, and can be started again.
    if let Err(error) = sleeper.wait_async().await {
        println!("{error}");
    }
    sleeper.restart()?;
    println!("the sleeper runs: {}", sleeper.is_alive()?);
    // The end of the program stops it.
    Ok(())
}
