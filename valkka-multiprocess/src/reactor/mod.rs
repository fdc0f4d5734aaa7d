//! Descriptors and timers, and which of them is ready: what the loops of the program and of a back end sleep on.

mod error;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use common_ipc::link::Poller;
use slotmap::{DefaultKey, Key, KeyData, SlotMap};

pub use error::WatchError;
use timers::Timers;

/// One watch of a loop: a descriptor, a timer, a front end.
///
/// It is never another watch's of the same loop, also when this one is over; to another loop it means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(DefaultKey);

/// What is watched, each with an `H` that says what is to be done.
///
/// Descriptors are watched level-triggered: one that is still readable is ready again at the next
/// [`poll`](Reactor::poll). All that is ready at a `poll` is handed out, descriptors and timers by turns, before the
/// next one looks again: nothing starves anything else.
#[derive(Debug)]
pub(crate) struct Reactor<H> {
    poller: Poller,
    watches: SlotMap<DefaultKey, Watch<H>>,
    /// Who watches what stands behind a number.
    numbers: HashMap<RawFd, DefaultKey>,
    timers: Timers,
    ready: VecDeque<DefaultKey>,
    /// Kept for their room.
    tokens: Vec<u64>,
    due: Vec<DefaultKey>,
}

#[derive(Debug)]
struct Watch<H> {
    of: Of,
    is_queued: bool,
    handler: H,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Descriptor(RawFd),
    Nothing,
    Timer,
}

/// What loops take a shorter period for.
pub(crate) const SHORTEST_PERIOD: Duration = Duration::from_millis(1);

/// A century is as good as what is further away than time can tell.
pub(crate) fn from_now(time: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + CENTURY)
}

fn token(key: DefaultKey) -> u64 {
    key.data().as_ffi()
}

impl<H> Reactor<H> {
    /// One that watches nothing. It takes one descriptor, which children don't inherit.
    pub(crate) fn new() -> io::Result<Reactor<H>> {
        Ok(Reactor {
            poller: Poller::new()?,
            watches: SlotMap::new(),
            numbers: HashMap::new(),
            timers: Timers::default(),
            ready: VecDeque::new(),
            tokens: Vec::new(),
            due: Vec::new(),
        })
    }

    /// Readable when a descriptor is ready; timers aren't seen in it. To be asked for anew after each
    /// [`poll`](Reactor::poll): it may be another one.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }

