//! The core with processes that are only played, and a clock that only moves when told.

mod any_order;
mod failures;
mod replacing;
mod restarts;
mod table;
mod watching;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::{ExitStatus, Signal, StartError};

use super::{Action, Command, Core, Id, Input, Reply, Time, Token};
use crate::supervisor::Backoff;
use crate::supervisor::errors::SupervisorError;
use crate::supervisor::event::{Ended, Event};
use crate::supervisor::policy::{Intensity, Policy, Strategy};

pub(super) const MS: fn(u64) -> Duration = Duration::from_millis;
pub(super) const SECS: fn(u64) -> Duration = Duration::from_secs;

pub(super) const KILLED: ExitStatus = ExitStatus::Signaled { signal: Signal::KILL, core_dumped: false };
const TERMINATED: ExitStatus = ExitStatus::Signaled { signal: Signal::TERM, core_dumped: false };

/// The token of the supervisor's start.
const START: Token = 0;

/// Children are `a`, `b`, `c`, ...; a process is a child with its generation: `a1`.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Time,
    /// What was done: `start a1`, `term a1`, `kill a1`.
    pub(super) trace: Vec<String>,
    pub(super) events: Vec<Event>,
    pub(super) answers: BTreeMap<Token, Reply>,
    pub(super) ended: Option<Ended>,
    pub(super) live: BTreeSet<Id>,
    /// Processes that say so when they are looked at.
    pub(super) ready: BTreeSet<Id>,
    pub(super) progress: BTreeSet<Id>,
    pub(super) resident: BTreeMap<Id, u64>,
    /// Children that take no notice of SIGTERM.
    pub(super) deaf: BTreeSet<usize>,
    /// Children that can't be started now.
    pub(super) broken: BTreeSet<usize>,
    /// Starts aren't answered yet.
    pub(super) slow: bool,
    /// The program is at its exit.
    pub(super) exiting: bool,
    /// What follows from what was done, in its order.
    inputs: VecDeque<Input>,
    tokens: Token,
    pids: u32,
}

pub(super) fn policy() -> Policy {
    Policy { backoff: Backoff::new(MS(100), SECS(30)).jitter(0.0), ..Policy::default() }
}

pub(super) fn intensity(restarts: u32, window: Duration) -> Intensity {
    Intensity { restarts, window }
}

pub(super) fn often() -> Intensity {
    intensity(u32::MAX, SECS(1))
}

impl World {
    pub(super) fn new(strategy: Strategy, intensity: Intensity, policies: Vec<Policy>) -> World {
        let mut world = World::not_begun(strategy, intensity, policies, Box::new(|| 0.5));
        world.begin();
        world
    }

    pub(super) fn not_begun(
        strategy: Strategy,
        intensity: Intensity,
        policies: Vec<Policy>,
        random: Box<dyn FnMut() -> f64 + Send>,
    ) -> World {
        let names = ('a'..='z').map(|name| Arc::from(name.to_string()));
        World {
            core: Core::new(strategy, intensity, random, names.zip(policies)),
            now: Time::ZERO,
            trace: Vec::new(),
            events: Vec::new(),
            answers: BTreeMap::new(),
            ended: None,
            live: BTreeSet::new(),
            ready: BTreeSet::new(),
            progress: BTreeSet::new(),
            resident: BTreeMap::new(),
            deaf: BTreeSet::new(),
            broken: BTreeSet::new(),
            slow: false,
            exiting: false,
            inputs: VecDeque::new(),
            tokens: START,
            pids: 100,
        }
    }

    pub(super) fn begin(&mut self) {
        let actions = self.core.begin(START);
        self.perform(actions);
        self.work_off();
    }

