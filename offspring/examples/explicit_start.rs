//! A task that is made first and started later.
//!
//! `cargo run -p offspring --example explicit_start`

use std::error::Error;

use offspring::Subprocess;

struct MyTask;

impl Subprocess for MyTask {
    type Output = ();
    const EXPLICIT_START: bool = true;

    fn run(&mut self) {
        println!("Running!");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let task = MyTask.spawn()?;
    println!("Doing some other work");
    task.start()?;
    task.wait()?;
    Ok(())
}
