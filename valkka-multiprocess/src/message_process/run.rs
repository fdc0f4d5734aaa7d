//! The front end of one run of a back end: from a start to its end.

use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common_ipc::link::codec::DecodeError;
use common_ipc::link::{CallError, Execution, LinkError, OpenCaller, OpenReply, OpenRequest, OpenServer};
use common_ipc::process::{Child, ExitStatus, StopStep, Stopped};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "tokio")]
use crate::async_process::Runtimes;
use crate::main_loop::source::{LAST_WORDS, Next};
use crate::message_process::error::ProcessError;
use crate::message_process::failure::{Done, Failure};
use crate::message_process::incoming::{Ended, Incoming};
use crate::message_process::keeping::{Kept, Received};
use crate::message_process::wire::{COMMAND, EVENT, FAILED, REFUSED, STOP, VALUE};

/// What the handles of a front end share while its back end runs, and afterwards, until the next start.
pub(crate) struct Run<E> {
    pub(crate) name: String,
    pub(crate) commands: OpenCaller,
    pub(crate) events: OpenServer,
    pub(crate) child: Child,
    /// Of the last command.
    number: AtomicU64,
    /// Received by somebody who waited for the end, so that the back end could come to it.
    pub(super) kept: Mutex<Kept<E>>,
    ended: OnceLock<Ended>,
    #[cfg(feature = "tokio")]
    pub(crate) runtimes: Runtimes,
}

/// How long SIGTERM may take where it is sent because waiting was in vain.
pub(crate) const TERM_GRACE: Duration = Duration::from_millis(500);
/// How long a wait for room lasts before those who wait look at what has come.
const LOOK: Duration = Duration::from_millis(2);

impl<E: DeserializeOwned> Run<E> {
    pub(crate) fn new(name: String, commands: OpenCaller, events: OpenServer, child: Child) -> Run<E> {
        commands.takes_in_for(&events);
        Run {
            name,
            commands,
            events,
            child,
            number: AtomicU64::new(0),
            kept: Mutex::default(),
            ended: OnceLock::new(),
            #[cfg(feature = "tokio")]
            runtimes: Runtimes::default(),
        }
    }

    /// Has the links know whose their other sides are.
    pub(crate) fn belongs_to_its_child(&self) -> Result<(), ProcessError> {
        let watched = self.child.serves(&self.commands).and_then(|()| self.child.calls(&self.events));
        watched.map_err(|error| self.broken(error, None))
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whoever sends finds out late that nobody reads any more: here it may be known.
    pub(crate) fn check_alive(&self) -> Result<(), ProcessError> {
        match self.ended.get() {
            None => Ok(()),
            Some(ended) => {
                let execution = Some(Execution::NotRun);
                Err(ProcessError::Ended { ended: Box::new(ended.clone()), execution })
            }
        }
    }

    /// Sends a command, and returns its number.
    pub(crate) fn send<C>(&self, command: &C, timeout: Option<Duration>) -> Result<u64, ProcessError>
    where
        C: Serialize + DeserializeOwned,
    {
        self.check_alive()?;
        let number = self.number();
        match self.commands.send::<(u64, C), _>(COMMAND, &(number, command), timeout) {
            Ok(()) => Ok(number),
            Err(error) => Err(self.failed(error, timeout)),
        }
    }

    /// Sends a command, and waits for the reply to it.
    pub(crate) fn request<C, R>(&self, command: &C, timeout: Option<Duration>) -> Result<R, ProcessError>
    where
        C: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        self.check_alive()?;
        let argument = (self.number(), command);
        let answer = |reply: OpenReply<'_>| answer(&self.name, reply);
        let replied = self.commands.call::<(u64, C), _, _>(COMMAND, &argument, timeout, answer);
        replied.unwrap_or_else(|error| Err(self.failed(error, timeout)))
    }

    /// What comes next, for up to `timeout` or as long as it takes. The end is told again and again.
    pub(crate) fn next(&self, timeout: Option<Duration>) -> Result<Option<Incoming<E>>, ProcessError> {
        match self.receive(timeout) {
            Ok(received) => received.transpose(),
            Err(LinkError::Closed | LinkError::Truncated) => {
                self.see_the_end().map(|ended| Some(Incoming::Ended(ended.clone())))
            }
            Err(error) => Err(self.broken(error, None)),
        }
    }

