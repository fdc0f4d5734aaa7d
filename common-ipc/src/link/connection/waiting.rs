//! Waiting for messages: spinning, sleeping, and what those who poll are to see.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{Ordering, fence};

use nix::poll::{PollFd, PollFlags};
use parking_lot::MutexGuard;

use crate::link::connection::end::End;
use crate::link::connection::receiving::Receiving;
use crate::link::error::LinkError;
use crate::link::poll::{Deadline, wait_until};
use crate::sys::mapping::View;

/// For how long, and for what, somebody waits who receives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait<'a> {
    pub(crate) deadline: Deadline,
    /// So many others wait for what this thread brings.
    pub(crate) others: usize,
    /// What also ends the wait when it is readable.
    pub(crate) beside: Option<BorrowedFd<'a>>,
}

impl Wait<'_> {
    /// For nothing else.
    pub(crate) fn until(deadline: Deadline) -> Wait<'static> {
        Wait { deadline, others: 0, beside: None }
    }
}

impl End {
    #[inline]
    pub(super) fn lock_receiving(&self, deadline: Deadline) -> Option<MutexGuard<'_, Receiving>> {
        let receiving = deadline.lock(&self.receiving);
        if receiving.is_some() || self.polled().is_none() {
            return receiving;
        }
        // Whoever polls has to be told again, should the one who receives leave something.
        self.missed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.receiving.try_lock()
    }

    /// After receiving: the other half of what `lock_receiving` begins, with its fence.
    #[inline]
    pub(super) fn remind_who_missed(&self) {
        let Some(polled) = self.polled() else { return };
        fence(Ordering::SeqCst);
        if self.missed.load(Ordering::Relaxed) && self.missed.swap(false, Ordering::Relaxed) {
            polled.remind_again();
        }
    }

    /// Waits until there may be more in the ring; false if there is something beside it or the deadline passes before.
    pub(super) fn wait_for_more(
        &self,
        view: View<'_>,
        receiving: &mut Receiving,
        wait: Wait<'_>,
    ) -> Result<bool, LinkError> {
        let Wait { deadline, others, beside } = wait;
        let Receiving { consumer, spinner, .. } = receiving;
        if !deadline.has_passed() && spinner.spin_among(others, || !consumer.is_empty(view), |_| false) {
            return Ok(true);
        }
        let control = self.wires.control.get()?;
        let mut heard = false;
        loop {
            let gone = self.silence(view, receiving)?;
            if !receiving.consumer.is_empty(view) {
                self.found_some(view, receiving);
                return Ok(true);
            }
            if gone {
                let midway = receiving.partial.is_some();
                return Err(if midway { LinkError::Truncated } else { LinkError::Closed });
            }
            // Once at least there was a look at what has been said; there may be no end of that.
            if heard && deadline.has_passed() {
                self.stop_waiting(view, receiving);
                return Ok(false);
            }
            let owner = self.peer.lock().owner.clone();
            let owner = owner.as_ref().and_then(|owner| owner.get().ok());
            let mut fds = [
                PollFd::new(control, PollFlags::POLLIN),
                PollFd::new(owner.unwrap_or(control), PollFlags::POLLIN),
                PollFd::new(beside.unwrap_or(control), PollFlags::POLLIN),
            ];
            let came = wait_until(&mut fds, deadline)?;
            let [said, ended, aside] = fds.map(|fd| fd.any().unwrap_or(true));
            if !came || aside && beside.is_some() && !said && !ended {
                self.stop_waiting(view, receiving);
                return Ok(false);
            }
            receiving.news = true;
            heard = true;
            if !receiving.consumer.is_empty(view) {
                self.found_some(view, receiving);
                return Ok(true);
            }
        }
    }

    /// Nobody sleeps; whoever polls goes on waiting.
    fn stop_waiting(&self, view: View<'_>, receiving: &Receiving) {
        if self.polled().is_none() {
            receiving.consumer.stop_waiting(view);
        }
    }

    /// Silences the bell, where nothing is left to be received, and has the other side ring it again from here
    /// on. In this order: silence, ask to be rung; then whoever called this looks. Says whether the other side
    /// is gone.
    fn silence(&self, view: View<'_>, receiving: &mut Receiving) -> Result<bool, LinkError> {
        let polled = self.polled();
        let mut gone = false;
        if receiving.news || polled.is_some_and(|_| receiving.consumer.was_rung(view)) {
            receiving.news = false;
            gone = self.listen()?;
        }
        polled.inspect(|polled| polled.quieten());
        receiving.consumer.wait_for_chunks(view);
        Ok(gone)
    }

    /// After a message was received: whoever polls is to see whether it was the last one.
    #[cold]
    pub(super) fn silence_if_empty(
        &self,
        view: View<'_>,
        receiving: &mut Receiving,
    ) -> Result<(), LinkError> {
        if receiving.is_empty(self, view) {
            // What the other side has said, its end perhaps, is found again by whoever receives next.
            let gone = self.silence(view, receiving)?;
            if !gone && receiving.is_empty(self, view) {
                return Ok(());
            }
        }
        self.found_some(view, receiving);
        Ok(())
    }

    fn found_some(&self, view: View<'_>, receiving: &Receiving) {
        match self.polled() {
            None => receiving.consumer.stop_waiting(view),
            // Should more than one frame be there, the next one who polls is to find it.
            Some(polled) => polled.remind(),
        }
    }

    pub(super) fn remind_of(&self, receiving: &Receiving) {
        if let (Some(polled), false) = (self.polled(), receiving.inbox.is_empty()) {
            polled.remind();
        }
    }
}
