//! The handle of a task.

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::Duration;

use common_ipc::process::{
    Child, ChildError, Generation, JoinError, LaunchOptions, Portable, StartError, Stopped, Template, Zygote,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use crate::stage::{Begun, Pending, Stage, StartInZygote};
use crate::subprocess::{Subprocess, start_in_zygote, start_once};

/// A task with an output of type `O`, started or about to be.
///
/// `T` is the type of the task object, which the handle keeps until it is started, or for as long as it can be
/// started again by serialising that; a handle from [`spawn`](crate::spawn) has none, and [`into_started`](Handle::into_started) makes one without,
/// for keeping handles of different tasks side by side.
///
/// All methods may be called from several threads at once, and the waiting ones as often as one
/// likes, with equal results.
///
/// A handle of a task that isn't `Send` isn't either, since it may hold the task;
/// [`into_started`](Handle::into_started) makes one that is, and that can still restart a task with
/// [`RESTARTABLE`](Subprocess::RESTARTABLE).
///
/// **Dropping** it doesn't stop the task: it goes on, is collected in the background, and is shut
/// down at the program's exit like all the others. A task that wasn't started is dropped.
pub struct Handle<O, T = ()> {
    child: OnceLock<Child>,
    home: Generation,
    stage: Mutex<Stage<T>>,
    output: PhantomData<fn() -> O>,
}

impl<O> Handle<O> {
    pub(crate) fn started(child: Child) -> Handle<O> {
        Handle::of(child, Stage::Once)
    }

    pub(crate) fn from_template(template: Template) -> Result<Handle<O>, StartError> {
        Ok(Handle::of(template.start()?, Stage::Template(Box::new(template))))
    }

    fn of(child: Child, stage: Stage<()>) -> Handle<O> {
        Handle {
            child: OnceLock::from(child),
            home: Generation::current(),
            stage: Mutex::new(stage),
            output: PhantomData,
        }
    }
}

impl<O, A: Portable> Handle<O, A> {
    pub(crate) fn of_function(
        zygote: &Zygote,
        options: LaunchOptions,
        argument: A,
        start: StartInZygote<A>,
    ) -> Result<Handle<O, A>, StartError> {
        let child = start(&argument, &options, zygote)?;
        let pending = Box::new(Pending { task: argument, options, template: None });
        let stage = Stage::InZygote { pending, zygote: zygote.clone(), start };
        Ok(Handle {
            child: OnceLock::from(child),
            home: Generation::current(),
            stage: Mutex::new(stage),
            output: PhantomData,
        })
    }
}

impl<O, T: Subprocess<Output = O>> Handle<O, T> {
    pub(crate) fn not_started(task: T, options: LaunchOptions) -> Handle<O, T> {
        Handle {
            child: OnceLock::new(),
            home: Generation::current(),
            stage: Mutex::new(Stage::NotStarted(Box::new(Pending { task, options, template: None }))),
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
        self.begin(|pending| {
            let Pending { task, options, template } = *pending;
            let again = |(error, task, template)| {
                (error, Box::new(Pending { task, options: options.clone(), template }))
            };
            if !T::RESTARTABLE {
                let started = start_once(task, &options);
                return started
                    .map(|child| (child, Stage::Once))
                    .map_err(|(error, task)| again((error, task, None)));
            }
            // What is given to the task the template has: it is made once.
            let (template, task) = match template {
                Some(template) => (template, task),
                None => match crate::subprocess::template(task, &options) {
                    Ok((template, task)) => (Box::new(template), task),
                    Err((error, task)) => return Err(again((error, task, None))),
                },
            };
            match template.start() {
                // The task is in the template as well, and dropped here.
                Ok(child) => Ok((child, Stage::Template(template))),
                Err(error) => Err(again((error, task, Some(template)))),
            }
        })
    }

    /// As [`start`](Handle::start), from a zygote: the task is serialised, and made anew in the child. It can be
    /// [`restart`](Handle::restart)ed.
    ///
    /// # Errors
    ///
    /// As for [`start`](Handle::start).
    pub fn start_in(&self, zygote: &Zygote) -> Result<(), StartError>
    where
        T: Portable,
    {
        self.begin(|pending| {
            let start: StartInZygote<T> = Box::new(start_in_zygote::<T>);
            match start(&pending.task, &pending.options, zygote) {
                Ok(child) => Ok((child, Stage::InZygote { pending, zygote: zygote.clone(), start })),
                Err(error) => Err((error, pending)),
            }
        })
    }

    /// Takes the task out, and puts back what is left of it.
    fn begin(&self, start: impl FnOnce(Box<Pending<T>>) -> Begun<T>) -> Result<(), StartError> {
        self.home.check()?;
        // Not locked meanwhile: the child's copy of the lock would stay locked.
        let pending = {
            let mut stage = self.stage.lock();
            match std::mem::replace(&mut *stage, Stage::Starting) {
                Stage::NotStarted(pending) => pending,
                other => {
                    *stage = other;
                    return Err(StartError::AlreadyStarted);
                }
            }
        };
        match start(pending) {
            Ok((child, stage)) => {
                // Empty until now: whoever sets it has taken the task.
                let _ = self.child.set(child);
                *self.stage.lock() = stage;
                Ok(())
            }
            Err((error, pending)) => {
                *self.stage.lock() = Stage::NotStarted(pending);
                Err(error)
            }
        }
    }

    /// A handle of the same task that doesn't name its type. Starts it if it isn't started. One that was started
    /// from a zygote, for whose restart the task itself is needed, can't be restarted by the new handle.
    ///
    /// # Errors
    ///
    /// Those of the start, if there is one; the task is dropped then.
    pub fn into_started(self) -> Result<Handle<O>, StartError> {
        if self.child.get().is_none() {
            self.start()?;
        }
        let stage = match self.stage.into_inner() {
            Stage::Template(template) => Stage::Template(template),
            Stage::InZygote { .. } => Stage::Forgotten,
            _ => Stage::Once,
        };
        Ok(Handle { child: self.child, home: self.home, stage: Mutex::new(stage), output: PhantomData })
    }
}

impl<O, T> Handle<O, T> {
    /// Its process, once it was started: for its pid, its signals, its exit callbacks, and `as_fd`.
    pub fn process(&self) -> Option<&Child> {
        self.child.get()
    }

    /// Starts it again: a new process, with the task as it was before its first start. If it runs, it is shut down
    /// first, as [`shutdown`](Handle::shutdown) does; the new process starts when the old one is collected.
    ///
    /// That is possible, also beside other threads, for tasks with [`RESTARTABLE`](Subprocess::RESTARTABLE), for
    /// closures started by [`spawn_restartable`](crate::spawn_restartable), and for whatever was started from a
    /// zygote. A task that holds an end of a connection or of a pipe can't be: the end moved with its first start, and
    /// the second one is an error ([`StartError::GivenTwice`], or [`StartError::Encode`] from a zygote). Share a
    /// [`Queue`](crate::link::Queue), or start a new task. It blocks for as long as the old process takes to end, and
    /// needs the handle for itself alone. Clones of the old [`process`](Handle::process) stay handles of the old one.
    ///
    /// ```
    /// let mut task = offspring::spawn_restartable(Default::default(), std::process::id)?;
    /// let first = task.wait()?;
    /// task.restart()?;
    /// assert_ne!(task.wait()?, first);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StartError::NotRestartable`]: any other task, or it wasn't started yet; those of a start, then there is
    /// no process but the old one, which has ended; [`StartError::Child`] if the old one can't be ended.
    pub fn restart(&mut self) -> Result<(), StartError> {
        self.home.check()?;
        let Some(child) = self.child.get() else {
            return Err(StartError::NotRestartable { why: "it was never started" });
        };
        let stage = self.stage.get_mut();
        if matches!(stage, Stage::Once | Stage::Forgotten) {
            return stage.start_again().map(drop);
        }
        if let Stage::Template(template) = &*stage {
            // What can't be started again isn't ended for that.
            template.check()?;
        }
        child.shutdown()?;
        self.child = OnceLock::from(stage.start_again()?);
        Ok(())
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
    #[doc(alias = "pid")]
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
    /// It blocks. For async code there is `wait_async` (feature `tokio`). On a thread for what blocks (tokio's
    /// `spawn_blocking`) it takes that for as long as it waits, and a time-out around it doesn't end the wait.
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

#[cfg(feature = "tokio")]
impl<O: DeserializeOwned, T> Handle<O, T> {
    /// As [`wait`](Handle::wait), in a task of tokio's, without blocking a thread. It can be raced against a time-out:
    /// dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Handle::wait).
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio's, or in one without I/O.
    pub async fn wait_async(&self) -> Result<O, JoinError> {
        self.child()?.output_async().await
    }
}

impl<O, T> fmt::Debug for Handle<O, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("process", &self.process()).finish_non_exhaustive()
    }
}
