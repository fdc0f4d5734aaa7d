//! What a pool is to be like.

use std::time::{Duration, Instant};

use common_ipc::process::{LaunchOptions, Zygote};

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) size: usize,
    pub(crate) options: LaunchOptions,
    pub(crate) zygote: Zygote,
    /// In bytes: of the tasks that wait.
    pub(crate) max_waiting: usize,
    /// In bytes: of an argument or a result.
    pub(crate) max_frame: usize,
    pub(crate) recycle: Recycle,
    /// How long a worker that is let go may take over its end.
    pub(crate) grace: Duration,
}

/// When a worker is replaced by a fresh one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recycle {
    pub(crate) tasks: Option<u64>,
    pub(crate) age: Option<Duration>,
    /// In bytes.
    pub(crate) memory: Option<u64>,
}

/// So long after a task a worker's memory is looked at: many tasks are one look.
pub(crate) const WEIGH_AFTER: Duration = Duration::from_millis(100);

impl Recycle {
    /// When a worker that is ready now is old: up to a tenth later than said, so that not all are at once.
    pub(crate) fn old_at(&self, now: Instant) -> Option<Instant> {
        let age = self.age?;
        now.checked_add(age.saturating_add((age / 10).mul_f64(crate::measure::random())))
    }
}
