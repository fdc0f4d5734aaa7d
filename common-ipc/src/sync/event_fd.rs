//! An event that is a descriptor.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::EfdFlags;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::attachments;
use crate::link::poll::{Deadline, wait_until};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::{Give, Giver, How, private};
use crate::process::{Child, ChildError};
use crate::sync::event_flag::EventFlag;
use crate::sys;

/// An event that poll, select and epoll can wait for, beside other things: the kernel's eventfd.
///
/// Otherwise it is an [`Event`](crate::sync::Event), but slower to set and to look at, by a system call each, and a
/// child has it only if it was [given](crate::process::LaunchOptions::give) to it; then both have it. Clones, and
/// what arrives where it was sent, are the same event. **Dropping** one closes this handle; the event goes
/// with the last one.
///
/// A process that dies leaves it as it was: where the setter is a child, use
/// [`wait_or_death`](EventFd::wait_or_death) or a time-out. A process that has it can fill its counter and make its
/// descriptor blocking, for all, so that a [`set`](EventFd::set) waits: don't give it to one that you don't trust.
///
/// ```
/// use std::os::fd::AsFd;
/// use common_ipc::link::{pipe, safe_select};
/// use common_ipc::process::{Launch, LaunchOptions};
/// use common_ipc::sync::EventFd;
///
/// let (event, (reader, _writer)) = (EventFd::new()?, pipe()?);
/// let in_child = event.clone();
/// let options = LaunchOptions::new().give(&event);
/// let child = Launch::new(&options).start(move || in_child.set().unwrap())?;
/// assert_eq!(safe_select(&[reader.as_fd(), event.as_fd()], None)?, [1]);
/// child.output::<()>()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct EventFd {
    fd: Arc<PrivateFd>,
}

impl EventFd {
    /// An event that isn't set. It takes one descriptor.
    ///
    /// # Errors
    ///
    /// No descriptors or no memory left.
    pub fn new() -> io::Result<EventFd> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let make = || Ok(nix::sys::eventfd::EventFd::from_flags(flags)?.into());
        Ok(EventFd { fd: Arc::new(PrivateFd::new(make)?) })
    }

    fn get(&self) -> io::Result<BorrowedFd<'_>> {
        self.fd.get().map_err(io::Error::other)
    }

    /// Sets it and wakes everyone who waits, in every process. What this process wrote to shared memory before is
    /// seen by those who wake.
    ///
    /// # Errors
    ///
    /// In a process that doesn't have it, a [`WrongProcess`](crate::process::WrongProcess) inside the
    /// `io::Error`; so for the others.
    pub fn set(&self) -> io::Result<()> {
        let fd = self.get()?;
        // The kernel doesn't say what order its counter keeps with the memory around it.
        fence(Ordering::SeqCst);
        match sys::retry(|| Ok(nix::unistd::write(fd, &1u64.to_ne_bytes())?)) {
            // Its counter is full, so it is set.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other.map(drop),
        }
    }

    /// Takes back [`set`](EventFd::set): waits wait again.
    ///
    /// # Errors
    ///
    /// As for [`set`](EventFd::set).
    pub fn clear(&self) -> io::Result<()> {
        let fd = self.get()?;
        match sys::retry(|| sys::descriptors::read_at_once(fd, &mut [0; 8])) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether it is set at this moment.
    ///
    /// # Errors
    ///
    /// As for [`set`](EventFd::set).
    pub fn is_set(&self) -> io::Result<bool> {
        self.wait_until(Deadline::after(Duration::ZERO))
    }

    /// Waits until it is set, for as long as that takes.
    ///
    /// # Errors
    ///
    /// As for [`set`](EventFd::set).
    pub fn wait(&self) -> io::Result<()> {
        self.wait_until(Deadline::NEVER).map(drop)
    }

    /// Waits until it is set, for up to `timeout`, and says whether it is.
    ///
    /// # Errors
    ///
    /// As for [`set`](EventFd::set).
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.wait_until(Deadline::after(timeout))
    }

    /// Waits until it is set or `child` has ended, for up to `timeout` if there is one, and says
    /// whether it is set.
    ///
    /// # Errors
    ///
    /// [`ChildError`] if the child is another process's, or can't be looked at; [`ChildError::Os`] with what
    /// [`wait`](EventFd::wait) fails with.
    pub fn wait_or_death(&self, child: &Child, timeout: Option<Duration>) -> Result<bool, ChildError> {
        let os = |source| ChildError::Os { step: "wait for an event", source };
        let deadline = Deadline::optional(timeout);
        loop {
            let pidfd = if child.is_alive()? { child.record().pidfd() } else { None };
            if let Some(pidfd) = &pidfd {
                let fds = [self.get().map_err(os)?, pidfd.get()?];
                wait_until(&mut fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)), deadline).map_err(os)?;
            }
            // After the look at the child: it may have set the event with its last breath.
            let set = self.is_set().map_err(os)?;
            if set || pidfd.is_none() || deadline.has_passed() {
                return Ok(set);
            }
        }
    }

    fn wait_until(&self, deadline: Deadline) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.get()?, PollFlags::POLLIN)];
        let is_set = wait_until(&mut fds, deadline)?;
        if fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLNVAL)) {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        fence(Ordering::SeqCst);
        Ok(is_set)
    }
}

