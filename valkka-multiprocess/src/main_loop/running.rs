//! A program whose loop runs in a thread.

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::io;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use common_ipc::process::PanicReport;

use super::context::{MainContext, first, go_on};
use super::{MainLoop, StopHandle};

/// A context whose loop runs in a thread of its own: from [`MainContext::run_as_thread`].
///
/// ```
/// use valkka_multiprocess::{MainContext, MainLoop};
///
/// struct Sum(u64);
///
/// impl MainContext for Sum {
///     type Event = u64;
///     type Error = Box<dyn std::error::Error + Send + Sync>;
///
///     fn start_processes(&mut self, main_loop: &mut MainLoop<u64>) -> Result<(), Self::Error> {
///         main_loop.after(std::time::Duration::from_millis(1), || 7)?;
///         Ok(())
///     }
///
///     fn handle(&mut self, main_loop: &mut MainLoop<u64>, number: u64) -> Result<(), Self::Error> {
///         self.0 += number;
///         main_loop.stop();
///         Ok(())
///     }
/// }
///
/// let running = Sum(0).run_as_thread()?;
/// while !running.is_finished() {
///     std::thread::yield_now(); // whatever the program does meanwhile
/// }
/// assert_eq!(running.stop_thread()?.0, 7);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// **Dropping** it stops the loop, waits for the handler that runs at this moment, and closes the context; what goes wrong
/// is logged.
pub struct RunningContext<C: MainContext> {
    /// Until it is joined.
    thread: Option<JoinHandle<Option<Done<C>>>>,
    stop: StopHandle,
}

/// The context, and what it has come to.
type Done<C> = (C, Outcome<C>);
type Outcome<C> = Result<Result<(), <C as MainContext>::Error>, PanicReport>;

impl<C: MainContext> RunningContext<C> {
    /// Gives the context back if there is no thread.
    pub(super) fn start(
        context: C,
        main_loop: MainLoop<C::Event>,
    ) -> Result<RunningContext<C>, (C, io::Error)>
    where
        C: Send + 'static,
        C::Error: Send,
    {
        let stop = main_loop.stop_handle();
        // The context follows when there is a thread: one that can't be started drops what it was given.
        let (hand_over, handed_over) = sync_channel::<(C, MainLoop<C::Event>)>(1);
        let body = move || {
            let (mut context, mut main_loop) = handed_over.recv().ok()?;
            let outcome = PanicReport::catch(|| go_on(&mut context, &mut main_loop));
            Some((context, outcome))
        };
        match thread::Builder::new().name("main-loop".to_owned()).spawn(body) {
            Err(error) => Err((context, error)),
            Ok(thread) => match hand_over.send((context, main_loop)) {
                Ok(()) => Ok(RunningContext { thread: Some(thread), stop }),
                Err(unsent) => Err((unsent.0.0, io::ErrorKind::BrokenPipe.into())),
            },
        }
    }

    /// Stops the loop, waits for the handler that runs at this moment, closes the context, and gives it back.
    ///
    /// # Errors
    ///
    /// [`ThreadError`], with the context: the loop, a handler or the close has failed or panicked, which may have been
    /// some time ago.
    #[doc(alias = "stopThread")]
    pub fn stop_thread(mut self) -> Result<C, ThreadError<C>> {
        match self.finish() {
            Some((context, Ok(Ok(())))) => Ok(context),
            Some((context, Ok(Err(error)))) => Err(ThreadError::Failed { context, error }),
            Some((context, Err(report))) => Err(ThreadError::Panicked { context, report }),
            #[expect(clippy::unreachable, reason = "only this joins the thread, and a drop, which is last")]
            None => unreachable!("the thread has the context"),
        }
    }

    /// What stops the loop from elsewhere, for others; the context is closed by [`stop_thread`](RunningContext::stop_thread).
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Whether the loop is over already: it was stopped, or something has failed. The context isn't closed before
    /// [`stop_thread`](RunningContext::stop_thread).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn finish(&mut self) -> Option<Done<C>> {
        self.stop.stop();
        // It catches panics itself.
        let (mut context, outcome) = self.thread.take()?.join().ok()??;
        let closed = PanicReport::catch(|| context.close());
        Some((context, first(outcome, closed)))
    }
}

impl<C: MainContext> Drop for RunningContext<C> {
    fn drop(&mut self) {
        match self.finish() {
            Some((_, Ok(Err(error)))) => log::error!("a program that ran in a thread has failed: {error}"),
            Some((_, Err(report))) => log::error!("a program that ran in a thread has panicked: {report}"),
            Some((_, Ok(Ok(())))) | None => {}
        }
    }
}

impl<C: MainContext> Debug for RunningContext<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningContext").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// What has gone wrong with a context that ran in a thread. The context was closed, and is in it.
#[non_exhaustive]
pub enum ThreadError<C: MainContext> {
    /// The loop, a handler or the close has returned an error: the first of them.
    Failed {
        /// The context, closed.
        context: C,
        /// What was returned.
        error: C::Error,
    },
    /// A handler or the close has panicked.
    Panicked {
        /// The context, closed, as the panic has left it.
        context: C,
        /// The panic.
        report: PanicReport,
    },
}

impl<C: MainContext> ThreadError<C> {
    /// The context.
    #[must_use]
    pub fn into_context(self) -> C {
        match self {
            ThreadError::Failed { context, .. } | ThreadError::Panicked { context, .. } => context,
        }
    }
}

impl<C: MainContext> Display for ThreadError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThreadError::Failed { error, .. } => write!(f, "the program in its thread has failed: {error}"),
            ThreadError::Panicked { report, .. } => {
                write!(f, "the program in its thread has panicked: {report}")
            }
        }
    }
}

/// Its text: this is what `main` and `unwrap` print.
impl<C: MainContext> Debug for ThreadError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl<C: MainContext> Error for ThreadError<C> {}
