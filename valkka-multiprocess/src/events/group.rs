//! A number of events, and who has which.

use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use common_ipc::memory::SharedAtomics;
use common_ipc::process::Child;
use common_ipc::sync::{Event, EventFlag, Semaphore};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::events::errors::EventError;
use crate::events::index::EventIndex;
use crate::events::reserved::Reserved;
use crate::events::slot::{GENERATION_MAX, Slot, State};
use crate::events::sync_index::SyncIndex;

/// A number of events that processes share, of which each is reserved for one purpose at a time.
///
/// A process can't be given an event that is made after its start as easily as a number. So the events are made
/// before, and what a command holds is an [`EventIndex`]: the front end [reserves](EventGroup::reserve) an event,
/// sends its index and waits; the back end [sets](EventGroup::set) the event of that index.
///
/// ```
/// use common_ipc::link::Connection;
/// use common_ipc::process::{Launch, LaunchOptions};
/// use valkka_multiprocess::{EventGroup, EventIndex};
///
/// let events = EventGroup::new(10)?;
/// let (front, back) = Connection::<EventIndex, ()>::pair()?;
/// let in_child = events.clone();
/// let options = LaunchOptions::new().give(&back);
/// let child = Launch::new(&options).start(move || {
///     while let Ok(index) = back.recv() {
///         // do something, then:
///         in_child.set(index).unwrap();
///     }
/// })?;
///
/// events.sync(&child, |index| front.send(&index))?; // returns when it is set
/// assert_eq!(events.available(), 10);
/// drop(front);
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Late, twice, never
///
/// A reservation has an index of its own, which is over with it. So an event that is set after its waiter has given up
/// is not set for who has reserved it since: [`set`](EventGroup::set) returns false, and wakes nobody for good. An event
/// can't be released twice, since a [`Reserved`] is a guard. What a process had reserved when it died is free
/// again. That the setter dies is an error of [`sync`](EventGroup::sync), [`SyncIndex::wait`] and
/// [`Reserved::wait_or_death`]; the others wait as long as they are told to.
///
/// # Other processes
///
/// Clones are the same group. So is the copy of a child that captures it, and what arrives where it was sent: over a
/// connection, or as part of the argument of a zygote's child. A group of [`EventFd`](common_ipc::sync::EventFd)s has to be
/// [given](common_ipc::process::LaunchOptions::give) as well, by its [`events`](EventGroup::events). Every one of these
/// processes can reserve, set and wait; a forked child that captured it can't send it on. All of them must be in the same pid namespace, and see it in /proc.
/// **Dropping** it ends this handle only; what was reserved by it stays reserved.
///
/// Any process that has a group can spoil it for the others: have waits end early, or never. Their memory, and waits with
/// a time-out, are safe from it.
///
/// Not promised: which event is reserved next, and an order among those who wait for one.
pub struct EventGroup<E: EventFlag = Event> {
    shared: Arc<Shared<E>>,
}

/// What all handles in a process share, and what is reserved.
#[derive(Debug)]
pub(super) struct Shared<E> {
    /// Of this group, by which it knows its own indices.
    pub(super) id: u32,
    pub(super) events: Vec<E>,
    /// Who has which, by the permit's index.
    permits: Semaphore,
    /// What is reserved, and set.
    pub(super) words: SharedAtomics,
}

impl<E: EventFlag> Shared<E> {
    /// Of an index that is this group's.
    pub(super) fn slot(&self, index: EventIndex) -> Slot<'_, AtomicU64, E> {
        let place = index.slot();
        Slot { word: &self.words[place], bell: &self.events[place], generation: index.generation }
    }
}

impl EventGroup {
    /// So many events. Each takes a page of memory and a descriptor; the group takes two more descriptors.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for none, and for more than 65,536; [`io::ErrorKind::OutOfMemory`], or whatever
    /// else [`Event::new`] fails with.
    pub fn new(size: usize) -> io::Result<EventGroup> {
        EventGroup::from_fn(size, Event::new)
    }
}

