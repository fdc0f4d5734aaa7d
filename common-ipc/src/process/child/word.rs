//! What a child says while it runs: that it is ready, that it gets on.

use std::time::Duration;

use crate::link::poll::Deadline;
use crate::process::child::Child;
use crate::process::errors::ChildError;
use crate::process::record::Awaited;

/// What became of waiting for a child to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is, or was before it ended.
    Ready,
    /// It has ended before it was.
    Ended,
    /// It isn't; nothing has changed.
    NotYet,
}

impl Child {
    /// Waits for up to `timeout` until the child says by [`ready`](crate::process::ready) that it is ready.
    ///
    /// ```
    /// use std::time::Duration;
    /// use common_ipc::process::{self, Launch, LaunchOptions, Readiness};
    ///
    /// let child = Launch::new(&LaunchOptions::new()).start(|| {
    ///     // load what is needed, then:
    ///     process::ready();
    ///     std::thread::sleep(Duration::from_secs(60));
    /// })?;
    /// assert_eq!(child.wait_ready(Duration::from_secs(20))?, Readiness::Ready);
    /// child.kill()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait_ready(&self, timeout: Duration) -> Result<Readiness, ChildError> {
        self.record.home.check()?;
        let heard = self.record.wait_to_hear(|heard| heard.has_announced, Deadline::after(timeout))?;
        Ok(match heard {
            Awaited::Heard => Readiness::Ready,
            Awaited::End => Readiness::Ended,
            Awaited::Nothing => Readiness::NotYet,
        })
    }

    /// Whether the child has said by [`ready`](crate::process::ready) that it is ready, also if it has ended since. What it
    /// sends that no child of this library does, or that can't be received, is told by its output.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn is_ready(&self) -> Result<bool, ChildError> {
        self.record.home.check()?;
        self.record.heard(|heard| heard.has_announced)
    }

    /// Whether the child has called [`progress`](crate::process::progress) since this was asked last.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn progressed(&self) -> Result<bool, ChildError> {
        self.record.home.check()?;
        self.record.heard(|heard| std::mem::take(&mut heard.has_progressed))
    }
}
