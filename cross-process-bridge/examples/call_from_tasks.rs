//! Tasks of a tokio runtime call an object in another process, which is killed in the midst of it.
//!
//! `cargo run -p cross-process-bridge --example call_from_tasks --features tokio`

use std::collections::HashMap;
use std::time::Duration;

use cross_process_bridge::{BridgeError, Zygote, bridge};

/// Counts words, slowly.
struct Words {
    counts: HashMap<String, u64>,
}

#[bridge]
impl Words {
    fn new() -> Words {
        Words { counts: HashMap::new() }
    }

    fn add(&mut self, word: &str) -> u64 {
        std::thread::sleep(Duration::from_millis(5));
        let count = self.counts.entry(word.to_owned()).or_default();
        *count += 1;
        *count
    }
}

// Not `#[tokio::main]`: that would build the runtime, with its threads, before the first line.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    cross_process_bridge::init()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(count())?;
    Ok(())
}

async fn count() -> Result<(), BridgeError> {
    let words = WordsBridge::new();
    words.process().launch_in(&Zygote::global()); // beside the runtime's threads
    let words = words.to_async();
    words.start().await?;

    let tasks = ["one", "two", "three"].map(|word| {
        let words = words.clone();
        tokio::spawn(async move {
            loop {
                match words.add(word).await {
                    Ok(100) => return format!("{word}: 100 times"),
                    Ok(_) => {}
                    // All that were counted are gone with the process.
                    Err(error) => return format!("{word}: {error}"),
                }
            }
        })
    });
    tokio::time::sleep(Duration::from_millis(40)).await;
    words.process().kill()?;
    for task in tasks {
        println!("{}", task.await.unwrap_or_else(|error| error.to_string()));
    }

    words.start().await?; // the same handle, a new process, a new object
    println!("one: {} time", words.add("one").await?);
    // A call that takes too long is given up, here as a future that is dropped.
    if tokio::time::timeout(Duration::from_millis(1), words.add("two")).await.is_err() {
        println!("two: too late");
    }
    println!("three: {} time", words.add("three").await?);
    words.stop().await
}
