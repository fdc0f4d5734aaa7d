//! A web service that searches texts by anybody's regular expressions. Some of these would take longer than the universe
//! has left, and some all the memory there is: each search is a task of a [`WorkerPool`], which ends it after a time, and
//! whose workers have so much memory and no more.
//!
//! `cargo run -p pkit --example regex_service -- --help`
//!
//! ```text
//! curl -H 'content-type: application/json' -d '{"pattern": "o+", "text": "foo boo"}' 127.0.0.1:7008/match
//! {"matches":[[1,3],[5,7]]}
//! ```

mod search;
mod service;
mod settings;

use std::error::Error;
use std::process::ExitCode;

use pkit::{LaunchOptions, ProcessGroup, Resource, WorkerPool};

use crate::service::Service;
use crate::settings::{HELP, Settings};

/// The longest result, in bytes.
const LONGEST: usize = 16 << 20;

fn main() -> ExitCode {
    let settings = match Settings::of_arguments(std::env::args().skip(1)) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("regex_service: {problem}; see --help");
            return ExitCode::from(2);
        }
    };
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("regex_service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    // First of all: workers are forked from what the program is now, and not from what it becomes.
    pkit::init()?;
    let options = LaunchOptions::new()
        .name("searcher")
        .limit(Resource::Data, settings.memory, settings.memory)
        .core_limit(0)
        .no_new_privs()
        // What ends the service's group, a terminal or a supervisor of services, is no concern of theirs.
        .process_group(ProcessGroup::New);
    let pool = WorkerPool::builder(settings.workers)
        .options(options)
        .task_timeout(settings.timeout)
        .max_waiting(settings.waiting)
        .max_message(LONGEST)
        .build()?;
    // Only now, since a runtime has threads.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(Service::new(pool.clone(), settings).run(settings.port))?;
    // With it go the requests that weren't answered in time, and their tasks.
    drop(runtime);
    pool.close()?;
    println!("{}", pool.statistics()?);
    Ok(())
}
