//! Supervised workers that are asked for something, and die now and then in the midst of it.
//!
//! `cargo run -p pkit --example workers`
//!
//! Requests go through one queue that all workers share, answers come back through another. Both outlive each worker.
//! Who takes a request says so first: when that one dies, its request is given to the next.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use pkit::link::Queue;
use pkit::supervisor::{Backoff, ChildSpec, Event, Supervisor};
use pkit::{LaunchOptions, StopSignals};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Answer {
    Taken { number: u64, by: u32 },
    Done { number: u64, result: u64 },
}

/// A worker: it finishes what it has begun before it stops, and says that it gets on while it has nothing to do.
fn work(requests: &Queue<u64>, answers: &Queue<Answer>) -> Result<(), Box<dyn Error>> {
    let (stop, by) = (StopSignals::held()?, std::process::id());
    pkit::ready();
    while !stop.wait_timeout(Duration::ZERO)? {
        pkit::progress();
        let Some(number) = requests.recv_timeout(Duration::from_millis(50))? else { continue };
        answers.send(&Answer::Taken { number, by })?;
        if (number + u64::from(by)) % 5 == 0 {
            std::process::abort(); // by a fault in the work
        }
        answers.send(&Answer::Done { number, result: number * number })?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (requests, answers) = (Queue::new()?, Queue::new()?);
    let mut builder = Supervisor::builder().intensity(u32::MAX, Duration::from_secs(1));
    for number in 1..=3 {
        let (of_child, to_parent) = (requests.clone(), answers.clone());
        let worker = move || work(&of_child, &to_parent).map_err(|error| error.to_string());
        let spec = ChildSpec::new(format!("worker-{number}"), worker)
            .options(LaunchOptions::new().give(&requests).give(&answers))
            .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(10)))
            .hang_timeout(Duration::from_secs(2))
            .ready_by_target()
            .hold_stop_signals();
        builder = builder.child(spec);
    }
    let events = builder.events();
    let supervisor = builder.start()?;

    let (mut open, mut taken, mut deaths) = (20, HashMap::new(), 0);
    for number in 1..=open {
        requests.send(&number)?;
    }
    while open > 0 {
        // What a worker had sent before it died comes first.
        match answers.recv_timeout(Duration::from_millis(10))? {
            Some(Answer::Taken { number, by }) => drop(taken.insert(by, number)),
            Some(Answer::Done { number, result }) => {
                println!("{number}: {result}");
                taken.retain(|_, other| *other != number);
                open -= 1;
            }
            None => {
                for event in events.try_iter() {
                    let Event::Exited { child, pid, cause } = event else { continue };
                    deaths += 1;
                    if let Some(number) = taken.remove(&pid) {
                        println!("{number}: {child} {cause}; once more");
                        requests.send(&number)?;
                    }
                }
            }
        }
    }
    println!("{deaths} workers died; {}", supervisor.stop()?);
    Ok(())
}
