//! A task that is sure to have begun when its start returns, even if the parent ends right away.
//!
//! `cargo run -p offspring --example wait_for_child`

use std::error::Error;

use offspring::Subprocess;

struct MyTask;

impl Subprocess for MyTask {
    type Output = ();
    const WAIT_FOR_CHILD: bool = true;

    fn run(&mut self) {
        println!("This will always print");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    MyTask.spawn()?;
    Ok(())
}
