//! What tasks do with one run of a back end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::link::{AsyncOpenCaller, AsyncOpenServer, CallError, LinkError, OpenReply};
use common_ipc::process::{StopStep, Stopped};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

use crate::async_process::race::{Either, either};
use crate::main_loop::source::LAST_WORDS;
use crate::message_process::{
    COMMAND, Ended, Incoming, Keeping, ProcessError, Run, STOP, TERM_GRACE, answer, only_events, read_event,
};

/// The links of a run, as the tasks of each runtime use them.
#[derive(Default)]
pub(crate) struct Runtimes {
    links: Mutex<Vec<(Id, Arc<Links>)>>,
    /// Told when something is kept that was received by somebody who waits for the end, and when a thread doesn't receive
    /// any more.
    pub(crate) kept: Notify,
}

struct Links {
    commands: AsyncOpenCaller,
    events: AsyncOpenServer,
}

/// Of more than so many runtimes at once the links are made again and again.
const RUNTIMES: usize = 8;

impl<E: DeserializeOwned> Run<E> {
    /// Those of the current runtime.
    fn links(&self) -> Result<Arc<Links>, ProcessError> {
        let runtime = Handle::try_current().map_err(|_| ProcessError::OutsideRuntime)?.id();
        let mut links = self.runtimes.links.lock();
        if let Some((_, links)) = links.iter().find(|(of, _)| *of == runtime) {
            return Ok(Arc::clone(links));
        }
        let made = || -> io::Result<Links> {
            Ok(Links { commands: self.commands.to_async()?, events: self.events.to_async()? })
        };
        let made = Arc::new(made().map_err(|error| self.broken(error.into(), None))?);
        if links.len() == RUNTIMES {
            // Who uses it at this moment goes on to.
            links.remove(0);
        }
        links.push((runtime, Arc::clone(&made)));
        Ok(made)
    }

    /// As [`send`](Run::send).
    pub(crate) async fn send_async<C>(&self, command: &C) -> Result<u64, ProcessError>
    where
        C: Serialize + DeserializeOwned,
    {
        self.check_alive()?;
        let (links, number) = (self.links()?, self.number());
        match links.commands.send::<(u64, C), _>(COMMAND, &(number, command), None).await {
            Ok(()) => Ok(number),
            Err(error) => Err(self.failed_async(error).await),
        }
    }

    /// As [`request`](Run::request).
    pub(crate) async fn request_async<C, R>(&self, command: &C) -> Result<R, ProcessError>
    where
        C: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        self.check_alive()?;
        let (links, argument) = (self.links()?, (self.number(), command));
        let answer = |reply: OpenReply<'_>| answer(&self.name, reply);
        match links.commands.call::<(u64, C), _, _>(COMMAND, &argument, None, answer).await {
            Ok(answer) => answer,
            Err(error) => Err(self.failed_async(error).await),
        }
    }

    /// As [`event`](Run::event), as long as it takes.
    pub(crate) async fn event_async(&self) -> Result<E, ProcessError> {
        let links = self.links()?;
        let mut buffer = Vec::new();
        loop {
            let mut kept = pin!(self.runtimes.kept.notified());
            // Before the look: what is kept after it counts.
            kept.as_mut().enable();
            let mut coming = pin!(links.events.recv(&mut buffer));
            let look = poll_fn(|context| self.kept_or(|| coming.as_mut().poll(context)));
            let incoming = match either(kept, look).await {
                Either::Left(()) => continue,
                Either::Right(Either::Left(kept)) => kept?,
                Either::Right(Either::Right(Ok(request))) => read_event(&self.name, request)?,
                Either::Right(Either::Right(Err(LinkError::Closed | LinkError::Truncated))) => {
                    Incoming::Ended(self.see_the_end_async().await?.clone())
                }
                Either::Right(Either::Right(Err(error))) => {
                    return Err(self.broken(error, None));
                }
            };
            return only_events(incoming);
        }
    }

    /// Waits for the end. What the back end sends meanwhile is kept.
    pub(crate) async fn wait_stop_async(&self) -> Result<&Ended, ProcessError> {
        let links = self.links()?;
        // Never ready.
        if let Either::Left(ended) = either(self.child.wait_async(), self.keep_all(&links)).await {
            ended?;
        }
        self.see_the_end_async().await
    }

    /// Ends it, as [`stop`](Run::stop) does.
    pub(crate) async fn stop_async(&self, grace: Duration) -> Result<Stopped, ProcessError> {
        let mut asked = false;
        if self.child.is_alive()? {
            let by_request = async {
                if !self.request_stop_async().await? {
                    return Ok(());
                }
                asked = true;
                self.wait_stop_async().await.map(drop)
            };
            if let Ok(ended) = tokio::time::timeout(grace, by_request).await {
                ended?;
            }
        }
        let mut stopped = self.child.wait_or_stop_async(Duration::ZERO, TERM_GRACE).await?;
        if asked && stopped.by == StopStep::HadEnded {
            stopped.by = StopStep::EndedByItself;
        }
        self.ended_with(stopped.status.clone());
        Ok(stopped)
    }

    /// Asks the back end to end; false if it ends by itself, or has no ears.
    async fn request_stop_async(&self) -> Result<bool, ProcessError> {
        let links = self.links()?;
        let request = links.commands.send::<(), _>(STOP, &(), None);
        match either(request, self.keep_all(&links)).await {
            Either::Left(Ok(())) => Ok(true),
            Either::Left(Err(error)) => match self.failed_async(error).await {
                ProcessError::Ended { .. } | ProcessError::Broken { .. } => Ok(false),
                error => Err(error),
            },
            Either::Right(()) => Ok(false),
        }
    }

    /// Keeps what comes, as long as there is room for it, and never ends.
    async fn keep_all(&self, links: &Links) {
        let mut buffer = Vec::new();
        loop {
            let mut changed = pin!(self.runtimes.kept.notified());
            changed.as_mut().enable();
            let keeping = self.keep_what_is_there();
            match keeping.look_again() {
                None => std::future::pending().await,
                Some(pause) if keeping != Keeping::Done => tokio::time::sleep(pause).await,
                Some(_) => {
                    let mut coming = pin!(links.events.recv(&mut buffer));
                    let keep = poll_fn(|context| self.keep_polled(|| coming.as_mut().poll(context)));
                    either(changed, keep).await;
                }
            }
        }
    }

    async fn failed_async(&self, error: CallError) -> ProcessError {
        if !matches!(error.cause, LinkError::Closed | LinkError::Truncated) {
            return self.failed(error, None);
        }
        match self.see_the_end_async().await {
            Ok(ended) => {
                ProcessError::Ended { ended: Box::new(ended.clone()), execution: Some(error.execution()) }
            }
            Err(error) => error,
        }
    }

    /// As [`see_the_end`](Run::see_the_end).
    async fn see_the_end_async(&self) -> Result<&Ended, ProcessError> {
        if let Some(ended) = self.ended() {
            return Ok(ended);
        }
        let stopped = self.child.wait_or_stop_async(LAST_WORDS, Duration::ZERO).await?;
        Ok(self.ended_with(stopped.status))
    }
}

impl fmt::Debug for Runtimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtimes").finish_non_exhaustive()
    }
}
