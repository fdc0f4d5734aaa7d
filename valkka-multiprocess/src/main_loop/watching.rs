//! What a loop is told to watch.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::{CaughtSignals, Signal};

use super::MainLoop;
use super::source::{Source, Watch};
use super::sources::{After, Every, OfDescriptor, OfFront, OfSignals, OfStopSignals, next};
use crate::reactor::{SHORTEST_PERIOD, WatchError, WatchId, from_now};

impl<E: 'static> MainLoop<E> {
    /// Watches the back end of a front end that was started: `event` makes an event of what comes from it. The last
    /// one of a run is [`Incoming::Ended`](crate::Incoming::Ended), when its process has ended and was collected; with that
    /// the watch is over, and after the next start it can be watched again. Of one that has ended already the end is told.
    /// A process that has closed its links and lives on is killed after a second.
    ///
    /// What the front end receives by itself meanwhile doesn't come here: each message comes once.
    ///
    /// # Errors
    ///
    /// [`WatchError::NotStarted`]; [`WatchError::AlreadyWatched`] by this loop; no descriptors left.
    pub fn watch<W: Watch>(
        &mut self,
        front: &W,
        event: impl FnMut(W::Incoming) -> E + Send + 'static,
    ) -> Result<WatchId, WatchError> {
        self.home.check()?;
        let front = front.front()?;
        let process = Some(front.child().id());
        let mut known = self.reactor.handlers().flatten();
        let is_watched = known.any(|source| source.process() == process);
        drop(known);
        if is_watched {
            return Err(WatchError::AlreadyWatched);
        }
        let source = OfFront::new(Arc::clone(&front), event);
        self.reactor.add_fd(front.poll_fd()?, Some(Box::new(source)))
    }

    /// Watches a descriptor: while there is something to read, or the other end is gone, or there is an error, `event` is
    /// called with it, again and again, once in a round. So the closure has to take what there is, or the event's handler
    /// to end the watch.
    ///
    /// The loop keeps `fd` until [`unwatch`](MainLoop::unwatch) or its own end; hand it an [`Arc`] to have it as
    /// well. Should other code close it by its number, the watch is over when that is noticed, which is logged,
    /// and `fd` is never dropped, since that would close whatever has its number by then.
    ///
    /// # Errors
    ///
    /// [`WatchError::NotPollable`] for a regular file or directory; [`WatchError::AlreadyWatched`] by this loop, by
    /// whatever handle of the same number; [`WatchError::BadDescriptor`] if it was closed. `fd` is dropped then.
    pub fn watch_fd<F: AsFd + Send + 'static>(
        &mut self,
        fd: F,
        event: impl FnMut(&F) -> E + Send + 'static,
    ) -> Result<WatchId, WatchError> {
        self.home.check()?;
        let id = self.reactor.add_fd(fd.as_fd(), None)?;
        self.put(id, OfDescriptor { fd, map: event });
        Ok(id)
    }

    /// Calls `event` each time that so long has passed, from one period from now on. When it is late, because something
    /// took long, it is called once for all the times that were missed, and keeps its rhythm. A period of less than
    /// 1 ms is taken for that.
    ///
    /// # Errors
    ///
    /// [`WatchError::WrongProcess`].
    pub fn every(
        &mut self,
        period: Duration,
        event: impl FnMut() -> E + Send + 'static,
    ) -> Result<WatchId, WatchError> {
        self.home.check()?;
        let period = period.max(SHORTEST_PERIOD);
        Ok(self.reactor.add_timer(from_now(period), Some(period), Some(Box::new(Every(event)))))
    }

    /// Calls `event` once, when so long has passed; not before the next round, however short it is. With that the watch
    /// is over.
    ///
    /// # Errors
    ///
    /// [`WatchError::WrongProcess`].
    pub fn after(
        &mut self,
        time: Duration,
        event: impl FnOnce() -> E + Send + 'static,
    ) -> Result<WatchId, WatchError> {
        self.home.check()?;
        Ok(self.reactor.add_timer(from_now(time), None, Some(Box::new(After(Some(event))))))
    }

    /// Takes signals to the program as events, in place of what they do otherwise. Several of a kind that come before the
    /// loop looks are one. Every loop that takes a signal gets it; children never do. When the watch is over, what was
    /// set before for a signal is back, unless another loop takes it.
    ///
    /// # Errors
    ///
    /// [`WatchError::Signal`] for what can't be caught (SIGKILL, SIGSTOP, SIGSEGV, ...), and
    /// [`WatchError::Os`] without descriptors, with 32 such watches, or of no signal at all; then none of them is taken.
    pub fn signals(
        &mut self,
        signals: &[Signal],
        event: impl FnMut(Signal) -> E + Send + 'static,
    ) -> Result<WatchId, WatchError> {
        if signals.is_empty() {
            let nothing =
                std::io::Error::new(std::io::ErrorKind::InvalidInput, "there is no signal among these");
            return Err(WatchError::Os(nothing));
        }
        let caught = self.catch(signals)?;
        let source = OfSignals { caught: Arc::clone(&caught), map: event };
        self.reactor.add_fd(caught.as_fd(), Some(Box::new(source)))
    }

    /// Has signals to the program [stop](MainLoop::stop) the loop, until the loop is dropped. Otherwise it is as
    /// [`signals`](MainLoop::signals).
    ///
    /// # Errors
    ///
    /// As for [`signals`](MainLoop::signals).
    pub fn stop_on(&mut self, signals: &[Signal]) -> Result<(), WatchError> {
        let caught = self.catch(signals)?;
        self.reactor.add_fd(caught.as_fd(), Some(Box::new(OfStopSignals(Arc::clone(&caught)))))?;
        self.stop_signals.push(caught);
        Ok(())
    }

    fn catch(&self, signals: &[Signal]) -> Result<Arc<CaughtSignals>, WatchError> {
        self.home.check()?;
        let caught = CaughtSignals::new().map_err(WatchError::Os)?;
        signals.iter().try_for_each(|signal| caught.catch(*signal))?;
        Ok(Arc::new(caught))
    }

    /// Stops the loop if a signal has come that is to.
    pub(super) fn heed_stop_signals(&self) {
        if self.stop_signals.iter().any(|caught| next(caught).is_some()) {
            self.stop();
        }
    }

    /// The signals that stop the loop: they are caught for as long as somebody has these.
    pub(super) fn stop_signals(&self) -> Vec<Arc<CaughtSignals>> {
        self.stop_signals.clone()
    }

    /// Ends a watch, and says whether there was one. Nothing comes of it any more, also if it was ready. The loop drops
    /// the descriptor that it kept for it.
    pub fn unwatch(&mut self, id: WatchId) -> bool {
        self.home.check().is_ok() && self.end(id)
    }

    fn put(&mut self, id: WatchId, source: impl Source<E> + 'static) {
        if let Some(place) = self.reactor.get_mut(id) {
            *place = Some(Box::new(source));
        }
    }
}
