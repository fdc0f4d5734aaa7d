//! Ours, the limit and the peers in one run.
//!
//! `cargo bench -p integration-tests --bench peers` prints a table and writes the same as lines of JSON
//! to `peers.jsonl` in the target folder. Absolute figures move with the machine and with what else it
//! does. So the contenders take turns, in fresh processes each time, and what counts is the ratio of
//! their medians.
//!
//! The Python originals take part if `MULTIPROCESS_BENCH_PYTHON` names an interpreter that has them;
//! `benches/python/make-venv` makes one. iceoryx2 takes part with `--features iceoryx2`.
#![allow(clippy::unwrap_used, reason = "a benchmark is a program of its own")]

mod arguments;
mod case;
mod cases;
mod kernel;
mod measure;
mod needs;
mod place;
mod rivals;
mod rounds;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::sync::OnceLock;

use arguments::{Arguments, Task};
use place::Place;

/// How long `init` took in this process, in microseconds.
static INIT_TOOK: OnceLock<f64> = OnceLock::new();

fn start_keeper() {
    let took = support::timed(|| common_ipc::process::init().unwrap());
    INIT_TOOK.get_or_init(|| took);
}

fn main() {
    // procspawn starts its children by running this program again.
    procspawn::init();
    // Those children never get here, so that they are as they would be in any other program.
    start_keeper();
    match arguments::read() {
        Ok(Task::Help) => arguments::print_help(),
        Ok(Task::Burn) => {
            measure::end_with_parent();
            place::burn();
        }
        Ok(Task::Run(turn)) => rounds::run_here(&turn),
        Ok(Task::Measure(arguments)) => measure_all(&arguments),
        Err(problem) => {
            eprintln!("{problem}; see --help");
            std::process::exit(2);
        }
    }
}

fn measure_all(arguments: &Arguments) {
    let python = rounds::Python::from_environment(arguments);
    let mut output = table::Lines::create();
    for case in cases::ALL.iter().copied().filter(|case| arguments.wants(case)) {
        let (places, missing): (Vec<Place>, Vec<Place>) =
            case.places.iter().partition(|place| place.exists());
        for place in missing {
            eprintln!("{}, {}: left out, as this machine doesn't have it", case.name, place.name());
        }
        let columns = places.into_iter().map(|place| {
            let column = rounds::column(case, place, arguments, &python);
            output.write(case, &column);
            column
        });
        table::print(case, &columns.collect::<Vec<_>>());
    }
    println!("\n{}", table::LEGEND);
    println!("The same as lines of JSON: {}", output.path().display());
}
