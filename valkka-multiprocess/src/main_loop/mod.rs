//! The loop of the program.

mod context;
mod error;
mod running;
pub(crate) mod source;
mod sources;
mod stop;
mod watching;

use std::collections::HashMap;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::process::{CaughtSignals, Child, Generation};

use crate::reactor::{Reactor, WatchId, from_now};
pub use context::MainContext;
pub use error::LoopError;
pub use running::{RunningContext, ThreadError};
use source::{LAST_WORDS, Source, Step};
use sources::Insist;
pub use stop::StopHandle;

/// The loop of the program: what comes from back ends, timers, signals and descriptors, one event after another, as
/// values of a type of the program's own.
///
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::time::Duration;
/// use valkka_multiprocess::{MainLoop, Signal};
///
/// #[derive(Debug, PartialEq)]
/// enum Event {
///     Tick,
///     Line(String),
///     Signal(Signal),
/// }
///
/// let (mut writer, reader) = UnixStream::pair()?;
/// let mut main_loop = MainLoop::new()?;
/// main_loop.every(Duration::from_millis(10), || Event::Tick)?;
/// main_loop.signals(&[Signal::HUP], Event::Signal)?;
/// main_loop.watch_fd(reader, |mut socket| {
///     let mut bytes = [0; 100];
///     let length = socket.read(&mut bytes).unwrap_or(0);
///     Event::Line(String::from_utf8_lossy(&bytes[..length]).into_owned())
/// })?;
///
/// writer.write_all(b"hello")?;
/// let (mut ticks, mut line) = (0, None);
/// while let Some(event) = main_loop.next()? {
///     match event {
///         Event::Tick => ticks += 1,
///         Event::Line(text) => line = Some(text),
///         Event::Signal(signal) => println!("{signal}"),
///     }
///     if ticks >= 3 && line.is_some() {
///         main_loop.stop();
///     }
/// }
/// assert_eq!(line.as_deref(), Some("hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Turns
///
/// What is ready has its turn in a round. A turn is one event of a descriptor or timer; of a back end or of signals, all
/// that are there, up to 64 events or until they have taken a millisecond to handle. So a back end that floods the program
/// holds up nothing else for longer than that, and a stop ends the loop at the next event.
/// What isn't ready costs nothing, however much of it is watched.
///
/// A handler that waits holds up all others: send to back ends that may hang by
/// [`try_send`](crate::FrontEnd::try_send) or [`send_timeout`](crate::FrontEnd::send_timeout), and ask them by
/// [`request_timeout`](crate::FrontEnd::request_timeout).
///
/// # What isn't promised
///
/// Events of one back end come in the order in which it has sent them; between those of different sources there is no
/// order. Events that are there when the loop is stopped stay where they are.
///
/// # Whose it is
///
/// The loop belongs to the process in which it was made: in a forked copy everything is
/// [`WrongProcess`](common_ipc::process::WrongProcess), and children don't inherit its descriptors. It can move to
/// another thread; so the closures are [`Send`]. If a closure of the program's panics, the panic passes through
/// [`next`](MainLoop::next), what the closure was called with is lost, and the loop goes on where it is called again.
///
/// **Dropping** it ends all watches, drops the descriptors that it keeps, and gives back the signals.
#[doc(alias = "safe_select")]
pub struct MainLoop<E> {
    home: Generation,
    /// Empty for moments only.
    reactor: Reactor<Option<Box<dyn Source<E>>>>,
    turn: Option<Turn>,
    stop: StopHandle,
    stop_signals: Vec<Arc<CaughtSignals>>,
    /// Of watches that wait for the end of a process: the timers by which that is ended.
    ending: HashMap<WatchId, WatchId>,
}

/// Who is being looked after.
#[derive(Debug, Clone, Copy)]
struct Turn {
    id: WatchId,
    events_left: u32,
    /// Not before its first event.
    ends: Option<Instant>,
}

const TURN_EVENTS: u32 = 64;
const TURN_TIME: Duration = Duration::from_millis(1);

/// How often a process is looked at that ends and can't be watched.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What came of waiting for a limited time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled<E> {
    /// This happened.
    Event(E),
    /// Nothing has happened in the time.
    Nothing,
    /// The loop was stopped.
    Stopped,
}

