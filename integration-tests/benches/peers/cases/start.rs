//! An empty task from its start to its collected end. The benchmark `start` has more of this.

use crate::case::{Better, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;
use crate::support::starts;

/// In two cores' place both may use both of them: a start has no side that could be put on either.
pub(crate) const CASE: Case = Case {
    name: "start",
    task: "an empty task with a typed result, from its start to its collected end",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::Free],
    contenders: &[
        Contender::ours("offspring::spawn + join", |setting| one(setting, starts::ours)),
        Contender::limit("fork + _exit + waitpid", |setting| one(setting, starts::limit)),
        Contender::peer("procspawn::spawn + join", |setting| one(setting, starts::procspawn)),
        Contender::python("offspring (Python)", "offspring_start", "plain"),
        Contender::python("process-kit (Python)", "process_kit_start", "plain"),
    ],
};

fn one(setting: Setting, start: fn()) -> f64 {
    setting.time_of(start)
}
