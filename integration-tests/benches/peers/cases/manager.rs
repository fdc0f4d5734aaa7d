//! Operations on objects in a manager.

use std::cell::Cell;

use common_ipc::process::LaunchOptions;
use cross_process_bridge::bridge;
use cross_process_bridge::manager::{Manager, SharedList};

use crate::case::{Better, Bound, Case, Contender};
use crate::measure::Setting;
use crate::place::Place;
use crate::support::pin;

const APPEND: &str = "manager: list.append(i64)";
const CALL: &str = "bridge: add(i64) -> i64";

pub(crate) const CASE: Case = Case {
    name: "manager",
    task: "an operation on what a manager keeps",
    unit: "us",
    better: Better::Lower,
    places: &[Place::OneCore, Place::TwoCores, Place::Free],
    contenders: &[
        Contender::ours(APPEND, append),
        Contender::limit(CALL, call),
        Contender::peer("manager: value.get() -> i64", get),
        Contender::peer("manager: lock, unlock", lock),
        Contender::peer("manager: queue.send, recv", queue),
        Contender::peer("manager: shared add(i64) -> i64", shared),
    ],
    bounds: &[Bound::ratio(APPEND, CALL, 2.0)],
};

struct Object {
    total: i64,
}

#[bridge]
impl Object {
    fn new(core: Option<usize>) -> Object {
        if let Some(core) = core {
            pin(core);
        }
        Object { total: 0 }
    }

    fn add(&mut self, number: i64) -> i64 {
        self.total += number;
        self.total
    }
}

fn call(setting: Setting) -> f64 {
    let object = ObjectBridge::new(setting.place.second_core());
    object.start().unwrap();
    setting.time_of(|| {
        object.add(7).unwrap();
    })
}

fn manager(setting: Setting) -> Manager {
    let options = LaunchOptions::new();
    let options = match setting.place.second_core() {
        Some(core) => options.affinity([core]),
        None => options,
    };
    Manager::builder().options(options).start().unwrap()
}

fn append(setting: Setting) -> f64 {
    let manager = manager(setting);
    let list: SharedList<i64> = manager.list().unwrap();
    let count = Cell::new(0_u32);
    setting.time_of(|| {
        list.append(&7).unwrap();
        count.set(count.get() + 1);
        if count.get() % (1 << 18) == 0 {
            list.clear().unwrap();
        }
    })
}

fn get(setting: Setting) -> f64 {
    let manager = manager(setting);
    let value = manager.value(7_i64).unwrap();
    setting.time_of(|| assert_eq!(value.get().unwrap(), 7))
}

fn lock(setting: Setting) -> f64 {
    let manager = manager(setting);
    let lock = manager.lock().unwrap();
    setting.time_of(|| drop(lock.lock().unwrap()))
}

fn queue(setting: Setting) -> f64 {
    let manager = manager(setting);
    let queue = manager.queue::<i64>(10).unwrap();
    setting.time_of(|| {
        queue.send(&7).unwrap();
        assert_eq!(queue.recv().unwrap(), 7);
    })
}

fn shared(setting: Setting) -> f64 {
    let manager = manager(setting);
    let object = manager.share(&ObjectBridge::new(None)).unwrap();
    setting.time_of(|| {
        object.add(7).unwrap();
    })
}