    /// For whoever waits by it: readable when there is something to [`look`](Run::look) at.
    pub(crate) fn pollable(&self) -> Result<BorrowedFd<'_>, LinkError> {
        let pollable = self.events.pollable()?;
        self.remind_of_kept(&self.kept.lock());
        Ok(pollable)
    }

    /// What is there, without waiting for anything.
    pub(crate) fn look(&self) -> Next<Incoming<E>> {
        match self.receive(Some(Duration::ZERO)) {
            Ok(Some(Ok(incoming))) => Next::Something(incoming),
            Ok(Some(Err(error))) => {
                log::error!("what {} sent can't be read: {error}", self.name);
                Next::Unreadable
            }
            Ok(None) => Next::Nothing,
            Err(LinkError::Closed | LinkError::Truncated) => Next::Closing,
            Err(error) => {
                log::error!("nothing more can be received from {}, so it is killed: {error}", self.name);
                let _ = self.child.kill();
                Next::Closing
            }
        }
    }

    /// The next event; what isn't one is an error.
    pub(crate) fn event(&self, timeout: Option<Duration>) -> Result<Option<E>, ProcessError> {
        self.next(timeout)?.map(only_events).transpose()
    }

    /// What is kept, else what comes from the link.
    fn receive(&self, timeout: Option<Duration>) -> Result<Option<Received<E>>, LinkError> {
        let mut kept = self.kept.lock();
        if let Some(oldest) = self.take(&mut kept) {
            return Ok(Some(oldest));
        }
        kept.receivers += 1;
        drop(kept);
        with_buffer(|buffer| {
            let received = match timeout {
                None => self.events.recv(buffer).map(Some),
                Some(timeout) => self.events.recv_timeout(buffer, timeout),
            };
            // Before it is read: that may take a while, and call anything.
            self.kept.lock().receivers -= 1;
            #[cfg(feature = "tokio")]
            self.runtimes.kept.notify_waiters();
            Ok(received?.map(|came| read(&self.name, came)))
        })
    }

    /// Asks the back end to end when it has handled what came before.
    pub(crate) fn request_stop(
        &self,
        deadline: Option<Instant>,
        timeout: Duration,
    ) -> Result<(), ProcessError> {
        loop {
            match self.commands.send::<(), _>(STOP, &(), Some(LOOK)) {
                Ok(()) => return Ok(()),
                // It may wait for room itself, and for somebody who receives.
                Err(error) if matches!(error.cause, LinkError::TimedOut) => {
                    self.keep_what_is_there();
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Err(self.failed(error, Some(timeout)));
                    }
                }
                Err(error) => return Err(self.failed(error, None)),
            }
        }
    }

    /// Ends it: asks it to, waits for `grace`, and then insists.
    pub(crate) fn stop(&self, grace: Duration) -> Result<Stopped, ProcessError> {
        let mut asked = false;
        if self.child.is_alive()? {
            let deadline = Instant::now().checked_add(grace);
            match self.request_stop(deadline, grace) {
                Ok(()) => asked = true,
                // It ends by itself, has no time for that, or was killed for what it wrote.
                Err(
                    ProcessError::Ended { .. } | ProcessError::TimedOut { .. } | ProcessError::Broken { .. },
                ) => {}
                Err(error) => return Err(error),
            }
            self.wait_stop(deadline)?;
        }
        let mut stopped = self.child.wait_or_stop(Duration::ZERO, TERM_GRACE)?;
        if asked && stopped.by == StopStep::HadEnded {
            stopped.by = StopStep::EndedByItself;
        }
        self.ended_with(stopped.status.clone());
        Ok(stopped)
    }

    /// Why a command, or its reply, didn't get through.
    #[cold]
    pub(crate) fn failed(&self, error: CallError, timeout: Option<Duration>) -> ProcessError {
        let execution = error.execution();
        match error.cause {
            LinkError::Closed | LinkError::Truncated => match self.see_the_end() {
                Ok(ended) => {
                    ProcessError::Ended { ended: Box::new(ended.clone()), execution: Some(execution) }
                }
                Err(error) => error,
            },
            LinkError::TimedOut | LinkError::NoReply => {
                ProcessError::TimedOut { after: timeout.unwrap_or_default(), execution }
            }
            LinkError::Unanswered => ProcessError::Unanswered,
            LinkError::WrongProcess(error) => error.into(),
            source @ (LinkError::Encode(_) | LinkError::TooLarge(_)) => {
                ProcessError::Message { source, execution: Some(execution) }
            }
            source => self.broken(source, Some(execution)),
        }
    }

    /// Nobody can talk to it any more.
    #[cold]
    pub(crate) fn broken(&self, source: LinkError, execution: Option<Execution>) -> ProcessError {
        if let LinkError::WrongProcess(error) = source {
            return error.into();
        }
        if matches!(source, LinkError::Garbled(_) | LinkError::Broken(_) | LinkError::TooLarge(_)) {
            if let Err(error) = self.child.kill() {
                log::error!("{} wrote what makes no sense, and can't be killed for that: {error}", self.name);
            }
        }
        ProcessError::Broken { source, execution }
    }

    /// Its links are closed: it is about to end, or is made to.
    pub(crate) fn see_the_end(&self) -> Result<&Ended, ProcessError> {
        if let Some(ended) = self.ended() {
            return Ok(ended);
        }
        let stopped = self.child.wait_or_stop(LAST_WORDS, Duration::ZERO)?;
        if !matches!(stopped.by, StopStep::HadEnded | StopStep::EndedByItself) {
            log::warn!("{} had closed its links and lived on, so it was ended", self.name);
        }
        Ok(self.ended_with(stopped.status))
    }

    pub(crate) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    pub(crate) fn ended_with(&self, status: ExitStatus) -> &Ended {
        self.ended.get_or_init(|| {
            // What its body returned.
            let failure = match status.success() {
                true => self.child.output::<Done>().ok().and_then(Result::err),
                false => None,
            };
            let failure = failure.map(|failure| failure.of_process(&self.name));
            Ended { name: self.name.clone(), status, failure }
        })
    }
}

