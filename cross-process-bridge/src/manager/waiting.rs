//! Operations that wait in the manager until somebody else has done something.
//!
//! Whose time is up tells the manager, by the number that it has given its wait. That comes after the request, on the
//! same connection; so the manager either calls it off, or undoes what it had granted to somebody who never knew.

use std::time::{Duration, Instant};

use common_ipc::link::{Execution, OpenCaller};

use crate::manager::error::ManagerError;
use crate::manager::proxy::{Proxy, next_wait};
use crate::manager::wire::{Answer, Op};

/// How long a last word may take, to the manager or from it, when the time is up.
pub(crate) const WORD: Duration = Duration::from_millis(100);

/// A wait that was granted.
pub(crate) struct Granted {
    pub(crate) answer: Answer,
    pub(crate) wait: u64,
    /// By which it was asked for.
    pub(crate) caller: OpenCaller,
}

impl Proxy {
    /// Asks for something that waits, for as long as `timeout` says, or the proxy's own.
    pub(crate) fn wait_for(
        &self,
        operation: &'static str,
        timeout: Option<Duration>,
        op: impl FnOnce(u64) -> Op,
    ) -> Result<Granted, ManagerError> {
        let timeout = timeout.or(self.timeout);
        let begin = Instant::now();
        let caller = self.way.caller(operation, timeout)?;
        let left = timeout.map(|timeout| timeout.saturating_sub(begin.elapsed()));
        let wait = next_wait();
        match self.ask_by(&caller, operation, &op(wait), left) {
            Ok(answer) => Ok(Granted { answer, wait, caller }),
            Err(ManagerError::Timeout { execution, .. }) => {
                if execution != Execution::NotRun {
                    // It comes after the request, whenever that is read.
                    let _ = self.say_by(&caller, &Op::GiveUp { wait });
                }
                let after = timeout.unwrap_or_default();
                Err(ManagerError::Timeout { operation, after, execution: Execution::NotRun })
            }
            Err(error) => Err(error),
        }
    }

    /// As [`wait_for`](Proxy::wait_for), of something that can't be undone once it was granted: asks what became of it.
    pub(crate) fn wait_for_good(
        &self,
        operation: &'static str,
        timeout: Option<Duration>,
        op: impl FnOnce(u64) -> Op,
    ) -> Result<Answer, ManagerError> {
        let timeout = timeout.or(self.timeout);
        let begin = Instant::now();
        let caller = self.way.caller(operation, timeout)?;
        let left = timeout.map(|timeout| timeout.saturating_sub(begin.elapsed()));
        let wait = next_wait();
        match self.ask_by(&caller, operation, &op(wait), left) {
            Err(ManagerError::Timeout { execution: Execution::Unknown, .. }) => {
                let after = timeout.unwrap_or_default();
                let execution = match self.ask_by(&caller, operation, &Op::GiveUp { wait }, Some(WORD)) {
                    Ok(Answer::Is(true)) => Execution::NotRun,
                    // It had been carried out just before.
                    Ok(Answer::Is(false)) => return Ok(Answer::Done),
                    _ => Execution::Unknown,
                };
                Err(ManagerError::Timeout { operation, after, execution })
            }
            answer => answer,
        }
    }
}
