//! Tasks in processes that stay.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pkit::{Chunk, LaunchOptions, WorkerPool};

use crate::case::{Better, Bound, Case, Contender};
use crate::kernel;
use crate::measure::Setting;
use crate::place::Place;
use crate::support::{median, pin};

const SUBMIT: &str = "pkit::WorkerPool::submit + join";
const SPIN: &str = "shared memory, spin, then futex";
const PROCSPAWN: &str = "procspawn::Pool, two processes";
const PYTHON: &str = "ProcessPoolExecutor(2) (Python)";

pub(crate) const ONE: Case = Case {
    name: "worker_task",
    task: "a small task in a pool of two, from its submission to its result",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(SUBMIT, submit),
        Contender::limit(SPIN, kernel::shared_memory_spin),
        Contender::peer(PROCSPAWN, procspawn_one),
        Contender::python(PYTHON, "process_pool_executor", "one"),
    ],
    bounds: &[
        Bound::ratio(SUBMIT, SPIN, 3.0).at(Place::OneCore),
        Bound::ratio(SUBMIT, SPIN, 6.0).at(Place::TwoCores),
        Bound::at_least(PROCSPAWN, SUBMIT, 3.0),
        Bound::at_least(PYTHON, SUBMIT, 15.0),
    ],
};

const MAP: &str = "pkit::WorkerPool::map";
const CHUNKS: &str = "pkit::WorkerPool::map_chunked, 100";

pub(crate) const MANY: Case = Case {
    name: "worker_tasks",
    task: "10,000 small tasks in a pool of two: for each task",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(MAP, map),
        Contender::limit("pkit::WorkerPool::submit all, join all", submit_all),
        Contender::peer("pkit::WorkerPool::map_unordered", map_unordered),
        Contender::peer(PROCSPAWN, procspawn_many),
        Contender::python(PYTHON, "process_pool_executor", "single"),
    ],
    bounds: &[Bound::at_least(PROCSPAWN, MAP, 10.0)],
};

pub(crate) const IN_CHUNKS: Case = Case {
    name: "worker_chunks",
    task: "10,000 small tasks in chunks of 100, in a pool of two: for each task",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(CHUNKS, |setting| chunked(setting, Chunk::Of(100))),
        Contender::limit("a loop in this process", here),
        Contender::peer("pkit::WorkerPool::map_chunked, measured", |setting| {
            chunked(setting, Chunk::Measured)
        }),
        Contender::python(PYTHON, "process_pool_executor", "chunks"),
    ],
    bounds: &[Bound::at_least(PYTHON, CHUNKS, 5.0)],
};

/// So many tasks.
const TASKS: u64 = 10_000;
/// What they return, all in all.
const SUM: u64 = 333_283_335_000;

fn square(number: u64) -> u64 {
    number * number
}

fn pool(setting: Setting) -> WorkerPool {
    let mut options = LaunchOptions::new();
    if let Some(core) = setting.place.second_core() {
        options = options.affinity([core]);
    }
    WorkerPool::builder(2).options(options).build().unwrap()
}

/// The median time for each task, where `all` does all of them.
fn each(setting: Setting, mut all: impl FnMut() -> u64) -> f64 {
    let mut figures = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < setting.time || figures.is_empty() {
        let before = Instant::now();
        assert_eq!(all(), SUM);
        figures.push(before.elapsed().as_nanos() as f64 / 1e3 / TASKS as f64);
    }
    median(&mut figures)
}

fn submit(setting: Setting) -> f64 {
    let pool = pool(setting);
    setting.time_of(|| assert_eq!(pool.submit(square, 7).unwrap().join().unwrap(), 49))
}

fn submit_all(setting: Setting) -> f64 {
    let pool = pool(setting);
    each(setting, || {
        let tasks: Vec<_> = (0..TASKS).map(|number| pool.submit(square, number).unwrap()).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).sum()
    })
}

fn map(setting: Setting) -> f64 {
    let pool = pool(setting);
    each(setting, || pool.map(0..TASKS, square).map(Result::unwrap).sum())
}

fn map_unordered(setting: Setting) -> f64 {
    let pool = pool(setting);
    each(setting, || pool.map_unordered(0..TASKS, square).map(Result::unwrap).sum())
}

fn chunked(setting: Setting, chunk: Chunk) -> f64 {
    let pool = pool(setting);
    each(setting, || pool.map_chunked(0..TASKS, chunk, square).map(Result::unwrap).sum())
}

fn here(setting: Setting) -> f64 {
    each(setting, || (0..TASKS).map(|number| std::hint::black_box(square)(number)).sum())
}

/// With its place, which its processes take when they get their first task.
fn in_place(setting: Setting) -> impl Fn(u64) -> (Option<usize>, u64) + Copy {
    let core = setting.place.second_core();
    move |number| (core, number)
}

fn procspawn_square((core, number): (Option<usize>, u64)) -> u64 {
    static IS_PINNED: AtomicBool = AtomicBool::new(false);
    if let (Some(core), false) = (core, IS_PINNED.swap(true, Ordering::Relaxed)) {
        pin(core);
    }
    square(number)
}

fn procspawn_one(setting: Setting) -> f64 {
    let pool = procspawn::Pool::new(2).unwrap();
    let in_place = in_place(setting);
    setting.time_of(|| {
        let result = procspawn::spawn!(in pool, (in_place(7) => task) || procspawn_square(task)).join();
        assert_eq!(result.unwrap(), 49);
    })
}

fn procspawn_many(setting: Setting) -> f64 {
    let pool = procspawn::Pool::new(2).unwrap();
    let in_place = in_place(setting);
    let submit = |number| procspawn::spawn!(in pool, (in_place(number) => task) || procspawn_square(task));
    each(setting, || {
        // Each that is under way has two sockets: not all at once.
        let mut under_way = VecDeque::new();
        let mut sum = 0;
        for number in 0..TASKS {
            under_way.push_back(submit(number));
            if under_way.len() == 64 {
                sum += under_way.pop_front().unwrap().join().unwrap();
            }
        }
        sum + under_way.into_iter().map(|task| task.join().unwrap()).sum::<u64>()
    })
}
