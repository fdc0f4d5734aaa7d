//! What the library keeps for the process as a whole: its children and its own threads.
//!
//! The lock is held across a fork, so that no child is started beside another or while a library
//! thread is counted.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::ownership::descriptors::PrivateFd;
use crate::ownership::per_process::PerProcess;
use crate::process::callbacks::Threads;
use crate::process::record::Record;

/// The state of one process.
pub(crate) struct State {
    last_serial: u64,
    /// The children that haven't been collected, in the order of their serial numbers.
    children: Vec<Arc<Record>>,
    /// `/proc/self/status`, if it can be opened.
    status_file: Option<PrivateFd>,
    /// How many threads the library has here.
    pub(crate) library_threads: usize,
    /// How many of them are in a user's callback. Changed only inside the gate.
    pub(crate) in_callback: usize,
    /// What the reaper waits on, once it runs.
    pub(crate) reaper: Option<Arc<PrivateFd>>,
    /// The threads that run callbacks, once there was one to run.
    pub(crate) callbacks: Option<Threads>,
    /// Callbacks that are due or running.
    pub(crate) callbacks_pending: usize,
}

static STATE: PerProcess<Mutex<State>> = PerProcess::new(State::new(), State::new);
/// Told whenever `callbacks_pending` becomes less.
pub(crate) static CALLBACK_DONE: Condvar = Condvar::new();

/// The state, locked.
pub(crate) struct Locked(MutexGuard<'static, State>);

/// Locks this process's state.
pub(crate) fn lock() -> Locked {
    Locked(STATE.own().lock().unwrap_or_else(PoisonError::into_inner))
}

/// Locks it unless somebody else has.
pub(crate) fn try_lock() -> Option<Locked> {
    match STATE.own().try_lock() {
        Ok(guard) => Some(Locked(guard)),
        Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(Locked(poisoned.into_inner())),
        Err(std::sync::TryLockError::WouldBlock) => None,
    }
}

impl State {
    const fn new() -> Mutex<State> {
        Mutex::new(State {
            last_serial: 0,
            children: Vec::new(),
            status_file: None,
            library_threads: 0,
            in_callback: 0,
            reaper: None,
            callbacks: None,
            callbacks_pending: 0,
        })
    }

    /// The serial number of the child that is started under this lock: larger than all before.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    /// Takes in the youngest child.
    pub(crate) fn add(&mut self, record: Arc<Record>) {
        self.children.push(record);
    }

    /// Lets go of a child that was collected.
    pub(crate) fn remove(&mut self, serial: u64) -> Option<Arc<Record>> {
        Some(self.children.remove(self.place(serial)?))
    }

    /// The child with this serial number, unless it was collected.
    pub(crate) fn child(&self, serial: u64) -> Option<Arc<Record>> {
        Some(Arc::clone(&self.children[self.place(serial)?]))
    }

    /// The children that haven't been collected, the oldest first.
    pub(crate) fn children(&self) -> Vec<Arc<Record>> {
        self.children.clone()
    }

    fn place(&self, serial: u64) -> Option<usize> {
        self.children.binary_search_by_key(&serial, |record| record.serial).ok()
    }

    /// This process's status file, opened at the first call. The registry of descriptors must not
    /// be locked.
    pub(crate) fn open_status_file(&mut self) {
        if self.status_file.is_none() {
            self.status_file = PrivateFd::new(|| Ok(File::open("/proc/self/status")?.into())).ok();
        }
    }

    pub(crate) fn status_file(&self) -> Option<BorrowedFd<'_>> {
        self.status_file.as_ref()?.get().ok()
    }
}

impl Locked {
    /// Lets go of the lock until a callback is done or the time is over.
    pub(crate) fn wait_for_callback(self, timeout: std::time::Duration) -> Locked {
        let (guard, _) = CALLBACK_DONE.wait_timeout(self.0, timeout).unwrap_or_else(PoisonError::into_inner);
        Locked(guard)
    }
}

impl std::ops::Deref for Locked {
    type Target = State;
    fn deref(&self) -> &State {
        &self.0
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}
