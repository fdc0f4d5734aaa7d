//! What the program has of a message process.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::process::{Child, Generation, Readiness, Stopped};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message_process::error::ProcessError;
use crate::message_process::incoming::Ended;
use crate::message_process::reply::Reply;
use crate::message_process::run::Run;

/// The front end of a message process: it sends commands to the back end, and receives its events.
///
/// Clones share the back end, and any number of threads may use them at once. A [`MessageProcess`](crate::MessageProcess)
/// derefs to its front end, and is what starts the back end and, when it is dropped, ends it.
pub struct FrontEnd<C, E> {
    shared: Arc<Shared<E>>,
    of: PhantomData<fn(C)>,
}

pub(crate) struct Shared<E> {
    /// `Class.name`.
    logger: String,
    name: String,
    home: Generation,
    /// The current one, or the last.
    run: Mutex<Option<Arc<Run<E>>>>,
}

/// How long [`FrontEnd::stop`] waits for the commands that came before it, and for `post_run`.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

impl<C, E> FrontEnd<C, E>
where
    C: Serialize + DeserializeOwned,
    E: Serialize + DeserializeOwned,
{
    pub(crate) fn new(name: String, logger: String) -> FrontEnd<C, E> {
        let shared = Shared { logger, name, home: Generation::current(), run: Mutex::new(None) };
        FrontEnd { shared: Arc::new(shared), of: PhantomData }
    }

    /// Nothing is locked before: in a copy of the process the lock may never come free.
    pub(crate) fn check(&self) -> Result<(), ProcessError> {
        Ok(self.shared.home.check()?)
    }

    pub(crate) fn run(&self) -> Result<Arc<Run<E>>, ProcessError> {
        self.check()?;
        let run = self.shared.run.lock();
        run.clone().ok_or_else(|| ProcessError::NotStarted { name: self.shared.name.clone() })
    }

    pub(crate) fn begins(&self, run: Run<E>) {
        let before = self.shared.run.lock().replace(Arc::new(run));
        drop(before);
    }

    /// Sends a command, waiting for room as long as it takes. Commands are handled in the order in which they were sent.
    /// Returns the command's number: from 1 on, in each run of the back end, [requests](FrontEnd::request) included. A
    /// [`Failure`](crate::Failure) names it.
    ///
    /// A back end that waits for room for its events handles no commands: while it does, this takes in events, up to
    /// [`max_message`](crate::MessageProcess::max_message) bytes of them. So somebody has to receive them in the end; who can't
    /// tell takes [`try_send`](FrontEnd::try_send) or [`send_timeout`](FrontEnd::send_timeout).
    ///
    /// # Errors
    ///
    /// [`ProcessError::NotStarted`]; [`ProcessError::Ended`] once the back end has ended; [`ProcessError::Message`] for a
    /// command that can't be serialised or is too long, with nothing sent.
    #[doc(alias = "sendMessageToBack")]
    pub fn send(&self, command: &C) -> Result<u64, ProcessError> {
        self.run()?.send(command, None)
    }

    /// As [`send`](FrontEnd::send), if there is room for the command now.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TimedOut`] if there isn't; else as for [`send`](FrontEnd::send).
    pub fn try_send(&self, command: &C) -> Result<u64, ProcessError> {
        self.run()?.send(command, Some(Duration::ZERO))
    }

    /// As [`send`](FrontEnd::send), waiting for room for up to `timeout`.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TimedOut`], with nothing sent; else as for [`send`](FrontEnd::send).
    pub fn send_timeout(&self, command: &C, timeout: Duration) -> Result<u64, ProcessError> {
        self.run()?.send(command, Some(timeout))
    }

    /// Sends the command that `make` makes, and waits for the reply to it, as long as it takes. Any number of threads may
    /// ask at once, and each gets its own reply.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use valkka_multiprocess::{Backend, Context, MessageProcess, ProcessError, RemoteError, Reply};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// enum Command {
    ///     Square { number: i64, reply: Reply<i64> },
    /// }
    ///
    /// struct Squares;
    ///
    /// impl Backend for Squares {
    ///     type Command = Command;
    ///     type Event = ();
    ///
    ///     fn handle(&mut self, _: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
    ///         let Command::Square { number, reply } = command;
    ///         let square = number.checked_mul(number).ok_or(RemoteError::msg("that is too much"))?;
    ///         reply.send(&square)?;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let squares = MessageProcess::new("squares", Squares);
    /// squares.start()?;
    /// let square = |number| squares.request(|reply| Command::Square { number, reply });
    /// assert_eq!(square(7)?, 49);
    /// let error = square(i64::MAX).unwrap_err();
    /// assert!(error.to_string().contains("that is too much"), "{error}");
    /// squares.stop()?;
    /// # Ok::<(), ProcessError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProcessError::Failed`] if the handler has failed; [`ProcessError::Unanswered`] if it has dropped the reply; [`ProcessError::Ended`]
    /// if the back end has ended, with [`Execution`](crate::Execution) telling whether the command may have been handled; else as for [`send`](FrontEnd::send).
    #[doc(alias = "returnFromBack")]
    pub fn request<R>(&self, make: impl FnOnce(Reply<R>) -> C) -> Result<R, ProcessError>
    where
        R: Serialize + DeserializeOwned,
    {
        self.run()?.request(&make(Reply::wanted()), None)
    }

    /// As [`request`](FrontEnd::request), for up to `timeout`. A late reply is dropped.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TimedOut`]; else as for [`request`](FrontEnd::request).
    pub fn request_timeout<R>(
        &self,
        timeout: Duration,
        make: impl FnOnce(Reply<R>) -> C,
    ) -> Result<R, ProcessError>
    where
        R: Serialize + DeserializeOwned,
    {
        self.run()?.request(&make(Reply::wanted()), Some(timeout))
    }

    /// Receives the next event, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Failed`] when some handler has failed (the next call goes on); [`ProcessError::Ended`] when the back end has
    /// ended, by whatever cause, and all that it had sent was received; [`ProcessError::NotStarted`];
    /// [`ProcessError::Message`] for an event that can't be read (the next call goes on).
    pub fn recv(&self) -> Result<E, ProcessError> {
        let run = self.run()?;
        loop {
            if let Some(event) = run.event(None)? {
                return Ok(event);
            }
        }
    }

    /// Receives an event if one is there.
    ///
    /// # Errors
    ///
    /// As for [`recv`](FrontEnd::recv).
    pub fn try_recv(&self) -> Result<Option<E>, ProcessError> {
        self.run()?.event(Some(Duration::ZERO))
    }

    /// Receives an event, waiting for up to `timeout`. `Ok(None)`: none came.
    ///
    /// # Errors
    ///
    /// As for [`recv`](FrontEnd::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<E>, ProcessError> {
        self.run()?.event(Some(timeout))
    }

    /// What poll, select and epoll can wait for: readable when there is something to [receive](FrontEnd::try_recv), or the
    /// back end has ended, and once in a while for nothing. It is of the current run: after another start take another one. (A
    /// [`MainLoop`](crate::MainLoop) does all that.)
    ///
    /// ```
    /// # use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError};
    /// # struct Echo;
    /// # impl Backend for Echo {
    /// #     type Command = u32;
    /// #     type Event = u32;
    /// #     fn handle(&mut self, cx: &mut Context<Self>, number: u32) -> Result<(), RemoteError> {
    /// #         Ok(cx.send_out(&number)?)
    /// #     }
    /// # }
    /// use std::os::fd::AsFd;
    /// use valkka_multiprocess::safe_select;
    ///
    /// let (one, two) = (MessageProcess::new("one", Echo), MessageProcess::new("two", Echo));
    /// one.start()?;
    /// two.start()?;
    /// two.send(&2)?;
    /// let pipes = [one.pipe()?, two.pipe()?];
    /// let number = 'wait: loop {
    ///     for place in safe_select(&[pipes[0].as_fd(), pipes[1].as_fd()], None)? {
    ///         if let Some(number) = [&one, &two][place].try_recv()? {
    ///             break 'wait number;
    ///         }
    ///     }
    /// };
    /// assert_eq!(number, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProcessError::NotStarted`].
    #[doc(alias("getPipe", "getReadFd"))]
    pub fn pipe(&self) -> Result<Pipe<E>, ProcessError> {
        self.run().map(Pipe)
    }

    /// Waits until the back end's [`pre_run`](crate::Backend::pre_run) has returned, for up to `timeout`, and says whether it has.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`] if it ended instead; [`ProcessError::NotStarted`].
    pub fn wait_ready(&self, timeout: Duration) -> Result<bool, ProcessError> {
        let run = self.run()?;
        match run.child.wait_ready(timeout)? {
            Readiness::Ready => Ok(true),
            Readiness::Ended => {
                let ended = Box::new(run.see_the_end()?.clone());
                Err(ProcessError::Ended { ended, execution: None })
            }
            _ => Ok(false),
        }
    }

    /// Asks the back end to end when it has handled the commands that came before, and doesn't wait for that. (If there is
    /// no room for the request, it waits for that as long as it takes, and keeps what comes meanwhile.)
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`] if it has ended; [`ProcessError::NotStarted`].
    #[doc(alias = "requestStop")]
    pub fn request_stop(&self) -> Result<(), ProcessError> {
        self.run()?.request_stop(None, Duration::ZERO)
    }

    /// As [`request_stop`](FrontEnd::request_stop), waiting for room for up to `timeout`: for back ends that may hang.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TimedOut`] if it wasn't asked; else as for [`request_stop`](FrontEnd::request_stop).
    pub fn request_stop_timeout(&self, timeout: Duration) -> Result<(), ProcessError> {
        self.run()?.request_stop(Instant::now().checked_add(timeout), timeout)
    }

    /// Waits for the back end's end as long as it takes, and says how that was. Events that come meanwhile are kept, up to
    /// 64 MiB of them, for whoever receives, at once or afterwards. A back end that sends more than that waits for room.
    ///
    /// # Errors
    ///
    /// [`ProcessError::NotStarted`]; [`ProcessError::Child`].
    #[doc(alias("waitStop", "join"))]
    pub fn wait_stop(&self) -> Result<Ended, ProcessError> {
        let run = self.run()?;
        loop {
            if let Some(ended) = run.wait_stop(None)? {
                return Ok(ended.clone());
            }
        }
    }

    /// As [`wait_stop`](FrontEnd::wait_stop), for up to `timeout`. `Ok(None)`: it hasn't ended.
    ///
    /// # Errors
    ///
    /// As for [`wait_stop`](FrontEnd::wait_stop).
    pub fn wait_stop_timeout(&self, timeout: Duration) -> Result<Option<Ended>, ProcessError> {
        Ok(self.run()?.wait_stop(Instant::now().checked_add(timeout))?.cloned())
    }

    /// Ends the back end: has it handle the commands that came before and call `post_run`. If that takes longer than 5 s,
    /// SIGTERM, after which it ends once the handler that runs has returned, and half a second later SIGKILL. Returns what it took,
    /// and how the process ended, which may have been before. What it had sent can still be received. (To end many at
    /// once, ask all first by [`request_stop_timeout`](FrontEnd::request_stop_timeout), or end their
    /// [children](FrontEnd::child) by [`process::stop_all`](crate::process::stop_all): SIGTERM has `post_run` called as well.)
    ///
    /// A process that has ended by itself after a failure has exited with code 0, too: what it was is told by
    /// [`wait_stop`](FrontEnd::wait_stop), before or afterwards.
    ///
    /// # Errors
    ///
    /// [`ProcessError::NotStarted`]; [`ProcessError::Child`] if it runs as another user whom this process may not signal.
    pub fn stop(&self) -> Result<Stopped, ProcessError> {
        self.stop_timeout(STOP_GRACE)
    }

    /// As [`stop`](FrontEnd::stop), with another time than 5 s.
    ///
    /// # Errors
    ///
    /// As for [`stop`](FrontEnd::stop).
    pub fn stop_timeout(&self, grace: Duration) -> Result<Stopped, ProcessError> {
        self.run()?.stop(grace)
    }

    /// The back end's process: to wait for it, signal it, or be told of its end.
    ///
    /// # Errors
    ///
    /// [`ProcessError::NotStarted`].
    pub fn child(&self) -> Result<Child, ProcessError> {
        self.run().map(|run| run.child.clone())
    }
}

impl<C, E> FrontEnd<C, E> {
    /// The name that the back end's process has.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The name under which the back end logs: `Class.name`.
    #[must_use]
    pub fn logger(&self) -> &str {
        &self.shared.logger
    }

    /// The process id of the back end, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.shared.home.check().ok()?;
        let run = self.shared.run.lock().clone()?;
        run.child.is_alive().unwrap_or(false).then(|| run.child.id())
    }

    /// Whether the back end runs at this moment.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pid().is_some()
    }
}

/// A descriptor for one run of a back end: see [`FrontEnd::pipe`].
#[derive(Debug)]
pub struct Pipe<E>(Arc<Run<E>>);

impl<E> AsFd for Pipe<E> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<C, E> Clone for FrontEnd<C, E> {
    fn clone(&self) -> Self {
        FrontEnd { shared: Arc::clone(&self.shared), of: PhantomData }
    }
}

impl<C, E> fmt::Debug for FrontEnd<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontEnd")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// As in Python: `<Class.name>`.
impl<C, E> fmt::Display for FrontEnd<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.shared.logger)
    }
}
