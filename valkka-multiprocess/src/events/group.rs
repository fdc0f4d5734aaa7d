//! A number of events, and who has which.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::sync::{Event, EventFlag, Semaphore};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::events::errors::EventError;
use crate::events::index::EventIndex;
use crate::events::reserved::Reserved;
use crate::events::shared::Shared;
use crate::events::slot::State;

/// A number of events that processes share, of which each is reserved for one purpose at a time.
///
/// A process can't be given an event that is made after its start as easily as a number. So the events are made
/// before, and what a command holds is an [`EventIndex`]: the front end [reserves](EventGroup::reserve) an event,
/// sends its index and waits; the back end [sets](EventGroup::set) the event of that index.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use valkka_multiprocess::{Backend, Context, EventGroup, EventIndex, MessageProcess, RemoteError};
///
/// #[derive(Serialize, Deserialize)]
/// enum Command {
///     Ping { done: EventIndex },
/// }
///
/// struct Player {
///     events: EventGroup,
/// }
///
/// impl Backend for Player {
///     type Command = Command;
///     type Event = ();
///
///     fn handle(&mut self, _: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
///         let Command::Ping { done } = command;
///         // do something, then:
///         self.events.set(done)?;
///         Ok(())
///     }
/// }
///
/// let events = EventGroup::new(10)?;
/// let process = MessageProcess::new("my-process", Player { events: events.clone() });
/// process.start()?;
/// // Returns when it is set.
/// events.sync(&process.child()?, |done| process.send(&Command::Ping { done }))?;
/// assert_eq!(events.available(), 10);
/// process.stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Late, twice, never
///
/// A reservation has an index of its own, which is over with it. So an event that is set after its waiter has given up
/// is not set for who has reserved it since: [`set`](EventGroup::set) returns false, and wakes nobody for good. An event
/// can't be released twice, since a [`Reserved`] is a guard. What a process had reserved when it died is free
/// again. That the setter dies is an error of [`sync`](EventGroup::sync), [`SyncIndex::wait`](crate::SyncIndex::wait) and
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
/// a time-out, are safe from it; those of `EventFd`s are as far as [these](common_ipc::sync::EventFd) are.
///
/// Not promised: which event is reserved next, and an order among those who wait for one.
pub struct EventGroup<E: EventFlag = Event> {
    shared: Arc<Shared<E>>,
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
    /// use valkka_multiprocess::EventGroup;
    /// use valkka_multiprocess::sync::EventFd;
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
        Ok(EventGroup { shared: Arc::new(Shared::new(size, make)?) })
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
    /// [`EventError::NotInGroup`]; [`EventError::Event`] if nobody could be woken, as by an `EventFd` that this process
    /// wasn't [given](EventGroup::events): the reservation is set all the same, and who waits notices within 50 ms.
    pub fn set(&self, index: EventIndex) -> Result<bool, EventError> {
        Ok(self.shared.named(index)?.set()?)
    }

    /// Whether the event of this reservation is set at this moment.
    ///
    /// # Errors
    ///
    /// [`EventError::StaleIndex`] if the reservation is over; [`EventError::NotInGroup`]; [`EventError::Event`].
    pub fn is_set(&self, index: EventIndex) -> Result<bool, EventError> {
        match self.shared.named(index)?.look()? {
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
        let slot = self.shared.named(index)?;
        if slot.state() == State::Over { Err(EventError::StaleIndex { index }) } else { Ok(slot.bell) }
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
        self.shared.serialize(serializer)
    }
}

impl<'de, E: EventFlag + Deserialize<'de>> Deserialize<'de> for EventGroup<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventGroup<E>, D::Error> {
        Ok(EventGroup { shared: Arc::new(Shared::deserialize(deserializer)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_reserved_until_there_are_none() {
        let events = EventGroup::new(3).unwrap();
        assert_eq!((events.len(), events.available(), events.events().len()), (3, 3, 3));
        let mut all: Vec<_> = (0..3).map(|_| events.reserve().unwrap()).collect();
        let mut slots: Vec<_> = all.iter().map(|reserved| reserved.index().slot()).collect();
        slots.sort_unstable();
        assert_eq!((slots, events.available()), (vec![0, 1, 2], 0));
        for error in [events.reserve(), events.reserve_timeout(Duration::from_millis(5))] {
            let error = error.unwrap_err();
            assert!(matches!(error, EventError::NotEnoughEvents { size: 3 }));
            assert!(format!("{error:?}").contains("all 3 events"), "{error}");
        }
        all.truncate(1);
        let place = all[0].index().slot();
        let shown = events.to_string();
        assert!(shown.starts_with("<EventGroup: ") && shown.ends_with(" >"), "{shown}");
        assert!(shown.contains(&format!("R{place} ")) && shown.matches('f').count() == 2, "{shown}");
        assert_eq!(format!("{events:?}"), shown);
    }

    #[test]
    fn who_waits_for_an_event_gets_the_one_that_is_released() {
        let events = EventGroup::new(1).unwrap();
        let held = events.reserve().unwrap();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| events.reserve_timeout(Duration::from_secs(60)).unwrap().index());
            std::thread::sleep(Duration::from_millis(5));
            let index = held.index();
            drop(held);
            assert_ne!(next.join().unwrap(), index);
        });
    }

