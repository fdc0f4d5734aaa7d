//! An incarnation's way from its start to its end.

use std::sync::Arc;

use common_ipc::process::{ExitStatus, StartError, StopStep};

use super::child::{Doom, Rest, Slot};
use super::{Action, Core, Id, Timer};
use crate::supervisor::event::{Cause, Event, StoppedChild};

impl Core {
    /// Starts a child that doesn't run, or has it started when its last process is gone.
    pub(super) fn start(&mut self, index: usize) {
        let now = self.now;
        let child = self.child(index);
        if child.is_live() {
            child.rest = Rest::Turn;
            return;
        }
        child.rest = Rest::Down;
        let incarnation = child.new_incarnation(now);
        let id = Id { child: index, generation: incarnation.generation };
        child.main = Some(incarnation);
        self.out.push(Action::Start(id));
    }

    pub(super) fn started(&mut self, id: Id, pid: u32) {
        let now = self.now;
        let child = self.child(id.child);
        let (name, by_target) = (Arc::clone(&child.name), child.policy.ready_by_target);
        let Some((slot, incarnation)) = child.find_mut(id) else { return };
        incarnation.pid = Some(pid);
        let end = incarnation.end;
        incarnation.readiness.restart(now);
        child.starts += 1;
        self.emit(Event::Started { child: name, pid, generation: id.generation });
        match end {
            // It was told to stop before it was there.
            Some(_) => self.terminate(id),
            None if by_target => self.look_for_readiness_later(id),
            None => self.ready(id, slot),
        }
    }

    pub(super) fn start_failed(&mut self, id: Id, error: Arc<StartError>) {
        let child = self.child(id.child);
        let Some((slot, incarnation)) = child.find_mut(id) else { return };
        let unwanted = incarnation.end.is_some();
        *child.place_mut(slot) = None;
        let name = Arc::clone(&child.name);
        if matches!(*error, StartError::Exiting) {
            self.exiting();
            return self.gone(id.child);
        }
        self.emit(Event::StartFailed { child: name, error: Arc::clone(&error) });
        let cause = Cause::NotStarted(error);
        match slot {
            _ if unwanted => self.gone(id.child),
            Slot::Main => self.failed(id.child, cause, None),
            Slot::Next => self.not_replaced(id.child, cause),
            Slot::Leaving => self.gone(id.child),
        }
    }

    pub(super) fn ready(&mut self, id: Id, slot: Slot) {
        let now = self.now;
        let child = self.child(id.child);
        let name = Arc::clone(&child.name);
        let Some((_, incarnation)) = child.find_mut(id) else { return };
        let Some(pid) = incarnation.pid else { return };
        incarnation.ready_since = Some(now);
        self.emit(Event::Ready { child: name, pid });
        self.watch(id);
        match slot {
            Slot::Next => self.replace(id.child),
            _ => self.answer_ready(id.child),
        }
    }

    pub(super) fn exited(&mut self, id: Id, status: ExitStatus) {
        let child = self.child(id.child);
        let Some((slot, _)) = child.slot_of(id) else { return };
        let Some(was) = child.place_mut(slot).take() else { return };
        let (name, policy) = (Arc::clone(&child.name), &child.policy);
        let pid = was.pid.unwrap_or_default();
        let cause = match was.end {
            Some(Doom::Stop) => {
                let by = if was.killed { StopStep::Killed } else { StopStep::Terminated };
                let stopped = StoppedChild { child: name, pid, status, by };
                if !self.is_running() {
                    self.stopped.push(stopped.clone());
                }
                self.emit(Event::Stopped(stopped));
                return self.gone(id.child);
            }
            Some(Doom::NotReady) => Cause::NotReady { timeout: policy.ready_timeout },
            Some(Doom::Hung) => Cause::Hung { timeout: policy.hang_timeout.unwrap_or_default() },
            None if was.returned.is_some() => Cause::Returned(was.returned.unwrap_or_default()),
            None if was.ready_since.is_none() => Cause::EndedEarly(status),
            None => Cause::Ended(status),
        };
        self.emit(Event::Exited { child: Arc::clone(&name), pid, cause: cause.clone() });
        if let (false, Some(status)) = (self.is_running(), cause.status()) {
            let (status, by) = (status.clone(), StopStep::HadEnded);
            self.stopped.push(StoppedChild { child: name, pid, status, by });
        }
        match slot {
            Slot::Main => self.failed(id.child, cause, was.ready_since),
            Slot::Next => self.not_replaced(id.child, cause),
            Slot::Leaving => self.gone(id.child),
        }
    }

    /// Has all processes of a child end, and says nothing of what comes then.
    pub(super) fn stop(&mut self, index: usize) {
        for slot in [Slot::Next, Slot::Leaving, Slot::Main] {
            let child = self.child(index);
            let Some(incarnation) = child.place_mut(slot) else { continue };
            let id = Id { child: index, generation: incarnation.generation };
            let was = incarnation.end.replace(Doom::Stop);
            if was.is_none() && incarnation.pid.is_some() {
                self.terminate(id);
            }
        }
    }

    pub(super) fn terminate(&mut self, id: Id) {
        let at = self.now.saturating_add(self.children[id.child].policy.grace);
        self.out.push(Action::Terminate(id));
        self.timer(at, Timer::Kill(id));
    }

    pub(super) fn grace_over(&mut self, id: Id) {
        let child = self.child(id.child);
        let Some((_, incarnation)) = child.find_mut(id) else { return };
        if !incarnation.killed {
            incarnation.killed = true;
            self.out.push(Action::Kill(id));
        }
    }

    /// Ends an incarnation that has failed, without any grace.
    pub(super) fn end_failed(&mut self, id: Id, why: Doom) {
        let child = self.child(id.child);
        let Some((_, incarnation)) = child.find_mut(id) else { return };
        incarnation.end = Some(why);
        incarnation.killed = true;
        self.out.push(Action::Kill(id));
    }

    /// One of its processes has ended, as it should.
    pub(super) fn gone(&mut self, index: usize) {
        let child = self.child(index);
        if child.leaving.is_none() && child.is_ready() {
            self.answer_replaced(index);
            return;
        }
        if child.is_live() {
            return;
        }
        self.answer_gone(index);
        let in_sequence = self.to_stop.contains(&index) || self.to_start.contains(&index);
        if self.children[index].rest == Rest::Turn && !in_sequence {
            self.start(index);
        }
    }
}
