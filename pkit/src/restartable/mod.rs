//! Processes that can be started again.
//!
//! ```text
//! builder     what one is to be like                     (ProcessBuilder)
//! open        one run of it                              (ProcessOpen)
//! exit        what is called when a run has ended        (ProcessExit)
//! current     which process this is                      (current)
//! waiting     until something is the case                (wait_until)
//! ```

mod builder;
mod current;
mod exit;
mod open;
mod waiting;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::{
    AtExit, ChildError, ExitStatus, Generation, JoinError, Readiness, StartError, Stopped,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

pub use builder::ProcessBuilder;
pub use current::{Current, current};
pub use exit::ProcessExit;
pub use open::ProcessOpen;

use crate::starter::Starter;
use crate::target::Target;
use exit::{Callback, Callbacks};

/// A process that can be started, joined, and started again: a hull for runs, of which there is one at a time.
///
/// It is what Python's `multiprocessing.Process` is, with outputs that come back typed, and without its limits: it is
/// reusable once a run has been collected, a start can wait until the process is ready, and callbacks tell of its end.
///
/// ```
/// use pkit::Process;
///
/// let process = Process::new(|| std::process::id());
/// let pid = process.start()?;
/// assert_eq!(process.join()?, pid);
/// assert_eq!(process.pid(), None); // collected: it can be used again
/// assert_ne!(process.start()?, pid);
/// process.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Clones are handles of the same process, and any thread may use them, all methods at once. Each start is a new
/// *run* with a number, its [`generation`](Process::generation); a new one begins only when the one before has ended and
/// was collected. [`open`](Process::open) gives a handle of one run, which never touches another one.
///
/// In a child of the process that made it every method is `WrongProcess`, or says that nothing runs.
///
/// **Dropping** all handles doesn't stop a run: it goes on, is collected in the background, and is stopped at the
/// program's exit.
pub struct Process<O> {
    inner: Arc<Inner<O>>,
}

struct Inner<O> {
    home: Generation,
    name: OsString,
    starter: Starter,
    callbacks: Callbacks<O>,
    state: Mutex<State<O>>,
}

struct State<O> {
    /// The latest.
    run: Option<ProcessOpen<O>>,
    /// Its end will be told to the callbacks.
    watched: bool,
    /// By some thread, at this moment.
    starting: bool,
}

/// How a run ends before [`Process::restart`] starts the next one. (Python's `RestartPolicy`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartPolicy {
    /// By itself: it is waited for.
    Join,
    /// As by [`Process::terminate_wait`].
    Terminate,
}

/// How long a start waits for a process to be ready unless another time is given. (As for other starts:
/// `LaunchOptions::ready_timeout`.)
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one that wasn't ready may take over its death before it is left to the background.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