/// What isn't an event is an error.
pub(crate) fn only_events<E>(incoming: Incoming<E>) -> Result<E, ProcessError> {
    match incoming {
        Incoming::Event(event) => Ok(event),
        Incoming::Failed(failure) => Err(ProcessError::Failed(Box::new(failure))),
        Incoming::Ended(ended) => {
            // Of no command in particular: those that were sent before may have been handled.
            Err(ProcessError::Ended { ended: Box::new(ended), execution: None })
        }
    }
}

/// What a reply says.
pub(crate) fn answer<R: DeserializeOwned>(name: &str, reply: OpenReply<'_>) -> Result<R, ProcessError> {
    let unreadable = |error: DecodeError| unreadable(error, Some(Execution::Ran));
    match reply.kind() {
        VALUE => reply.decode::<R>().map_err(unreadable),
        REFUSED => {
            let failure: Failure = reply.decode().map_err(unreadable)?;
            Err(ProcessError::Failed(Box::new(failure.of_process(name))))
        }
        _ => Err(unreadable_kind(Some(Execution::Ran))),
    }
}

pub(crate) fn read<E: DeserializeOwned>(
    name: &str,
    request: OpenRequest<'_>,
) -> Result<Incoming<E>, ProcessError> {
    let unreadable = |error: DecodeError| unreadable(error, None);
    match request.what() {
        EVENT => request.decode().0.map(Incoming::Event).map_err(unreadable),
        FAILED => {
            let failure: Failure = request.decode().0.map_err(unreadable)?;
            Ok(Incoming::Failed(failure.of_process(name)))
        }
        _ => Err(unreadable_kind(None)),
    }
}

fn unreadable(source: impl Into<LinkError>, execution: Option<Execution>) -> ProcessError {
    ProcessError::Message { source: source.into(), execution }
}

fn unreadable_kind(execution: Option<Execution>) -> ProcessError {
    unreadable(LinkError::Garbled("a message of an unknown kind"), execution)
}

/// A buffer of this thread's, kept from one message to the next unless it has grown large.
pub(super) fn with_buffer<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    const KEPT_MOST: usize = 64 << 10;
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.take();
    let result = work(&mut buffer);
    if buffer.capacity() <= KEPT_MOST {
        BUFFER.set(buffer);
    }
    result
}

/// For poll, select and epoll: readable when [`next`](Run::next) wouldn't wait.
impl<E> AsFd for Run<E> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let pollable = self.events.as_fd();
        self.remind_of_kept(&self.kept.lock());
        pollable
    }
}

impl<E> fmt::Debug for Run<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("name", &self.name).field("child", &self.child).finish_non_exhaustive()
    }
}
