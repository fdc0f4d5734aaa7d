//! An empty task from its start to its collected end. The benchmark `start` has more of this.

use crate::case::{Better, Case, Contender};
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
        Contender::ours("offspring::spawn + join", |setting| setting.time_of(starts::ours)),
        Contender::limit("fork + _exit + waitpid", |setting| setting.time_of(starts::limit)),
        Contender::peer("procspawn::spawn + join", |setting| setting.time_of(starts::procspawn)),
        Contender::python("offspring (Python)", "offspring_start", "plain"),
        Contender::python("process-kit (Python)", "process_kit_start", "plain"),
    ],
    bounds: &[],
};
