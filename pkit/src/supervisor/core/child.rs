//! A child and its incarnations.

use std::sync::Arc;

use super::command::Waiter;
use super::watch::Stopwatch;
use super::{Id, Time};
use crate::supervisor::event::Failure;
use crate::supervisor::policy::Policy;

/// What a child is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It doesn't run, and nobody is going to start it.
    Down,
    /// It has failed, or is stopped with its group, and is going to be started again.
    Waiting,
    /// It was started, and isn't ready yet.
    Starting,
    /// It is ready.
    Ready,
    /// It is ready, and another process is about to replace it; or that has happened, and the old one is being
    /// stopped.
    Replacing,
    /// It is being stopped.
    Stopping,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Down => "down",
            Status::Waiting => "waiting for its restart",
            Status::Starting => "starting",
            Status::Ready => "ready",
            Status::Replacing => "ready, and being replaced",
            Status::Stopping => "stopping",
        })
    }
}

/// Why an incarnation is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doom {
    /// It isn't wanted.
    Stop,
    NotReady,
    Hung,
}

/// One process of a child, from the wish to start it until it was collected.
#[derive(Debug)]
pub(super) struct Incarnation {
    pub(super) generation: u64,
    /// `None`: its start is asked for.
    pub(super) pid: Option<u32>,
    pub(super) ready_since: Option<Time>,
    pub(super) end: Option<Doom>,
    pub(super) killed: bool,
    /// The error that it has returned.
    pub(super) returned: Option<Arc<str>>,
    /// Over the time until it is ready.
    pub(super) readiness: Stopwatch,
    /// Over the time without progress.
    pub(super) progress: Stopwatch,
}

/// What an incarnation is to its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// The one that serves, or will.
    Main,
    /// It is to replace that one.
    Next,
    /// It was replaced, or failed to replace; it is being ended.
    Leaving,
}

/// What a child without a main incarnation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Down,
    /// Its backoff.
    Until(Time),
    /// Its turn in the sequence, or the end of its last process.
    Turn,
}

#[derive(Debug)]
pub(crate) struct Child {
    pub(super) name: Arc<str>,
    pub(super) policy: Policy,
    /// Of the youngest incarnation; 0 before the first.
    pub(super) generation: u64,
    pub(super) main: Option<Incarnation>,
    pub(super) next: Option<Incarnation>,
    pub(super) leaving: Option<Incarnation>,
    pub(super) rest: Rest,
    /// Somebody has stopped it by name: only somebody starts it again.
    pub(super) stopped_by_hand: bool,
    pub(super) failures_in_a_row: u32,
    /// How many processes of it were started.
    pub(super) starts: u64,
    pub(super) waiters: Vec<Waiter>,
    pub(super) last_failure: Option<Failure>,
    /// It isn't recycled before: the last time that has failed.
    pub(super) no_recycling_before: Time,
    /// Its status last time, and since when.
    since: (Status, Time),
}

impl Child {
    pub(super) fn new(name: Arc<str>, policy: Policy) -> Child {
        Child {
            name,
            policy,
            generation: 0,
            main: None,
            next: None,
            leaving: None,
            rest: Rest::Turn,
            stopped_by_hand: false,
            failures_in_a_row: 0,
            starts: 0,
            waiters: Vec::new(),
            last_failure: None,
            no_recycling_before: Time::ZERO,
            since: (Status::Waiting, Time::ZERO),
        }
    }

    pub(super) fn new_incarnation(&mut self, now: Time) -> Incarnation {
        self.generation += 1;
        Incarnation {
            generation: self.generation,
            pid: None,
            ready_since: None,
            end: None,
            killed: false,
            returned: None,
            readiness: Stopwatch::new(now),
            progress: Stopwatch::new(now),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.main.is_some() || self.next.is_some() || self.leaving.is_some()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.main.as_ref().is_some_and(|main| main.ready_since.is_some() && main.end.is_none())
    }

    pub(super) fn is_starting(&self) -> bool {
        let unready = |main: &Incarnation| main.ready_since.is_none() && main.end.is_none();
        self.main.as_ref().is_some_and(unready)
    }

    pub(super) fn place(&self, slot: Slot) -> &Option<Incarnation> {
        match slot {
            Slot::Main => &self.main,
            Slot::Next => &self.next,
            Slot::Leaving => &self.leaving,
        }
    }

    pub(super) fn place_mut(&mut self, slot: Slot) -> &mut Option<Incarnation> {
        match slot {
            Slot::Main => &mut self.main,
            Slot::Next => &mut self.next,
            Slot::Leaving => &mut self.leaving,
        }
    }

    /// `None` for one that is no more.
    pub(super) fn slot_of(&self, id: Id) -> Option<(Slot, &Incarnation)> {
        [Slot::Main, Slot::Next, Slot::Leaving].into_iter().find_map(|slot| {
            let incarnation = self.place(slot).as_ref()?;
            (incarnation.generation == id.generation).then_some((slot, incarnation))
        })
    }

    pub(super) fn find_mut(&mut self, id: Id) -> Option<(Slot, &mut Incarnation)> {
        let (slot, _) = self.slot_of(id)?;
        self.place_mut(slot).as_mut().map(|incarnation| (slot, incarnation))
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The process that serves, or will.
    pub(crate) fn main_process(&self) -> Option<(u32, u64)> {
        let main = self.main.as_ref()?;
        Some((main.pid?, main.generation))
    }

    /// The latest end, or start, that was a failure.
    pub(crate) fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }

    pub(crate) fn status(&self) -> Status {
        let Some(main) = &self.main else {
            return match self.rest {
                Rest::Down if self.is_live() => Status::Stopping,
                Rest::Down => Status::Down,
                Rest::Until(_) | Rest::Turn => Status::Waiting,
            };
        };
        if main.end.is_some() {
            Status::Stopping
        } else if main.ready_since.is_none() {
            Status::Starting
        } else if self.next.is_some() || self.leaving.is_some() {
            Status::Replacing
        } else {
            Status::Ready
        }
    }

    /// Since when it has its status.
    pub(crate) fn since(&self) -> Time {
        self.since.1
    }

    pub(super) fn note_status(&mut self, now: Time) {
        let status = self.status();
        if status != self.since.0 {
            self.since = (status, now);
        }
    }
}
