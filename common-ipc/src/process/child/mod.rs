//! The handle of a child, by subject: waiting and callbacks here, the rest beside it.

#[cfg(feature = "tokio")]
mod asynchronous;
mod output;
mod peer;
mod stop;
mod word;

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::link::poll::Deadline;
use crate::ownership::harmless;
use crate::process::callbacks::Exit;
use crate::process::errors::ChildError;
use crate::process::reaper;
use crate::process::record::{Ended, Record, Role};
use crate::process::state;
use crate::process::status::ExitStatus;

pub use stop::{StopStep, Stopped};
pub use word::Readiness;

/// A handle of a started child. Clones are handles of the same child, and any thread may use them.
///
/// The child is held by its pidfd: a signal never reaches another process that got its number.
/// Once it was collected - by whoever waits, or in the background - its status and output stay
/// with the handles, and its descriptors are closed.
///
/// **Dropping** all handles doesn't stop the child: it goes on and is collected in the background
/// when it ends. The program's exit stops it (see [`AtExit`](crate::process::AtExit)).
///
/// In a forked copy of the process every method is [`ChildError::WrongProcess`].
pub struct Child {
    record: Arc<Record>,
}

impl Child {
    pub(crate) fn new(record: Arc<Record>) -> Child {
        record.handles.fetch_add(1, Ordering::Relaxed);
        Child { record }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Its process id. It isn't another process's before the child was collected; afterwards it may be.
    #[must_use]
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.record.pid as u32
    }

    /// Its name, in full.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.record.name
    }

    /// Waits for its end, for as long as it takes. Every caller gets the same status, however often
    /// and from however many threads.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait(&self) -> Result<ExitStatus, ChildError> {
        loop {
            if let Some(ended) = self.wait_ended(Deadline::NEVER)? {
                return Ok(ended.status.clone());
            }
        }
    }

    /// Its status if it has ended, without waiting. `Ok(None)`: it runs.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, ChildError> {
        self.record.home.check()?;
        self.record.collect()?;
        Ok(self.record.ended().map(|ended| ended.status.clone()))
    }

    /// Waits for its end for up to `timeout`. `Ok(None)`: it runs on, and the handle is as good as before.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>, ChildError> {
        Ok(self.wait_ended(Deadline::after(timeout))?.map(|ended| ended.status.clone()))
    }

    /// Whether it runs at this moment. One that has ended is collected by this.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn is_alive(&self) -> Result<bool, ChildError> {
        Ok(self.try_wait()?.is_none())
    }

    fn wait_ended(&self, deadline: Deadline) -> Result<Option<Arc<Ended>>, ChildError> {
        self.record.home.check()?;
        self.record.wait(deadline)
    }

    /// Has `callback` called when the child has ended and its status is stored, or soon if that has
    /// happened. Each callback is called once, on a thread that belongs to the library: those of one
    /// child one after another, in the order of registration, and those of different children side by
    /// side, so that a slow one is nobody else's trouble (unless there are 16 of them). It may use the
    /// child in every way but start processes by fork, since the rest of the program goes on beside it.
    /// If it panics, the panic hook reports that, and nothing else happens.
    ///
    /// [`join_callbacks`](crate::process::join_callbacks) waits for callbacks. At the program's exit
    /// those that haven't been called by then are not called.
    ///
    /// # Errors
    ///
    /// [`ChildError::Os`] if the thread that looks after such children can't be started; the
    /// callback is then called when somebody waits for the child.
    pub fn on_exit(&self, callback: impl FnOnce(&Exit) + Send + 'static) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.on_exit(Box::new(callback));
        self.watch()
    }

    /// Has `hook` called when the child has ended and its status is stored, or now if that has happened: once, in
    /// the midst of whatever collects the child, so without the way over another thread that a callback takes.
    ///
    /// It is for libraries that pass the news on. It runs on a thread that waits for the child, or on the library's
    /// own, which collects all children: it has to be short, must not wait for anything, nor start a process.
    /// A panic in it is caught. Who waits for the child may know of its end before a hook is done.
    ///
    /// # Errors
    ///
    /// As for [`on_exit`](Child::on_exit).
    pub fn on_collected(&self, hook: impl FnOnce(&Exit) + Send + 'static) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.on_collected(Box::new(hook));
        self.watch()
    }

    fn watch(&self) -> Result<(), ChildError> {
        reaper::watch(&self.record).map_err(|source| ChildError::Os { step: "watch for its end", source })
    }
}

/// For poll, select, epoll: readable once the child has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let seen = self.record.exposed.get_or_try_init(|| self.record.pidfd().ok_or(()));
        match seen {
            Ok(pidfd) => pidfd.expose(),
            // It was collected before anybody asked: what is readable for good says the same.
            Err(()) => harmless::ready_since_the_first_start(),
        }
    }
}

impl Clone for Child {
    fn clone(&self) -> Child {
        Child::new(Arc::clone(&self.record))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let was_last = self.record.handles.fetch_sub(1, Ordering::AcqRel) == 1;
        if !was_last || self.record.home.check().is_err() || self.record.pidfd().is_none() {
            return;
        }
        if let Err(error) = reaper::watch(&self.record) {
            log::warn!("child {} is collected at the program's exit only: {error}", self.record.pid);
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("id", &self.id()).field("name", &self.name()).finish_non_exhaustive()
    }
}

/// The children of this process that run at this moment, however they were started and whether or
/// not there is a handle of them, the oldest first. Those that have ended are collected by this.
///
/// ```
/// use common_ipc::process::{Launch, LaunchOptions, active_children};
///
/// let child = Launch::new(&LaunchOptions::new().name("sleeper"))
///     .start(|| std::thread::sleep(std::time::Duration::from_secs(60)))?;
/// let names: Vec<_> = active_children().iter().map(|child| child.name().to_owned()).collect();
/// assert_eq!(names, ["sleeper"]);
/// child.stop(std::time::Duration::from_secs(5))?;
/// assert!(active_children().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn active_children() -> Vec<Child> {
    let records = state::lock().children();
    let started = records.into_iter().filter(|record| record.role == Role::Child);
    started.map(Child::new).filter(|child| child.is_alive().unwrap_or(true)).collect()
}
