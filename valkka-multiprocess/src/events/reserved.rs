//! One event of a group, for as long as somebody has it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use common_ipc::process::{Child, Generation};
use common_ipc::sync::{Event, EventFlag, Permit};

use crate::events::errors::EventError;
use crate::events::index::EventIndex;
use crate::events::shared::Shared;
use crate::events::slot::{LOOK_AGAIN, Slot, State};

/// An event of an [`EventGroup`](crate::EventGroup) that is this process's until this is dropped.
///
/// It isn't set at first, whatever became of the event before. Who gets its [`index`](Reserved::index) sets it
/// by [`EventGroup::set`](crate::EventGroup::set); this one waits. Any thread may, and several at once.
///
/// **Dropping** it releases the event, set or not, and doesn't wait. Its index is over from then on: who sets it later
/// is told that, and wakes nobody. If this process dies the event goes to the next one who finds no other. In a forked
/// copy of the process it is nothing but a name: it can be waited for, and dropping it does nothing.
///
/// A setter that dies is noticed by [`wait_or_death`](Reserved::wait_or_death) only.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions};
/// use valkka_multiprocess::EventGroup;
///
/// let events = EventGroup::new(2)?;
/// let done = events.reserve()?;
/// let (in_child, index) = (events.clone(), done.index());
/// let child = Launch::new(&LaunchOptions::new()).start(move || in_child.set(index).unwrap())?;
/// assert!(done.wait_or_death(&child, None)?);
/// assert!(child.output::<bool>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it is released when it is dropped"]
#[doc(alias = "release")]
#[doc(alias = "release_ind")]
pub struct Reserved<E: EventFlag = Event> {
    shared: Arc<Shared<E>>,
    index: EventIndex,
    home: Generation,
    /// After the reservation is over.
    _permit: Permit,
}

impl<E: EventFlag> Reserved<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, permit: Permit) -> Result<Reserved<E>, EventError> {
        let place = permit.index();
        let generation = Slot::open(&shared.words[place], &shared.events[place])?.generation;
        let index = EventIndex { group: shared.id, slot: place as u32, generation };
        Ok(Reserved { shared, index, home: Generation::current(), _permit: permit })
    }

    fn slot(&self) -> Slot<'_, AtomicU64, E> {
        self.shared.slot(self.index)
    }

    /// Its name, for the process that is to set it.
    #[must_use]
    #[doc(alias = "asIndex")]
    pub fn index(&self) -> EventIndex {
        self.index
    }

    /// The event itself, to be polled beside other things, say.
    ///
    /// It may ring for nothing: for an earlier reservation that is set late. So ask [`is_set`](Reserved::is_set)
    /// then, which also takes such a ring back. Who sets the event itself, and not by the group, wakes those who wait
    /// for the event itself, and nobody else.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use valkka_multiprocess::sync::EventFd;
    /// use valkka_multiprocess::{EventGroup, safe_select};
    ///
    /// let events = EventGroup::from_fn(2, EventFd::new)?;
    /// let (one, other) = (events.reserve()?, events.reserve()?);
    /// events.set(other.index())?;
    /// assert_eq!(safe_select(&[one.event().as_fd(), other.event().as_fd()], None)?, [1]);
    /// assert!(other.is_set()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn event(&self) -> &E {
        &self.shared.events[self.index.slot()]
    }

    /// Whether it is set at this moment.
    ///
    /// # Errors
    ///
    /// [`EventError::Event`]; [`EventError::StaleIndex`] in a forked copy of the process, when it was released.
    pub fn is_set(&self) -> Result<bool, EventError> {
        let state = self.slot().look()?;
        self.answer(state)
    }

    /// Waits until it is set, for as long as that takes, also if nobody is left who could set it.
    ///
    /// # Errors
    ///
    /// As for [`is_set`](Reserved::is_set).
    pub fn wait(&self) -> Result<(), EventError> {
        self.wait_for(None).map(drop)
    }

    /// Waits until it is set, for up to `timeout`, and says whether it is.
    ///
    /// # Errors
    ///
    /// As for [`is_set`](Reserved::is_set).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, EventError> {
        self.wait_for(Some(timeout))
    }

    /// Waits until it is set or `child` has ended, for up to `timeout` if there is one, and says whether it is set:
    /// if it isn't, the child lives. The death of the child is noticed within 50 ms.
    ///
    /// # Errors
    ///
    /// [`EventError::DiedBeforeSet`] if the child has ended and hasn't set it; [`EventError::Child`] if it is another
    /// process's, or can't be looked at. Otherwise as for [`is_set`](Reserved::is_set).
    pub fn wait_or_death(&self, child: &Child, timeout: Option<Duration>) -> Result<bool, EventError> {
        let end = end_of(timeout);
        let mut ended = None;
        let state = self.slot().wait::<EventError>(
            |event| Ok(event.wait_or_death(child, Some(slice(end)))?),
            || {
                ended = child.try_wait()?;
                Ok(ended.is_some() || has_passed(end))
            },
        )?;
        match (self.answer(state)?, ended) {
            (false, Some(status)) => Err(EventError::DiedBeforeSet { index: self.index, status }),
            (is_set, _) => Ok(is_set),
        }
    }

    fn wait_for(&self, timeout: Option<Duration>) -> Result<bool, EventError> {
        let end = end_of(timeout);
        let sleep = |event: &E| Ok::<_, EventError>(event.wait_timeout(slice(end))?);
        let state = self.slot().wait(sleep, || Ok(has_passed(end)))?;
        self.answer(state)
    }

    fn answer(&self, state: State) -> Result<bool, EventError> {
        match state {
            State::Set => Ok(true),
            State::NotSet => Ok(false),
            State::Over => Err(EventError::StaleIndex { index: self.index }),
        }
    }
}

