//! An empty task from its start to its collected end. The benchmark `start` has more of this.

use pkit::Process;

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;
use crate::support::starts;

/// Not on two cores, one each: a child that moves to another core at its beginning pays for the move.
pub(crate) const CASE: Case = Case {
    name: "start",
    task: "an empty task with a typed result, from its start to its collected end",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::Free],
    contenders: &[
        Contender::ours(OURS, |setting| setting.time_of(starts::ours)),
        Contender::limit(BARE, |setting| setting.time_of(starts::limit)),
        Contender::peer(PROCESS, process),
        Contender::peer("pkit::Process of a template", process_of_template),
        Contender::peer("procspawn::spawn + join", |setting| setting.time_of(starts::procspawn)),
        Contender::python("offspring (Python)", "offspring_start", "plain"),
        Contender::python("process-kit (Python)", "process_kit_start", "plain"),
    ],
    bounds: &[Bound::ratio(OURS, BARE, 1.5), Bound::ratio(PROCESS, BARE, 1.5)],
};

const OURS: &str = "offspring::spawn + join";
const BARE: &str = "fork + _exit + waitpid";
const PROCESS: &str = "pkit::Process start + join";

fn process(setting: Setting) -> f64 {
    let process = Process::new(|| ());
    setting.time_of(|| {
        process.start().unwrap();
        process.join().unwrap();
    })
}

fn process_of_template(setting: Setting) -> f64 {
    let process = Process::builder().build_template(|| ()).unwrap();
    setting.time_of(|| {
        process.start().unwrap();
        process.join().unwrap();
    })
}
