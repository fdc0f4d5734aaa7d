//! A task that is asked things while it runs, and that tells when it is done with each.
//!
//! `cargo run -p offspring --example talk_to_a_task`

use std::error::Error;

use offspring::link::Connection;
use offspring::sync::Event;
use offspring::{LaunchOptions, spawn_with};

fn main() -> Result<(), Box<dyn Error>> {
    // This end sends numbers and receives texts; the other one, which the task gets, the reverse.
    let (here, there) = Connection::<u32, String>::pair()?;
    // An event is shared without being given.
    let begun = Event::new()?;
    let task = spawn_with(LaunchOptions::new().give(&there), || {
        begun.set();
        let mut answered = 0;
        // Ends with an error when the parent drops its end, or dies.
        while let Ok(number) = there.recv() {
            if there.send(&format!("{number} squared is {}", number * number)).is_err() {
                break;
            }
            answered += 1;
        }
        answered
    })?;
    begun.wait()?;
    for number in [3, 4, 5] {
        here.send(&number)?;
        println!("{}", here.recv()?);
    }
    drop(here);
    println!("{} answers", task.join()?);
    Ok(())
}
