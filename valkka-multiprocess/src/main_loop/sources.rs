//! The kinds of things that a loop watches.

use std::sync::Arc;

use common_ipc::process::{CaughtSignals, Child, ExitStatus, Signal};

use super::source::{Front, Next, Source, Step};

/// A front end.
pub(super) struct OfFront<I, M> {
    front: Arc<dyn Front<I>>,
    map: M,
    state: FrontState,
}

#[derive(Clone, Copy)]
enum FrontState {
    Receiving,
    /// The link is closed.
    Ending,
    Over,
}

impl<I, M> OfFront<I, M> {
    pub(super) fn new(front: Arc<dyn Front<I>>, map: M) -> OfFront<I, M> {
        OfFront { front, map, state: FrontState::Receiving }
    }
}

impl<E, I: 'static, M: FnMut(I) -> E + Send> Source<E> for OfFront<I, M> {
    fn step(&mut self) -> Step<E> {
        match self.state {
            FrontState::Receiving => match self.front.try_next() {
                Next::Something(incoming) => Step::Event((self.map)(incoming)),
                Next::Unreadable => Step::NoEvent,
                Next::Nothing => Step::Nothing,
                Next::Closing => {
                    self.state = FrontState::Ending;
                    Step::AwaitEnd(self.front.child().clone())
                }
            },
            FrontState::Ending => match status(self.front.child()) {
                None => Step::Nothing,
                Some(status) => {
                    // Before the map, which may panic.
                    self.state = FrontState::Over;
                    Step::Over(Some((self.map)(self.front.ended(status))))
                }
            },
            FrontState::Over => Step::Over(None),
        }
    }

    fn process(&self) -> Option<u32> {
        Some(self.front.child().id())
    }
}

/// How a child has ended, if it has.
fn status(child: &Child) -> Option<ExitStatus> {
    child.try_wait().unwrap_or_else(|error| {
        log::warn!("nobody can tell how the back end {} has ended: {error}", child.name().to_string_lossy());
        Some(ExitStatus::Unknown)
    })
}

/// The end of a process that has closed its links, and would have to be waited for for ever.
pub(super) struct Insist(pub(super) Child);

impl<E> Source<E> for Insist {
    fn step(&mut self) -> Step<E> {
        if self.0.is_alive().unwrap_or(true) {
            let name = self.0.name().to_string_lossy();
            match self.0.kill() {
                Ok(()) => log::warn!("{name} had closed its links and lived on, so it was ended"),
                Err(error) => {
                    log::error!("{name} has closed its links, lives on, and can't be ended: {error}")
                }
            }
        }
        Step::Over(None)
    }
}

/// A descriptor of the program's own.
pub(super) struct OfDescriptor<F, M> {
    pub(super) fd: F,
    pub(super) map: M,
}

impl<E, F: Send, M: FnMut(&F) -> E + Send> Source<E> for OfDescriptor<F, M> {
    fn step(&mut self) -> Step<E> {
        Step::OnlyEvent((self.map)(&self.fd))
    }
}

/// A timer with a period.
pub(super) struct Every<M>(pub(super) M);

impl<E, M: FnMut() -> E + Send> Source<E> for Every<M> {
    fn step(&mut self) -> Step<E> {
        Step::OnlyEvent((self.0)())
    }
}

/// A timer without one.
pub(super) struct After<M>(pub(super) Option<M>);

impl<E, M: FnOnce() -> E + Send> Source<E> for After<M> {
    fn step(&mut self) -> Step<E> {
        Step::Over(self.0.take().map(|call| call()))
    }

    fn is_last_step(&self) -> bool {
        true
    }
}

/// Signals to the program.
pub(super) struct OfSignals<M> {
    pub(super) caught: Arc<CaughtSignals>,
    pub(super) map: M,
}

impl<E, M: FnMut(Signal) -> E + Send> Source<E> for OfSignals<M> {
    fn step(&mut self) -> Step<E> {
        next(&self.caught).map_or(Step::Nothing, |signal| Step::Event((self.map)(signal)))
    }
}

/// Signals that end the loop.
pub(super) struct OfStopSignals(pub(super) Arc<CaughtSignals>);

impl<E> Source<E> for OfStopSignals {
    fn step(&mut self) -> Step<E> {
        next(&self.0).map_or(Step::Nothing, |signal| {
            log::info!("{signal}: the loop ends");
            Step::Stop
        })
    }
}

pub(super) fn next(caught: &CaughtSignals) -> Option<Signal> {
    // It fails in another process only, where no loop gets as far as this.
    caught.try_next().unwrap_or(None)
}

/// The stop handle's bell.
pub(super) struct OfBell;

impl<E> Source<E> for OfBell {
    fn step(&mut self) -> Step<E> {
        Step::Stop
    }
}
