//! A task that the end of the program waits for instead of ending it.
//!
//! `cargo run -p offspring --example terminate_on_shutdown`

use std::error::Error;
use std::time::Duration;

use offspring::Subprocess;

struct MyTask;

impl Subprocess for MyTask {
    type Output = ();
    const TERMINATE_ON_SHUTDOWN: bool = false;

    fn run(&mut self) {
        std::thread::sleep(Duration::from_millis(200));
        println!("finished in its own time");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Nobody waits for it here, and yet it gets to its end.
    MyTask.spawn()?;
    Ok(())
}
