//! What follows from a failure.

use std::sync::Arc;

use super::child::{Doom, Rest, Slot};
use super::command::Reply;
use super::{Action, Core, Phase, Time, Timer, Timers};
use crate::supervisor::errors::SupervisorError;
use crate::supervisor::event::{Cause, Ended, Event, Failure};
use crate::supervisor::policy::{Restart, Strategy};

/// Why everything is being stopped.
#[derive(Debug)]
pub(super) enum Why {
    Asked,
    TooManyFailures(Vec<Failure>),
    /// The supervisor's own start has failed.
    NotStarted(SupervisorError),
}

impl Core {
    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running)
    }

    /// A child's main process is gone, and nobody has wanted that.
    pub(super) fn failed(&mut self, index: usize, cause: Cause, ready_since: Option<Time>) {
        let now = self.now;
        if !self.is_running() || self.to_stop.contains(&index) {
            // It has only come before its turn to be stopped.
            return self.gone(index);
        }
        let name = Arc::clone(&self.children[index].name);
        let error = SupervisorError::Child { child: Arc::clone(&name), cause: cause.clone() };
        if matches!(self.phase, Phase::Starting) && ready_since.is_none() {
            return self.stop_all(Why::NotStarted(error));
        }
        let failure = Failure { child: Arc::clone(&name), cause: cause.clone(), at: now };
        let child = self.child(index);
        if !cause.is_normal() {
            child.last_failure = Some(failure.clone());
        }
        if ready_since.is_some_and(|since| now - since >= child.policy.backoff.resets_after()) {
            child.failures_in_a_row = 0;
        }
        let again = match child.policy.restart {
            Restart::Permanent => true,
            Restart::Transient => !cause.is_normal(),
            Restart::Temporary => false,
        };
        let replaced = child.next.is_some() && self.strategy == Strategy::OneForOne;
        if !replaced {
            self.answer_started(index, &error);
        }
        if !again && !replaced {
            self.child(index).rest = Rest::Down;
            self.to_start.remove(&index);
            return self.give_up_replacing(index);
        }
        if again && !self.may_restart(failure) {
            return;
        }
        if replaced {
            return self.promote(index);
        }
        let random = (self.random)();
        let child = self.child(index);
        let after = child.policy.backoff.delay(child.failures_in_a_row, random);
        child.failures_in_a_row = child.failures_in_a_row.saturating_add(1);
        self.emit(Event::Restarting { child: name, after });
        let at = now.saturating_add(after);
        match self.strategy {
            Strategy::OneForOne => {
                self.child(index).rest = Rest::Until(at);
                self.timer(at, Timer::Restart(index));
            }
            Strategy::OneForAll => self.restart_group(0, index, at),
            Strategy::RestForOne => self.restart_group(index, index, at),
        }
    }

    /// Counts a failure; one too many is the end.
    fn may_restart(&mut self, failure: Failure) -> bool {
        if self.intensity.restarts == u32::MAX {
            // As many as it likes: nobody is ever told of them.
            return true;
        }
        let now = self.now;
        self.failures.push_back(failure);
        while self.failures.front().is_some_and(|oldest| now - oldest.at > self.intensity.window) {
            self.failures.pop_front();
        }
        if self.failures.len() <= self.intensity.restarts as usize {
            return true;
        }
        let history: Vec<Failure> = self.failures.drain(..).collect();
        self.emit(Event::Failed { history: history.clone() });
        self.stop_all(Why::TooManyFailures(history));
        false
    }

    pub(super) fn backoff_over(&mut self, index: usize) {
        // Of one that was stopped or started meanwhile, this timer is none.
        if matches!(self.children[index].rest, Rest::Until(at) if at <= self.now) && self.is_running() {
            self.start(index);
        }
    }

    /// Stops and starts again the children from `first` on; `failed` is the one for whose sake that is.
    fn restart_group(&mut self, first: usize, failed: usize, at: Time) {
        // Those that wait already, if there are any, come after this one, and so with it.
        let waits = self.to_start.first().is_some_and(|waiting| *waiting <= failed);
        for index in first..self.children.len() {
            let child = self.child(index);
            let again =
                index == failed || (child.policy.restart != Restart::Temporary && !child.stopped_by_hand);
            child.rest = if again { Rest::Turn } else { Rest::Down };
            if child.is_live() {
                self.to_stop.insert(index);
            }
            if again {
                self.to_start.insert(index);
            }
            if index != failed {
                self.interrupt(index, again);
            }
        }
        self.not_before = if waits { self.not_before.max(at) } else { at };
        self.timer(self.not_before, Timer::Sequence);
    }

    pub(super) fn stop_all(&mut self, why: Why) {
        self.phase = Phase::Stopping(why);
        for index in 0..self.children.len() {
            let child = self.child(index);
            child.rest = Rest::Down;
            if child.is_live() {
                self.to_stop.insert(index);
            }
            self.answer_started(index, &SupervisorError::Ended);
        }
    }

    /// It is no time for restarts: from now on what ends was stopped by the program's exit, and needs no signal of ours.
    pub(super) fn exiting(&mut self) {
        if !self.is_running() {
            return;
        }
        self.stop_all(Why::Asked);
        for child in &mut self.children {
            for incarnation in [&mut child.main, &mut child.next, &mut child.leaving].into_iter().flatten() {
                incarnation.end.get_or_insert(Doom::Stop);
            }
        }
    }

    /// All have ended.
    pub(super) fn end(&mut self) {
        let Phase::Stopping(why) = std::mem::replace(&mut self.phase, Phase::Over) else { return };
        let children = std::mem::take(&mut self.stopped);
        self.timers = Timers::default();
        let (ended, error) = match why {
            Why::Asked => (Ended::Stopped { children }, SupervisorError::Ended),
            Why::NotStarted(error) => (Ended::Stopped { children }, error),
            Why::TooManyFailures(history) => {
                let last = history.last().cloned();
                let error = last.map(|Failure { child, cause, .. }| SupervisorError::Child { child, cause });
                (Ended::Failed { history, children }, error.unwrap_or(SupervisorError::Ended))
            }
        };
        self.answer_beginner(Err(error));
        self.out.push(Action::End(ended));
    }

    pub(super) fn answer_beginner(&mut self, reply: Reply) {
        if let Some(token) = self.beginner.take() {
            self.out.push(Action::Answer(token, reply));
        }
    }

    /// A process of this child that was to replace another isn't needed, or no more to be hoped for.
    fn give_up_replacing(&mut self, index: usize) {
        if self.children[index].place(Slot::Next).is_some() {
            self.stop(index);
        }
        self.gone(index);
    }
}
