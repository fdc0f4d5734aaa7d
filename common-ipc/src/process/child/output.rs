//! What a child's body returned, or why there is nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::link::codec;
use crate::link::poll::Deadline;
use crate::process::child::Child;
use crate::process::errors::JoinError;
use crate::process::record::Ended;
use crate::process::report::{OutputFailure, Report};

impl Child {
    /// Waits for its end and returns what its body returned. Each call decodes a copy of its own.
    ///
    /// # Errors
    ///
    /// Whatever kept the body from returning, or its value from arriving: see [`JoinError`].
    pub fn output<O: DeserializeOwned>(&self) -> Result<O, JoinError> {
        loop {
            if let Some(output) = self.output_until(Deadline::NEVER)? {
                return Ok(output);
            }
        }
    }

    /// As [`output`](Child::output), without waiting. `Ok(None)`: it runs.
    ///
    /// # Errors
    ///
    /// As for [`output`](Child::output).
    pub fn try_output<O: DeserializeOwned>(&self) -> Result<Option<O>, JoinError> {
        self.output_until(Deadline::after(Duration::ZERO))
    }

    /// As [`output`](Child::output), waiting for up to `timeout`. `Ok(None)`: it runs on.
    ///
    /// # Errors
    ///
    /// As for [`output`](Child::output).
    pub fn output_timeout<O: DeserializeOwned>(&self, timeout: Duration) -> Result<Option<O>, JoinError> {
        self.output_until(Deadline::after(timeout))
    }

    fn output_until<O: DeserializeOwned>(&self, deadline: Deadline) -> Result<Option<O>, JoinError> {
        match self.wait_ended(deadline)? {
            Some(ended) => output_of(&ended).map(Some),
            None => Ok(None),
        }
    }
}

fn output_of<O: DeserializeOwned>(ended: &Ended) -> Result<O, JoinError> {
    match &ended.report {
        Ok(Some(Report::Output(bytes))) => Ok(codec::decode(bytes)?),
        Ok(Some(Report::Panicked(report))) => Err(JoinError::Panicked(Arc::new(report.clone()))),
        Ok(Some(Report::NoOutput(failure))) => Err(match failure.clone() {
            OutputFailure::Encode { type_name, message } => JoinError::Encode { type_name, message },
            OutputFailure::TooLarge { bytes, max } => JoinError::TooLarge { bytes, max },
            OutputFailure::Undeliverable { errno } => {
                JoinError::Undeliverable(io::Error::from_raw_os_error(errno))
            }
            // The start has waited for these, and failed.
            failure @ (OutputFailure::Argument { .. } | OutputFailure::Threads { .. }) => JoinError::Garbled(
                format!("the child didn't begin, which its start should have said: {failure:?}"),
            ),
        }),
        Ok(Some(Report::SetupFailed(failure))) => {
            Err(JoinError::Setup { step: failure.step, source: io::Error::from_raw_os_error(failure.errno) })
        }
        Ok(None | Some(Report::Ready | Report::Announced | Report::Progress | Report::NotBorn { .. })) => {
            Err(JoinError::Died(ended.status.clone()))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(JoinError::Garbled(error.to_string()))
        }
        Err(error) => Err(JoinError::Unreceived(Arc::clone(error))),
    }
}
