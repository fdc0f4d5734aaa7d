//! What each actor has: the counts, the record of what was done to whom, the time, random numbers.

use std::fmt::Display;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common_ipc::process::{JoinError, LaunchOptions, Resource, Stdio, Zygote, active_children};
use common_ipc::testing::{Random, Record};

use crate::actors::Forker;
use crate::model::blocked::Blocked;
use crate::model::deed::Judge;
use crate::model::excuse;
use crate::model::ledger::Ledger;
use crate::model::tally::{Count, Tally};
use crate::model::watch::{Pulse, Watch};

pub(crate) struct Stage {
    pub(crate) seed: u64,
    pub(crate) tally: Tally,
    pub(crate) watch: Watch,
    pub(crate) record: Record,
    pub(crate) blocked: Blocked,
    pub(crate) zygote: Zygote,
    pub(crate) forker: Forker,
    pub(crate) over: AtomicBool,
}

/// A round takes about so long: then all that was begun in it is brought to an end, and looked at.
pub(crate) const ROUND: Duration = Duration::from_millis(1_500);

impl Stage {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Random numbers for one thread of an actor.
    pub(crate) fn random(&self, name: &str) -> Random {
        Random::named(self.seed, name)
    }

    /// The pulse of this thread.
    pub(crate) fn pulse(&self, name: &str) -> Pulse {
        let pulse = self.watch.pulse(name);
        pulse.here("begin");
        pulse
    }

    pub(crate) fn judge<'a>(&'a self, who: &'static str, ledger: &'a Ledger) -> Judge<'a> {
        Judge { who, tally: &self.tally, ledger, record: &self.record }
    }

    /// Something couldn't be started, which must be for something that was done to it. What keeps it from that is a
    /// matter of milliseconds.
    pub(crate) fn not_started(&self, who: &str, error: &dyn Display, is_explained: bool) {
        self.tally.one(Count::NotStarted);
        self.tally.check(is_explained, || format!("{who}: not started: {error}"));
        std::thread::sleep(Duration::from_millis(1));
    }

    /// A process ended otherwise than by itself, while somebody waited for it: somebody must have killed it.
    pub(crate) fn not_ended(
        &self,
        who: &'static str,
        pid: u32,
        error: &JoinError,
        [since, began]: [Instant; 2],
    ) {
        self.blocked.note(who, &self.record, pid, began);
        let is_explained = matches!(error, JoinError::Died(status) if status.signal().is_some_and(|signal| {
            excuse::death(&self.record, pid, since, signal.as_raw())
        }));
        self.tally.check(is_explained, || format!("{who}: {error}"));
    }

    /// Waits until no child of this name is left, of those whose handles were dropped.
    pub(crate) fn wait_for_all_of(&self, name: &str) {
        while active_children().iter().any(|child| child.name() == name) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The children of an actor: what they say of their own panics nobody wants to read, and they may have as many descriptors
/// as ever, also if this process hasn't at this moment.
pub(crate) fn options(name: &str) -> LaunchOptions {
    LaunchOptions::new().name(name).stderr(Stdio::Null).env("RUST_BACKTRACE", "0").core_limit(0).limit(
        Resource::OpenFiles,
        1_024,
        4_096,
    )
}

/// Takes a rest, `mean` long on average: who works without one keeps the others from their work, and all of them together
/// are to leave the processors room for those who have just been killed.
pub(crate) fn rest(random: &mut Random, mean: Duration) {
    std::thread::sleep(random.up_to(2 * mean));
}

/// The time of a round, which is over sooner if all is.
pub(crate) struct Round<'a> {
    stage: &'a Stage,
    end: Instant,
}

impl<'a> Round<'a> {
    pub(crate) fn begin(stage: &'a Stage) -> Round<'a> {
        Round::of(stage, ROUND)
    }

    pub(crate) fn of(stage: &'a Stage, time: Duration) -> Round<'a> {
        Round { stage, end: Instant::now() + time }
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.stage.is_over() && Instant::now() < self.end
    }
}
