//! A task that is started again after its end, also once the program has threads.
//!
//! `cargo run -p offspring --example restart`

use std::error::Error;
use std::thread;

use offspring::Subprocess;

/// Nothing of it need be serialisable.
struct Flaky {
    words: std::rc::Rc<Vec<&'static str>>,
}

impl Subprocess for Flaky {
    type Output = usize;
    const RESTARTABLE: bool = true;

    fn run(&mut self) -> usize {
        // Each process gets the task as it was made, and dies in its own way.
        if std::process::id() % 2 == 0 {
            std::process::abort();
        }
        self.words.len()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // The first start, while the program has one thread, makes a small process that keeps the task.
    let mut task = Flaky { words: vec!["any", "values"].into() }.spawn()?;
    let thread = thread::spawn(thread::park);
    for _ in 0..10 {
        match task.wait() {
            Ok(words) => println!("{words} words"),
            Err(error) => println!("{error}"),
        }
        task.restart()?;
    }
    task.shutdown()?;
    thread.thread().unpark();
    Ok(())
}