impl<E: EventFlag> Drop for Reserved<E> {
    fn drop(&mut self) {
        if self.home.check().is_ok() {
            self.slot().close();
        }
    }
}

/// Never, if that is further away than clocks go.
fn end_of(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

fn has_passed(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}

/// How long to sleep until the next look.
fn slice(end: Option<Instant>) -> Duration {
    end.map_or(LOOK_AGAIN, |end| end.saturating_duration_since(Instant::now()).min(LOOK_AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventGroup;
    use common_ipc::sync::EventFd;
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn all_threads_that_wait_wake() {
        let events = EventGroup::new(1).unwrap();
        let reserved = events.reserve().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| reserved.wait().unwrap());
                scope.spawn(|| assert!(reserved.wait_timeout(Duration::MAX).unwrap()));
            }
            // Rings for nothing, which the waiters take back from each other.
            for _ in 0..100 {
                reserved.event().set();
            }
            assert!(events.set(reserved.index()).unwrap());
        });
    }

    #[test]
    fn a_wait_ends_although_it_rings_for_nothing_all_the_time() {
        let events = EventGroup::new(1).unwrap();
        let reserved = events.reserve().unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    reserved.event().set();
                }
            });
            for timeout in [0, 1, 20].map(Duration::from_millis) {
                assert!(!reserved.wait_timeout(timeout).unwrap());
                assert!(!reserved.is_set().unwrap());
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_set_whose_ring_is_lost_is_found() {
        let events = EventGroup::from_fn(1, || Ok(Mute)).unwrap();
        let reserved = events.reserve().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| reserved.wait().unwrap());
            assert!(matches!(events.set(reserved.index()), Err(EventError::Event(_))));
        });
        assert!(reserved.is_set().unwrap());
    }

    /// It can't be set, and nobody is woken.
    struct Mute;

    impl EventFlag for Mute {
        fn set(&self) -> io::Result<()> {
            Err(io::Error::other("mute"))
        }

        fn clear(&self) -> io::Result<()> {
            Ok(())
        }

        fn is_set(&self) -> io::Result<bool> {
            Ok(false)
        }

        fn wait(&self) -> io::Result<()> {
            loop {
                std::thread::park();
            }
        }

        fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
            std::thread::sleep(timeout);
            Ok(false)
        }
    }

    #[test]
    fn event_fds_are_cleared_for_the_next_one() {
        let events = EventGroup::from_fn(1, EventFd::new).unwrap();
        for _ in 0..3 {
            let reserved = events.reserve().unwrap();
            assert!(!reserved.event().is_set().unwrap());
            assert!(events.set(reserved.index()).unwrap());
            assert!(reserved.event().is_set().unwrap() && reserved.wait_timeout(Duration::ZERO).unwrap());
        }
    }
}
