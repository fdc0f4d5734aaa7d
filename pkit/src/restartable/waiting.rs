//! Waiting until something is the case.

use std::thread;
use std::time::{Duration, Instant};

use common_ipc::process::ChildError;

use crate::restartable::Process;

/// How long to wait before looking for the first and for the second time; each time twice as long, up to the last.
const FIRST: Duration = Duration::from_micros(100);
const LAST: Duration = Duration::from_millis(20);

impl<O: 'static> Process<O> {
    /// Waits until `condition` holds, for up to `timeout`, and says whether it does. It is called from here: at once,
    /// then at intervals of up to 20 ms, and when the process ends; once more at the end of the time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use common_ipc::sync::Event;
    /// use pkit::Process;
    ///
    /// let found = Event::new()?;
    /// let process = Process::new({
    ///     let found = found.clone();
    ///     move || found.set()
    /// });
    /// process.start()?;
    /// assert!(process.wait_until(|_| found.is_set(), Duration::from_secs(20))?);
    /// process.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChildError::WrongProcess`] in a child of the process that made it.
    #[doc(alias = "wait")]
    pub fn wait_until(
        &self,
        mut condition: impl FnMut(&Process<O>) -> bool,
        timeout: Duration,
    ) -> Result<bool, ChildError> {
        let begin = Instant::now();
        let mut pause = FIRST;
        loop {
            self.inner.home.check()?;
            if condition(self) {
                return Ok(true);
            }
            let Some(left) = timeout.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(false);
            };
            let next = pause.min(left);
            match self.open() {
                // One that has ended already wakes nobody.
                Some(run) if run.is_alive()? => drop(run.wait_timeout(next)?),
                _ => thread::sleep(next),
            }
            pause = (pause * 2).min(LAST);
        }
    }
}
