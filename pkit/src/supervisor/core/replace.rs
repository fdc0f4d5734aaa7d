//! Rolling restarts and recycling: a process is replaced though it is well.

use std::sync::Arc;
use std::time::Duration;

use super::child::{Child, Doom, Rest};
use super::command::{Asker, Goal, Token, Waiter};
use super::{Action, Core, Id};
use crate::supervisor::errors::SupervisorError;
use crate::supervisor::event::{Cause, Event};
use crate::supervisor::policy::RecycleReason;

/// So long a child isn't recycled after that has failed.
const AFTER_A_FAILURE: Duration = Duration::from_secs(10);

/// All children, one after another.
#[derive(Debug)]
pub(super) struct RollAll {
    token: Token,
    next: usize,
    /// What went wrong first.
    error: Option<SupervisorError>,
}

impl Core {
    /// Whether a process can be started beside the one that serves.
    fn can_replace(&self, child: &Child) -> bool {
        child.is_ready() && child.next.is_none() && child.leaving.is_none() && !self.sequence_is_busy()
    }

    pub(super) fn roll(&mut self, index: usize, asker: Asker) {
        let child = &self.children[index];
        if !child.is_live() {
            // There is nothing to overlap with.
            return self.start_by_hand(index, asker);
        }
        if !self.can_replace(child) {
            let error = SupervisorError::Busy { child: Arc::clone(&child.name) };
            return self.answer(asker, Err(error));
        }
        self.child(index).waiters.push(Waiter { asker, goal: Goal::Replaced });
        self.start_next(index);
    }

    fn start_next(&mut self, index: usize) {
        let now = self.now;
        let child = self.child(index);
        let incarnation = child.new_incarnation(now);
        let id = Id { child: index, generation: incarnation.generation };
        child.next = Some(incarnation);
        self.out.push(Action::Start(id));
    }

    /// The new process is ready: it takes over, and the old one is stopped.
    pub(super) fn replace(&mut self, index: usize) {
        let child = self.child(index);
        child.leaving = child.main.take();
        child.main = child.next.take();
        let Some(old) = &mut child.leaving else { return self.answer_replaced(index) };
        let id = Id { child: index, generation: old.generation };
        // One that hangs is being killed already.
        if old.end.replace(Doom::Stop).is_none() {
            self.terminate(id);
        }
    }

    /// The old process has failed before the new one was ready: that is the child now.
    pub(super) fn promote(&mut self, index: usize) {
        let child = self.child(index);
        child.main = child.next.take();
        for waiter in &mut child.waiters {
            if waiter.goal == Goal::Replaced {
                waiter.goal = Goal::Ready;
            }
        }
    }

    /// The new process has failed; the old one goes on.
    pub(super) fn not_replaced(&mut self, index: usize, cause: Cause) {
        let now = self.now;
        let child = self.child(index);
        let name = Arc::clone(&child.name);
        child.no_recycling_before = now + AFTER_A_FAILURE;
        self.emit(Event::NotReplaced { child: Arc::clone(&name), cause: cause.clone() });
        self.answer_where(
            index,
            |goal| goal == Goal::Replaced,
            || Err(SupervisorError::NotReplaced { child: Arc::clone(&name), cause: cause.clone() }),
        );
    }

    /// Replaces a process that is old or large, if it can be done now.
    pub(super) fn recycle(&mut self, id: Id, why: RecycleReason) {
        let child = &self.children[id.child];
        let serves = child.main.as_ref().is_some_and(|main| main.generation == id.generation);
        if !serves || !self.is_running() || !self.can_replace(child) || self.now < child.no_recycling_before {
            return;
        }
        self.emit(Event::Recycling { child: Arc::clone(&child.name), why });
        if self.children[id.child].policy.recycle_overlapping {
            self.start_next(id.child);
        } else {
            self.child(id.child).rest = Rest::Turn;
            self.stop(id.child);
        }
    }

    pub(super) fn roll_all(&mut self, token: Token) {
        if let Some(roll) = &self.roll_all {
            let child = Arc::clone(&self.children[roll.next - 1].name);
            self.out.push(Action::Answer(token, Err(SupervisorError::Busy { child })));
            return;
        }
        self.roll_all = Some(RollAll { token, next: 0, error: None });
        self.roll_next();
    }

    /// Goes on to the next child that runs, until an answer comes later.
    pub(super) fn roll_next(&mut self) {
        let is_over = !self.is_running();
        while let Some(roll) = &mut self.roll_all {
            let index = roll.next;
            if is_over || index == self.children.len() {
                let (token, error) = (roll.token, roll.error.take());
                self.roll_all = None;
                self.out.push(Action::Answer(token, error.map_or(Ok(()), Err)));
                return;
            }
            roll.next += 1;
            let child = &self.children[index];
            if child.is_starting() {
                // Of one that is being started in any case its being ready will do.
                self.child(index).waiters.push(Waiter { asker: Asker::RollAll, goal: Goal::Ready });
                return;
            }
            if child.is_live() {
                return self.roll(index, Asker::RollAll);
            }
        }
    }

    /// What became of one of them. The others come all the same.
    pub(super) fn rolled(&mut self, result: Result<(), SupervisorError>) {
        if let (Err(error), Some(roll)) = (result, &mut self.roll_all) {
            roll.error.get_or_insert(error);
        }
        self.roll_next();
    }
}
