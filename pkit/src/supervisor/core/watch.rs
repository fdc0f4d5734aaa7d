//! Looks at readiness, progress and memory.
//!
//! What a child has to do within a time it has to do within that much of its own time, not of the clock's: when the
//! supervisor's process was stopped, or the machine slept, the child may not have run either. So the time is put
//! together from the times between looks, and a look that comes late doesn't count in full.

use std::sync::Arc;
use std::time::Duration;

use super::child::Doom;
use super::{Core, Id, Time, Timer};
use crate::supervisor::event::Event;
use crate::supervisor::policy::RecycleReason;

/// The first wait between looks at a child that isn't ready.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// The longest: each is half as long again as the one before it.
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// So often one looks for progress during the time without any that a child may take.
const LOOKS: u32 = 8;
/// How often one looks at memory.
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);
/// When to see again whether a child that is old can be replaced.
pub(super) const RECYCLE_AGAIN: Duration = Duration::from_secs(1);

/// Time that was seen to pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch {
    seen: Duration,
    last: Time,
    /// Until the next look.
    interval: Duration,
}

impl Stopwatch {
    pub(super) fn new(now: Time) -> Stopwatch {
        Stopwatch { seen: Duration::ZERO, last: now, interval: Duration::ZERO }
    }

    pub(super) fn restart(&mut self, now: Time) {
        *self = Stopwatch::new(now);
    }

    /// A look that comes after twice its time, or more, counts as `late`.
    fn look(&mut self, now: Time, late: Duration) -> Duration {
        let passed = now.saturating_sub(self.last);
        self.last = now;
        self.seen += if passed < 2 * self.interval { passed } else { late };
        self.seen
    }
}

impl Core {
    pub(super) fn look_for_readiness_later(&mut self, id: Id) {
        let (now, child) = (self.now, self.child(id.child));
        let timeout = child.policy.ready_timeout;
        let Some((_, incarnation)) = child.find_mut(id) else { return };
        let watch = &mut incarnation.readiness;
        let longer = (watch.interval + watch.interval / 2).clamp(FIRST_LOOK, LONGEST_LOOK);
        watch.interval = longer.min(timeout.saturating_sub(watch.seen));
        let at = now + watch.interval;
        self.timer(at, Timer::Ready(id));
    }

    pub(super) fn looked_for_readiness(&mut self, id: Id, ready: bool) {
        let now = self.now;
        let child = self.child(id.child);
        let (name, timeout) = (Arc::clone(&child.name), child.policy.ready_timeout);
        let Some((slot, incarnation)) = child.find_mut(id) else { return };
        let (Some(pid), None, None) = (incarnation.pid, incarnation.end, incarnation.ready_since) else {
            return;
        };
        if ready {
            return self.ready(id, slot);
        }
        // Where looks are always late the time passes more slowly, but it passes.
        let interval = incarnation.readiness.interval;
        if incarnation.readiness.look(now, interval) < timeout {
            return self.look_for_readiness_later(id);
        }
        self.emit(Event::NotReady { child: name, pid, timeout });
        self.end_failed(id, Doom::NotReady);
    }

    /// Begins to watch an incarnation that is ready.
    pub(super) fn watch(&mut self, id: Id) {
        let now = self.now;
        let child = self.child(id.child);
        let (hang, age, memory) = (child.policy.hang_timeout, child.policy.max_age, child.policy.max_memory);
        if let (Some(timeout), Some((_, incarnation))) = (hang, child.find_mut(id)) {
            incarnation.progress.restart(now);
            incarnation.progress.interval = timeout / LOOKS;
            self.timer(now.saturating_add(timeout / LOOKS), Timer::Progress(id));
        }
        if let Some(age) = age {
            let varied = age.saturating_add((age / 10).mul_f64((self.random)()));
            self.timer(now.saturating_add(varied), Timer::Age(id));
        }
        if memory.is_some() {
            self.timer(now.saturating_add(MEMORY_INTERVAL), Timer::Memory(id));
        }
    }

    pub(super) fn looked_for_progress(&mut self, id: Id, made: bool) {
        let now = self.now;
        let child = self.child(id.child);
        let (name, timeout) = (Arc::clone(&child.name), child.policy.hang_timeout.unwrap_or_default());
        let Some((_, incarnation)) = child.find_mut(id) else { return };
        let (Some(pid), None) = (incarnation.pid, incarnation.end) else { return };
        let interval = incarnation.progress.interval;
        let without = incarnation.progress.look(now, Duration::ZERO);
        if made {
            incarnation.progress.restart(now);
            incarnation.progress.interval = interval;
        } else if without >= timeout {
            self.emit(Event::Hung { child: name, pid, timeout });
            return self.end_failed(id, Doom::Hung);
        }
        self.timer(now.saturating_add(interval), Timer::Progress(id));
    }

    pub(super) fn measured_memory(&mut self, id: Id, resident: u64) {
        if !self.is_current(id) {
            return;
        }
        if self.children[id.child].policy.max_memory.is_some_and(|max| resident > max) {
            self.recycle(id, RecycleReason::Memory { resident });
        }
        self.timer(self.now + MEMORY_INTERVAL, Timer::Memory(id));
    }

    pub(super) fn age_over(&mut self, id: Id) {
        let now = self.now;
        let Some((_, incarnation)) = self.children[id.child].slot_of(id) else { return };
        let (Some(since), None) = (incarnation.ready_since, incarnation.end) else { return };
        self.recycle(id, RecycleReason::Age { age: now - since });
        // For the case that it can't be replaced now.
        let again = self.children[id.child].no_recycling_before.max(now + RECYCLE_AGAIN);
        self.timer(again, Timer::Age(id));
    }
}