impl<E: EventFlag> EventGroup<E> {
    /// So many events of some kind: [`EventFd`](common_ipc::sync::EventFd)s, to be polled beside other things, or a kind of
    /// one's own. The group takes two descriptors beside what they take.
    ///
    /// ```
    /// use common_ipc::process::{Launch, LaunchOptions};
    /// use common_ipc::sync::EventFd;
    /// use valkka_multiprocess::EventGroup;
    ///
    /// let events = EventGroup::from_fn(3, EventFd::new)?;
    /// let done = events.reserve()?;
    /// let (in_child, index) = (events.clone(), done.index());
    /// let options = LaunchOptions::new().give(events.events());
    /// let child = Launch::new(&options).start(move || in_child.set(index).unwrap())?;
    /// done.wait()?;
    /// child.output::<bool>()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`new`](EventGroup::new); what `make` fails with.
    pub fn from_fn(size: usize, make: impl FnMut() -> io::Result<E>) -> io::Result<EventGroup<E>> {
        if !(1..=Semaphore::MAX_PERMITS).contains(&size) {
            let text = format!("a group of {size} events was asked for; it has from 1 to 65,536");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let permits = Semaphore::new(size)?;
        let words = SharedAtomics::new(size)?;
        let events = std::iter::repeat_with(make).take(size).collect::<io::Result<_>>()?;
        Ok(EventGroup { shared: Arc::new(Shared { id: new_id(), events, permits, words }) })
    }

    /// Reserves an event that nobody else has, at once. It isn't set.
    ///
    /// # Errors
    ///
    /// [`EventError::NotEnoughEvents`] if there is none, after a look whether those who have them are alive, which takes
    /// some 20 us for each; [`EventError::Acquire`]; [`EventError::Event`] if the event can't be cleared.
    pub fn reserve(&self) -> Result<Reserved<E>, EventError> {
        self.reserve_timeout(Duration::ZERO)
    }

    /// As [`reserve`](EventGroup::reserve), waiting for an event for up to `timeout`. One whose process dies comes free
    /// within 50 ms.
    ///
    /// # Errors
    ///
    /// As for [`reserve`](EventGroup::reserve).
    pub fn reserve_timeout(&self, timeout: Duration) -> Result<Reserved<E>, EventError> {
        let permit = self.shared.permits.acquire_timeout(timeout)?;
        let permit = permit.ok_or_else(|| EventError::NotEnoughEvents { size: self.len() })?;
        Reserved::new(Arc::clone(&self.shared), permit)
    }

    /// Sets the event of this reservation and wakes who waits for it, in whichever process. False: the reservation is
    /// over, and nothing has happened. What this thread wrote to shared memory before is seen by those who wake, unless
    /// somebody else has set it before.
    ///
    /// # Errors
    ///
    /// [`EventError::NotInGroup`]; [`EventError::Event`] if the event can't be set, a [given](EventGroup::events) one that
    /// this process wasn't given, say: the reservation is set all the same, and who waits notices within 50 ms.
    pub fn set(&self, index: EventIndex) -> Result<bool, EventError> {
        Ok(self.slot(index)?.set()?)
    }

    /// Whether the event of this reservation is set at this moment.
    ///
    /// # Errors
    ///
    /// [`EventError::StaleIndex`] if the reservation is over; [`EventError::NotInGroup`]; [`EventError::Event`].
    pub fn is_set(&self, index: EventIndex) -> Result<bool, EventError> {
        match self.slot(index)?.look()? {
            State::Set => Ok(true),
            State::NotSet => Ok(false),
            State::Over => Err(EventError::StaleIndex { index }),
        }
    }

    /// The event of this reservation itself, for what knows events and no groups. It may be somebody else's at any later
    /// time. Who sets it directly wakes those alone who wait for [`Reserved::event`] directly.
    ///
    /// # Errors
    ///
    /// [`EventError::StaleIndex`] if the reservation is over; [`EventError::NotInGroup`].
    #[doc(alias = "fromIndex")]
    pub fn event(&self, index: EventIndex) -> Result<&E, EventError> {
        let slot = self.slot(index)?;
        if slot.state() == State::Over { Err(EventError::StaleIndex { index }) } else { Ok(slot.bell) }
    }

    /// Reserves an event, calls `tell` with its index, waits until it is set, and releases it; then returns what `tell`
    /// returned. `child` is who is to set it: its death is noticed within 50 ms.
    ///
    /// If `tell` fails, or panics, nothing is waited for. [`SyncIndex`] is the same in steps.
    ///
    /// # Errors
    ///
    /// [`EventError::NotEnoughEvents`] and the others of [`reserve`](EventGroup::reserve); [`EventError::Call`] with the
    /// error of `tell`; [`EventError::DiedBeforeSet`] and the others of [`SyncIndex::wait`].
    #[doc(alias = "SyncIndex")]
    pub fn sync<T, X>(
        &self,
        child: &Child,
        tell: impl FnOnce(EventIndex) -> Result<T, X>,
    ) -> Result<T, EventError>
    where
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        let (sync, told) = self.begin(tell)?;
        sync.wait(child)?;
        Ok(told)
    }

