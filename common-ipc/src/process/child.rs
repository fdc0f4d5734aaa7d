//! The handle of a child.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::link::codec;
use crate::link::poll::Deadline;
use crate::link::{Connector, LinkError, OpenCaller, OpenServer};
use crate::ownership::harmless;
use crate::process::callbacks::Exit;
use crate::process::errors::{ChildError, JoinError};
use crate::process::exit_hook::AtExit;
use crate::process::reaper;
use crate::process::record::{Awaited, Ended, Record, Role};
use crate::process::report::{OutputFailure, Report};
use crate::process::signal::Signal;
use crate::process::state;
use crate::process::status::ExitStatus;

/// What ended a child that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopStep {
    /// It had ended before.
    HadEnded,
    /// It was waited for, and ended by itself.
    EndedByItself,
    /// SIGTERM, or its own end, within the grace.
    Terminated,
    /// SIGKILL, after the grace.
    Killed,
}

/// The outcome of [`Child::stop`] and [`Child::shutdown`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// What it took.
    pub by: StopStep,
}

/// What became of waiting for a child to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is, or was before it ended.
    Ready,
    /// It has ended before it was.
    Ended,
    /// It isn't; nothing has changed.
    NotYet,
}

/// A handle of a started child. Clones are handles of the same child, and any thread may use them.
///
/// The child is held by its pidfd: a signal never reaches another process that got its number.
/// Once it was collected - by whoever waits, or in the background - its status and output stay
/// with the handles, and its descriptors are closed.
///
/// **Dropping** all handles doesn't stop the child: it goes on and is collected in the background
/// when it ends. The program's exit stops it (see [`AtExit`]).
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

    /// Waits for its end and returns what its body returned. Each call decodes a copy of its own.
    ///
    /// # Errors
    ///
    /// Whatever kept the body from returning, or its value from arriving: see [`JoinError`].
    pub fn output<O: DeserializeOwned>(&self) -> Result<O, JoinError> {
        loop {
            if let Some(output) = self.output_until(Deadline::NEVER)? {
                return Ok(output);
            }
        }
    }

    /// As [`output`](Child::output), without waiting. `Ok(None)`: it runs.
    ///
    /// # Errors
    ///
    /// As for [`output`](Child::output).
    pub fn try_output<O: DeserializeOwned>(&self) -> Result<Option<O>, JoinError> {
        self.output_until(Deadline::after(Duration::ZERO))
    }

    /// As [`output`](Child::output), waiting for up to `timeout`. `Ok(None)`: it runs on.
    ///
    /// # Errors
    ///
    /// As for [`output`](Child::output).
    pub fn output_timeout<O: DeserializeOwned>(&self, timeout: Duration) -> Result<Option<O>, JoinError> {
        self.output_until(Deadline::after(timeout))
    }

    fn output_until<O: DeserializeOwned>(&self, deadline: Deadline) -> Result<Option<O>, JoinError> {
        match self.wait_ended(deadline)? {
            Some(ended) => output_of(&ended).map(Some),
            None => Ok(None),
        }
    }

    fn wait_ended(&self, deadline: Deadline) -> Result<Option<Arc<Ended>>, ChildError> {
        self.record.home.check()?;
        self.record.wait(deadline)
    }

    /// Sends it a signal; none if it was collected, which is no error.
    ///
    /// # Errors
    ///
    /// [`ChildError::Os`] if it runs as another user whom this process may not signal.
    pub fn signal(&self, signal: Signal) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.signal(signal)
    }

    /// Makes certain that this child has the other side of `caller`, and keeps it: its end ends the calls, whatever it
    /// says, or had no descriptor to say, of whose that side is, and whoever else has copies of its descriptors.
    ///
    /// ```
    /// use common_ipc::link::{DEFAULT_MAX_FRAME, open_calls};
    /// use common_ipc::process::{Launch, LaunchOptions};
    ///
    /// let (caller, server) = open_calls(DEFAULT_MAX_FRAME)?;
    /// let options = LaunchOptions::new().give(&server);
    /// let child = Launch::new(&options).start(move || drop(server.recv(&mut Vec::new())))?;
    /// child.serves(&caller)?;
    /// caller.call::<(), _, _>(1, &(), None, |_| ()).unwrap_err();
    /// child.output::<()>()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A child, or a caller, of another process; no room where the caller is polled.
    pub fn serves(&self, caller: &OpenCaller) -> Result<(), LinkError> {
        self.record.home.check()?;
        // Of one that was collected the closed socket tells.
        self.record.pidfd().map_or(Ok(()), |pidfd| caller.server_stays_with(pidfd))
    }

    /// As [`serves`](Child::serves), where it is the child that calls: the other side of `server` is its, and never
    /// moves on.
    ///
    /// # Errors
    ///
    /// As for [`serves`](Child::serves).
    pub fn calls(&self, server: &OpenServer) -> Result<(), LinkError> {
        self.record.home.check()?;
        self.record.pidfd().map_or(Ok(()), |pidfd| server.caller_stays_with(pidfd))
    }

    /// Makes certain that this child has the [`Listener`](crate::link::Listener) of `connector`, and keeps it: its end ends
    /// all connections and all tries to make one. To be said before the connector is used or handed on. Of a child
    /// that has ended before, the connector says that it is closed.
    ///
    /// # Errors
    ///
    /// A child of another process; no descriptors left.
    pub fn accepts(&self, connector: &Connector) -> Result<(), LinkError> {
        self.record.home.check()?;
        self.record.pidfd().map_or(Ok(()), |pidfd| Ok(connector.leads_to(&pidfd)?))
    }

    /// Asks it to end, by SIGTERM, to its whole group if it leads one; doesn't wait.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn terminate(&self) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.signal_group(Signal::TERM, false)
    }

    /// Ends it by SIGKILL, with its whole group if it leads one; doesn't wait.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn kill(&self) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.signal_group(Signal::KILL, true)
    }

    /// Ends it and collects it: SIGTERM (and SIGCONT, so that a stopped one can act on it), up to
    /// `grace` of waiting, then SIGKILL. If it leads a group, what is left of the group when the
    /// child has ended is killed.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn stop(&self, grace: Duration) -> Result<Stopped, ChildError> {
        self.record.home.check()?;
        self.record.end_with_group();
        if let Some(status) = self.try_wait()? {
            return Ok(Stopped { status, by: StopStep::HadEnded });
        }
        self.begin_stop()?;
        if let Some(status) = self.wait_timeout(grace)? {
            return Ok(Stopped { status, by: StopStep::Terminated });
        }
        self.kill()?;
        Ok(Stopped { status: self.wait()?, by: StopStep::Killed })
    }

    /// As [`stop`](Child::stop), of a child that has been asked to end in another way: first it has up to `patience` for
    /// that.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn wait_or_stop(&self, patience: Duration, grace: Duration) -> Result<Stopped, ChildError> {
        if let Some(status) = self.try_wait()? {
            return Ok(Stopped { status, by: StopStep::HadEnded });
        }
        match self.wait_timeout(patience)? {
            Some(status) => Ok(Stopped { status, by: StopStep::EndedByItself }),
            None => self.stop(grace),
        }
    }

    /// The first step of [`stop`](Child::stop) alone, without waiting: SIGTERM, and SIGCONT. If it leads a group, what is
    /// left of the group when the child has ended is killed. It is for those who stop many children, and mind their
    /// graces themselves; the last step is [`kill`](Child::kill).
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn begin_stop(&self) -> Result<(), ChildError> {
        self.record.home.check()?;
        self.record.signal_group(Signal::TERM, true)?;
        self.record.signal_group(Signal::CONT, true)
    }

    /// Does now what the program's exit would do: [`stop`](Child::stop)s it, or waits for it, as its
    /// start said ([`AtExit`]). One that the exit would leave alone is stopped.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Child::signal).
    pub fn shutdown(&self) -> Result<Stopped, ChildError> {
        match self.record.at_exit {
            AtExit::Stop { grace } => self.stop(grace),
            AtExit::Leave => self.stop(AtExit::DEFAULT_GRACE),
            AtExit::Wait => match self.try_wait()? {
                Some(status) => Ok(Stopped { status, by: StopStep::HadEnded }),
                None => Ok(Stopped { status: self.wait()?, by: StopStep::EndedByItself }),
            },
        }
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

    /// Waits for up to `timeout` until the child says by [`ready`](crate::process::ready) that it is ready.
    ///
    /// ```
    /// use std::time::Duration;
    /// use common_ipc::process::{self, Launch, LaunchOptions, Readiness};
    ///
    /// let child = Launch::new(&LaunchOptions::new()).start(|| {
    ///     // load what is needed, then:
    ///     process::ready();
    ///     std::thread::sleep(Duration::from_secs(60));
    /// })?;
    /// assert_eq!(child.wait_ready(Duration::from_secs(20))?, Readiness::Ready);
    /// child.kill()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait_ready(&self, timeout: Duration) -> Result<Readiness, ChildError> {
        self.record.home.check()?;
        let heard = self.record.wait_to_hear(|heard| heard.has_announced, Deadline::after(timeout))?;
        Ok(match heard {
            Awaited::Heard => Readiness::Ready,
            Awaited::End => Readiness::Ended,
            Awaited::Nothing => Readiness::NotYet,
        })
    }

    /// Whether the child has said by [`ready`](crate::process::ready) that it is ready, also if it has ended since. What it
    /// sends that no child of this library does, or that can't be received, is told by its output.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn is_ready(&self) -> Result<bool, ChildError> {
        self.record.home.check()?;
        self.record.heard(|heard| heard.has_announced)
    }

    /// Whether the child has called [`progress`](crate::process::progress) since this was asked last.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn progressed(&self) -> Result<bool, ChildError> {
        self.record.home.check()?;
        self.record.heard(|heard| std::mem::take(&mut heard.has_progressed))
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

