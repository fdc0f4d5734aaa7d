//! Many empty tasks, each in a process of its own, two at once.

use std::collections::VecDeque;
use std::time::Instant;

use integration_tests::raw;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use pkit::ProcessPool;

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;

pub(crate) const CASE: Case = Case {
    name: "pool",
    task: "10,000 empty tasks, each in a process of its own, two at once: for each task",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::Free],
    contenders: &[
        Contender::ours(MAP, map),
        Contender::limit(BARE, bare),
        Contender::peer("pkit::ProcessPool::execute + join", execute_and_join),
        Contender::peer("pkit::ProcessPool::execute, handle dropped", execute_and_drop),
    ],
    bounds: &[Bound::ratio(MAP, BARE, 1.6)],
};

const MAP: &str = "pkit::ProcessPool::map";
const BARE: &str = "fork + _exit + waitpid";

/// Of all tasks together: two at once share what there is.
fn time_of_tasks(setting: Setting, tasks: impl Fn(usize)) -> f64 {
    // As many as there is time for, if that isn't enough for all.
    let begin = Instant::now();
    tasks(200);
    let each = begin.elapsed() / 200;
    let count = (setting.time.as_nanos() / each.as_nanos()).clamp(200, 10_000) as usize;
    let begin = Instant::now();
    tasks(count);
    begin.elapsed().as_nanos() as f64 / 1e3 / count as f64
}

fn map(setting: Setting) -> f64 {
    let pool = ProcessPool::new(2).unwrap();
    time_of_tasks(setting, |count| pool.map(0..count, |_| ()).for_each(Result::unwrap))
}

fn execute_and_join(setting: Setting) -> f64 {
    let pool = ProcessPool::new(2).unwrap();
    time_of_tasks(setting, |count| {
        let mut running = VecDeque::new();
        for _ in 0..count {
            running.push_back(pool.execute(|| ()).unwrap());
            if running.len() > 2 {
                running.pop_front().unwrap().join().unwrap();
            }
        }
        running.drain(..).for_each(|task| task.join().unwrap());
    })
}

fn execute_and_drop(setting: Setting) -> f64 {
    let pool = ProcessPool::new(2).unwrap();
    time_of_tasks(setting, |count| (0..count).for_each(|_| drop(pool.execute(|| ()).unwrap())))
}

fn bare(setting: Setting) -> f64 {
    time_of_tasks(setting, |count| {
        let mut running = VecDeque::new();
        for _ in 0..count {
            if running.len() == 2 {
                waitpid(running.pop_front(), None).unwrap();
            }
            running.push_back(Pid::from_raw(raw::fork(|| 0)));
        }
        for pid in running {
            waitpid(pid, None).unwrap();
        }
    })
}
