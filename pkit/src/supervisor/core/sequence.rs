//! Stops in reverse order, then starts in order: at the beginning, with a group, at the end.

use super::child::Rest;
use super::{Core, Phase};

impl Core {
    /// Goes on with what comes one after another, as far as it can.
    pub(super) fn advance(&mut self) {
        while let Some(&index) = self.to_stop.last() {
            if self.children[index].is_live() {
                // Each time, since it may have come to life in between; who was told isn't told again.
                return self.stop(index);
            }
            self.to_stop.remove(&index);
        }
        if matches!(self.phase, Phase::Stopping(_)) {
            return self.end();
        }
        if self.now < self.not_before {
            return;
        }
        while let Some(&index) = self.to_start.first() {
            let child = &self.children[index];
            if child.is_ready() {
                self.to_start.remove(&index);
            } else if !child.is_live() && child.rest == Rest::Turn {
                return self.start(index);
            } else if child.is_live() || matches!(child.rest, Rest::Until(_)) {
                return;
            } else {
                self.to_start.remove(&index);
            }
        }
        if matches!(self.phase, Phase::Starting) {
            self.phase = Phase::Running;
            self.answer_beginner(Ok(()));
        }
    }

    /// Whether children of a group are being stopped and started.
    pub(super) fn sequence_is_busy(&self) -> bool {
        !(self.to_stop.is_empty() && self.to_start.is_empty())
    }
}