impl<O: 'static> Process<O> {
    /// A process that runs `target` whenever it is started, by a fork. Nothing is started yet.
    ///
    /// For a name, callbacks, options, and starts beside threads there is [`builder`](Process::builder).
    pub fn new<T>(target: T) -> Process<O>
    where
        T: Target<Output = O> + Send + 'static,
    {
        Process::builder().build(target)
    }

    /// What the process is to be like, before its target is given.
    pub fn builder() -> ProcessBuilder<O> {
        ProcessBuilder::new()
    }

    fn assemble(name: OsString, starter: Starter, callbacks: Vec<Arc<Callback<O>>>) -> Process<O> {
        let state = State { run: None, watched: false, starting: false };
        Process {
            inner: Arc::new(Inner {
                home: Generation::current(),
                name,
                starter,
                callbacks: Callbacks::new(callbacks),
                state: Mutex::new(state),
            }),
        }
    }

    /// Starts it and returns the process id.
    ///
    /// # Errors
    ///
    /// [`StartError::StillRunning`] while a run goes on, or another thread starts one; [`StartError::WrongProcess`] in
    /// a child of the process that made it; any other of a start. It can be tried again.
    pub fn start(&self) -> Result<u32, StartError> {
        Ok(self.start_after(None)?.pid())
    }

    /// As [`start`](Process::start); returns when the process is ready: when its target is about to run, or has called
    /// [`ready`](crate::ready()) if that is what it was built for. It may take 60 s.
    ///
    /// # Errors
    ///
    /// As for [`start`](Process::start); [`StartError::EndedEarly`] with the cause if it ends before it is ready;
    /// [`StartError::NotReady`] if it doesn't get there: then it was killed.
    pub fn start_wait(&self) -> Result<u32, StartError> {
        self.start_wait_timeout(READY_TIMEOUT)
    }

    /// As [`start_wait`](Process::start_wait), waiting for up to `timeout`. (A zygote or template may take longer over
    /// the part before: `LaunchOptions::ready_timeout`.)
    ///
    /// # Errors
    ///
    /// As for [`start_wait`](Process::start_wait).
    pub fn start_wait_timeout(&self, timeout: Duration) -> Result<u32, StartError> {
        // This very run: an exit callback may have started the next one by now.
        let run = self.start_after(None)?;
        let failed = match run.child().wait_ready(timeout) {
            Ok(Readiness::Ready) => return Ok(run.pid()),
            Ok(Readiness::Ended) => StartError::EndedEarly { status: run.wait()? },
            Ok(Readiness::NotYet) => StartError::NotReady { timeout },
            Err(error) => error.into(),
        };
        run.kill()?;
        run.wait_timeout(DEATH_PATIENCE)?;
        Err(failed)
    }

    /// Starts it, if the latest run is still the one with this number.
    fn start_after(&self, generation: Option<u64>) -> Result<ProcessOpen<O>, StartError> {
        self.inner.home.check()?;
        let (latest, starting) = {
            let mut state = self.inner.state.lock();
            let latest = state.run.clone();
            let number = latest.as_ref().map(ProcessOpen::generation);
            if state.starting || (generation.is_some() && generation != number) {
                return Err(StartError::StillRunning);
            }
            state.starting = true;
            (latest, Starting(&self.inner.state))
        };
        // From here on nothing is locked: a child's copy of the lock would stay locked.
        if latest.as_ref().map_or(Ok(false), ProcessOpen::is_alive)? {
            return Err(StartError::StillRunning);
        }
        let generation = latest.map_or(0, |run| run.generation()) + 1;
        let run = ProcessOpen::new(self.inner.starter.start()?, generation);
        let watched = {
            let mut state = self.inner.state.lock();
            state.run = Some(run.clone());
            state.watched = !self.inner.callbacks.is_empty();
            if state.watched {
                self.inner.callbacks.expect(generation);
            }
            // Before anybody can be told of its end, who may want to start the next one.
            state.starting = false;
            std::mem::forget(starting);
            state.watched
        };
        if watched {
            self.watch(&run);
        }
        Ok(run)
    }

    /// Has the callbacks told of the end of a run; once for each.
    fn watch(&self, run: &ProcessOpen<O>) {
        let (process, ended) = (self.clone(), run.clone());
        let watched = run.child().on_exit(move |exit| {
            let exit = ProcessExit::new(process.clone(), ended, exit.status.clone());
            process.inner.callbacks.call(exit);
        });
        if let Err(error) = watched {
            log::warn!("the exit callbacks of {:?} come when somebody waits for it: {error}", self.name());
        }
    }

    /// Has `callback` called once for each run that ends from now on: when its status is stored, and
    /// [`pid`](Process::pid) is `None`, on a thread that belongs to the library.
    ///
    /// There can be several: they are called one after another, in the order in which they were added, and those for one
    /// run after those for the run before. They may do anything with the process - join it, restart it, add another
    /// callback - but a start by a fork is refused there ([`ProcessExit::start_again`]). One that panics is reported by
    /// the panic hook, and that is all; a slow one holds up those of this process only.
    /// [`join_callbacks`](crate::join_callbacks) waits for them. They stay for as long as the process does; one that
    /// captures a handle of its own process keeps that, and its template, for ever: [`ProcessExit::process`] gives one.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use pkit::Process;
    ///
    /// let (tell, told) = channel();
    /// let process = Process::new(|| std::thread::sleep(std::time::Duration::from_secs(60)));
    /// process.on_exit(move |exit| tell.send(exit.pid()).unwrap());
    /// let pid = process.start()?;
    /// process.terminate()?;
    /// assert_eq!(told.recv()?, pid);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_exit(&self, callback: impl Fn(&ProcessExit<O>) + Send + Sync + 'static) {
        if self.inner.home.check().is_err() {
            return;
        }
        // What runs now is meant, also if it ends before this returns; what has ended isn't.
        let known = self.open();
        let is_over = known.as_ref().is_none_or(|run| !run.is_alive().unwrap_or(true));
        let unwatched = {
            let mut state = self.inner.state.lock();
            let number = state.run.as_ref().map_or(0, ProcessOpen::generation);
            let is_over = is_over && number == known.map_or(0, |run| run.generation());
            self.inner.callbacks.add(if is_over { number + 1 } else { number }, Arc::new(callback));
            if is_over || state.watched {
                None
            } else {
                state.watched = true;
                self.inner.callbacks.expect(number);
                state.run.clone()
            }
        };
        if let Some(run) = unwatched {
            self.watch(&run);
        }
    }

    /// The latest run, also if it has ended; `None` before the first start, and in a child.
    #[must_use]
    pub fn open(&self) -> Option<ProcessOpen<O>> {
        self.inner.home.check().ok()?;
        self.inner.state.lock().run.clone()
    }

    fn latest(&self) -> Result<ProcessOpen<O>, ChildError> {
        self.inner.home.check()?;
        self.open().ok_or(ChildError::NotStarted)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.inner.name
    }

    /// Its process id; `None` before a start, and again once the run has ended, which is collected by this.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let run = self.open()?;
        run.is_alive().unwrap_or(false).then(|| run.pid())
    }

    /// How often it was started: the number of the latest run. Zero before the first start.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.open().map_or(0, |run| run.generation())
    }

    /// Whether it runs at this moment; not before the start either.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    pub fn is_alive(&self) -> Result<bool, ChildError> {
        self.inner.home.check()?;
        self.open().map_or(Ok(false), |run| run.is_alive())
    }

    /// How its latest run ended; `None` while it runs, and before the first start.
    ///
    /// # Errors
    ///
    /// [`ChildError`].
    #[doc(alias = "exitcode")]
    pub fn exit_status(&self) -> Result<Option<ExitStatus>, ChildError> {
        self.inner.home.check()?;
        self.open().map_or(Ok(None), |run| run.poll())
    }

    /// Asks it to end, by SIGTERM; doesn't wait. One that has ended is left as it is.
    ///
    /// # Errors
    ///
    /// [`ChildError::NotStarted`] before the first start; what the kernel refused.
    pub fn terminate(&self) -> Result<(), ChildError> {
        self.latest()?.terminate()
    }

    /// Ends it and returns when it was collected: SIGTERM, up to 5 s for it to end, then SIGKILL. Says how it ended
    /// and what that took.
    ///
    /// # Errors
    ///
    /// As for [`terminate`](Process::terminate).
    pub fn terminate_wait(&self) -> Result<Stopped, ChildError> {
        self.stop(AtExit::DEFAULT_GRACE)
    }

    /// As [`terminate_wait`](Process::terminate_wait), with this much time before SIGKILL.
    ///
    /// # Errors
    ///
    /// As for [`terminate`](Process::terminate).
    pub fn stop(&self, grace: Duration) -> Result<Stopped, ChildError> {
        self.latest()?.stop(grace)
    }

    /// Ends it by SIGKILL; doesn't wait.
    ///
    /// # Errors
    ///
    /// As for [`terminate`](Process::terminate).
    pub fn kill(&self) -> Result<(), ChildError> {
        self.latest()?.kill()
    }

    /// Starts it again and returns the new process id. The run before ends first, as the policy says, if there is one,
    /// and is collected; so two never overlap.
    ///
    /// # Errors
    ///
    /// As for [`start`](Process::start); [`StartError::StillRunning`] also if another thread, or an exit callback, has
    /// started it in between; [`StartError::Child`] if the run before can't be ended.
    pub fn restart(&self, policy: RestartPolicy) -> Result<u32, StartError> {
        self.inner.home.check()?;
        let latest = self.open();
        if let Some(run) = &latest {
            match policy {
                RestartPolicy::Join => drop(run.wait()?),
                RestartPolicy::Terminate => drop(run.stop(AtExit::DEFAULT_GRACE)?),
            }
        }
        Ok(self.start_after(latest.map(|run| run.generation()))?.pid())
    }
}

