//! What the benchmarks share.

pub(crate) mod starts;

use std::time::Instant;

/// How long a round takes, in microseconds.
pub(crate) fn timed(mut round: impl FnMut()) -> f64 {
    let begin = Instant::now();
    round();
    begin.elapsed().as_nanos() as f64 / 1e3
}

/// The middle one; of an even number, the upper one of the two in the middle.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Has this process, and those that it starts from now on, run on one processor only.
pub(crate) fn pin(processor: usize) {
    let mut set = nix::sched::CpuSet::new();
    set.set(processor).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).unwrap();
}
