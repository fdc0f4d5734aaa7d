//! In the caller: whether the object is occupied by a call that goes on between its messages.
//!
//! A stream is one, from when it is asked for to its end or drop; so is a method that was lent a closure. What can't be
//! carried out meanwhile is refused at once, since who makes it may be who has to end the other one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common_ipc::link::LinkError;
use common_ipc::process::Generation;
use parking_lot::Mutex;

use crate::error::BridgeError;
use crate::method::{self, Method};
use crate::run::Run;

/// What occupies the object of one process, if anything does.
#[derive(Debug, Default)]
pub(crate) struct Occupancy {
    /// For those who make a call: there is something to be looked at.
    matters: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by: Option<&'static str>,
    /// How often it was.
    count: u64,
    /// Those that were given up without room to say so.
    unsent: Vec<u64>,
}

impl Run {
    /// Whether a call can be carried out.
    #[inline]
    pub(crate) fn check_free(&self, method: Method) -> Result<(), BridgeError> {
        if !self.occupancy.matters.load(Ordering::Acquire) {
            return Ok(());
        }
        self.look_again(method, &mut self.occupancy.state.lock())
    }

    #[cold]
    fn look_again(&self, method: Method, state: &mut State) -> Result<(), BridgeError> {
        if let Some(by) = state.by {
            return Err(BridgeError::Busy { method: method.name, by: by.to_owned() });
        }
        // They come before the call.
        state.unsent.retain(|number| !self.tell_given_up(*number));
        self.occupancy.matters.store(!state.unsent.is_empty(), Ordering::Release);
        Ok(())
    }

    /// Without waiting for room. Says whether it is sent, or need not be.
    fn tell_given_up(&self, number: u64) -> bool {
        let sent = self.caller.send::<u64, _>(method::GIVE_UP, &number, Some(Duration::ZERO));
        !matches!(sent, Err(error) if matches!(error.cause, LinkError::TimedOut))
    }

    /// A call of this method occupies the object from now on.
    pub(crate) fn occupy(self: &Arc<Run>, method: Method) -> Result<Occupied, BridgeError> {
        let mut state = self.occupancy.state.lock();
        self.look_again(method, &mut state)?;
        state.by = Some(method.name);
        state.count += 1;
        self.occupancy.matters.store(true, Ordering::Release);
        Ok(Occupied {
            run: Arc::clone(self),
            number: state.count,
            home: Generation::current(),
            is_over: false,
        })
    }
}

/// The object is occupied until this is dropped. The process is told that, unless it knows.
#[derive(Debug)]
pub(crate) struct Occupied {
    pub(crate) run: Arc<Run>,
    /// By which the process knows it.
    pub(crate) number: u64,
    home: Generation,
    is_over: bool,
}

impl Occupied {
    /// The process has said so, or there is none any more.
    pub(crate) fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // In a forked child it is a copy, whose lock may never come free.
        if self.home.check().is_ok() {
            let mut state = self.run.occupancy.state.lock();
            if !self.is_over && !self.run.tell_given_up(self.number) {
                state.unsent.push(self.number);
            }
            state.by = None;
            self.run.occupancy.matters.store(!state.unsent.is_empty(), Ordering::Release);
        }
    }
}
