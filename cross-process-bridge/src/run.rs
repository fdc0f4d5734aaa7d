//! A process that runs, or has just ended, and why a call of it has failed.

use std::time::{Duration, Instant};

use common_ipc::link::{CallError, Execution, LinkError, OpenCaller};
use common_ipc::process::{Child, ExitStatus, JoinError, StopStep, Stopped};

use crate::error::BridgeError;
use crate::method;
use crate::occupied::Occupancy;

/// From one start to its end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) caller: OpenCaller,
    pub(crate) child: Child,
    pub(crate) occupancy: Occupancy,
}

/// How long SIGTERM may take where it is sent because waiting was in vain.
pub(crate) const TERM_GRACE: Duration = Duration::from_millis(500);

impl Run {
    pub(crate) fn new(caller: OpenCaller, child: Child) -> Run {
        Run { caller, child, occupancy: Occupancy::default() }
    }

    /// Sees to its end, for which it has `patience`, and says how that was.
    pub(crate) fn end(&self, patience: Duration) -> Result<ExitStatus, BridgeError> {
        Ok(self.told(self.child.wait_or_stop(patience, Duration::ZERO)?).status)
    }

    /// Asks it to end, waits for `grace`, and then insists.
    pub(crate) fn stop(&self, grace: Duration) -> Result<Stopped, BridgeError> {
        let begin = Instant::now();
        let asked = self.caller.call::<(), _, ()>(method::STOP, &(), Some(grace), |_| ());
        let stopped = self.child.wait_or_stop(grace.saturating_sub(begin.elapsed()), TERM_GRACE)?;
        let mut stopped = self.told(stopped);
        if asked.is_ok() && stopped.by == StopStep::HadEnded {
            // It was quicker than the look at it.
            stopped.by = StopStep::EndedByItself;
        }
        Ok(stopped)
    }

    /// In a program whose panics abort, the signal alone wouldn't say what the process said before.
    fn told(&self, mut stopped: Stopped) -> Stopped {
        if let Err(JoinError::Panicked(report)) = self.child.output::<()>() {
            stopped.status = ExitStatus::Panicked(report);
        }
        stopped
    }
}

/// Whether the other side has written what no honest one writes: nothing gets through any more.
pub(crate) fn is_nonsense(cause: &LinkError) -> bool {
    matches!(cause, LinkError::Garbled(_) | LinkError::Broken(_))
}

/// Why a call wasn't sent to a process that can be called as before.
pub(crate) fn unsent(method: &'static str, error: CallError) -> BridgeError {
    let execution = Execution::NotRun;
    match error.cause {
        LinkError::Encode(error) => {
            let (type_name, message) = (error.type_name.to_owned(), error.message);
            BridgeError::Encode { method, type_name, message, execution }
        }
        LinkError::TooLarge(error) => {
            let (length, max) = (error.length as u64, error.max as u64);
            BridgeError::TooLarge { method, length, max, execution }
        }
        LinkError::WrongProcess(error) => error.into(),
        _ => broken(method, error),
    }
}

/// The connection has failed.
pub(crate) fn broken(method: &'static str, error: CallError) -> BridgeError {
    BridgeError::Broken { method, execution: error.execution(), source: error.cause }
}
