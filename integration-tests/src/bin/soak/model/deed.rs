//! Tasks of all kinds, and which ends of theirs are true.

use std::fmt::Display;
use std::time::{Duration, Instant};

use common_ipc::link::Execution;
use common_ipc::memory::SharedAtomics;
use common_ipc::process::{ExitStatus, JoinError, LaunchOptions, Resource};
use common_ipc::testing::{Random, Record};
use integration_tests::raw;
use nix::libc;
use serde::{Deserialize, Serialize};

use super::excuse;
use super::ledger::{Ledger, mark};
use super::tally::{Count, Tally};

/// What a task does once it has marked its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    Return,
    /// Returns this many bytes as well.
    Long(usize),
    /// After so many microseconds.
    Sleep(u64),
    Panic,
    Exit(i32),
    Segfault,
    /// Takes memory until there is none: for processes that may have [`LITTLE`].
    Devour,
}

/// A slot, and what whoever has it is to do.
pub(crate) type Order = (SharedAtomics, u32, Deed);

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) slot: u32,
    pub(crate) bulk: Vec<u8>,
}

const LITTLE: u64 = 24 << 20;

/// As much memory as one may have who devours it.
pub(crate) fn limited(options: LaunchOptions) -> LaunchOptions {
    options.limit(Resource::Data, LITTLE, LITTLE)
}

/// In the process of the task.
pub(crate) fn carry_out((marks, slot, deed): Order) -> Answer {
    mark(&marks, slot);
    let mut bulk = Vec::new();
    match deed {
        Deed::Return => {}
        Deed::Long(length) => bulk.resize(length, slot as u8),
        Deed::Sleep(micros) => std::thread::sleep(Duration::from_micros(micros)),
        Deed::Panic => std::panic::resume_unwind(Box::new(PANIC)),
        Deed::Exit(code) => std::process::exit(code),
        Deed::Segfault => raw::segfault(),
        Deed::Devour => {
            // It doesn't get there.
            while bulk.len() < 8 * LITTLE as usize {
                bulk.resize(bulk.len() + (2 << 20), 1);
            }
        }
    }
    Answer { slot, bulk }
}

const PANIC: &str = "as it was told to";

impl Deed {
    /// One at random, of those that need no limit of memory.
    pub(crate) fn any(random: &mut Random) -> Deed {
        match random.below(100) {
            0..4 => Deed::Panic,
            4..7 => Deed::Exit(random.below(100) as i32),
            7..9 => Deed::Segfault,
            9..25 => Deed::Sleep(random.below(20_000)),
            25..30 => Deed::Long(random.below(100_000) as usize),
            _ => Deed::Return,
        }
    }

    /// Whether it can have returned this.
    fn returns(self, answer: &Answer) -> bool {
        match self {
            Deed::Return | Deed::Sleep(_) => answer.bulk.is_empty(),
            Deed::Long(length) => {
                answer.bulk.len() == length && answer.bulk.iter().all(|byte| *byte == answer.slot as u8)
            }
            _ => false,
        }
    }

    /// Whether it ends a process so, by itself.
    pub(crate) fn ends(self, status: &ExitStatus) -> bool {
        match self {
            Deed::Exit(code) => *status == ExitStatus::Exited(code),
            Deed::Segfault => status.signal().is_some_and(|signal| signal.as_raw() == libc::SIGSEGV),
            Deed::Devour => status.signal().is_some_and(|signal| signal.as_raw() == libc::SIGABRT),
            _ => false,
        }
    }
}

/// Who has given an order, and looks at what became of it.
pub(crate) struct Judge<'a> {
    pub(crate) who: &'static str,
    pub(crate) tally: &'a Tally,
    pub(crate) ledger: &'a Ledger,
    pub(crate) record: &'a Record,
}

impl Judge<'_> {
    /// It has returned this.
    pub(crate) fn answered(&self, slot: u32, deed: Deed, answer: &Answer) {
        self.tally.fine();
        self.ledger.told(slot, Execution::Ran);
        self.tally.check(answer.slot == slot && deed.returns(answer), || {
            format!("{}: {deed:?} of {slot} gave {} and {} bytes", self.who, answer.slot, answer.bulk.len())
        });
    }

    /// It wasn't begun, since nothing was started.
    pub(crate) fn not_begun(&self, slot: u32, why: &dyn Display) {
        self.tally.one(Count::NotStarted);
        self.failed(slot, Execution::NotRun, why);
        // What keeps one from starting is a matter of milliseconds.
        std::thread::sleep(Duration::from_millis(1));
    }

    pub(crate) fn failed(&self, slot: u32, execution: Execution, why: &dyn Display) {
        self.ledger.note(slot, why);
        self.tally.failed(execution);
        self.ledger.told(slot, execution);
    }

    /// Its own process has ended without an answer. `killed` says whether somebody has killed it by a signal.
    pub(crate) fn unanswered(&self, slot: u32, deed: Deed, error: &JoinError, killed: impl Fn(i32) -> bool) {
        let (execution, fits) = match error {
            JoinError::Panicked(_) => (Execution::Ran, deed == Deed::Panic),
            // By itself, or by somebody before it came to that.
            JoinError::Died(status) if deed.ends(status) => (Execution::Unknown, true),
            JoinError::Died(status) => {
                (Execution::Unknown, status.signal().is_some_and(|signal| killed(signal.as_raw())))
            }
            JoinError::Wait(error) => (Execution::Unknown, excuse::child(self.record, error)),
            JoinError::Undeliverable(_) => (Execution::Ran, excuse::descriptors(self.record)),
            JoinError::Setup { .. } => (Execution::NotRun, excuse::descriptors(self.record)),
            _ => (Execution::Unknown, false),
        };
        self.tally.check(fits, || format!("{}: {deed:?} ended so: {error}", self.who));
        self.failed(slot, execution, error);
    }

    /// As [`unanswered`](Judge::unanswered), of a child of this number that was started at this time.
    pub(crate) fn unanswered_by(&self, slot: u32, deed: Deed, error: &JoinError, pid: u32, since: Instant) {
        self.unanswered(slot, deed, error, |signal| excuse::death(self.record, pid, since, signal));
        self.tally.one(Count::Ended);
    }
}
