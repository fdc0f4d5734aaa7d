//! What a back end of tasks can do beyond itself.

use std::fmt;
use std::io;
use std::rc::Rc;

use common_ipc::RemoteError;
use common_ipc::link::{AsyncOpenCaller, LinkError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::async_process::backend::AsyncBackend;
use crate::async_process::stopping::Stopping;
use crate::async_process::tasks::{Tasks, guarded};
use crate::message_process::{
    Asked, AtWork, During, EVENT, EventSender, FAILED, Failure, REFUSED, TELLING, was_told,
};

/// What an [`AsyncBackend`] can do beyond itself: send events, begin tasks, stop.
///
/// It is lent to each of its methods. A clone is for tasks; one of a command belongs to that command.
pub struct AsyncContext<B: AsyncBackend> {
    shared: Rc<Shared<B::Event>>,
    during: During,
    request: Option<Asked>,
}

/// What all contexts of a back end share.
pub(crate) struct Shared<E> {
    pub(crate) name: String,
    pub(crate) logger: String,
    events: AsyncOpenCaller,
    sender: EventSender<E>,
    pub(crate) tasks: Tasks,
    pub(crate) stopping: Stopping,
    /// Of tasks, for the policy.
    failures: UnboundedSender<Box<Failure>>,
}

impl<B: AsyncBackend> AsyncContext<B> {
    pub(crate) fn new(
        shared: &Rc<Shared<B::Event>>,
        during: During,
        request: Option<&AtWork>,
    ) -> AsyncContext<B> {
        AsyncContext { shared: Rc::clone(shared), during, request: request.map(AtWork::asked) }
    }

    /// Sends an event to the front end, waiting for room as long as it takes. While it waits, commands that come are taken
    /// in, as for [`Context::send_out`](crate::Context::send_out). If the future is dropped, the event arrives whole or not
    /// at all.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] if the front end is gone; [`LinkError::Encode`] and [`LinkError::TooLarge`] with nothing sent.
    #[doc(alias = "send_out__")]
    pub async fn send_out(&self, event: &B::Event) -> Result<(), LinkError> {
        let sent = self.shared.events.send::<B::Event, _>(EVENT, event, None).await;
        sent.map_err(|error| error.cause)
    }

    /// As [`send_out`](AsyncContext::send_out), if there is room for the event now.
    ///
    /// # Errors
    ///
    /// [`LinkError::TimedOut`] if there isn't; else as for [`send_out`](AsyncContext::send_out).
    pub fn try_send_out(&self, event: &B::Event) -> Result<(), LinkError> {
        self.shared.sender.try_send(event)
    }

    /// What sends events from other threads of the back end, by calls that block. In `spawn_blocking`, for example.
    #[must_use]
    pub fn sender(&self) -> EventSender<B::Event> {
        self.shared.sender.clone()
    }

    /// Begins a task, which goes on beside the commands that come next. Any number of them may run at once.
    ///
    /// It belongs to the command whose context this is: if it fails or panics, that is logged, and told as a
    /// [`Failure`] of that command - or, if it has dropped the command's [`Reply`](crate::Reply), as the error of the
    /// request. Then the [policy](AsyncBackend::policy) decides. What is returned can end the task before.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use valkka_multiprocess::{AsyncBackMessageProcess, AsyncBackend, AsyncContext, ProcessError, RemoteError, Reply};
    /// #[derive(Serialize, Deserialize)]
    /// struct Read {
    ///     path: String,
    ///     reply: Reply<usize>,
    /// }
    ///
    /// struct Reader;
    ///
    /// impl AsyncBackend for Reader {
    ///     type Command = Read;
    ///     type Event = ();
    ///
    ///     async fn handle(&mut self, cx: &AsyncContext<Self>, read: Read) -> Result<(), RemoteError> {
    ///         cx.spawn(async move {
    ///             let text = tokio::task::spawn_blocking(|| std::fs::read(read.path)).await??;
    ///             read.reply.send_async(&text.len()).await?;
    ///             Ok(())
    ///         });
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let reader = AsyncBackMessageProcess::new("reader", Reader);
    /// reader.start()?;
    /// let error = reader.request(|reply| Read { path: "/does/not/exist".into(), reply }).unwrap_err();
    /// assert!(error.to_string().starts_with("reader: command 1 (Read) failed: No such file"), "{error}");
    /// # Ok::<(), ProcessError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of the back end's handlers and tasks, as in a guard that is dropped after them.
    #[doc(alias("exclog", "exclogmsg", "create_task"))]
    pub fn spawn(&self, task: impl Future<Output = Result<(), RemoteError>> + 'static) -> AbortHandle {
        let during = match &self.during {
            command @ During::Command { .. } => command.clone(),
            _ => During::Task,
        };
        let at_work = self.request.as_ref().map(Asked::begin_work);
        self.shared.tasks.begin(Rc::clone(&self.shared).told_of(task, during, at_work))
    }

    /// As [`spawn`](AsyncContext::spawn), of a task that belongs to no command: one that goes on as long as the back end.
    /// A failure of it is one of [`During::Task`]. At the back end's end nobody waits for it.
    ///
    /// # Panics
    ///
    /// As for [`spawn`](AsyncContext::spawn).
    pub fn spawn_background(
        &self,
        task: impl Future<Output = Result<(), RemoteError>> + 'static,
    ) -> AbortHandle {
        let task = Rc::clone(&self.shared).told_of(task, During::Task, None);
        self.shared.tasks.begin_in_background(task)
    }

    /// Ends the back end: commands that wait aren't handled any more. What runs is treated as at any other
    /// [end](AsyncBackend#the-end).
    pub fn stop(&self) {
        self.shared.stopping.begin();
    }

    /// Waits until the back end is to end, for whatever reason. What runs is dropped [soon](AsyncBackend::cancel_after)
    /// afterwards.
    pub async fn cancelled(&self) {
        self.shared.stopping.begun().await;
    }

    /// Tells of a failure that doesn't end the handler or task: logs it, and sends it to the front end, as one that belongs to
    /// what this context is of.
    pub async fn report(&self, error: impl Into<RemoteError>) {
        let failure = Failure::error(self.during.clone(), error);
        self.shared.tell(&failure, None).await;
    }

    /// The name that the back end's process has.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The name under which this back end logs: `Class.name`. Use it as the target: `log::info!(target: cx.logger(), "..")`.
    #[must_use]
    pub fn logger(&self) -> &str {
        &self.shared.logger
    }
}

impl<E: Serialize + DeserializeOwned> Shared<E> {
    pub(crate) fn new(
        name: String,
        logger: String,
        sender: EventSender<E>,
        failures: UnboundedSender<Box<Failure>>,
    ) -> io::Result<Shared<E>> {
        let events = sender.caller.to_async()?;
        let (tasks, stopping) = (Tasks::default(), Stopping::new());
        Ok(Shared { name, logger, events, sender, tasks, stopping, failures })
    }

    /// Logs a failure. Of a request whose reply was dropped whoever asked is told; else all who listen to the front end.
    pub(crate) async fn tell(&self, failure: &Failure, request: Option<AtWork>) {
        log::error!(target: &self.logger, "{failure}");
        let told = match request.as_ref().and_then(AtWork::take_if_dropped) {
            Some(responder) => {
                let told = responder.reply_async::<Failure, _>(REFUSED, failure).await;
                told.map_err(|error| error.cause)
            }
            None => {
                let told = self.events.send::<Failure, _>(FAILED, failure, Some(TELLING)).await;
                told.map_err(|error| error.cause)
            }
        };
        was_told(&self.logger, told);
    }

    /// A task that tells of its failure.
    async fn told_of(
        self: Rc<Self>,
        task: impl Future<Output = Result<(), RemoteError>>,
        during: During,
        request: Option<AtWork>,
    ) {
        if let Err(cause) = guarded(task).await {
            let failure = Failure::new(during, cause);
            self.tell(&failure, request).await;
            // Nobody receives it when no policy is asked any more.
            let _ = self.failures.send(failure);
        }
    }
}

impl<B: AsyncBackend> Clone for AsyncContext<B> {
    fn clone(&self) -> Self {
        AsyncContext {
            shared: Rc::clone(&self.shared),
            during: self.during.clone(),
            request: self.request.clone(),
        }
    }
}

impl<B: AsyncBackend> fmt::Debug for AsyncContext<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncContext")
            .field("name", &self.shared.name)
            .field("during", &self.during)
            .finish_non_exhaustive()
    }
}
