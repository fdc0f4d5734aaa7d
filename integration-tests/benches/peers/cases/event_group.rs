//! A front end tells its back end which event it waits for.

use common_ipc::link::Connection;
use common_ipc::process::LaunchOptions;
use valkka_multiprocess::{EventGroup, EventIndex};

use crate::case::{Better, Bound, Case, Contender};
use crate::kernel;
use crate::measure::Setting;
use crate::place::Place;

/// One process reserves an event, sends its index in a message, waits, and releases it; the other one receives the
/// index and sets the event. The limit is the same without an index: two words to wake each other by.
pub(crate) const CASE: Case = Case {
    name: "event_group",
    task: "reserve an event, tell another process its index, and wait until it is set",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(OURS, by_message),
        Contender::limit("futex", kernel::futex),
        Contender::peer("spin, then futex", kernel::futex_after_spin),
        Contender::python(VALKKA, "valkka_events", "event"),
        Contender::python("multiprocessing.Event pair (Python)", "multiprocessing_pairs", "event"),
    ],
    bounds: &[Bound::ratio(OURS, "futex", 1.5), Bound::at_least(VALKKA, OURS, 4.0)],
};

const OURS: &str = "EventGroup + SyncIndex";
const VALKKA: &str = "valkka EventGroup + SyncIndex (Python)";

fn by_message(setting: Setting) -> f64 {
    let events = EventGroup::new(10).unwrap();
    let (front, back) = Connection::<EventIndex, ()>::pair().unwrap();
    let in_child = events.clone();
    let child = setting.child(&LaunchOptions::new().give(&back), move || {
        while let Ok(index) = back.recv() {
            in_child.set(index).unwrap();
        }
    });
    let figure = setting.time_of(|| events.sync(&child, |index| front.send(&index)).unwrap());
    drop(front);
    child.wait().unwrap();
    figure
}
