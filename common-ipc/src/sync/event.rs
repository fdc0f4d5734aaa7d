//! An event: one process waits, another one sets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::link::poll::Deadline;
use crate::process::{Child, ChildError};
use crate::sys::futex::{self, SharedWord};

/// A flag that any process with a copy of it can set, clear and wait for.
///
/// It is shared with every child that is started while it exists, by capturing it in the body;
/// nothing has to be given. Clones are the same event. A process that dies leaves it as it was: a
/// plain [`wait`](Event::wait) for somebody who is dead doesn't end, so where the setter is a child,
/// use [`wait_or_death`](Event::wait_or_death) or a time-out.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions};
/// use common_ipc::sync::Event;
///
/// let event = Event::new()?;
/// let in_child = event.clone();
/// let child = Launch::new(&LaunchOptions::new()).start(move || in_child.set())?;
/// assert!(event.wait_or_death(&child, None)?);
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    word: Arc<SharedWord>,
}

const SET: u32 = 1;
const CLEAR: u32 = 0;

/// A wait that watches a process as well looks at it this often.
const LIVENESS_CHECK: Duration = Duration::from_millis(50);

impl Event {
    /// An event that isn't set. It takes one page of memory and no descriptor.
    ///
    /// # Errors
    ///
    /// No memory left, or too many mappings.
    pub fn new() -> io::Result<Event> {
        Ok(Event { word: Arc::new(SharedWord::new()?) })
    }

    /// Sets it and wakes everyone who waits, in every process. (A [`clear`](Event::clear) right after
    /// may come before they have looked: they wait on.) What this process wrote to shared
    /// memory before is seen by those who wake.
    pub fn set(&self) {
        if self.word.get().swap(SET, Ordering::AcqRel) != SET {
            futex::wake_all(self.word.get());
        }
    }

    /// Takes back [`set`](Event::set): waits wait again.
    pub fn clear(&self) {
        self.word.get().store(CLEAR, Ordering::Release);
    }

    /// Whether it is set at this moment.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.word.get().load(Ordering::Acquire) == SET
    }

    /// Waits until it is set, for as long as that takes.
    ///
    /// # Errors
    ///
    /// What futex(2) fails with; none of its errors is expected here.
    pub fn wait(&self) -> io::Result<()> {
        self.wait_until(Deadline::NEVER).map(drop)
    }

    /// Waits until it is set, for up to `timeout`, and says whether it is.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Event::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.wait_until(Deadline::after(timeout))
    }

    /// Waits until it is set or `child` has ended, for up to `timeout` if there is one, and says
    /// whether it is set. The death of the child is noticed within 50 ms.
    ///
    /// # Errors
    ///
    /// [`ChildError`] if the child is another process's, or can't be looked at.
    pub fn wait_or_death(&self, child: &Child, timeout: Option<Duration>) -> Result<bool, ChildError> {
        let deadline = Deadline::optional(timeout);
        loop {
            let slice = deadline.left().map_or(LIVENESS_CHECK, |left| left.min(LIVENESS_CHECK));
            let alive = child.is_alive()?;
            // In this order: it may have set the event with its last breath.
            let set = self
                .wait_until(Deadline::after(if alive { slice } else { Duration::ZERO }))
                .map_err(|source| ChildError::Os { step: "wait for an event", source })?;
            if set || !alive || deadline.has_passed() {
                return Ok(set);
            }
        }
    }

    fn wait_until(&self, deadline: Deadline) -> io::Result<bool> {
        loop {
            if self.is_set() {
                return Ok(true);
            }
            if deadline.has_passed() {
                return Ok(false);
            }
            // Only CLEAR is slept on: whatever else a hostile peer writes is looked at again, at
            // the price of its own and this process's time.
            futex::wait(self.word.get(), CLEAR, deadline.left())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_wakes_and_clear_takes_back() {
        let event = Event::new().unwrap();
        assert!(!event.wait_timeout(Duration::from_millis(1)).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| event.wait().unwrap());
            event.set();
        });
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO).unwrap());
        event.clear();
        assert!(!event.is_set());
    }
}
