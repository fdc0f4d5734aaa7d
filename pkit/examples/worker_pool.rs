//! Many small tasks, in processes that stay. One of them never ends and one crashes; that is their own affair.
//!
//! `cargo run -p pkit --example worker_pool`

use std::time::Duration;

use pkit::{Chunk, WorkError, WorkerPool};

fn digits(number: u64) -> usize {
    match number {
        3 => std::thread::sleep(Duration::from_secs(3600)),
        5 => std::process::abort(),
        _ => {}
    }
    number.pow(7).to_string().len()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // On the first line: the workers come from a zygote.
    pkit::init()?;
    let pool = WorkerPool::builder(2).task_timeout(Duration::from_millis(200)).build()?;

    let task = pool.submit(|text: String| text.len(), "one task".to_owned())?;
    println!("{} bytes", task.join()?);

    // A task for each item, of an iterator without an end.
    for (number, digits) in (0..).zip(pool.map(0.., digits)).take(8) {
        match digits {
            Ok(digits) => println!("{number}^7 has {digits} digits"),
            Err(WorkError::TimedOut { limit }) => println!("{number}^7 takes longer than {limit:?}"),
            Err(error) => println!("{number}^7: {error}"),
        }
    }

    // A task for many items at once: as many as take a millisecond.
    let odd = pool.map_chunked(0..100_000u64, Chunk::Measured, |number| number % 2 == 1);
    println!("{} odd numbers", odd.filter(|odd| matches!(odd, Ok(true))).count());

    println!("{}", pool.statistics()?);
    pool.close()?;
    Ok(())
}
