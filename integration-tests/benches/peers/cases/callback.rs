//! How long after a process's end its exit callback is called.

use std::sync::mpsc::channel;
use std::time::Instant;

use pkit::Process;

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;
use crate::support::median;

/// From SIGKILL on, which takes the kernel some time itself. In between the main thread sleeps.
pub(crate) const CASE: Case = Case {
    name: "callback",
    task: "from the kill of a process to its exit callback",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::Free],
    contenders: &[Contender::ours(OURS, callback), Contender::limit("waitpid by who has killed it", wait)],
    bounds: &[Bound::figure(OURS, 1000.0)],
};

const OURS: &str = "pkit::Process::on_exit";

fn sleep_for_long() {
    std::thread::sleep(std::time::Duration::from_secs(600));
}

fn callback(setting: Setting) -> f64 {
    let (tell, told) = channel();
    let process = Process::builder()
        .on_exit(move |_| tell.send(Instant::now()).unwrap())
        .build_template(sleep_for_long)
        .unwrap();
    time_of_kills(setting, || {
        process.start().unwrap();
        let begin = Instant::now();
        process.kill().unwrap();
        told.recv().unwrap() - begin
    })
}

fn wait(setting: Setting) -> f64 {
    use nix::sys::signal::{Signal, kill};
    time_of_kills(setting, || {
        let pid = nix::unistd::Pid::from_raw(integration_tests::raw::fork(|| {
            sleep_for_long();
            0
        }));
        let begin = Instant::now();
        kill(pid, Signal::SIGKILL).unwrap();
        nix::sys::wait::waitpid(pid, None).unwrap();
        begin.elapsed()
    })
}

/// The median, in microseconds.
fn time_of_kills(setting: Setting, mut one: impl FnMut() -> std::time::Duration) -> f64 {
    let mut figures = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < setting.time {
        figures.push(one().as_nanos() as f64 / 1e3);
    }
    median(&mut figures)
}
