//! The manager's process.
//!
//! Its first thread carries out what the program asks for: new objects, the end. A thread takes in who connects; each
//! client has a thread of its own, which alone is held up by what that client does or leaves undone; each object of a
//! bridge has one. What the built-in kinds keep is under one lock, for moments: whoever holds it neither sends nor
//! receives.

mod clients;
mod event;
mod list;
mod lock;
mod map;
mod memory;
mod objects;
mod queue;
mod store;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common_ipc::link::{Listener, OpenResponder};
use common_ipc::process::Performer;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::manager::wire::{ANSWER, Address, Answer, Failure, Made};
use clients::Clients;
use objects::Threads;
pub(crate) use objects::{is_served_here, share};
use store::Store;

/// What the manager is told at its start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) max_memory: u64,
    pub(crate) max_message: u64,
    pub(crate) max_clients: u64,
}

/// All that the threads share.
#[derive(Debug)]
pub(crate) struct House {
    settings: Settings,
    store: Mutex<Store>,
    clients: Mutex<Clients>,
    threads: Threads,
    next_client: AtomicU64,
    is_done: AtomicBool,
}

/// Answers, to be sent once the store isn't locked any more.
pub(crate) type Outgoing = Vec<(OpenResponder, Answer)>;

thread_local! {
    /// On the thread that the program's wishes are carried out on.
    static HOUSE: RefCell<Option<Arc<House>>> = const { RefCell::new(None) };
}

/// The life of the process.
pub(crate) fn run(listener: Listener, performer: &Performer, settings: Settings) {
    let house = Arc::new(House {
        settings,
        store: Mutex::new(Store::new(settings.max_memory, settings.max_message)),
        clients: Mutex::default(),
        threads: Threads::default(),
        next_client: AtomicU64::new(1),
        is_done: AtomicBool::new(false),
    });
    HOUSE.set(Some(Arc::clone(&house)));
    let at_the_door = Arc::clone(&house);
    let spawned = std::thread::Builder::new()
        .name("door".to_owned())
        .spawn(move || clients::take_in(&at_the_door, &listener));
    if let Err(error) = spawned {
        panic!("the manager can't take in anybody: {error}");
    }
    if let Err(error) = performer.serve(|| house.is_done.load(Ordering::Relaxed)) {
        // By this the program learns why: it is how the process ended.
        panic!("the manager has lost the program: {error}");
    }
    house.threads.end_all();
}

fn house() -> Option<Arc<House>> {
    HOUSE.with_borrow(Clone::clone)
}

/// For the program: whether the manager is there.
pub(crate) fn greet((): ()) -> bool {
    house().is_some()
}

/// For the program: a new object.
pub(crate) fn make(made: Made) -> Result<Address, Failure> {
    house().ok_or(Failure::Deleted)?.store.lock().make(made)
}

/// For the program: the objects of bridges are dropped, after the calls that came before; then the process ends.
pub(crate) fn stop((): ()) {
    let Some(house) = house() else { return };
    house.threads.end_all();
    house.is_done.store(true, Ordering::Relaxed);
}

/// Sends answers. Who can't be told is gone, or is told by the end of its connection.
fn send(outgoing: Outgoing) {
    for (responder, answer) in outgoing {
        let _ = responder.reply::<Answer, _>(ANSWER, &answer);
    }
}
