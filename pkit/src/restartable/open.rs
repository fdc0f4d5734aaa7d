//! One run of a process.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use common_ipc::process::{
    Child, ChildError, ExitStatus, JoinError, LaunchOptions, Readiness, StartError, Stopped,
};
use serde::de::DeserializeOwned;

use crate::starter::Manner;
use crate::target::Target;

/// One run of a process, from its start until for ever: it never becomes another one.
///
/// [`Process::open`](crate::Process::open) gives it for a process that can be started again; a handle of an old run
/// touches no new one. On its own it is the tracker of a process that is started once:
///
/// ```
/// use std::time::Duration;
/// use pkit::ProcessOpen;
///
/// let run = ProcessOpen::start(Default::default(), || std::thread::sleep(Duration::from_secs(60)))?;
/// assert!(run.wait_ready(Duration::from_secs(20))?);
/// assert!(run.poll()?.is_none());
/// run.terminate()?;
/// assert_eq!(run.wait()?.returncode(), Some(-15));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones are handles of the same run, for any thread. **Dropping** them doesn't stop the process: it goes on, is
/// collected in the background, and is stopped at the program's exit.
pub struct ProcessOpen<O> {
    child: Child,
    generation: u64,
    output: PhantomData<fn() -> O>,
}

impl<O> ProcessOpen<O> {
    pub(crate) fn new(child: Child, generation: u64) -> ProcessOpen<O> {
        ProcessOpen { child, generation, output: PhantomData }
    }

    /// Forks a process that runs `target`, once. Nothing need be `Send` or `'static`.
    ///
    /// # Errors
    ///
    /// [`StartError`]: nothing was started.
    pub fn start<T>(options: LaunchOptions, target: T) -> Result<ProcessOpen<O>, StartError>
    where
        T: Target<Output = O>,
        O: serde::Serialize + DeserializeOwned,
    {
        Ok(ProcessOpen::new(Manner::new(options).launch().start(|| target.run())?, 1))
    }

    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    /// The process id. After the end it may be another process's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        self.child.name()
    }

    /// Which run of its [`Process`](crate::Process) it is, counted from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its status if it has ended, without waiting. `None`: it runs.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn poll(&self) -> Result<Option<ExitStatus>, ChildError> {
        self.child.try_wait()
    }

    /// Whether it runs at this moment.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn is_alive(&self) -> Result<bool, ChildError> {
        self.child.is_alive()
    }

    /// Waits for its end. Everybody gets the same status, however often.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait(&self) -> Result<ExitStatus, ChildError> {
        self.child.wait()
    }

    /// Waits for its end for up to `timeout`. `None`: it runs on.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>, ChildError> {
        self.child.wait_timeout(timeout)
    }

    /// Whether it is ready, or was before it ended: its target was about to run, or has said so itself
    /// ([`ready_by_target`](crate::ProcessBuilder::ready_by_target)). One that died before that isn't.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    #[doc(alias = "ready")]
    pub fn is_ready(&self) -> Result<bool, ChildError> {
        self.child.is_ready()
    }

    /// Waits for up to `timeout` until it is ready. `false`: it isn't, and if it has ended, won't be.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn wait_ready(&self, timeout: Duration) -> Result<bool, ChildError> {
        Ok(self.child.wait_ready(timeout)? == Readiness::Ready)
    }

    /// Asks it to end, by SIGTERM; doesn't wait. One that has ended is left as it is, and so is its status.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn terminate(&self) -> Result<(), ChildError> {
        self.child.terminate()
    }

    /// Ends it by SIGKILL; doesn't wait.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn kill(&self) -> Result<(), ChildError> {
        self.child.kill()
    }

    /// Ends it and collects it: SIGTERM, up to `grace` for it to end, then SIGKILL. Says how it ended and what that
    /// took.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn stop(&self, grace: Duration) -> Result<Stopped, ChildError> {
        self.child.stop(grace)
    }
}

impl<O: DeserializeOwned> ProcessOpen<O> {
    /// Waits for its end and returns what its target returned.
    ///
    /// # Errors
    ///
    /// Why there is no output: [`JoinError`].
    pub fn output(&self) -> Result<O, JoinError> {
        self.child.output()
    }

    /// As [`output`](ProcessOpen::output), without waiting. `None`: it runs.
    ///
    /// # Errors
    ///
    /// As for [`output`](ProcessOpen::output).
    pub fn try_output(&self) -> Result<Option<O>, JoinError> {
        self.child.try_output()
    }

    /// As [`output`](ProcessOpen::output), waiting for up to `timeout`. `None`: it runs on.
    ///
    /// # Errors
    ///
    /// As for [`output`](ProcessOpen::output).
    pub fn output_timeout(&self, timeout: Duration) -> Result<Option<O>, JoinError> {
        self.child.output_timeout(timeout)
    }

    /// As [`output`](ProcessOpen::output), in a task of tokio's, without blocking a thread.
    ///
    /// # Errors
    ///
    /// As for [`output`](ProcessOpen::output).
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio's, or in one without I/O.
    #[cfg(feature = "tokio")]
    pub async fn output_async(&self) -> Result<O, JoinError> {
        self.child.output_async().await
    }
}

/// For poll, select, epoll: readable once it has ended.
impl<O> AsFd for ProcessOpen<O> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.as_fd()
    }
}

impl<O> Clone for ProcessOpen<O> {
    fn clone(&self) -> ProcessOpen<O> {
        ProcessOpen::new(self.child.clone(), self.generation)
    }
}

impl<O> fmt::Debug for ProcessOpen<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessOpen")
            .field("pid", &self.pid())
            .field("name", &self.name())
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
