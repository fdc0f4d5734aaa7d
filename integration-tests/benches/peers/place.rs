//! Where the two processes run, and who else does.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::pin;

/// Where the two processes of a measurement run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Both on the first core.
    OneCore,
    /// One on the first core, one on the second.
    TwoCores,
    /// Wherever the scheduler puts them.
    Free,
    /// Both on the first core, beside a process that computes there all the time.
    Hog,
}

impl Place {
    pub(crate) const ALL: [Place; 4] = [Place::OneCore, Place::TwoCores, Place::Free, Place::Hog];

    /// As it is called in the table, in the lines of JSON, and between the processes of this program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Place::OneCore => "one core",
            Place::TwoCores => "two cores",
            Place::Free => "free",
            Place::Hog => "hog",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Place> {
        Place::ALL.into_iter().find(|place| place.name() == name)
    }

    /// Whether this machine has it.
    pub(crate) fn exists(self) -> bool {
        self != Place::TwoCores || std::thread::available_parallelism().is_ok_and(|count| count.get() > 1)
    }

    /// Puts the process that measures in its place. What it starts is there, too, until it moves.
    pub(crate) fn pin_first(self) {
        if self != Place::Free {
            pin(0);
        }
    }

    /// Puts the other process in its place.
    pub(crate) fn pin_second(self) {
        if let Some(core) = self.second_core() {
            pin(core);
        }
    }

    /// The core of the other process, if it isn't to run anywhere.
    pub(crate) fn second_core(self) -> Option<usize> {
        match self {
            Place::OneCore | Place::Hog => Some(0),
            Place::TwoCores => Some(1),
            Place::Free => None,
        }
    }
}

/// The argument with which this program runs as the hog.
pub(crate) const BURN: &str = "--burn";

/// A process that computes on the first core until this is dropped.
pub(crate) struct Hog {
    process: Child,
}

impl Hog {
    pub(crate) fn start() -> Hog {
        let program = std::env::current_exe().unwrap();
        let process = Command::new(program).arg(BURN).stdin(Stdio::null()).spawn().unwrap();
        Hog { process }
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the hog does. It ends with whoever started it.
pub(crate) fn burn() -> ! {
    pin(0);
    let begin = Instant::now();
    loop {
        // Something that the optimiser can't leave out.
        std::hint::black_box(begin.elapsed());
    }
}
