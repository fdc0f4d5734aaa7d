//! A unit of work that runs again and again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use common_ipc::process::StopSignals;

use crate::subprocess::Subprocess;

/// What follows an iteration of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoopStep {
    /// The next one, after [`LoopStep::PAUSE`].
    Again,
    /// The next one, after this pause; a request to stop ends it early.
    After(Duration),
    /// The end of the loop.
    Stop,
}

impl LoopStep {
    /// The pause between iterations unless they say otherwise: 50 ms.
    pub const PAUSE: Duration = Duration::from_millis(50);
}

/// A unit of work that runs again and again in a process of its own, until it stops itself or is
/// told to.
///
/// In the child, [`begin`](SubprocessLoop::begin) is called first, then
/// [`step`](SubprocessLoop::step) in a loop, then, however the loop ended,
/// [`end`](SubprocessLoop::end). SIGTERM (sent by [`Handle::shutdown`](crate::Handle::shutdown) and
/// at the program's exit) ends the loop after the current iteration, and so does SIGINT, unless
/// [`LaunchOptions::sigint`](crate::LaunchOptions::sigint) says to ignore it. One that comes during
/// the start-up isn't lost: `begin` and `end` run, `step` doesn't.
///
/// Should the program itself be killed, also by a Ctrl-C that it doesn't handle, its loops are
/// stopped in the same way, and killed after [`ParentDeath::LOOP_GRACE`](crate::ParentDeath::LOOP_GRACE),
/// 0.9 s: nothing outlives the program by more. An `end` that needs longer gets it by
/// [`LaunchOptions::on_parent_death`](crate::LaunchOptions::on_parent_death).
///
/// Starting returns only when the child is about to call `begin`.
///
/// ```
/// use std::time::Duration;
/// use offspring::{LoopStep, Subprocess, SubprocessLoop};
///
/// struct Countdown {
///     from: u32,
/// }
///
/// impl SubprocessLoop for Countdown {
///     fn step(&mut self) -> LoopStep {
///         if self.from == 0 {
///             return LoopStep::Stop;
///         }
///         self.from -= 1;
///         LoopStep::After(Duration::from_millis(1))
///     }
/// }
///
/// Countdown { from: 3 }.spawn()?.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Every `SubprocessLoop` is a [`Subprocess`] by this trait; import that one too for `spawn`.
pub trait SubprocessLoop: Sized {
    /// As [`Subprocess::TERMINATE_ON_SHUTDOWN`].
    const TERMINATE_ON_SHUTDOWN: bool = true;

    /// As [`Subprocess::EXPLICIT_START`].
    const EXPLICIT_START: bool = false;

    /// As [`Subprocess::RESTARTABLE`].
    const RESTARTABLE: bool = false;

    /// Called in the child before the loop.
    fn begin(&mut self) {}

    /// One iteration, and what follows it.
    ///
    /// While it runs, SIGTERM and SIGINT wait: they interrupt nothing, and a step that never returns
    /// is ended only by the SIGKILL that follows them. They are blocked, so a program that a step
    /// executes starts with both blocked, too, unless it is told otherwise; tasks don't.
    #[doc(alias = "loop")]
    fn step(&mut self) -> LoopStep;

    /// Called in the child after the loop, also when `begin` or `step` panicked (unless panics abort).
    fn end(&mut self) {}
}

impl<T: SubprocessLoop> Subprocess for T {
    type Output = ();

    const WAIT_FOR_CHILD: bool = true;
    const TERMINATE_ON_SHUTDOWN: bool = <T as SubprocessLoop>::TERMINATE_ON_SHUTDOWN;
    const EXPLICIT_START: bool = <T as SubprocessLoop>::EXPLICIT_START;
    const RESTARTABLE: bool = <T as SubprocessLoop>::RESTARTABLE;
    const HOLDS_STOP_SIGNALS: bool = true;

    fn run(&mut self) {
        let looped = catch_unwind(AssertUnwindSafe(|| run_loop(self)));
        let ended = catch_unwind(AssertUnwindSafe(|| self.end()));
        // The first panic is the cause. The other one's payload is forgotten: its drop could panic, too.
        match (looped, ended) {
            (Err(cause), ended) => {
                std::mem::forget(ended);
                resume_unwind(cause);
            }
            (Ok(()), Err(cause)) => resume_unwind(cause),
            (Ok(()), Ok(())) => {}
        }
    }
}

#[expect(clippy::expect_used, reason = "fails only outside of a child that was started as a loop")]
fn run_loop<T: SubprocessLoop>(task: &mut T) {
    let stop = StopSignals::held().expect("a loop's child holds its stop signals");
    let stopped = |pause| stop.wait_timeout(pause).expect("waiting for held signals doesn't fail");
    task.begin();
    let mut pause = Duration::ZERO;
    while !stopped(pause) {
        pause = match task.step() {
            LoopStep::Again => LoopStep::PAUSE,
            LoopStep::After(pause) => pause,
            LoopStep::Stop => return,
        };
    }
}
