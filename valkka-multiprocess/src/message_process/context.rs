//! What a back end can do beyond itself.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common_ipc::RemoteError;
use common_ipc::link::LinkError;

use crate::message_process::backend::Backend;
use crate::message_process::failure::{During, Failure};
use crate::message_process::inbox::{Arrived, Inbox};
use crate::message_process::outbound::EventSender;
use crate::message_process::wire::BackEnds;
use crate::reactor::{Reactor, SHORTEST_PERIOD, WatchError, WatchId, from_now};

/// What a back end can do beyond itself: send events, wait for descriptors and times beside commands, stop.
///
/// It is lent to each of its [methods](Backend).
pub struct Context<B: Backend> {
    pub(crate) inbox: Inbox<B::Command>,
    outbound: EventSender<B::Event>,
    pub(crate) reactor: Reactor<Handler<B>>,
    pub(crate) during: During,
    /// Of a command that wasn't handled, until its handler has returned.
    pub(crate) refused: Option<Box<Failure>>,
    pub(crate) is_listening: bool,
    pub(crate) is_over: bool,
    name: String,
    logger: String,
}

/// What is to be done about a descriptor or a timer.
pub(crate) enum Handler<B: Backend> {
    /// A signal asks the process to stop.
    StopSignal,
    /// `None` while it is being called.
    Call(During, Option<Call<B>>),
    /// To be called once.
    Once(Option<CallOnce<B>>),
}

pub(crate) type Call<B> = Box<dyn FnMut(&mut B, &mut Context<B>) -> Result<(), RemoteError>>;
pub(crate) type CallOnce<B> = Box<dyn FnOnce(&mut B, &mut Context<B>) -> Result<(), RemoteError>>;

impl<B: Backend> Context<B> {
    pub(crate) fn new(ends: BackEnds) -> io::Result<Context<B>> {
        ends.events.takes_in_for(&ends.commands);
        Ok(Context {
            inbox: Inbox::new(ends.commands),
            outbound: EventSender::new(ends.events),
            reactor: Reactor::new()?,
            during: During::PreRun,
            refused: None,
            is_listening: false,
            is_over: false,
            logger: crate::logger_name::<B>(&ends.name),
            name: ends.name,
        })
    }

    /// Sends an event to the front end, waiting for room as long as it takes. While it waits, commands that come are taken
    /// in, up to [`max_message`](crate::MessageProcess::max_message) bytes of them, so that a front end that sends and a
    /// back end that does don't wait for each other.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] if the front end is gone; [`LinkError::Encode`] and [`LinkError::TooLarge`] with nothing sent.
    #[doc(alias = "send_out__")]
    pub fn send_out(&mut self, event: &B::Event) -> Result<(), LinkError> {
        self.outbound.send(event)
    }

    /// As [`send_out`](Context::send_out), if there is room for the event now.
    ///
    /// # Errors
    ///
    /// [`LinkError::TimedOut`] if there isn't; else as for [`send_out`](Context::send_out).
    pub fn try_send_out(&self, event: &B::Event) -> Result<(), LinkError> {
        self.outbound.try_send(event)
    }

    /// What sends events from other threads of the back end.
    #[must_use]
    pub fn sender(&self) -> EventSender<B::Event> {
        self.outbound.clone()
    }

    /// Ends the back end after this handler: commands that wait aren't handled any more.
    pub fn stop(&mut self) {
        self.is_over = true;
    }

    /// Has [`Backend::listen`] called again and again between commands, or no longer.
    #[doc(alias = "listening")]
    pub fn set_listening(&mut self, on: bool) {
        self.is_listening = on;
    }

