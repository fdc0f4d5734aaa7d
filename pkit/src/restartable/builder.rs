//! What a process is to be like.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common_ipc::process::{AtExit, LaunchOptions, Portable, StartError, Zygote};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::restartable::Process;
use crate::restartable::exit::{Callback, ProcessExit};
use crate::starter::{Manner, Starter};
use crate::target::Target;

/// What a [`Process`] is to be like; made by [`Process::builder`], and finished by one of four calls, which say how
/// it is started:
///
/// | | runs | can be started |
/// |---|---|---|
/// | [`build`](ProcessBuilder::build) | any target that is `Send` | while the program has one thread |
/// | [`build_template`](ProcessBuilder::build_template) | any target | always; it is built while the program has one thread |
/// | [`build_in`](ProcessBuilder::build_in) | a target that is serialisable | always; the program has called [`init`](crate::init) |
/// | [`build_function_in`](ProcessBuilder::build_function_in) | a function on a serialisable value | as before |
///
/// ```
/// use pkit::Process;
///
/// let process = Process::builder()
///     .name("answer")
///     .on_exit(|exit| println!("{:?} {}", exit.name(), exit.status()))
///     .build_template(|| 6 * 7)?;
/// for _ in 0..2 {
///     process.start_wait()?;
///     assert_eq!(process.join()?, 42);
/// }
/// assert!(pkit::join_callbacks(None)); // both exits were told
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct ProcessBuilder<O> {
    name: Option<OsString>,
    manner: Manner,
    callbacks: Vec<Arc<Callback<O>>>,
}

impl<O: 'static> ProcessBuilder<O> {
    pub(crate) fn new() -> ProcessBuilder<O> {
        let manner = Manner::new(LaunchOptions::new());
        ProcessBuilder { name: None, manner, callbacks: Vec::new() }
    }

    /// Its name, which all its runs have: in full by [`Process::name`] and [`current`](crate::current()), cut to 15 bytes
    /// in `ps -o comm`. Without one it is `Process-` and a number.
    ///
    /// A NUL in it is an error of the start.
    pub fn name(mut self, name: impl AsRef<OsStr>) -> Self {
        self.name = Some(name.as_ref().to_owned());
        self
    }

    /// How its processes are set up: directory, environment, user, limits and so on. A name in here is
    /// overridden by [`name`](ProcessBuilder::name).
    pub fn options(mut self, options: LaunchOptions) -> Self {
        self.manner.options = options;
        self
    }

    /// What the program's exit does to a run: unless set, SIGTERM, 5 s of grace, SIGKILL.
    pub fn at_exit(mut self, at_exit: AtExit) -> Self {
        self.manner.at_exit = at_exit;
        self
    }

    /// It is ready when its target calls [`ready`](crate::ready()). Otherwise it is when its target is about to run.
    pub fn ready_by_target(mut self) -> Self {
        self.manner.ready_by_target = true;
        self
    }

    /// Its target takes requests to stop (SIGTERM, and SIGINT unless that is ignored) when it is ready for them, by
    /// [`StopSignals`](crate::StopSignals), so that it can finish what it is about. They are blocked from its first
    /// moment on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pkit::{Process, StopSignals};
    ///
    /// let process = Process::builder().hold_stop_signals().build(|| {
    ///     let stop = StopSignals::held().unwrap();
    ///     let mut steps = 0;
    ///     while !stop.wait_timeout(Duration::from_millis(1)).unwrap() {
    ///         steps += 1; // a step of the work, which is always finished
    ///     }
    ///     steps
    /// });
    /// process.start()?;
    /// process.wait_until(|_| false, Duration::from_millis(20))?;
    /// process.terminate()?;
    /// assert!(process.join()? > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold_stop_signals(mut self) -> Self {
        self.manner.hold_stop_signals = true;
        self
    }

    /// Has `callback` called once for each run that has ended: see [`Process::on_exit`].
    pub fn on_exit(mut self, callback: impl Fn(&ProcessExit<O>) + Send + Sync + 'static) -> Self {
        self.callbacks.push(Arc::new(callback));
        self
    }

    /// Takes the target. Each start forks the program: it costs what the program's memory costs, and is refused beside
    /// threads that aren't the library's, so also in an exit callback.
    pub fn build<T>(self, target: T) -> Process<O>
    where
        T: Target<Output = O> + Send + 'static,
    {
        let (name, manner, callbacks) = self.into_parts();
        Process::assemble(name, Starter::by_fork(manner, target), callbacks)
    }

    /// Takes the target and puts it into a small process, the template, of which each run is a copy. It can be started
    /// at any time, also beside threads and in its own exit callback; each run has the memory of now, and the program's
    /// other state (directory, user, streams and so on) of its start.
    ///
    /// The target need neither be `Send` nor outlive this call. The template ends when the last handle of the process
    /// is dropped.
    ///
    /// # Errors
    ///
    /// [`StartError::Refused`] while other threads are running; any other error of a start.
    pub fn build_template<T>(self, target: T) -> Result<Process<O>, StartError>
    where
        T: Target<Output = O>,
    {
        let (name, manner, callbacks) = self.into_parts();
        Ok(Process::assemble(name, Starter::by_template(&manner, target)?, callbacks))
    }

    /// Takes a target that is serialisable. Each start sends a copy to a child of the zygote, which costs the same
    /// however large the program is, and can be done at any time.
    ///
    /// ```
    /// use pkit::{Process, Target, Zygote};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Square(u64);
    ///
    /// impl Target for Square {
    ///     type Output = u64;
    ///     fn run(self) -> u64 {
    ///         self.0 * self.0
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     pkit::init()?; // the first line of main
    ///     let process = Process::builder().build_in(&Zygote::global(), Square(12));
    ///     let thread = std::thread::spawn(move || {
    ///         process.start().unwrap();
    ///         process.join().unwrap()
    ///     });
    ///     assert_eq!(thread.join().unwrap(), 144);
    ///     Ok(())
    /// }
    /// ```
    pub fn build_in<T>(self, zygote: &Zygote, target: T) -> Process<O>
    where
        T: Target<Output = O> + Portable + Send,
        O: Serialize + DeserializeOwned + 'static,
    {
        self.build_function_in(zygote, T::run, target)
    }

    /// As [`build_in`](ProcessBuilder::build_in), of a function, or a closure that captures nothing, and what it is
    /// called with.
    pub fn build_function_in<A>(self, zygote: &Zygote, function: fn(A) -> O, argument: A) -> Process<O>
    where
        A: Portable + Send,
        O: Serialize + DeserializeOwned + 'static,
    {
        let (name, manner, callbacks) = self.into_parts();
        let starter = Starter::in_zygote(manner, zygote.clone(), function, argument);
        Process::assemble(name, starter, callbacks)
    }

    fn into_parts(self) -> (OsString, Manner, Vec<Arc<Callback<O>>>) {
        /// The number of the next process without a name.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = self.name.unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            OsString::from(format!("Process-{number}"))
        });
        let mut manner = self.manner;
        manner.options = manner.options.name(&name);
        (name, manner, self.callbacks)
    }
}

impl<O> fmt::Debug for ProcessBuilder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("name", &self.name)
            .field("manner", &self.manner)
            .field("callbacks", &self.callbacks.len())
            .finish()
    }
}
