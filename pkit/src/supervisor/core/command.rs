//! What handles ask for, and what they are told.

use std::sync::Arc;

use super::child::Rest;
use super::failure::Why;
use super::{Action, Core, Phase};
use crate::supervisor::errors::SupervisorError;

/// Whom an answer is for.
pub(crate) type Token = u64;

pub(crate) type Reply = Result<(), SupervisorError>;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    Start(usize, Token),
    Stop(usize, Token),
    Restart(usize, Token),
    Roll(usize, Token),
    RollAll(Token),
    /// The whole supervisor; its end is the answer.
    StopAll,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Ready,
    Gone,
    /// The new process is ready, and the old one has ended.
    Replaced,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    Handle(Token),
    /// The rolling restart of all children.
    RollAll,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) asker: Asker,
    pub(super) goal: Goal,
}

impl Core {
    pub(super) fn command(&mut self, command: Command) {
        if matches!(self.phase, Phase::Stopping(_)) {
            return self.refuse(&command, &SupervisorError::Ended);
        }
        match command {
            Command::Start(index, token) => self.start_by_hand(index, Asker::Handle(token)),
            Command::Stop(index, token) => self.stop_by_hand(index, Asker::Handle(token)),
            Command::Restart(index, token) => self.restart_by_hand(index, Asker::Handle(token)),
            Command::Roll(index, token) => self.roll(index, Asker::Handle(token)),
            Command::RollAll(token) => self.roll_all(token),
            Command::StopAll => self.stop_all(Why::Asked),
        }
    }

    pub(super) fn refuse(&mut self, command: &Command, error: &SupervisorError) {
        match *command {
            Command::Start(_, token)
            | Command::Stop(_, token)
            | Command::Restart(_, token)
            | Command::Roll(_, token)
            | Command::RollAll(token) => self.out.push(Action::Answer(token, Err(error.clone()))),
            Command::StopAll => {}
        }
    }

    pub(super) fn start_by_hand(&mut self, index: usize, asker: Asker) {
        let child = self.child(index);
        child.stopped_by_hand = false;
        if child.is_ready() {
            return self.answer(asker, Ok(()));
        }
        child.waiters.push(Waiter { asker, goal: Goal::Ready });
        let starting = child.main.as_ref().is_some_and(|main| main.end.is_none());
        if starting || self.in_sequence(index) {
            return;
        }
        self.start(index);
    }

    /// Whether it is started again with its group, and needs no start of its own. The group doesn't wait any longer.
    fn in_sequence(&mut self, index: usize) -> bool {
        if self.to_stop.contains(&index) {
            self.to_start.insert(index);
        }
        let in_sequence = self.to_start.contains(&index);
        if in_sequence {
            self.not_before = self.now;
            self.child(index).rest = Rest::Turn;
        }
        in_sequence
    }

    fn stop_by_hand(&mut self, index: usize, asker: Asker) {
        self.to_start.remove(&index);
        self.interrupt(index, false);
        let child = self.child(index);
        child.stopped_by_hand = true;
        child.rest = Rest::Down;
        if !child.is_live() {
            return self.answer(asker, Ok(()));
        }
        child.waiters.push(Waiter { asker, goal: Goal::Gone });
        self.stop(index);
    }

    fn restart_by_hand(&mut self, index: usize, asker: Asker) {
        self.interrupt(index, true);
        let child = self.child(index);
        if !child.is_live() {
            return self.start_by_hand(index, asker);
        }
        child.stopped_by_hand = false;
        child.waiters.push(Waiter { asker, goal: Goal::Ready });
        child.rest = Rest::Turn;
        self.in_sequence(index);
        self.stop(index);
    }

    pub(super) fn answer(&mut self, asker: Asker, reply: Reply) {
        match asker {
            Asker::Handle(token) => self.out.push(Action::Answer(token, reply)),
            Asker::RollAll => self.rolled(reply),
        }
    }

    pub(super) fn answer_where(
        &mut self,
        index: usize,
        which: impl Fn(Goal) -> bool,
        reply: impl Fn() -> Reply,
    ) {
        let waiters = std::mem::take(&mut self.children[index].waiters);
        let (answered, others) = waiters.into_iter().partition(|waiter: &Waiter| which(waiter.goal));
        self.children[index].waiters = others;
        let answered: Vec<Waiter> = answered;
        for waiter in answered {
            self.answer(waiter.asker, reply());
        }
    }

    pub(super) fn answer_ready(&mut self, index: usize) {
        self.answer_where(index, |goal| goal == Goal::Ready, || Ok(()));
    }

    pub(super) fn answer_replaced(&mut self, index: usize) {
        self.answer_where(index, |goal| goal == Goal::Replaced, || Ok(()));
    }

    pub(super) fn answer_gone(&mut self, index: usize) {
        self.answer_where(index, |goal| goal == Goal::Gone, || Ok(()));
    }

    /// Tells all who wait for a start of this child that there is none.
    pub(super) fn answer_started(&mut self, index: usize, error: &SupervisorError) {
        self.answer_where(index, |goal| goal != Goal::Gone, || Err(error.clone()));
    }

    /// A child is about to be stopped. Who waits for its start goes on waiting if it is started `again`.
    pub(super) fn interrupt(&mut self, index: usize, again: bool) {
        let error = SupervisorError::Interrupted { child: Arc::clone(&self.children[index].name) };
        self.answer_where(
            index,
            |goal| goal == Goal::Replaced || (goal == Goal::Ready && !again),
            || Err(error.clone()),
        );
    }
}
