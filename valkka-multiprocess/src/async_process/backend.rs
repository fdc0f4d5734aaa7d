//! What runs in the other process, as tasks.

use std::io;
use std::time::Duration;

use common_ipc::RemoteError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use crate::async_process::context::AsyncContext;
use crate::message_process::{EventSender, Failure, Policy};

/// The side of an [`AsyncBackMessageProcess`](crate::AsyncBackMessageProcess) that runs in a process of its own, in a
/// tokio runtime of its own.
///
/// As for a [`Backend`](crate::Backend), the value is made here and moved there. In its process are called, in this order:
///
/// 1. [`pre_run`](AsyncBackend::pre_run), before there is a runtime;
/// 2. [`runtime`](AsyncBackend::runtime), which builds one;
/// 3. [`async_pre`](AsyncBackend::async_pre);
/// 4. [`handle`](AsyncBackend::handle) for each command, in the order in which they were sent: the next one when this one
///    has returned. What is to go on beside the next commands it puts into a task: [`AsyncContext::spawn`];
/// 5. [`async_post`](AsyncBackend::async_post), when the back end is to end and the tasks are over, after which the runtime is
///    shut down; what still blocks one of its threads has 0.1 s, and is left behind;
/// 6. [`post_run`](AsyncBackend::post_run).
///
/// All of these, and the tasks, run on one thread, so nothing need be `Send`. What blocks this thread blocks the whole back
/// end, and nobody else: for that there is `tokio::task::spawn_blocking`. Commands and events are encoded and decoded on
/// it; what is too long to be sent at once is sent by another one. Send replies by
/// [`Reply::send_async`](crate::Reply::send_async): [`Reply::send`](crate::Reply::send) blocks while there is no room.
///
/// # The end
///
/// It ends when it was asked to stop, after SIGTERM (and SIGINT, unless that is
/// [ignored](crate::MessageProcess::ignore_sigint)), when [`AsyncContext::stop`] was called, when its policy says so, or
/// when the front end is gone. No further command is handled then. Whoever waits for [`AsyncContext::cancelled`] sees it. The tasks of
/// commands, and a handler that waits for something, have as long as [`cancel_after`](AsyncBackend::cancel_after) says: then they, and all
/// other tasks, are dropped where they wait. Another SIGTERM ends that time. (Both signals are blocked in the process:
/// tokio's own handlers don't see them.)
#[doc(alias("exclog", "exclogmsg"))]
pub trait AsyncBackend: Sized + 'static {
    /// What the front end sends.
    type Command: Serialize + DeserializeOwned;
    /// What the back end sends.
    type Event: Serialize + DeserializeOwned;

    /// Handles a command. Write `async fn handle(..)`.
    ///
    /// # Errors
    ///
    /// Whatever fails. It is logged; the front end is told; then [`policy`](AsyncBackend::policy) decides. So for a panic,
    /// and for what a [task](AsyncContext::spawn) of the command fails with.
    #[doc(alias = "c__ping")]
    fn handle(
        &mut self,
        cx: &AsyncContext<Self>,
        command: Self::Command,
    ) -> impl Future<Output = Result<(), RemoteError>>;

    /// Called in the back end's process before there is a runtime. In it, too, the process has one thread: here is the
    /// place for [`init`](crate::init), if it is to start processes itself.
    ///
    /// # Errors
    ///
    /// Whatever fails. Then the back end ends, and nothing else is called.
    #[doc(alias = "preRun__")]
    fn pre_run(&mut self, events: &EventSender<Self::Event>) -> Result<(), RemoteError> {
        let _ = events;
        Ok(())
    }

    /// Called in the runtime before the first command: for what opens connections, say. [`FrontEnd::wait_ready`](crate::FrontEnd::wait_ready)
    /// waits until it has returned.
    ///
    /// # Errors
    ///
    /// Whatever fails. Then the back end ends: neither commands nor `async_post` nor `post_run` are for one that isn't
    /// ready.
    #[doc(alias = "asyncPre__")]
    fn async_pre(&mut self, cx: &AsyncContext<Self>) -> impl Future<Output = Result<(), RemoteError>> {
        let _ = cx;
        async { Ok(()) }
    }

    /// Called in the runtime when the last command and all tasks are over. What it spawns ends with it.
    ///
    /// # Errors
    ///
    /// Whatever fails, for the log and [`Ended::failure`](crate::Ended::failure).
    #[doc(alias = "asyncPost__")]
    fn async_post(&mut self, cx: &AsyncContext<Self>) -> impl Future<Output = Result<(), RemoteError>> {
        let _ = cx;
        async { Ok(()) }
    }

    /// Called in the back end's process when its runtime is gone. Events that it sends still arrive.
    ///
    /// # Errors
    ///
    /// Whatever fails, for the log and [`Ended::failure`](crate::Ended::failure).
    #[doc(alias = "postRun__")]
    fn post_run(&mut self, events: &EventSender<Self::Event>) -> Result<(), RemoteError> {
        let _ = events;
        Ok(())
    }

    /// As [`Backend::policy`](crate::Backend::policy). About the failure of a task it is asked when no handler runs.
    fn policy(&mut self, failure: &Failure) -> Policy {
        let _ = failure;
        Policy::GoOn
    }

    /// Builds the runtime, which needs I/O and time: one that does everything on this thread, unless this says otherwise.
    /// Whatever it is, handlers and tasks run on this thread; the others are for what is given to `tokio::spawn`.
    ///
    /// # Errors
    ///
    /// Whatever fails. Then the back end ends: it isn't ready.
    fn runtime(&self) -> io::Result<Runtime> {
        Builder::new_current_thread().enable_all().build()
    }

    /// How long a handler and the tasks of commands may go on when the back end is to end, before they are dropped: not at
    /// all, unless this says otherwise. Who asks for the end may have less patience: see [`FrontEnd::stop`](crate::FrontEnd::stop).
    fn cancel_after(&self) -> Duration {
        Duration::ZERO
    }
}
