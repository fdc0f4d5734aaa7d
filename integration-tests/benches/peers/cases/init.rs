//! What the first line of `main` takes.

use integration_tests::raw::zygote::BareZygote;

use crate::case::{Better, Bound, Case, Contender};
use crate::place::Place;
use crate::support::timed;
use crate::{INIT_TOOK, measure};

/// Each turn is a process of its own, which has called `init` before anything else.
pub(crate) const CASE: Case = Case {
    name: "init",
    task: "the first call of init, in a program that has just begun",
    unit: "us",
    better: Better::Lower,
    places: &[Place::Free],
    contenders: &[
        Contender::ours("process::init", |_| *INIT_TOOK.get().unwrap()),
        Contender::limit("socketpair + clone3", limit),
    ],
    bounds: &[Bound::figure("process::init", 1000.0)],
};

fn limit(_: measure::Setting) -> f64 {
    let mut zygote = None;
    // It ends after that.
    timed(|| zygote = Some(BareZygote::new()))
}
