//! Exit callbacks of a process, which live as long as it does, over all its runs.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use common_ipc::process::{ExitStatus, JoinError, StartError};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::restartable::{Process, ProcessOpen};

/// What an exit callback is told: which run of which process has ended, and how.
pub struct ProcessExit<O> {
    process: Process<O>,
    run: ProcessOpen<O>,
    status: ExitStatus,
}

impl<O: 'static> ProcessExit<O> {
    pub(crate) fn new(process: Process<O>, run: ProcessOpen<O>, status: ExitStatus) -> ProcessExit<O> {
        ProcessExit { process, run, status }
    }

    /// The process. It may have been started again since: what is meant for the run that has ended goes by this
    /// type's own methods.
    #[must_use]
    pub fn process(&self) -> &Process<O> {
        &self.process
    }

    /// The process id that it had, which may be another process's by now.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.run.pid()
    }

    /// The name of the process.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        self.run.name()
    }

    /// Which run has ended, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.run.generation()
    }

    /// How it ended.
    #[must_use]
    pub fn status(&self) -> &ExitStatus {
        &self.status
    }

    /// Starts the process again, unless somebody has done so since this run. Returns the new process id.
    ///
    /// # Errors
    ///
    /// [`StartError::StillRunning`] if it was started since; those of [`Process::start`]. By a fork it is refused here,
    /// since the program's other threads go on beside a callback: make the process by
    /// [`build_template`](crate::ProcessBuilder::build_template) or [`build_in`](crate::ProcessBuilder::build_in).
    pub fn start_again(&self) -> Result<u32, StartError> {
        Ok(self.process.start_after(Some(self.run.generation()))?.pid())
    }
}

impl<O: DeserializeOwned> ProcessExit<O> {
    /// What its target returned.
    ///
    /// # Errors
    ///
    /// Why there is no output: [`JoinError`].
    pub fn output(&self) -> Result<O, JoinError> {
        self.run.output()
    }
}

impl<O> fmt::Debug for ProcessExit<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessExit").field("run", &self.run).field("status", &self.status).finish()
    }
}

pub(crate) type Callback<O> = dyn Fn(&ProcessExit<O>) + Send + Sync;

/// The callbacks of a process, and the ends of its runs for which they are due.
pub(crate) struct Callbacks<O> {
    /// Each with the first run that it is told of.
    known: Mutex<Vec<(u64, Arc<Callback<O>>)>>,
    due: Mutex<Due<O>>,
}

struct Due<O> {
    /// The runs whose ends are to be told and haven't been, in their order. News of them may come in another one.
    expected: VecDeque<u64>,
    exits: BTreeMap<u64, ProcessExit<O>>,
    /// A thread is calling, and takes what comes meanwhile as well.
    calling: bool,
}

impl<O: 'static> Callbacks<O> {
    pub(crate) fn new(known: Vec<Arc<Callback<O>>>) -> Callbacks<O> {
        let due = Due { expected: VecDeque::new(), exits: BTreeMap::new(), calling: false };
        let known = known.into_iter().map(|callback| (1, callback)).collect();
        Callbacks { known: Mutex::new(known), due: Mutex::new(due) }
    }

    /// One that is told of this run and of all after it.
    pub(crate) fn add(&self, first: u64, callback: Arc<Callback<O>>) {
        self.known.lock().push((first, callback));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.lock().is_empty()
    }

    /// The end of this run, the youngest until now, will be told.
    pub(crate) fn expect(&self, generation: u64) {
        self.due.lock().expected.push_back(generation);
    }

    /// Calls them all, after those for runs that ended before. One may start the process and wait for that run's
    /// end, whose own callbacks then come after it, on this thread.
    pub(crate) fn call(&self, exit: ProcessExit<O>) {
        let mut due = self.due.lock();
        due.exits.insert(exit.generation(), exit);
        if std::mem::replace(&mut due.calling, true) {
            return;
        }
        while let Some(exit) = due.next() {
            drop(due);
            let of_this_run = |(first, callback): &(u64, Arc<Callback<O>>)| {
                (*first <= exit.generation()).then(|| Arc::clone(callback))
            };
            let callbacks: Vec<_> = self.known.lock().iter().filter_map(of_this_run).collect();
            for callback in callbacks {
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| callback(&exit))) {
                    // The panic hook has reported it. Its drop could panic again.
                    std::mem::forget(payload);
                }
            }
            drop(exit);
            due = self.due.lock();
        }
        due.calling = false;
    }
}

impl<O> Due<O> {
    /// The one whose turn it is, if that has come.
    fn next(&mut self) -> Option<ProcessExit<O>> {
        let exit = self.exits.remove(self.expected.front()?)?;
        self.expected.pop_front();
        Some(exit)
    }
}
