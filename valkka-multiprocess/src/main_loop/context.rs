//! The program around its loop: what is started, what is handled, what is closed, in this order.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use common_ipc::process::Signal;

use super::running::RunningContext;
use super::{LoopError, MainLoop};

/// A program as a type: it starts its processes, then its threads, then handles events, and at last closes what it has
/// started. [`run`](MainContext::run) sees to the order, and to the closing.
///
/// The order is what it is because of forks: processes can't be forked any more once there are threads.
///
/// ```
/// use std::time::Duration;
/// use valkka_multiprocess::{MainContext, MainLoop};
///
/// #[derive(Default)]
/// struct Counter {
///     ticks: u32,
///     is_closed: bool,
/// }
///
/// impl MainContext for Counter {
///     type Event = ();
///     type Error = Box<dyn std::error::Error + Send + Sync>;
///
///     fn start_processes(&mut self, main_loop: &mut MainLoop<()>) -> Result<(), Self::Error> {
///         // process.start()?; main_loop.watch(&process, ..)?;
///         main_loop.every(Duration::from_millis(2), || ())?;
///         Ok(())
///     }
///
///     fn handle(&mut self, main_loop: &mut MainLoop<()>, _event: ()) -> Result<(), Self::Error> {
///         self.ticks += 1;
///         if self.ticks == 3 {
///             main_loop.stop();
///         }
///         Ok(())
///     }
///
///     fn close(&mut self) -> Result<(), Self::Error> {
///         self.is_closed = true; // process.stop()?;
///         Ok(())
///     }
/// }
///
/// let mut counter = Counter::default();
/// counter.run()?;
/// assert!(counter.ticks == 3 && counter.is_closed);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub trait MainContext: Sized {
    /// What happens: the value that each watch of the loop makes.
    type Event: 'static;
    /// What may go wrong, the loop itself included.
    type Error: From<LoopError> + Display;

    /// Starts the processes, and has the loop watch them, and whatever else is to be watched.
    ///
    /// # Errors
    ///
    /// As the program likes; nothing more is started then, and [`close`](MainContext::close) is called.
    #[doc(alias = "startProcesses")]
    fn start_processes(&mut self, main_loop: &mut MainLoop<Self::Event>) -> Result<(), Self::Error>;

    /// Starts the threads, when all processes were started. By itself it starts none.
    ///
    /// # Errors
    ///
    /// As for [`start_processes`](MainContext::start_processes).
    #[doc(alias = "startThreads")]
    fn start_threads(&mut self, main_loop: &mut MainLoop<Self::Event>) -> Result<(), Self::Error> {
        let _ = main_loop;
        Ok(())
    }

    /// Handles an event. It may watch more, and less, and [stop](MainLoop::stop) the loop.
    ///
    /// # Errors
    ///
    /// As the program likes; the loop ends then, and [`close`](MainContext::close) is called.
    fn handle(
        &mut self,
        main_loop: &mut MainLoop<Self::Event>,
        event: Self::Event,
    ) -> Result<(), Self::Error>;

    /// Stops what was started. It is called once, whatever has gone wrong before, a panic included; so it can't rely
    /// on everything having been started. By itself it does nothing. The loop is gone by then, with the descriptors that it
    /// kept; the signals that stop it are still caught.
    ///
    /// # Errors
    ///
    /// As the program likes. After another error it is only logged.
    fn close(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The signals that end the loop in an orderly way: SIGINT and SIGTERM, unless the program says otherwise. With none
    /// it sees to signals itself, by [`MainLoop::signals`]. They are caught before anything is started: one
    /// that comes during the starts isn't lost, and ends the loop before its first event.
    fn stop_signals(&self) -> &'static [Signal] {
        &[Signal::INT, Signal::TERM]
    }

    /// Runs the program: catches the [signals](MainContext::stop_signals) that end it, starts processes and threads, hands
    /// events to [`handle`](MainContext::handle) until the loop is stopped, and closes. A signal that comes during the close
    /// doesn't cut that short; after it signals are what they were before.
    ///
    /// # Errors
    ///
    /// The first that anything of that returned. A panic goes on when everything was closed.
    fn run(&mut self) -> Result<(), Self::Error> {
        let mut stop_signals = Vec::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut main_loop = MainLoop::new()?;
            main_loop.stop_on(self.stop_signals()).map_err(LoopError::StopSignals)?;
            // Caught until everything is closed, also if this panics.
            stop_signals = main_loop.stop_signals();
            start(self, &mut main_loop)?;
            main_loop.heed_stop_signals();
            go_on(self, &mut main_loop)
        }));
        let closed = catch_unwind(AssertUnwindSafe(|| self.close()));
        drop(stop_signals);
        first(outcome, closed).unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Runs the program beside the caller: processes and threads are started here, then the loop and the handlers move to a
    /// thread of their own. No signals are caught: they are the business of whoever has the main thread. It is for
    /// tests, and for programs that have a loop of another kind already. Because of the thread, processes can be started
    /// from zygotes and templates only from then on.
    ///
    /// # Errors
    ///
    /// The first that the starts returned, when what they had started was closed; the context is dropped then. A panic goes
    /// on in the same way.
    #[doc(alias = "runAsThread")]
    fn run_as_thread(mut self) -> Result<RunningContext<Self>, Self::Error>
    where
        Self: Send + 'static,
        Self::Error: Send,
    {
        let started = catch_unwind(AssertUnwindSafe(|| {
            let mut main_loop = MainLoop::new()?;
            start(&mut self, &mut main_loop)?;
            Ok(main_loop)
        }));
        let failed = match started {
            Ok(Ok(main_loop)) => match RunningContext::start(self, main_loop) {
                Ok(running) => return Ok(running),
                Err((context, source)) => {
                    self = context;
                    Ok(LoopError::Os { step: "have a thread", source }.into())
                }
            },
            Ok(Err(error)) => Ok(error),
            Err(payload) => Err(payload),
        };
        log_second(catch_unwind(AssertUnwindSafe(|| self.close())));
        Err(failed.unwrap_or_else(|payload| resume_unwind(payload)))
    }
}

fn start<C: MainContext>(context: &mut C, main_loop: &mut MainLoop<C::Event>) -> Result<(), C::Error> {
    context.start_processes(main_loop)?;
    context.start_threads(main_loop)
}

/// Hands on events until the loop is stopped.
pub(super) fn go_on<C: MainContext>(
    context: &mut C,
    main_loop: &mut MainLoop<C::Event>,
) -> Result<(), C::Error> {
    while let Some(event) = main_loop.next()? {
        context.handle(main_loop, event)?;
    }
    Ok(())
}

/// Of what a context has come to and how its close went, the first error or panic.
pub(super) fn first<E: Display, P>(
    outcome: Result<Result<(), E>, P>,
    closed: Result<Result<(), E>, P>,
) -> Result<Result<(), E>, P> {
    match outcome {
        Ok(Ok(())) => closed,
        failed => {
            log_second(closed);
            failed
        }
    }
}

fn log_second<E: Display, P>(closed: Result<Result<(), E>, P>) {
    match closed {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::error!("the program has failed, and so has its close: {error}"),
        Err(_) => log::error!("the program has failed, and its close has panicked"),
    }
}
