//! Ending one task.

use std::sync::Arc;

use crate::workers::core::{Core, State};
use crate::workers::errors::WorkError;
use crate::workers::member::{Place, Verdict};
use crate::workers::task::Task;

impl Core {
    /// Ends a task whose result nobody wants any more; one that is being done only if it `may_kill`. Says whether it was
    /// there to be ended.
    pub(crate) fn cancel(&self, task: &Arc<Task>, may_kill: bool) -> Result<bool, WorkError> {
        self.check()?;
        Ok(self.with(|state| {
            self.take_in(state);
            let cancelled = self.cancel_locked(state, task, may_kill);
            self.take_in(state);
            cancelled
        }))
    }

    fn cancel_locked(&self, state: &mut State, task: &Arc<Task>, may_kill: bool) -> bool {
        if task.is_done() {
            return false;
        }
        if let Some(place) = state.queue.iter().position(|waiting| Arc::ptr_eq(waiting, task)) {
            state.queue.remove(place);
            state.queued_bytes = state.queued_bytes.saturating_sub(task.size());
            return state.cancelled_before(task);
        }
        let holder = state.places.iter().position(
            |place| matches!(place, Place::Up(member) if member.tasks.iter().any(|own| Arc::ptr_eq(own, task))),
        );
        let Some(holder) = holder else { return false };
        // Nothing that follows it is begun any more; and what it may have said meanwhile is heard before it is killed.
        if let Place::Up(member) = &mut state.places[holder] {
            if task.is_bound && !member.recall().is_empty() {
                return state.cancelled_before(task);
            }
        }
        self.take_back(state, holder);
        self.take_in_of(state, holder);
        if task.is_done() {
            return false;
        }
        if let Place::Up(member) = &mut state.places[holder] {
            match member.tasks.iter().position(|own| Arc::ptr_eq(own, task)) {
                Some(0) => {
                    if may_kill {
                        member.condemn(Verdict::Cancelled);
                    }
                    return may_kill;
                }
                Some(_) => {
                    member.condemn(Verdict::Lost("it says that it is at several tasks at once".into()));
                    return may_kill;
                }
                None => {}
            }
        }
        // It wasn't begun, and is in the queue again.
        self.cancel_locked(state, task, may_kill)
    }
}
