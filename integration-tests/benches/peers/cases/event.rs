//! One process wakes another one, which wakes it in turn.

use common_ipc::process::LaunchOptions;
use common_ipc::sync::Event;

use crate::case::{Better, Case, Contender};
use crate::kernel;
use crate::measure::Setting;
use crate::place::Place;

/// Two events: one process sets the first one and waits for the second one, the other one the reverse.
/// Who has waited for an event takes it back.
pub(crate) const CASE: Case = Case {
    name: "event",
    task: "set an event, and wait until the one that it wakes has set another one",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours("sync::Event", ours),
        Contender::limit("futex", kernel::futex),
        Contender::peer("spin, then futex", kernel::futex_after_spin),
        Contender::python("valkka EventGroup + SyncIndex (Python)", "valkka_events", "event"),
        Contender::python("multiprocessing.Event pair (Python)", "multiprocessing_pairs", "event"),
    ],
    bounds: &[],
};

fn ours(setting: Setting) -> f64 {
    let (there, back) = (Event::new().unwrap(), Event::new().unwrap());
    let (waited_for, set) = (there.clone(), back.clone());
    let child = setting.child(&LaunchOptions::new(), move || {
        loop {
            waited_for.wait().unwrap();
            waited_for.clear();
            set.set();
        }
    });
    let figure = setting.time_of(|| {
        there.set();
        back.wait().unwrap();
        back.clear();
    });
    child.kill().unwrap();
    child.wait().unwrap();
    figure
}