fn output_of<O: DeserializeOwned>(ended: &Ended) -> Result<O, JoinError> {
    match &ended.report {
        Ok(Some(Report::Output(bytes))) => Ok(codec::decode(bytes)?),
        Ok(Some(Report::Panicked(report))) => Err(JoinError::Panicked(Arc::new(report.clone()))),
        Ok(Some(Report::NoOutput(failure))) => Err(match failure.clone() {
            OutputFailure::Encode { type_name, message } => JoinError::Encode { type_name, message },
            OutputFailure::TooLarge { bytes, max } => JoinError::TooLarge { bytes, max },
            OutputFailure::Undeliverable { errno } => {
                JoinError::Undeliverable(io::Error::from_raw_os_error(errno))
            }
            // The start has waited for these, and failed.
            failure @ (OutputFailure::Argument { .. } | OutputFailure::Threads { .. }) => JoinError::Garbled(
                format!("the child didn't begin, which its start should have said: {failure:?}"),
            ),
        }),
        Ok(Some(Report::SetupFailed(failure))) => {
            Err(JoinError::Setup { step: failure.step, source: io::Error::from_raw_os_error(failure.errno) })
        }
        Ok(None | Some(Report::Ready | Report::Announced | Report::Progress | Report::NotBorn { .. })) => {
            Err(JoinError::Died(ended.status.clone()))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(JoinError::Garbled(error.to_string()))
        }
        Err(error) => Err(JoinError::Unreceived(Arc::clone(error))),
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
