//! What comes while somebody waits for the end: it is kept, so that the back end has room, for those who receive.

use std::collections::VecDeque;
use std::os::fd::AsFd;
#[cfg(feature = "tokio")]
use std::task::Poll;
use std::time::{Duration, Instant};

use common_ipc::link::{LinkError, OpenRequest, safe_select};
use common_ipc::process::ChildError;
use serde::de::DeserializeOwned;

#[cfg(feature = "tokio")]
use crate::async_process::Either;
use crate::message_process::error::ProcessError;
use crate::message_process::incoming::{Ended, Incoming};
use crate::message_process::run::{Run, read, with_buffer};

/// What is kept is older than what is in the link: nobody keeps anything while a thread receives from there, and that
/// begins only when nothing is kept.
pub(super) struct Kept<E> {
    /// And how much memory each takes.
    incoming: VecDeque<(Received<E>, usize)>,
    /// How much all take.
    held: usize,
    /// Threads that receive from the link.
    pub(super) receivers: usize,
}

/// What came, or why it can't be read.
pub(crate) type Received<E> = Result<Incoming<E>, ProcessError>;

impl<E> Default for Kept<E> {
    fn default() -> Kept<E> {
        Kept { incoming: VecDeque::new(), held: 0, receivers: 0 }
    }
}

/// What came of keeping what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Nothing is kept: nothing was there, or somebody else receives it.
    Done,
    /// Something is, and came just now.
    More,
    /// Something is.
    Some,
    Full,
    /// Nothing more will come.
    Over,
}

impl Keeping {
    /// How soon whoever waits for the end looks again, who can't wait for events. While something is kept, they can be
    /// read, for those who receive, and tell nothing of what is to be kept.
    pub(crate) fn look_again(self) -> Option<Duration> {
        match self {
            Keeping::Over => None,
            Keeping::More => Some(Duration::from_millis(5)),
            Keeping::Done | Keeping::Some | Keeping::Full => Some(Duration::from_millis(50)),
        }
    }
}

/// So many bytes are kept while somebody waits for the end.
const HELD_MOST: usize = 64 << 20;
/// What a descriptor that is kept counts as: 256 are as much as may be.
const PER_DESCRIPTOR: usize = HELD_MOST / 256;
/// For so long messages are kept before whoever waits looks at the time.
const KEEP_FOR: Duration = Duration::from_millis(2);

impl<E: DeserializeOwned> Run<E> {
    pub(super) fn take(&self, kept: &mut Kept<E>) -> Option<Received<E>> {
        let (oldest, size) = kept.incoming.pop_front()?;
        kept.held -= size;
        self.remind_of_kept(kept);
        Some(oldest)
    }

    /// What is kept, else what `poll` finds in the link.
    #[cfg(feature = "tokio")]
    pub(crate) fn kept_or<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<Either<Received<E>, T>> {
        let mut kept = self.kept.lock();
        match self.take(&mut kept) {
            Some(oldest) => Poll::Ready(Either::Left(oldest)),
            None => poll().map(Either::Right),
        }
    }

    /// Waits for the end; `None` if it doesn't come in time. What the back end sends meanwhile is kept.
    pub(crate) fn wait_stop(&self, deadline: Option<Instant>) -> Result<Option<&Ended>, ProcessError> {
        let mut keeping = Keeping::Done;
        while self.child.is_alive()? {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // Without a descriptor left for them, the events are looked at now and then.
            let events = self.events.pollable().ok().filter(|_| keeping == Keeping::Done);
            let again = if events.is_some() { None } else { keeping.look_again() };
            let watched: Vec<_> = [self.child.as_fd()].into_iter().chain(events).collect();
            let timeout = left.into_iter().chain(again).min();
            let poll = |source| ChildError::Os { step: "wait for the end", source };
            let ready = safe_select(&watched, timeout).map_err(poll)?;
            if keeping != Keeping::Over && !ready.contains(&0) {
                keeping = self.keep_what_is_there();
            }
            if !ready.contains(&0) && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
        }
        self.see_the_end().map(Some)
    }

    /// Receives what is there, unless somebody else does, as far as there is room for it.
    pub(crate) fn keep_what_is_there(&self) -> Keeping {
        let (began, mut has_come) = (Instant::now(), false);
        while !has_come || began.elapsed() < KEEP_FOR {
            let mut kept = self.kept.lock();
            if kept.held >= HELD_MOST {
                self.remind_of_kept(&kept);
                return Keeping::Full;
            }
            let came = match kept.receivers {
                0 => self.keep_one(&mut kept),
                _ => Ok(false),
            };
            if let Ok(true) = came {
                has_come = true;
                continue;
            }
            self.remind_of_kept(&kept);
            return match came {
                Ok(_) if kept.incoming.is_empty() => Keeping::Done,
                Ok(_) if has_come => Keeping::More,
                Ok(_) => Keeping::Some,
                // It is found again by whoever receives next.
                Err(_) => Keeping::Over,
            };
        }
        self.remind_of_kept(&self.kept.lock());
        Keeping::More
    }

    fn keep_one(&self, kept: &mut Kept<E>) -> Result<bool, LinkError> {
        with_buffer(|buffer| {
            let came = self.events.try_recv(buffer)?;
            Ok(came.map(|came| self.put(kept, came)).is_some())
        })
    }

    fn put(&self, kept: &mut Kept<E>, came: OpenRequest<'_>) {
        let size = came.size() + size_of::<(Received<E>, usize)>() + came.descriptors() * PER_DESCRIPTOR;
        kept.held += size;
        kept.incoming.push_back((read(&self.name, came), size));
        #[cfg(feature = "tokio")]
        self.runtimes.kept.notify_waiters();
    }

    /// Keeps what `poll` finds in the link, unless a thread receives there. Ready when it is worth another look.
    #[cfg(feature = "tokio")]
    pub(crate) fn keep_polled<'b>(
        &self,
        poll: impl FnOnce() -> Poll<Result<OpenRequest<'b>, LinkError>>,
    ) -> Poll<()> {
        let mut kept = self.kept.lock();
        if kept.receivers > 0 {
            return Poll::Pending;
        }
        poll().map(|came| {
            if let Ok(came) = came {
                self.put(&mut kept, came);
                self.remind_of_kept(&kept);
            }
        })
    }
}

impl<E> Run<E> {
    /// What was kept isn't in the link any more.
    pub(super) fn remind_of_kept(&self, kept: &Kept<E>) {
        if !kept.incoming.is_empty() {
            self.events.remind();
        }
    }
}