impl<O: DeserializeOwned + 'static> Process<O> {
    /// Waits for the end of its latest run and returns what its target returned. As often as one likes, from as many
    /// threads as one likes, with equal results, until the next start.
    ///
    /// # Errors
    ///
    /// Why there is no output: [`JoinError`]; [`ChildError::NotStarted`] in it before the first start.
    pub fn join(&self) -> Result<O, JoinError> {
        self.latest()?.output()
    }

    /// As [`join`](Process::join), without waiting. `None`: it runs.
    ///
    /// # Errors
    ///
    /// As for [`join`](Process::join).
    pub fn try_join(&self) -> Result<Option<O>, JoinError> {
        self.latest()?.try_output()
    }

    /// As [`join`](Process::join), waiting for up to `timeout`. `None`: it runs on.
    ///
    /// # Errors
    ///
    /// As for [`join`](Process::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<O>, JoinError> {
        self.latest()?.output_timeout(timeout)
    }

    /// As [`join`](Process::join), in a task of tokio's, without blocking a thread. If the future is dropped, nothing has
    /// changed.
    ///
    /// # Errors
    ///
    /// As for [`join`](Process::join).
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio's, or in one without I/O.
    #[cfg(feature = "tokio")]
    pub async fn join_async(&self) -> Result<O, JoinError> {
        self.latest()?.output_async().await
    }
}

/// A start under way, however it ends.
struct Starting<'a, O>(&'a Mutex<State<O>>);

impl<O> Drop for Starting<'_, O> {
    fn drop(&mut self) {
        self.0.lock().starting = false;
    }
}

impl<O> Clone for Process<O> {
    fn clone(&self) -> Process<O> {
        Process { inner: Arc::clone(&self.inner) }
    }
}

impl<O: 'static> fmt::Debug for Process<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("run", &self.open())
            .finish_non_exhaustive()
    }
}
