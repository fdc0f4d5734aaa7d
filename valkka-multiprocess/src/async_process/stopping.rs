//! When a back end is over, and for whom.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use common_ipc::process::StopSignals;
use tokio::sync::watch;

use crate::async_process::race::either;

/// How far the end of a back end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// No more commands; what runs has some time.
    Stopping,
    /// What runs is dropped.
    Over,
}

/// How far it has come, for all who wait for it.
#[derive(Debug)]
pub(crate) struct Stopping(watch::Sender<Phase>);

impl Stopping {
    pub(crate) fn new() -> Stopping {
        Stopping(watch::Sender::new(Phase::Serving))
    }

    pub(crate) fn begin(&self) {
        self.advance(Phase::Stopping);
    }

    fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let is_later = phase > *now;
            *now = phase.max(*now);
            is_later
        });
    }

    /// Until the back end is to end.
    pub(crate) async fn begun(&self) {
        self.reached(Phase::Stopping).await;
    }

    /// Until the time of what runs is over.
    pub(crate) async fn over(&self) {
        self.reached(Phase::Over).await;
    }

    async fn reached(&self, phase: Phase) {
        // It fails when the other half is gone, which is here.
        drop(self.0.subscribe().wait_for(|now| *now >= phase).await);
    }

    /// Looks after it: signals, and the time that what runs has. Never comes back.
    pub(crate) async fn mind(&self, signals: &StopSignals, grace: Duration) -> Infallible {
        either(asked(signals), self.begun()).await;
        self.begin();
        if !grace.is_zero() {
            either(asked(signals), tokio::time::sleep(grace)).await;
        }
        self.advance(Phase::Over);
        pending().await
    }
}

/// Until a signal asks for the end.
async fn asked(signals: &StopSignals) {
    if let Err(error) = signals.wait_async().await {
        log::warn!("signals that ask this process to stop aren't seen: {error}");
        pending().await
    }
}
