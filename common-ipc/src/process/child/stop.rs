//! Signals to a child, and its end with a grace.

use std::time::Duration;

use crate::process::child::Child;
use crate::process::errors::ChildError;
use crate::process::exit_hook::AtExit;
use crate::process::signal::Signal;
use crate::process::status::ExitStatus;

/// What ended a child that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopStep {
    /// It had ended before.
    HadEnded,
    /// It was waited for, and ended by itself.
    EndedByItself,
    /// SIGTERM, or its own end, within the grace.
    Terminated,
    /// SIGKILL, after the grace.
    Killed,
}

/// The outcome of [`Child::stop`] and [`Child::shutdown`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// What it took.
    pub by: StopStep,
}

impl Child {
    /// Sends it a signal; none if it was collected, which is no error.
    ///
    /// # Errors
    ///
    /// [`ChildError::Os`] if it runs as another user whom this process may not signal.
    pub fn signal(&self, signal: Signal) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.signal(signal)
    }

    /// Asks it to end, by SIGTERM, to its whole group if it leads one; doesn't wait.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn terminate(&self) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.signal_group(Signal::TERM, false)
    }

    /// Ends it by SIGKILL, with its whole group if it leads one; doesn't wait.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn kill(&self) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.signal_group(Signal::KILL, true)
    }

    /// Ends it and collects it: SIGTERM (and SIGCONT, so that a stopped one can act on it), up to
    /// `grace` of waiting, then SIGKILL. If it leads a group, what is left of the group when the
    /// child has ended is killed.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn stop(&self, grace: Duration) -> Result<Stopped, ChildError> {
        self.record.home.check()?;
        self.record.end_with_group();
        if let Some(status) = self.try_wait()? {
            return Ok(Stopped { status, by: StopStep::HadEnded });
        }
        self.begin_stop()?;
        if let Some(status) = self.wait_timeout(grace)? {
            return Ok(Stopped { status, by: StopStep::Terminated });
        }
        self.kill()?;
        Ok(Stopped { status: self.wait()?, by: StopStep::Killed })
    }

    /// As [`stop`](Child::stop), of a child that has been asked to end in another way: first it has up to `patience` for
    /// that.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn wait_or_stop(&self, patience: Duration, grace: Duration) -> Result<Stopped, ChildError> {
        if let Some(status) = self.try_wait()? {
            return Ok(Stopped { status, by: StopStep::HadEnded });
        }
        match self.wait_timeout(patience)? {
            Some(status) => Ok(Stopped { status, by: StopStep::EndedByItself }),
            None => self.stop(grace),
        }
    }

    /// The first step of [`stop`](Child::stop) alone, without waiting: SIGTERM, and SIGCONT. If it leads a group, what is
    /// left of the group when the child has ended is killed. It is for those who stop many children, and mind their
    /// graces themselves; the last step is [`kill`](Child::kill).
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn begin_stop(&self) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.signal_group(Signal::TERM, true)?;
        self.record.signal_group(Signal::CONT, true)
    }

    /// Does now what the program's exit would do: [`stop`](Child::stop)s it, or waits for it, as its
    /// start said ([`AtExit`]). One that the exit would leave alone is stopped.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn shutdown(&self) -> Result<Stopped, ChildError> {
        match self.record.at_exit {
            AtExit::Stop { grace } => self.stop(grace),
            AtExit::Leave => self.stop(AtExit::DEFAULT_GRACE),
            AtExit::Wait => match self.try_wait()? {
                Some(status) => Ok(Stopped { status, by: StopStep::HadEnded }),
                None => Ok(Stopped { status: self.wait()?, by: StopStep::EndedByItself }),
            },
        }
    }
}