    /// Watches a descriptor beside the commands: `on_readable` is called whenever there is something to read, or its other
    /// end is gone, and again, until that was taken or the watch is [over](Context::unwatch). The back end keeps `fd`
    /// until then. An error of the handler is treated as one of [`Backend::handle`] is.
    ///
    /// ```
    /// use std::io::Read;
    /// use std::os::unix::net::UnixStream;
    /// use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError};
    ///
    /// /// Counts what comes through a socket.
    /// struct Counter(Option<UnixStream>);
    ///
    /// impl Backend for Counter {
    ///     type Command = ();
    ///     type Event = usize;
    ///
    ///     fn pre_run(&mut self, cx: &mut Context<Self>) -> Result<(), RemoteError> {
    ///         let socket = self.0.take().ok_or(RemoteError::msg("there is a socket at the first start"))?;
    ///         cx.watch(socket, |_, cx, socket| {
    ///             let length = socket.read(&mut [0; 100])?;
    ///             cx.send_out(&length)?;
    ///             Ok(())
    ///         })?;
    ///         Ok(())
    ///     }
    ///
    ///     fn handle(&mut self, _: &mut Context<Self>, _: ()) -> Result<(), RemoteError> {
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let (mut here, there) = UnixStream::pair()?;
    /// let process = MessageProcess::new("counter", Counter(Some(there)));
    /// process.start()?;
    /// std::io::Write::write_all(&mut here, b"seven..")?;
    /// assert_eq!(process.recv()?, 7);
    /// process.stop()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It can't be watched, as a file on a disk, or is already.
    #[doc(alias = "readPipes__")]
    pub fn watch<F: AsFd + 'static>(
        &mut self,
        fd: F,
        mut on_readable: impl FnMut(&mut B, &mut Context<B>, &mut F) -> Result<(), RemoteError> + 'static,
    ) -> Result<WatchId, WatchError> {
        let id = self.reactor.add_fd(fd.as_fd(), Handler::Call(During::Watch, None))?;
        let mut fd = fd;
        let call: Call<B> = Box::new(move |back, cx| on_readable(back, cx, &mut fd));
        self.set(id, call);
        Ok(id)
    }

    /// Calls `on_time` each time that so long has passed, from one period from now on. When it is late, because a handler
    /// took long, it is called once for all the times that were missed, and keeps its rhythm. A period of less
    /// than 1 ms is taken for that.
    pub fn every(
        &mut self,
        period: Duration,
        on_time: impl FnMut(&mut B, &mut Context<B>) -> Result<(), RemoteError> + 'static,
    ) -> WatchId {
        let period = period.max(SHORTEST_PERIOD);
        let call = Handler::Call(During::Timer, Some(Box::new(on_time)));
        self.reactor.add_timer(from_now(period), Some(period), call)
    }

    /// Calls `on_time` once, when so long has passed.
    pub fn after(
        &mut self,
        time: Duration,
        on_time: impl FnOnce(&mut B, &mut Context<B>) -> Result<(), RemoteError> + 'static,
    ) -> WatchId {
        self.reactor.add_timer(from_now(time), None, Handler::Once(Some(Box::new(on_time))))
    }

    /// Ends a watch, or a timer, and says whether there was one.
    pub fn unwatch(&mut self, id: WatchId) -> bool {
        self.reactor.remove(id).is_some()
    }

    /// Tells of a failure that doesn't end the handler: logs it, and sends it to the front end, as one that belongs to what
    /// is being done.
    pub fn report(&mut self, error: impl Into<RemoteError>) {
        let failure = Failure::error(self.during.clone(), error);
        self.tell(&failure);
    }

    /// The command isn't handled, for this reason: once the handler has returned, that is told to whoever asked for it, else
    /// as by [`report`](Context::report). The policy isn't asked.
    pub(crate) fn refuse(&mut self, error: impl Into<RemoteError>) {
        let failure = Failure::error(self.during.clone(), error);
        if let Some(earlier) = self.refused.replace(failure) {
            self.tell(&earlier);
        }
    }

    /// The name that the back end's process has.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name under which this back end logs: `Class.name`. Use it as the target: `log::info!(target: cx.logger(), "..")`.
    #[must_use]
    pub fn logger(&self) -> &str {
        &self.logger
    }

    pub(crate) fn set(&mut self, id: WatchId, call: Call<B>) {
        if let Some(Handler::Call(_, place)) = self.reactor.get_mut(id) {
            *place = Some(call);
        }
    }

    /// Logs a failure, and sends it to the front end.
    pub(crate) fn tell(&mut self, failure: &Failure) {
        self.outbound.tell(&self.logger, failure);
    }

    /// The next thing from the front end, as long as nothing else is to be done.
    pub(crate) fn next(&mut self) -> Result<Option<Arrived<B::Command>>, LinkError> {
        let timeout = match self.is_listening {
            true => Some(Duration::ZERO),
            false => self.reactor.next_deadline().map(|time| time.saturating_duration_since(Instant::now())),
        };
        self.inbox.next(self.reactor.as_fd(), timeout)
    }
}

impl<B: Backend> fmt::Debug for Context<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name)
            .field("during", &self.during)
            .finish_non_exhaustive()
    }
}