    /// Of how much may yet come to be ready.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len() + self.timers.len()
    }

    /// All handlers, in no order.
    pub(crate) fn handlers(&self) -> impl Iterator<Item = &H> {
        self.watches.values().map(|watch| &watch.handler)
    }

    /// Watches `fd`, which stays open until [`remove`](Reactor::remove).
    ///
    /// If it is closed all the same, its watch is over when that is found out, which is logged. Its handler isn't dropped:
    /// that would close the descriptor again, or whatever has its number by then.
    pub(crate) fn add_fd(&mut self, fd: BorrowedFd<'_>, handler: H) -> Result<WatchId, WatchError> {
        let key = self.watches.insert(Watch { of: Of::Nothing, is_queued: false, handler });
        let added = self.begin(key, fd);
        if added.is_err() {
            self.watches.remove(key);
        }
        added.map(|()| WatchId(key))
    }

    /// Watches `fd` in place of what was watched, with the same handler. After an error it watches nothing.
    pub(crate) fn watch_instead(&mut self, id: WatchId, fd: BorrowedFd<'_>) -> Result<(), WatchError> {
        self.end(id.0);
        self.begin(id.0, fd)
    }

    /// Has a watch be a timer from now on, as by [`add_timer`](Reactor::add_timer).
    pub(crate) fn set_timer(&mut self, id: WatchId, first: Instant, every: Option<Duration>) {
        self.end(id.0);
        if let Some(watch) = self.watches.get_mut(id.0) {
            watch.of = Of::Timer;
            self.timers.set(id.0, first, every);
        }
    }

    fn begin(&mut self, key: DefaultKey, fd: BorrowedFd<'_>) -> Result<(), WatchError> {
        let Some(watch) = self.watches.get_mut(key) else { return Ok(()) };
        self.poller.add(fd, token(key))?;
        let number = fd.as_raw_fd();
        watch.of = Of::Descriptor(number);
        // The kernel takes a number twice only if something else stands behind it now.
        if let Some(before) = self.numbers.insert(number, key) {
            self.lose(before, number);
        }
        Ok(())
    }

    fn end(&mut self, key: DefaultKey) {
        let Some(watch) = self.watches.get_mut(key) else { return };
        match std::mem::replace(&mut watch.of, Of::Nothing) {
            Of::Descriptor(number) => {
                self.poller.remove(number);
                self.numbers.remove(&number);
            }
            Of::Timer => self.timers.unset(key),
            Of::Nothing => {}
        }
    }

    /// A timer that is due at `first`, and then, if it has a period, again and again.
    ///
    /// One that was late by several periods is due once, and goes on in the rhythm that began with `first`. A period
    /// of zero counts as a nanosecond. A timer without a period, or past the end of time, stays after it was due until
    /// it is removed, so that its handler can be had by that.
    pub(crate) fn add_timer(&mut self, first: Instant, every: Option<Duration>, handler: H) -> WatchId {
        let key = self.watches.insert(Watch { of: Of::Timer, is_queued: false, handler });
        self.timers.set(key, first, every);
        WatchId(key)
    }

    /// Ends a watch, and gives back its handler; `None` if it is over already.
    pub(crate) fn remove(&mut self, id: WatchId) -> Option<H> {
        self.end(id.0);
        self.watches.remove(id.0).map(|watch| watch.handler)
    }

    pub(crate) fn get_mut(&mut self, id: WatchId) -> Option<&mut H> {
        self.watches.get_mut(id.0).map(|watch| &mut watch.handler)
    }

    /// When the next timer is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Waits until something is ready, for up to `timeout` if there is one, and queues what is; doesn't wait while there
    /// is something in the queue. A signal doesn't cut the wait short.
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = match self.timers.next() {
            _ if !self.ready.is_empty() => Some(Duration::ZERO),
            None => timeout,
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                Some(timeout.map_or(left, |timeout| timeout.min(left)))
            }
        };
        self.tokens.clear();
        self.poller.wait(timeout, &mut self.tokens)?;
        self.timers.take_due(&mut self.due);
        let mut stale = false;
        let (tokens, mut due) = (std::mem::take(&mut self.tokens), std::mem::take(&mut self.due));
        let mut of_timers = due.drain(..);
        for &told in &tokens {
            self.queue(of_timers.next());
            let key = DefaultKey::from(KeyData::from_ffi(told));
            stale |= !self.is_still_watched(key);
            self.queue(Some(key));
        }
        for key in of_timers {
            self.queue(Some(key));
        }
        (self.tokens, self.due) = (tokens, due);
        // The kernel goes on to tell of what nobody can tell it to forget: of a descriptor that was closed, and has
        // a copy somewhere.
        if stale { self.renew() } else { Ok(()) }
    }

    /// Takes the next of what is ready, but for what was removed since.
    pub(crate) fn next_ready(&mut self) -> Option<WatchId> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(watch) = self.watches.get_mut(key) {
                watch.is_queued = false;
                return Some(WatchId(key));
            }
        }
        None
    }

    fn queue(&mut self, key: Option<DefaultKey>) {
        let Some(key) = key else { return };
        let Some(watch) = self.watches.get_mut(key) else { return };
        if !std::mem::replace(&mut watch.is_queued, true) {
            self.ready.push_back(key);
        }
    }

    /// Whether the descriptor that the kernel tells of is the one that was given: neither closed nor replaced.
    fn is_still_watched(&mut self, key: DefaultKey) -> bool {
        let Some(&Watch { of: Of::Descriptor(number), .. }) = self.watches.get(key) else { return false };
        let is_watched = self.poller.is_watched(number, token(key));
        if !is_watched {
            self.numbers.remove(&number);
            self.lose(key, number);
        }
        is_watched
    }

    fn lose(&mut self, key: DefaultKey, number: RawFd) {
        if let Some(watch) = self.watches.remove(key) {
            std::mem::forget(watch.handler);
            log::warn!("descriptor {number} was closed while it was watched: its watch is over");
        }
    }

    fn renew(&mut self) -> io::Result<()> {
        // Others may have been closed as well.
        let watched: Vec<_> = self.numbers.values().copied().collect();
        for key in watched {
            self.is_still_watched(key);
        }
        self.poller.renew(self.numbers.iter().map(|(&number, &key)| (number, token(key))))
    }
}
