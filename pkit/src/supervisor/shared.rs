//! What the supervisor's thread and its handle share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use common_ipc::process::{ExitStatus, Generation};
use crossbeam_channel::{Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::core::{Command, Core, Id, Reply, Time, Token};
use super::errors::SupervisorError;
use super::event::Ended;
use super::subscribers::Subscribers;

/// What the thread is told.
pub(super) enum Message {
    Exited { id: Id, status: ExitStatus },
    Ask { command: Command, token: Token, answer: Answer },
    Stop,
}

/// Passes an answer on. Dropped uncalled, it tells who waits that the thread is gone.
pub(super) type Answer = Box<dyn FnOnce(Reply) + Send>;

/// The token of the supervisor's own start.
pub(super) const START: Token = 0;

pub(super) struct Shared {
    pub(super) home: Generation,
    pub(super) begin: Instant,
    pub(super) names: HashMap<Arc<str>, usize>,
    /// The thread holds it for moments only, never while it calls others or sleeps.
    pub(super) core: Mutex<Core>,
    pub(super) inbox: Sender<Message>,
    pub(super) subscribers: Mutex<Subscribers>,
    /// That which supervises.
    thread: OnceLock<ThreadId>,
    tokens: AtomicU64,
    ended: Mutex<Option<Ended>>,
    over: Condvar,
}

impl Shared {
    pub(super) fn new(
        names: HashMap<Arc<str>, usize>,
        core: Core,
        inbox: Sender<Message>,
        subscribers: Subscribers,
    ) -> Shared {
        Shared {
            home: Generation::current(),
            begin: Instant::now(),
            names,
            core: Mutex::new(core),
            inbox,
            subscribers: Mutex::new(subscribers),
            thread: OnceLock::new(),
            tokens: AtomicU64::new(START + 1),
            ended: Mutex::new(None),
            over: Condvar::new(),
        }
    }

    pub(super) fn now(&self) -> Time {
        self.begin.elapsed()
    }

    /// The calling thread supervises from now on.
    pub(super) fn supervise_here(&self) {
        let _ = self.thread.set(thread::current().id());
    }

    /// Checks that the calling thread may wait for the one that supervises.
    pub(super) fn may_wait(&self) -> Result<(), SupervisorError> {
        match self.thread.get() {
            Some(thread) if *thread == thread::current().id() => Err(SupervisorError::OnItsThread),
            _ => Ok(()),
        }
    }

    /// Has the thread do something, and waits until it is done.
    pub(super) fn ask(&self, command: impl FnOnce(Token) -> Command) -> Reply {
        self.may_wait()?;
        let (answer, answered) = bounded(1);
        // Who has gone needs no answer.
        self.tell(command, Box::new(move |reply| drop(answer.send(reply))))?;
        // Whatever becomes of the thread, the sender goes with it.
        answered.recv().unwrap_or(Err(SupervisorError::Ended))
    }

    /// Has the thread do something; the answer comes by itself.
    pub(super) fn tell(&self, command: impl FnOnce(Token) -> Command, answer: Answer) -> Reply {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let message = Message::Ask { command: command(token), token, answer };
        self.inbox.send(message).map_err(|_| SupervisorError::Ended)
    }

    pub(super) fn end(&self, ended: Ended) {
        self.ended.lock().get_or_insert(ended);
        self.over.notify_all();
        // Who has heard the last event finds the end there.
        self.subscribers.lock().close();
    }

    /// Waits for the end, for up to `timeout` if there is one.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Option<Ended> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut ended = self.ended.lock();
        while ended.is_none() {
            match deadline {
                None => self.over.wait(&mut ended),
                Some(deadline) => {
                    if self.over.wait_until(&mut ended, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        ended.clone()
    }
}