/// For poll, select and epoll: readable while it is set.
impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.expose()
    }
}

impl EventFlag for EventFd {
    fn set(&self) -> io::Result<()> {
        self.set()
    }

    fn clear(&self) -> io::Result<()> {
        self.clear()
    }

    fn is_set(&self) -> io::Result<bool> {
        self.is_set()
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

impl private::Sealed for EventFd {}

/// Both have it afterwards.
impl Give for EventFd {
    fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.fd, How::Shared);
    }
}

/// Over a connection: it arrives as the same event. With other formats it is an error.
impl Serialize for EventFd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attachments::attach(&self.fd, How::Shared).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventFd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventFd, D::Error> {
        let fd = attachments::take(u32::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let number = fd.get().map_err(D::Error::custom)?.as_raw_fd();
        // Of another kind of file a read might wait, or be for somebody else.
        let kind = fs::read_link(format!("/proc/self/fd/{number}")).map_err(D::Error::custom)?;
        if kind.as_os_str() != "anon_inode:[eventfd]" {
            return Err(D::Error::custom(format_args!("what came is no eventfd but {}", kind.display())));
        }
        Ok(EventFd { fd: Arc::new(fd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::in_transit::in_transit;

    #[test]
    fn set_wakes_and_clear_takes_back() {
        let event = EventFd::new().unwrap();
        assert!(!event.wait_timeout(Duration::from_millis(1)).unwrap());
        event.clear().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| event.wait().unwrap());
            event.set().unwrap();
        });
        event.set().unwrap();
        assert!(event.is_set().unwrap() && event.wait_timeout(Duration::ZERO).unwrap());
        event.clear().unwrap();
        assert!(!event.is_set().unwrap());
    }

    #[test]
    fn a_full_counter_is_set() {
        let event = EventFd::new().unwrap();
        nix::unistd::write(event.as_fd(), &(u64::MAX - 1).to_ne_bytes()).unwrap();
        event.set().unwrap();
        assert!(event.is_set().unwrap());
        event.clear().unwrap();
        assert!(!event.is_set().unwrap());
    }

    #[test]
    fn it_arrives_as_the_same_event_and_nothing_else_does() {
        let here = EventFd::new().unwrap();
        let there: EventFd = in_transit(&here).unwrap();
        there.set().unwrap();
        assert!(here.is_set().unwrap());
        let memory = crate::memory::SharedMemory::new(8).unwrap();
        // Its encoding is a length and a place; this reads the length, 8, as a place.
        assert!(in_transit::<_, EventFd>(&memory).is_err());
        let file = PrivateFd::new(|| Ok(fs::File::open("/dev/null")?.into())).unwrap();
        let error = in_transit::<_, EventFd>(&EventFd { fd: Arc::new(file) }).unwrap_err();
        assert!(error.to_string().contains("/dev/null"), "{error}");
    }
}
