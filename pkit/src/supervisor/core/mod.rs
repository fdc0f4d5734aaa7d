//! The core: what is to be done when something has happened. A state machine without processes, threads or a clock.
//!
//! ```text
//! mod        inputs, actions, what all parts share
//! child      a child and its incarnations
//! life       an incarnation's way from its start to its end
//! failure    what follows from a failure: backoff, intensity, strategy, the end
//! sequence   stops in reverse order, then starts in order
//! replace    rolling restarts and recycling
//! watch      looks at readiness, progress and memory
//! command    what handles ask for
//! timers     what is due when
//! ```
//!
//! Time is the time since the supervisor's start. Each input returns the actions that follow from it; what an action
//! brings about comes back as a further input. An incarnation is one process of a child, told apart from all others by
//! its generation: what is heard of one that is no more, or that never was, changes nothing.

mod child;
mod command;
mod failure;
mod life;
mod replace;
mod sequence;
#[cfg(test)]
mod tests;
mod timers;
mod watch;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::{ExitStatus, StartError};

pub(crate) use self::child::Child;
use self::child::Rest;
pub use self::child::Status;
pub(crate) use self::command::{Command, Reply, Token};
use self::failure::Why;
use self::replace::RollAll;
use self::timers::{Timer, Timers};
use super::errors::SupervisorError;
use super::event::{Ended, Event, Failure, StoppedChild};
use super::policy::{Intensity, Policy, Strategy};

/// So many timers are heeded before anything else is.
const TIMERS_AT_ONCE: usize = 16;

/// Since the supervisor's start.
pub(crate) type Time = Duration;

/// An incarnation: one process of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) child: usize,
    pub(crate) generation: u64,
}

/// What has happened.
#[derive(Debug)]
pub(crate) enum Input {
    Started {
        id: Id,
        pid: u32,
    },
    StartFailed {
        id: Id,
        error: Arc<StartError>,
    },
    Readiness {
        id: Id,
        ready: bool,
    },
    Progress {
        id: Id,
        made: bool,
    },
    Memory {
        id: Id,
        resident: u64,
    },
    /// Its exit is still to come.
    Returned {
        id: Id,
        error: Arc<str>,
    },
    Exited {
        id: Id,
        status: ExitStatus,
    },
    Command(Command),
    /// The program is at its exit, which stops all that run.
    Exiting,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Answered by `Started` or `StartFailed`.
    Start(Id),
    /// SIGTERM.
    Terminate(Id),
    /// SIGKILL.
    Kill(Id),
    /// Answered by `Readiness`.
    CheckReady(Id),
    /// Answered by `Progress`.
    CheckProgress(Id),
    /// Answered by `Memory`.
    MeasureMemory(Id),
    Emit(Event),
    Answer(Token, Reply),
    /// Nothing comes after that.
    End(Ended),
}

#[derive(Debug)]
enum Phase {
    /// Until all children have been ready once.
    Starting,
    Running,
    /// Everything is being stopped.
    Stopping(Why),
    Over,
}

/// The part of the state machine that isn't any single child's.
pub(crate) struct Core {
    strategy: Strategy,
    intensity: Intensity,
    /// From 0 to 1, for the jitter.
    random: Box<dyn FnMut() -> f64 + Send>,
    children: Vec<Child>,
    phase: Phase,
    /// Who waits for the supervisor's start.
    beginner: Option<Token>,
    now: Time,
    /// To be stopped, the last one first, one after another ...
    to_stop: BTreeSet<usize>,
    /// ... and when that is done, and it is time, to be started, the first one first.
    to_start: BTreeSet<usize>,
    not_before: Time,
    roll_all: Option<RollAll>,
    timers: Timers,
    failures: VecDeque<Failure>,
    stopped: Vec<StoppedChild>,
    /// Children whose status may have changed by this input.
    touched: Vec<usize>,
    out: Vec<Action>,
}

