//! Jobs for several workers, in processes of their own: which are left, who does what, and how far all of it is, is kept
//! by a manager. A worker that dies in the midst of a job takes nothing with it: its job is done by another one.
//!
//! `cargo run -p cross-process-bridge --example shared_progress`

use std::time::Duration;

use cross_process_bridge::manager::{Manager, ManagerError, SharedList, SharedMap, SharedQueue, SharedValue};
use cross_process_bridge::process::{Child, Launch};
use cross_process_bridge::{LaunchOptions, StartError};

const JOBS: u64 = 40;
const WORKERS: u32 = 4;

/// What all workers have: proxies, which a fork may capture.
#[derive(Clone)]
struct Shared {
    jobs: SharedQueue<u64>,
    /// Who is at which job.
    at_work: SharedMap<u32, u64>,
    done: SharedValue<u64>,
    results: SharedList<(u64, u64)>,
}

impl Shared {
    fn new(manager: &Manager) -> Result<Shared, ManagerError> {
        Ok(Shared {
            jobs: manager.queue(JOBS as usize)?,
            at_work: manager.map()?,
            done: manager.value(0)?,
            results: manager.list()?,
        })
    }

    /// In a worker's process.
    fn work(&self, worker: u32) -> Result<(), ManagerError> {
        while let Some(job) = self.jobs.try_recv()? {
            self.at_work.insert(&worker, &job)?;
            let result = (1..=job).product_of_odd_ones();
            std::thread::sleep(Duration::from_millis(20));
            if worker == 0 && self.done.get()? >= JOBS / 4 {
                std::process::abort(); // as a bug would
            }
            self.results.append(&(job, result))?;
            self.done.update(|done| done + 1)?;
            self.at_work.remove(&worker)?;
        }
        Ok(())
    }

    fn start(&self, worker: u32) -> Result<Child, StartError> {
        let options = LaunchOptions::new().name(format!("worker {worker}")).core_limit(0);
        Launch::new(&options).start(|| {
            if let Err(error) = self.work(worker) {
                eprintln!("worker {worker}: {error}");
            }
        })
    }
}

/// What stands for work here.
trait Product {
    fn product_of_odd_ones(self) -> u64;
}

impl<I: Iterator<Item = u64>> Product for I {
    fn product_of_odd_ones(self) -> u64 {
        self.filter(|number| number % 2 == 1).fold(1, u64::wrapping_mul)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let shared = Shared::new(&manager)?;
    for job in 1..=JOBS {
        shared.jobs.send(&job)?;
    }
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        workers.push((number, shared.start(number)?));
    }
    while shared.done.get()? < JOBS {
        for (number, worker) in &mut workers {
            let Some(status) = worker.try_wait()? else { continue };
            // One that has died was at a job, which isn't done.
            if let Some(job) = shared.at_work.remove(number)? {
                println!("worker {number} {status} at job {job}: another one does it");
                shared.jobs.send(&job)?;
                *number += WORKERS;
                *worker = shared.start(*number)?;
            }
        }
        println!("{} of {JOBS} done, {} at work", shared.done.get()?, shared.at_work.len()?);
        std::thread::sleep(Duration::from_millis(50));
    }
    for (_, worker) in workers {
        worker.wait()?;
    }
    let mut results = shared.results.to_vec()?;
    results.sort_unstable();
    println!("{} results, the first three: {:?}", results.len(), &results[..3]);
    manager.stop()?;
    Ok(())
}