    /// As [`sync`](EventGroup::sync); from the return of `tell` on it waits for up to `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`sync`](EventGroup::sync), and [`EventError::TimedOut`].
    pub fn sync_timeout<T, X>(
        &self,
        child: &Child,
        timeout: Duration,
        tell: impl FnOnce(EventIndex) -> Result<T, X>,
    ) -> Result<T, EventError>
    where
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        let (sync, told) = self.begin(tell)?;
        sync.wait_timeout(child, timeout)?;
        Ok(told)
    }

    fn begin<T, X>(
        &self,
        tell: impl FnOnce(EventIndex) -> Result<T, X>,
    ) -> Result<(SyncIndex<E>, T), EventError>
    where
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        let sync = SyncIndex::reserve(self)?;
        let told = tell(sync.index()).map_err(|error| EventError::Call(error.into()))?;
        Ok((sync, told))
    }

    /// How many events there are. It doesn't change, and isn't zero.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is no empty group")]
    pub fn len(&self) -> usize {
        self.shared.events.len()
    }

    /// How many events nobody has at this moment. Those of processes that have died are taken from them first, which
    /// takes some 20 us for each process that has any.
    #[must_use]
    pub fn available(&self) -> usize {
        // Where the dead can't be told from the living, all who have events are alive.
        let _ = self.shared.permits.reclaim();
        self.shared.permits.available()
    }

    /// All events, whoever has them: to [give](common_ipc::process::LaunchOptions::give) them to a child.
    #[must_use]
    pub fn events(&self) -> &[E] {
        &self.shared.events
    }

    fn slot(&self, index: EventIndex) -> Result<Slot<'_, AtomicU64, E>, EventError> {
        let is_ours = index.group == self.shared.id;
        // An index that was made up may hold anything.
        if !is_ours || index.slot() >= self.len() || index.generation > GENERATION_MAX {
            return Err(EventError::NotInGroup { index });
        }
        Ok(self.shared.slot(index))
    }
}

/// A number that other groups hardly have, whichever processes make them.
fn new_id() -> u32 {
    // A forked copy of the process has the keys of this one.
    RandomState::new().hash_one((std::process::id(), Instant::now())) as u32
}

impl<E: EventFlag> Clone for EventGroup<E> {
    fn clone(&self) -> EventGroup<E> {
        EventGroup { shared: Arc::clone(&self.shared) }
    }
}

/// Which events are free and which reserved: `<EventGroup: f0 R1 f2 >`. What a dead process had is reserved until
/// somebody reserves it, or asks how many are [available](EventGroup::available).
impl<E: EventFlag> fmt::Display for EventGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<EventGroup: ")?;
        for place in 0..self.len() {
            write!(f, "{}{place} ", if self.shared.permits.is_free(place) { 'f' } else { 'R' })?;
        }
        f.write_str(">")
    }
}

/// As it is shown.
impl<E: EventFlag> fmt::Debug for EventGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Over a connection, if the kind of its events can be sent: it arrives as the same group. A message carries 253
/// descriptors, so a group of up to 251 events. With other formats it is an error.
impl<E: EventFlag + Serialize> Serialize for EventGroup<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shared { id, events, permits, words } = &*self.shared;
        (id, events, permits, words).serialize(serializer)
    }
}

impl<'de, E: EventFlag + Deserialize<'de>> Deserialize<'de> for EventGroup<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventGroup<E>, D::Error> {
        let (id, events, permits, words) =
            <(u32, Vec<E>, Semaphore, SharedAtomics)>::deserialize(deserializer)?;
        if [permits.permits(), words.len()] != [events.len(); 2] {
            return Err(D::Error::custom(
                "what came is no group: it has not as many permits and words as events",
            ));
        }
        Ok(EventGroup { shared: Arc::new(Shared { id, events, permits, words }) })
    }
}