impl<E: 'static> MainLoop<E> {
    /// A loop that watches nothing. It takes two descriptors.
    ///
    /// # Errors
    ///
    /// [`LoopError::Os`]: no descriptors left.
    pub fn new() -> Result<MainLoop<E>, LoopError> {
        let cannot = |source| LoopError::Os { step: "be made", source };
        let stop = StopHandle::new().map_err(cannot)?;
        let mut reactor = Reactor::new().map_err(cannot)?;
        let added = reactor.add_fd(stop.bell(), Some(Box::new(sources::OfBell) as Box<_>));
        added.map_err(|error| cannot(std::io::Error::other(error)))?;
        Ok(MainLoop {
            home: Generation::current(),
            reactor,
            turn: None,
            stop,
            stop_signals: Vec::new(),
            ending: HashMap::new(),
        })
    }

    /// Waits for the next event, for as long as it takes. `None`: the loop was stopped.
    ///
    /// # Errors
    ///
    /// [`LoopError`]; the loop can be used afterwards.
    #[expect(clippy::should_implement_trait, reason = "an iterator couldn't be told to watch more meanwhile")]
    pub fn next(&mut self) -> Result<Option<E>, LoopError> {
        loop {
            match self.next_until(None)? {
                Polled::Event(event) => return Ok(Some(event)),
                Polled::Stopped => return Ok(None),
                Polled::Nothing => {}
            }
        }
    }

    /// As [`next`](MainLoop::next), waiting for up to `timeout`.
    ///
    /// # Errors
    ///
    /// As for [`next`](MainLoop::next).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Polled<E>, LoopError> {
        self.next_until(Some(from_now(timeout)))
    }

    /// As [`next`](MainLoop::next), without waiting.
    ///
    /// # Errors
    ///
    /// As for [`next`](MainLoop::next).
    pub fn try_next(&mut self) -> Result<Polled<E>, LoopError> {
        self.next_until(Some(Instant::now()))
    }

    /// Ends the loop: [`next`](MainLoop::next) returns `None` from now on.
    pub fn stop(&self) {
        self.stop.stop();
    }

    /// What ends the loop from elsewhere. It does so from the beginning on, before the first event too.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Polled<E>, LoopError> {
        self.home.check()?;
        let mut is_late = false;
        loop {
            while !self.stop.is_stopped() && self.find_turn() {
                if let Some(event) = self.go_on() {
                    return Ok(Polled::Event(event));
                }
            }
            if self.stop.is_stopped() {
                return Ok(Polled::Stopped);
            }
            if is_late {
                return Ok(Polled::Nothing);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // The bell is always there.
            if left.is_none() && self.reactor.len() <= 1 && !self.stop.is_shared() {
                return Err(LoopError::NothingWatched);
            }
            let polled = self.reactor.poll(left);
            polled.map_err(|source| LoopError::Os { step: "wait for what it watches", source })?;
            is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        }
    }

    /// Makes certain that it is somebody's turn, if anything is ready.
    fn find_turn(&mut self) -> bool {
        if let Some(turn) = &self.turn {
            let is_over = turn.events_left == 0 || turn.ends.is_some_and(|ends| Instant::now() >= ends);
            if !is_over {
                return true;
            }
        }
        let next = self.reactor.next_ready();
        self.turn = next.map(|id| Turn { id, events_left: TURN_EVENTS, ends: None });
        self.turn.is_some()
    }

    /// Looks after whose turn it is.
    fn go_on(&mut self) -> Option<E> {
        let turn = self.turn.take()?;
        let id = turn.id;
        let source = self.reactor.get_mut(id)?.as_mut()?;
        let step = match source.is_last_step() {
            // Out of the way first: a panic ends it as well.
            true => self.reactor.remove(id).flatten()?.step(),
            false => source.step(),
        };
        if matches!(step, Step::Event(_) | Step::NoEvent) {
            let ends = turn.ends.or_else(|| Instant::now().checked_add(TURN_TIME));
            self.turn = Some(Turn { events_left: turn.events_left - 1, ends, ..turn });
        }
        match step {
            Step::Event(event) => Some(event),
            Step::NoEvent => None,
            Step::OnlyEvent(event) => Some(event),
            Step::Nothing => None,
            Step::AwaitEnd(child) => {
                self.await_end(id, &child);
                None
            }
            Step::Over(event) => {
                self.end(id);
                event
            }
            Step::Stop => {
                self.stop.stop();
                None
            }
        }
    }

    /// Has a source wait for the end of a process, in place of what it waited for. One that lives on is ended.
    fn await_end(&mut self, id: WatchId, child: &Child) {
        let insist = Insist(child.clone());
        let timer = self.reactor.add_timer(from_now(LAST_WORDS), None, Some(Box::new(insist)));
        self.ending.insert(id, timer);
        if let Err(error) = self.reactor.watch_instead(id, child.as_fd()) {
            log::debug!("a process is looked at again and again, since its end can't be waited for: {error}");
            self.reactor.set_timer(id, Instant::now(), Some(LOOK_AGAIN));
        }
    }
}

impl<E> MainLoop<E> {
    /// Ends a watch, and says whether there was one.
    fn end(&mut self, id: WatchId) -> bool {
        if let Some(timer) = self.ending.remove(&id) {
            self.reactor.remove(timer);
        }
        self.reactor.remove(id).is_some()
    }
}

impl<E> fmt::Debug for MainLoop<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MainLoop")
            .field("watches", &(self.reactor.len() - 1))
            .field("is_stopped", &self.stop.is_stopped())
            .finish_non_exhaustive()
    }
}
