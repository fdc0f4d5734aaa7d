//! Runs something once in a process of its own.
//!
//! `cargo run -p offspring --example run_once`

use std::error::Error;

use offspring::Subprocess;

struct MyTask {
    argument: String,
}

impl MyTask {
    // Runs in the parent, and prepares the object.
    fn new(argument: &str) -> MyTask {
        MyTask { argument: argument.to_owned() }
    }
}

impl Subprocess for MyTask {
    type Output = usize;

    // Runs in the child, and does the work.
    fn run(&mut self) -> usize {
        println!("process {} has {:?}", std::process::id(), self.argument);
        self.argument.len()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let length = MyTask::new("this is an argument").spawn()?.wait()?;
    assert_eq!(length, 19);
    Ok(())
}