    #[test]
    fn a_set_is_for_one_reservation() {
        let events = EventGroup::new(1).unwrap();
        let first = events.reserve().unwrap();
        let old = first.index();
        assert!(!events.is_set(old).unwrap() && !first.is_set().unwrap());
        // Twice is as good as once.
        assert!(events.set(old).unwrap() && events.set(old).unwrap());
        assert!(events.is_set(old).unwrap() && first.event().is_set());
        assert!(std::ptr::eq(events.event(old).unwrap(), first.event()));
        drop(first);
        assert!(!events.set(old).unwrap());
        let second = events.reserve().unwrap();
        assert_eq!((second.index().slot(), old.slot()), (0, 0));
        assert!(!events.set(old).unwrap() && !second.is_set().unwrap());
        for error in [events.is_set(old).map(drop), events.event(old).map(drop)] {
            assert!(matches!(error, Err(EventError::StaleIndex { index }) if index == old));
        }
        // A setter that was overtaken between its two steps.
        second.event().set();
        assert!(!second.wait_timeout(Duration::from_millis(5)).unwrap());
        assert!(!second.event().is_set(), "it doesn't ring for nothing any more");
        second.event().set();
        assert!(!second.is_set().unwrap() && !second.event().is_set());
        assert!(events.set(second.index()).unwrap() && second.is_set().unwrap());
    }

    #[test]
    fn an_index_of_another_group_is_an_error() {
        let (here, there) = (EventGroup::new(2).unwrap(), EventGroup::new(2).unwrap());
        let reserved = here.reserve().unwrap();
        let index = reserved.index();
        let made_up = [
            EventIndex { slot: 2, ..index },
            EventIndex { slot: u32::MAX, ..index },
            EventIndex { generation: u64::MAX, ..index },
            EventIndex { generation: index.generation | 1 << 62, ..index },
        ];
        for (events, index) in made_up.map(|index| (&here, index)).into_iter().chain([(&there, index)]) {
            let error = events.set(index).unwrap_err();
            assert!(
                matches!(error, EventError::NotInGroup { .. }) && error.to_string().contains('#'),
                "{error}"
            );
            assert!(events.is_set(index).is_err() && events.event(index).is_err());
        }
        // What can't be told from an earlier or later one is none.
        assert!(!here.set(EventIndex { generation: index.generation + 1, ..index }).unwrap());
        assert!(!here.set(EventIndex { slot: 1 - index.slot, ..index }).unwrap());
        assert!(!reserved.is_set().unwrap());
        assert_eq!(index.to_string(), format!("{}#{}", index.slot(), index.generation));
    }

    #[test]
    fn there_is_no_empty_group_and_none_too_large() {
        for size in [0, 65_537, usize::MAX] {
            let error = EventGroup::new(size).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&format!("{size} events")), "{error}");
        }
        let mut made = 0;
        let none = EventGroup::from_fn(5, || {
            made += 1;
            if made < 3 { Event::new() } else { Err(io::Error::other("no more")) }
        });
        assert_eq!((none.unwrap_err().to_string(), made), ("no more".to_owned(), 3));
    }
}
