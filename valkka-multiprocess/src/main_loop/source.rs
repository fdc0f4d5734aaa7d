//! What the loop of the program looks after.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::link::LinkError;
use common_ipc::process::{Child, ExitStatus};

use crate::reactor::WatchError;

/// What [`MainLoop::watch`](crate::MainLoop::watch) watches: the front end of a message process.
pub trait Watch: sealed::Sealed {
    /// What comes from its back end: [`Incoming`](crate::Incoming) of its events.
    type Incoming: 'static;

    /// Of the run at this moment.
    #[doc(hidden)]
    fn front(&self) -> Result<Arc<dyn Front<Self::Incoming>>, WatchError>;
}

pub(crate) mod sealed {
    /// Keeps [`Watch`](super::Watch) to this crate.
    pub trait Sealed {}
}

/// One run of a back end, as a loop sees it. `I` is what comes from it.
#[doc(hidden)]
pub trait Front<I>: Send + Sync {
    /// Readable while there is something to receive, or the link is closed.
    fn poll_fd(&self) -> Result<BorrowedFd<'_>, LinkError>;

    /// What is there, without waiting.
    fn try_next(&self) -> Next<I>;

    fn child(&self) -> &Child;

    /// What is told of its end.
    fn ended(&self, status: ExitStatus) -> I;
}

/// How long a process that has closed its links may take over its own end, before it is killed.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is there from a back end.
#[doc(hidden)]
#[derive(Debug)]
pub enum Next<I> {
    Something(I),
    /// It can't be read, and was logged.
    Unreadable,
    Nothing,
    /// The link is closed, and everything was received: the process is about to end.
    Closing,
}

/// Something that a loop watches, by whatever descriptor or timer.
pub(super) trait Source<E>: Send {
    /// When it is ready: what there is.
    fn step(&mut self) -> Step<E>;

    /// Whether the next step is its last, whatever comes of it.
    fn is_last_step(&self) -> bool {
        false
    }

    /// The process of a back end that it watches.
    fn process(&self) -> Option<u32> {
        None
    }
}

/// What comes of looking after something.
pub(super) enum Step<E> {
    /// There may be more.
    Event(E),
    /// Whether there is more, the descriptor tells.
    OnlyEvent(E),
    /// Nothing for the program, but there may be more.
    NoEvent,
    Nothing,
    /// Nothing more comes from the descriptor: the end of this process is what is to be waited for.
    AwaitEnd(Child),
    /// The watch is over.
    Over(Option<E>),
    /// The whole loop is to end.
    Stop,
}
