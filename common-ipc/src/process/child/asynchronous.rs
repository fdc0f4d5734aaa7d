//! Waiting for a child in a task of tokio's.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::time::timeout;

use crate::ownership::descriptors::PrivateFd;
use crate::process::child::{Child, StopStep, Stopped};
use crate::process::errors::{ChildError, JoinError};
use crate::process::status::ExitStatus;
use crate::sys;

impl Child {
    /// As [`wait`](Child::wait), without blocking the thread; to be called in a runtime of tokio's with I/O. If the
    /// future is dropped, the child is as before.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    ///
    /// # Panics
    ///
    /// Outside of such a runtime.
    pub async fn wait_async(&self) -> Result<ExitStatus, ChildError> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        if let Some(pidfd) = self.record().pidfd() {
            let os = |source| ChildError::Os { step: "watch its pidfd", source };
            let copy = || sys::descriptors::duplicate_above(pidfd.get().map_err(io::Error::other)?, 2);
            // Dropped after what watches it.
            let watched = PrivateFd::new(copy).map_err(os)?;
            let readable =
                sys::readiness::watch(watched.get()?.as_raw_fd(), Interest::READABLE).map_err(os)?;
            drop(readable.readable().await.map_err(os)?);
        }
        match self.try_wait()? {
            Some(status) => Ok(status),
            // It has ended, but is somebody's who traces it: that is seen by looking again only.
            None => {
                let child = self.clone();
                let waited = tokio::task::spawn_blocking(move || child.wait()).await;
                waited.map_err(|error| ChildError::Os { step: "wait", source: error.into() })?
            }
        }
    }

    /// As [`wait_or_stop`](Child::wait_or_stop), without blocking the thread; to be called in a runtime of tokio's with I/O
    /// and time. If the future is dropped, the child is as the steps up to there have left it.
    ///
    /// # Errors
    ///
    /// As for [`wait_or_stop`](Child::wait_or_stop).
    ///
    /// # Panics
    ///
    /// Outside of such a runtime.
    pub async fn wait_or_stop_async(
        &self,
        patience: Duration,
        grace: Duration,
    ) -> Result<Stopped, ChildError> {
        if let Some(status) = self.try_wait()? {
            return Ok(Stopped { status, by: StopStep::HadEnded });
        }
        if let Ok(status) = timeout(patience, self.wait_async()).await {
            return Ok(Stopped { status: status?, by: StopStep::EndedByItself });
        }
        self.begin_stop()?;
        if let Ok(status) = timeout(grace, self.wait_async()).await {
            return Ok(Stopped { status: status?, by: StopStep::Terminated });
        }
        self.kill()?;
        Ok(Stopped { status: self.wait_async().await?, by: StopStep::Killed })
    }

    /// As [`output`](Child::output), without blocking the thread: see [`wait_async`](Child::wait_async).
    ///
    /// # Errors
    ///
    /// As for [`output`](Child::output).
    ///
    /// # Panics
    ///
    /// As [`wait_async`](Child::wait_async) does.
    pub async fn output_async<O: DeserializeOwned>(&self) -> Result<O, JoinError> {
        self.wait_async().await?;
        self.output()
    }
}
