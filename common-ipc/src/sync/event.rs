//! An event: one process waits, another one sets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::poll::Deadline;
use crate::memory::segment::Segment;
use crate::ownership::give::{Give, Giver, private};
use crate::process::{Child, ChildError};
use crate::sync::event_flag::EventFlag;
use crate::sync::flag;
use crate::sync::spin::Spin;
use crate::sync::words::LOOK_AGAIN;

/// A flag that any process with a copy of it can set, clear and wait for.
///
/// It is shared with every child that is started while it exists, by capturing it in the body;
/// nothing has to be given, unless the child is to send it on. Clones, and what arrives where it was sent
/// over a connection, are the same event. **Dropping** one ends this handle only.
///
/// A process that dies leaves it as it was: a plain [`wait`](Event::wait) for somebody who is dead doesn't
/// end, so where the setter is a child, use [`wait_or_death`](Event::wait_or_death) or a time-out. Who is
/// killed while setting it may leave it set with the others asleep, for 50 ms at the most.
///
/// To set it takes no system call unless somebody sleeps. A wait looks for a moment, up to 50 us, before it
/// sleeps: as long as that is worth it. One that is to be polled beside other things is an
/// [`EventFd`](crate::sync::EventFd).
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions};
/// use common_ipc::sync::Event;
///
/// let event = Event::new()?;
/// let in_child = event.clone();
/// let child = Launch::new(&LaunchOptions::new()).start(move || in_child.set())?;
/// assert!(event.wait_or_death(&child, None)?);
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    segment: Segment,
    spin: Spin,
}

/// A page of memory, of which the first word is used.
const LEN: usize = 4096;

impl Event {
    /// An event that isn't set. It takes one page of memory and one descriptor.
    ///
    /// # Errors
    ///
    /// No memory or no descriptors left, or too many mappings.
    pub fn new() -> io::Result<Event> {
        Ok(Event::from_segment(Segment::new("event", LEN)?))
    }

    fn from_segment(segment: Segment) -> Event {
        Event { shared: Arc::new(Shared { segment, spin: Spin::default() }) }
    }

    #[inline]
    fn word(&self) -> &AtomicU32 {
        self.shared.segment.view().word(0)
    }

    /// Sets it and wakes everyone who waits, in every process. (A [`clear`](Event::clear) right after
    /// may come before they have looked: they wait on.) What this process wrote to shared
    /// memory before is seen by those who wake.
    pub fn set(&self) {
        flag::set(self.word());
    }

    /// Takes back [`set`](Event::set): waits wait again.
    pub fn clear(&self) {
        flag::clear(self.word());
    }

    /// Whether it is set at this moment.
    #[must_use]
    pub fn is_set(&self) -> bool {
        flag::is_set(self.word())
    }

    /// Waits until it is set, for as long as that takes.
    ///
    /// # Errors
    ///
    /// What futex(2) fails with; none of its errors is expected here.
    pub fn wait(&self) -> io::Result<()> {
        flag::wait(self.word(), Deadline::NEVER, Some(&self.shared.spin)).map(drop)
    }

    /// Waits until it is set, for up to `timeout`, and says whether it is.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Event::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        flag::wait(self.word(), Deadline::after(timeout), Some(&self.shared.spin))
    }

    /// Waits until it is set or `child` has ended, for up to `timeout` if there is one, and says
    /// whether it is set. The death of the child is noticed within 50 ms.
    ///
    /// # Errors
    ///
    /// [`ChildError`] if the child is another process's, or can't be looked at.
    pub fn wait_or_death(&self, child: &Child, timeout: Option<Duration>) -> Result<bool, ChildError> {
        let deadline = Deadline::optional(timeout);
        // Once is enough.
        let mut spin = Some(&self.shared.spin);
        loop {
            let slice = deadline.left().map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN));
            let alive = child.is_alive()?;
            // In this order: it may have set the event with its last breath.
            let until = Deadline::after(if alive { slice } else { Duration::ZERO });
            let set = flag::wait(self.word(), until, spin.take())
                .map_err(|source| ChildError::Os { step: "wait for an event", source })?;
            if set || !alive || deadline.has_passed() {
                return Ok(set);
            }
        }
    }
}

impl EventFlag for Event {
    fn set(&self) -> io::Result<()> {
        self.set();
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        self.clear();
        Ok(())
    }

    fn is_set(&self) -> io::Result<bool> {
        Ok(self.is_set())
    }

    fn wait(&self) -> io::Result<()> {
        self.wait()
    }

    fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.wait_timeout(timeout)
    }

    fn wait_or_death(&self, child: &Child, timeout: Option<Duration>) -> Result<bool, ChildError> {
        self.wait_or_death(child, timeout)
    }
}

impl private::Sealed for Event {}

/// Both have it afterwards. A child that captures it has it in any case; given, it can also send it on.
impl Give for Event {
    fn list(&self, giver: &mut Giver<'_>) {
        self.shared.segment.list(giver);
    }
}

/// Over a connection: it arrives as the same event. With other formats it is an error.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shared.segment.attach().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Event, D::Error> {
        let place = u32::deserialize(deserializer)?;
        Ok(Event::from_segment(Segment::receive(place, LEN).map_err(D::Error::custom)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_wakes_and_clear_takes_back() {
        let event = Event::new().unwrap();
        assert!(!event.wait_timeout(Duration::from_millis(1)).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| event.wait().unwrap());
            event.set();
        });
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO).unwrap());
        event.clear();
        assert!(!event.is_set());
    }

    #[test]
    fn it_arrives_as_the_same_event() {
        let here = Event::new().unwrap();
        let there: Event = crate::link::in_transit::in_transit(&here).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| there.wait().unwrap());
            here.set();
        });
    }

    #[test]
    fn whatever_a_hostile_peer_writes_time_goes_on() {
        let event = Event::new().unwrap();
        for word in [2, 3, u32::MAX] {
            event.word().store(word, std::sync::atomic::Ordering::Relaxed);
            assert!(!event.wait_timeout(Duration::from_millis(2)).unwrap());
            event.set();
            assert!(event.wait_timeout(Duration::from_millis(2)).unwrap());
        }
    }
}