impl Core {
    pub(crate) fn new(
        strategy: Strategy,
        intensity: Intensity,
        random: Box<dyn FnMut() -> f64 + Send>,
        children: impl IntoIterator<Item = (Arc<str>, Policy)>,
    ) -> Core {
        Core {
            strategy,
            intensity,
            random,
            children: children.into_iter().map(|(name, policy)| Child::new(name, policy)).collect(),
            phase: Phase::Over,
            beginner: None,
            now: Time::ZERO,
            to_stop: BTreeSet::new(),
            to_start: BTreeSet::new(),
            not_before: Time::ZERO,
            roll_all: None,
            timers: Timers::default(),
            failures: VecDeque::new(),
            stopped: Vec::new(),
            touched: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Starts all children in order. The token is answered when all are ready, or one has failed and all are stopped.
    pub(crate) fn begin(&mut self, token: Token) -> Vec<Action> {
        self.phase = Phase::Starting;
        self.beginner = Some(token);
        self.to_start = (0..self.children.len()).collect();
        self.advance();
        self.finish()
    }

    pub(crate) fn handle(&mut self, now: Time, input: Input) -> Vec<Action> {
        // The clock of a test, or of a strange machine, may go backwards.
        self.now = self.now.max(now);
        if !matches!(self.phase, Phase::Over) {
            self.take(input);
            self.advance();
        } else if let Input::Command(command) = input {
            self.refuse(&command, &SupervisorError::Ended);
        }
        self.finish()
    }

    fn finish(&mut self) -> Vec<Action> {
        for child in self.touched.drain(..) {
            self.children[child].note_status(self.now);
        }
        std::mem::take(&mut self.out)
    }

    fn child(&mut self, index: usize) -> &mut Child {
        self.touched.push(index);
        &mut self.children[index]
    }

    /// When time that has passed is an input, if nothing else is before.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        self.timers.next()
    }

    pub(crate) fn children(&self) -> &[Child] {
        &self.children
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Started { id, pid } => self.started(id, pid),
            Input::StartFailed { id, error } => self.start_failed(id, error),
            Input::Readiness { id, ready } => self.looked_for_readiness(id, ready),
            Input::Progress { id, made } => self.looked_for_progress(id, made),
            Input::Memory { id, resident } => self.measured_memory(id, resident),
            Input::Returned { id, error } => {
                if let Some((_, incarnation)) = self.child(id.child).find_mut(id) {
                    incarnation.returned = Some(error);
                }
            }
            Input::Exited { id, status } => self.exited(id, status),
            Input::Command(command) => self.command(command),
            Input::Exiting => self.exiting(),
            Input::Tick => self.tick(),
        }
    }

    fn tick(&mut self) {
        // Of many that are due only some, so that the start of a crowd doesn't keep out what happens meanwhile.
        for _ in 0..TIMERS_AT_ONCE {
            let Some(timer) = self.timers.pop(self.now) else { return };
            match timer {
                // The sequence is looked at after every input.
                Timer::Sequence => {}
                Timer::Restart(child) => self.backoff_over(child),
                Timer::Kill(id) => self.grace_over(id),
                Timer::Ready(id) if self.is_current(id) => self.out.push(Action::CheckReady(id)),
                Timer::Progress(id) if self.is_current(id) => self.out.push(Action::CheckProgress(id)),
                Timer::Memory(id) if self.is_current(id) => self.out.push(Action::MeasureMemory(id)),
                Timer::Age(id) => self.age_over(id),
                Timer::Ready(_) | Timer::Progress(_) | Timer::Memory(_) => {}
            }
        }
    }

    /// Whether this incarnation is there and not being ended.
    fn is_current(&self, id: Id) -> bool {
        self.children[id.child].slot_of(id).is_some_and(|(_, incarnation)| incarnation.end.is_none())
    }

    fn timer(&mut self, at: Time, timer: Timer) {
        self.timers.push(at, timer);
        // What was for incarnations that are gone, and for waits that were cut short, isn't kept for ever.
        let (children, not_before) = (&self.children, self.not_before);
        self.timers.tidy(8 * children.len(), |at, timer| match timer {
            Timer::Sequence => at == not_before,
            Timer::Restart(child) => children[*child].rest == Rest::Until(at),
            Timer::Kill(id) | Timer::Ready(id) | Timer::Progress(id) | Timer::Memory(id) | Timer::Age(id) => {
                children[id.child].slot_of(*id).is_some()
            }
        });
    }

    fn emit(&mut self, event: Event) {
        self.out.push(Action::Emit(event));
    }
}
