//! The handle of a task.

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::Duration;

use common_ipc::process::{Child, ChildError, Generation, JoinError, LaunchOptions, StartError, Stopped};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::subprocess::{Subprocess, launch};

/// A task with an output of type `O`, started or about to be.
///
/// `T` is the type of the task object, which the handle keeps until it is started; a handle from
/// [`spawn`](crate::spawn) has none, and [`into_started`](Handle::into_started) makes one without,
/// for keeping handles of different tasks side by side.
///
/// All methods may be called from several threads at once, and the waiting ones as often as one
/// likes, with equal results.
///
/// **Dropping** it doesn't stop the task: it goes on, is collected in the background, and is shut
/// down at the program's exit like all the others. A task that wasn't started is dropped.
pub struct Handle<O, T = ()> {
    child: OnceLock<Child>,
    home: Generation,
    /// The task and its options until it is started.
    pending: Mutex<Option<(T, LaunchOptions)>>,
    output: PhantomData<fn() -> O>,
}

impl<O> Handle<O> {
    pub(crate) fn started(child: Child) -> Handle<O> {
        Handle {
            child: OnceLock::from(child),
            home: Generation::current(),
            pending: Mutex::new(None),
            output: PhantomData,
        }
    }
}

impl<O, T: Subprocess<Output = O>> Handle<O, T> {
    pub(crate) fn not_started(task: T, options: LaunchOptions) -> Handle<O, T> {
        Handle {
            child: OnceLock::new(),
            home: Generation::current(),
            pending: Mutex::new(Some((task, options))),
            output: PhantomData,
        }
    }

    /// Starts the process of a task with [`Subprocess::EXPLICIT_START`].
    ///
    /// ```
    /// use offspring::{StartError, Subprocess};
    ///
    /// struct Later(u32);
    ///
    /// impl Subprocess for Later {
    ///     type Output = u32;
    ///     const EXPLICIT_START: bool = true;
    ///
    ///     fn run(&mut self) -> u32 {
    ///         self.0 + 1
    ///     }
    /// }
    ///
    /// let task = Later(41).spawn()?;
    /// assert!(task.process().is_none());
    /// task.start()?;
    /// assert_eq!(task.wait()?, 42);
    /// assert!(matches!(task.start(), Err(StartError::AlreadyStarted)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StartError::AlreadyStarted`] the second time, also while another thread is about it;
    /// [`StartError::WrongProcess`] in a child of the process that made the handle. After any other
    /// error it isn't started, and can be tried again.
    pub fn start(&self) -> Result<(), StartError> {
        self.home.check()?;
        // Not locked meanwhile: the child's copy of the lock would stay locked.
        let taken = self.pending.lock().take();
        let Some((task, options)) = taken else { return Err(StartError::AlreadyStarted) };
        let mut task = Some(task);
        match launch(&mut task, &options) {
            Ok(child) => {
                // Empty until now: whoever sets it has taken the task.
                let _ = self.child.set(child);
                Ok(())
            }
            Err(error) => {
                *self.pending.lock() = task.map(|task| (task, options));
                Err(error)
            }
        }
    }

    /// A handle of the same task that doesn't name its type. Starts it if it isn't started.
    ///
    /// # Errors
    ///
    /// Those of the start, if there is one; the task is dropped then.
    pub fn into_started(self) -> Result<Handle<O>, StartError> {
        if self.child.get().is_none() {
            self.start()?;
        }
        Ok(Handle { child: self.child, home: self.home, pending: Mutex::new(None), output: PhantomData })
    }
}

impl<O, T> Handle<O, T> {
    /// Its process, once it was started: for its pid, its signals, its exit callbacks, and `as_fd`.
    pub fn process(&self) -> Option<&Child> {
        self.child.get()
    }

    fn child(&self) -> Result<&Child, ChildError> {
        self.home.check()?;
        self.child.get().ok_or(ChildError::NotStarted)
    }

    /// Whether its process runs at this moment; not before the start either.
    ///
    /// # Errors
    ///
    /// [`ChildError`], but not for a task that wasn't started.
    pub fn is_alive(&self) -> Result<bool, ChildError> {
        self.home.check()?;
        self.child.get().map_or(Ok(false), Child::is_alive)
    }

    /// Its process id, once it was started.
    pub fn id(&self) -> Option<u32> {
        self.child.get().map(Child::id)
    }

    /// Ends it and collects it: SIGTERM, up to `grace` for it to end, then SIGKILL. Says how it ended
    /// and what that took.
    ///
    /// # Errors
    ///
    /// As for [`shutdown`](Handle::shutdown).
    #[doc(alias = "terminate")]
    pub fn stop(&self, grace: Duration) -> Result<Stopped, ChildError> {
        self.child()?.stop(grace)
    }

    /// Ends it by SIGKILL; doesn't wait.
    ///
    /// # Errors
    ///
    /// As for [`shutdown`](Handle::shutdown).
    pub fn kill(&self) -> Result<(), ChildError> {
        self.child()?.kill()
    }

    /// Shuts it down as the program's exit does: SIGTERM, up to 5 s for it to end, then SIGKILL - or,
    /// with [`TERMINATE_ON_SHUTDOWN`](Subprocess::TERMINATE_ON_SHUTDOWN) off, waits until it ends by
    /// itself, for as long as that takes. To end it for certain, use [`stop`](Handle::stop).
    ///
    /// # Errors
    ///
    /// [`ChildError::NotStarted`], [`ChildError::WrongProcess`], or what the kernel refused.
    pub fn shutdown(&self) -> Result<Stopped, ChildError> {
        self.child()?.shutdown()
    }
}

impl<O: DeserializeOwned, T> Handle<O, T> {
    /// Waits for its end and returns its output.
    ///
    /// # Errors
    ///
    /// Why there is no output: [`JoinError`]. Never waits for a process that has died.
    pub fn wait(&self) -> Result<O, JoinError> {
        self.child()?.output()
    }

    /// Its output, if it has ended. `Ok(None)`: it runs.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Handle::wait).
    pub fn try_wait(&self) -> Result<Option<O>, JoinError> {
        self.child()?.try_output()
    }

    /// Waits for its end for up to `timeout` and returns its output. `Ok(None)`: it runs on.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Handle::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<O>, JoinError> {
        self.child()?.output_timeout(timeout)
    }

    /// [`wait`](Handle::wait) as the last thing done with the handle, as with a thread's.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Handle::wait).
    pub fn join(self) -> Result<O, JoinError> {
        self.wait()
    }
}

impl<O, T> fmt::Debug for Handle<O, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("process", &self.process()).finish_non_exhaustive()
    }
}
