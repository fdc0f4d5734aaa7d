//! The calls of a supervisor that wait, in tasks of an async runtime.

use tokio::sync::oneshot;

use super::core::{Command, Token};
use super::errors::SupervisorError;
use super::event::Ended;
use super::handle::Supervisor;
use super::shared::Message;

/// Feature `tokio`. None of these blocks a thread, and none needs a particular runtime. What was asked for is done also if
/// the future is dropped. ([`children`](Supervisor::children) and [`child`](Supervisor::child) don't wait for anything in
/// any case; for events there is [`Events::recv_async`](super::Events::recv_async).)
impl Supervisor {
    /// As [`start_child`](Supervisor::start_child).
    ///
    /// # Errors
    ///
    /// As for that.
    pub async fn start_child_async(&self, name: &str) -> Result<(), SupervisorError> {
        let index = self.find(name)?;
        self.ask_async(|token| Command::Start(index, token)).await
    }

    /// As [`stop_child`](Supervisor::stop_child).
    ///
    /// # Errors
    ///
    /// As for that.
    pub async fn stop_child_async(&self, name: &str) -> Result<(), SupervisorError> {
        let index = self.find(name)?;
        self.ask_async(|token| Command::Stop(index, token)).await
    }

    /// As [`restart`](Supervisor::restart).
    ///
    /// # Errors
    ///
    /// As for that.
    pub async fn restart_async(&self, name: &str) -> Result<(), SupervisorError> {
        let index = self.find(name)?;
        self.ask_async(|token| Command::Restart(index, token)).await
    }

    /// As [`rolling_restart`](Supervisor::rolling_restart).
    ///
    /// # Errors
    ///
    /// As for that.
    pub async fn rolling_restart_async(&self, name: &str) -> Result<(), SupervisorError> {
        let index = self.find(name)?;
        self.ask_async(|token| Command::Roll(index, token)).await
    }

    /// As [`rolling_restart_all`](Supervisor::rolling_restart_all).
    ///
    /// # Errors
    ///
    /// As for that.
    pub async fn rolling_restart_all_async(&self) -> Result<(), SupervisorError> {
        self.ask_async(Command::RollAll).await
    }

    /// As [`wait`](Supervisor::wait).
    ///
    /// # Errors
    ///
    /// As for that.
    pub async fn wait_async(&self) -> Result<Ended, SupervisorError> {
        let events = self.events()?;
        loop {
            if let Some(ended) = self.try_wait()? {
                return Ok(ended);
            }
            // The last one comes after the end is there.
            while events.recv_async().await.is_some() {}
        }
    }

    /// As [`stop`](Supervisor::stop).
    ///
    /// # Errors
    ///
    /// As for that.
    pub async fn stop_async(&self) -> Result<Ended, SupervisorError> {
        self.shared.home.check()?;
        // If nobody listens it has ended.
        let _ = self.shared.inbox.send(Message::Stop);
        self.wait_async().await
    }

    async fn ask_async(&self, command: impl FnOnce(Token) -> Command) -> Result<(), SupervisorError> {
        self.shared.home.check()?;
        let (answer, answered) = oneshot::channel();
        self.shared.tell(command, Box::new(move |reply| drop(answer.send(reply))))?;
        answered.await.unwrap_or(Err(SupervisorError::Ended))
    }
}
