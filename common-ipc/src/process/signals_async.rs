//! Waiting for a request to stop in a task of tokio's.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::io::Interest;

use crate::process::signals::StopSignals;
use crate::sys;

impl StopSignals {
    /// As [`wait_timeout`](StopSignals::wait_timeout), as long as it takes and without blocking the thread; to be called in
    /// a runtime of tokio's with I/O, by one task at a time. If the future is dropped, no request is lost.
    ///
    /// # Errors
    ///
    /// As for [`pollable`](StopSignals::pollable); while another task waits.
    ///
    /// # Panics
    ///
    /// Outside of such a runtime.
    pub async fn wait_async(&self) -> io::Result<()> {
        let readable = sys::readiness::watch(self.pollable()?.as_raw_fd(), Interest::READABLE)?;
        loop {
            let mut guard = readable.readable().await?;
            if self.wait_timeout(Duration::ZERO)? {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}