    pub(super) fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.work_off();
    }

    fn work_off(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let actions = self.core.handle(self.now, input);
            self.perform(actions);
        }
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            let late =
                self.ended.is_some() && !matches!(action, Action::Answer(_, Err(SupervisorError::Ended)));
            assert!(!late, "nothing comes after the end: {action:?}");
            match action {
                Action::Start(id) => {
                    self.trace.push(format!("start {}", text(id)));
                    if self.exiting {
                        let error = Arc::new(StartError::Exiting);
                        self.inputs.push_back(Input::StartFailed { id, error });
                    } else if self.broken.contains(&id.child) {
                        let source = io::Error::other("no more processes");
                        let error = Arc::new(StartError::Os { step: "fork", source });
                        self.inputs.push_back(Input::StartFailed { id, error });
                    } else {
                        self.live.insert(id);
                        self.pids += 1;
                        if !self.slow {
                            self.inputs.push_back(Input::Started { id, pid: self.pids });
                        }
                    }
                }
                Action::Terminate(id) => {
                    self.trace.push(format!("term {}", text(id)));
                    if !self.deaf.contains(&id.child) {
                        self.die(id, TERMINATED);
                    }
                }
                Action::Kill(id) => {
                    self.trace.push(format!("kill {}", text(id)));
                    self.die(id, KILLED);
                }
                Action::CheckReady(id) => {
                    let ready = self.ready.contains(&id);
                    self.inputs.push_back(Input::Readiness { id, ready });
                }
                Action::CheckProgress(id) => {
                    let made = self.progress.remove(&id);
                    self.inputs.push_back(Input::Progress { id, made });
                }
                Action::MeasureMemory(id) => {
                    let resident = self.resident.get(&id).copied().unwrap_or_default();
                    self.inputs.push_back(Input::Memory { id, resident });
                }
                Action::Emit(event) => self.events.push(event),
                Action::Answer(token, reply) => {
                    assert!(self.answers.insert(token, reply).is_none(), "one answer each");
                }
                Action::End(ended) => self.ended = Some(ended),
            }
        }
    }

    /// A process ends, for whatever reason.
    pub(super) fn exit(&mut self, id: Id, status: ExitStatus) {
        self.die(id, status);
        self.work_off();
    }

    fn die(&mut self, id: Id, status: ExitStatus) {
        if self.live.remove(&id) {
            self.inputs.push_back(Input::Exited { id, status });
        }
    }

    /// The process ends that is written so.
    pub(super) fn exits(&mut self, id: &str, status: ExitStatus) {
        let id = parse(id);
        assert!(self.live.contains(&id), "{id:?} isn't there: {:?}", self.live);
        self.exit(id, status);
    }

    pub(super) fn command(&mut self, command: impl FnOnce(Token) -> Command) -> Token {
        self.tokens += 1;
        self.input(Input::Command(command(self.tokens)));
        self.tokens
    }

    pub(super) fn stop_all(&mut self) {
        self.input(Input::Command(Command::StopAll));
    }

    /// Lets time pass, with all that is due on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.core.wake_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.now = until;
    }

    pub(super) fn runs(&self) -> String {
        self.live.iter().map(|id| text(*id)).collect::<Vec<_>>().join(" ")
    }

    /// What was done since this was asked last.
    pub(super) fn done(&mut self) -> String {
        std::mem::take(&mut self.trace).join(", ")
    }

    pub(super) fn waits(&self) -> Vec<Duration> {
        let waits = self.events.iter().filter_map(|event| match event {
            Event::Restarting { after, .. } => Some(*after),
            _ => None,
        });
        waits.collect()
    }

    pub(super) fn answer(&self, token: Token) -> String {
        match &self.answers.get(&token) {
            None => "none yet".to_owned(),
            Some(Ok(())) => "done".to_owned(),
            Some(Err(error)) => error.to_string(),
        }
    }
}

pub(super) fn text(id: Id) -> String {
    let name = char::from(b'a' + u8::try_from(id.child).unwrap());
    format!("{name}{}", id.generation)
}

pub(super) fn parse(text: &str) -> Id {
    let child = usize::from(text.as_bytes()[0] - b'a');
    Id { child, generation: text[1..].parse().unwrap() }
}
