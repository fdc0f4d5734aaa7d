//! What a child is to run, and how it is looked after.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::{AtExit, LaunchOptions, Portable, StartError, Zygote};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backoff::Backoff;
use super::policy::{Policy, Restart};
use crate::starter::{Manner, Starter};
use crate::target::Target;

/// A child of a supervisor: its name, what it runs, and how it is looked after.
///
/// ```
/// use std::time::Duration;
/// use pkit::supervisor::{Backoff, ChildSpec, Restart};
///
/// let spec = ChildSpec::new("mailer", || {
///     pkit::ready();
///     loop {
///         pkit::progress();
///         std::thread::sleep(Duration::from_millis(100));
///     }
/// #   #[expect(unreachable_code)] ()
/// })
/// .restart(Restart::Transient)
/// .backoff(Backoff::new(Duration::from_millis(50), Duration::from_secs(10)))
/// .grace(Duration::from_secs(2))
/// .ready_by_target()
/// .hang_timeout(Duration::from_secs(5))
/// .max_memory(512 << 20);
/// ```
#[must_use]
pub struct ChildSpec {
    pub(super) name: Arc<str>,
    pub(super) policy: Policy,
    options: LaunchOptions,
    starter: Box<dyn FnOnce(Manner) -> Result<Starter, StartError>>,
}

impl ChildSpec {
    /// A child that runs a closure, which may capture anything, or another [`Target`].
    ///
    /// At the supervisor's start, while the program has one thread, a *template* is made of it: a small process that
    /// keeps the closure, and from which the child is started each time with a fresh copy of it
    /// ([`Template`](common_ipc::process::Template)). So each process of the child begins with what the closure had
    /// captured then. What it returns is not looked at; only the exit status is.
    ///
    /// A template that dies can't be made anew, since the program may have threads by then: the restarts of its child fail
    /// from then on, which says so, until there are too many failures ([`intensity`](super::SupervisorBuilder::intensity)).
    /// Others go on till then.
    ///
    /// A target that never returns is of a type that can't be serialised: write `|| -> () { .. }`.
    pub fn new<T: Target + 'static>(name: impl AsRef<str>, target: T) -> ChildSpec {
        ChildSpec::of(name, move |manner| Starter::by_template(&manner, target))
    }

    /// A child that is started from a zygote: `run` is a plain function, or a closure that captures nothing, and is
    /// called with a copy of `argument`, which is serialised for each start. So the supervisor can be started beside
    /// threads. An argument that holds what only one process can have, an end of a connection, is good for one start.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pkit::Zygote;
    /// use pkit::supervisor::{ChildSpec, Supervisor};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// pkit::init()?; // on the first line of main
    /// std::thread::spawn(std::thread::park);
    /// let naps = |millis| std::thread::sleep(Duration::from_millis(millis));
    /// let spec = ChildSpec::in_zygote("naps", &Zygote::global(), naps, 10_000);
    /// Supervisor::builder().child(spec).start()?.stop()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_zygote<A, O>(name: impl AsRef<str>, zygote: &Zygote, run: fn(A) -> O, argument: A) -> ChildSpec
    where
        A: Portable + Send,
        O: Serialize + DeserializeOwned + 'static,
    {
        let zygote = zygote.clone();
        ChildSpec::of(name, move |manner| Ok(Starter::in_zygote(manner, zygote, run, argument)))
    }

    fn of(
        name: impl AsRef<str>,
        starter: impl FnOnce(Manner) -> Result<Starter, StartError> + 'static,
    ) -> ChildSpec {
        ChildSpec {
            name: Arc::from(name.as_ref()),
            policy: Policy::default(),
            options: LaunchOptions::new(),
            starter: Box::new(starter),
        }
    }

    /// Whether it is started again when it has ended; [`Restart::Permanent`] without this.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// How long its restarts wait after failures.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// How long it may take over its end when it is stopped: SIGTERM, this time, SIGKILL; 5 s without this.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.policy.grace = grace;
        self
    }

    /// It is ready when it calls [`ready`](crate::ready), and not as soon as it runs its target. The next child is
    /// started when it is ready.
    pub fn ready_by_target(mut self) -> Self {
        self.policy.ready_by_target = true;
        self
    }

    /// How long it may take to be ready, if it says so itself; 30 s without this. One that takes longer is killed, and
    /// has failed.
    ///
    /// Time in which the supervisor's own process is stopped isn't counted.
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.policy.ready_timeout = timeout;
        self
    }

    /// From when it is ready it has to call [`progress`](crate::progress) at least this often, or it is killed with
    /// SIGKILL, and has failed: it hangs. Without this nobody looks. Less than 0.05 s is an error of the supervisor's
    /// start.
    ///
    /// It is looked at eight times per timeout, so a child that hangs is found after the timeout and a quarter of it
    /// at the most. Looks that come late, because the supervisor's process was stopped or the machine slept, aren't
    /// counted. A child that is itself stopped by a signal, or by a debugger, does hang.
    pub fn hang_timeout(mut self, timeout: Duration) -> Self {
        self.policy.hang_timeout = Some(timeout);
        self
    }

    /// For so long one process of it is to serve; then it is replaced by a new one.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.policy.max_age = Some(age);
        self
    }

    /// So many bytes one process of it may take (its resident set, which is looked at every second); one that takes
    /// more is replaced. It isn't a limit: see [`LaunchOptions::limit`].
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.policy.max_memory = Some(bytes);
        self
    }

    /// A process that is replaced for its age or memory goes on until the new one is ready, as in a
    /// [`rolling_restart`](super::Supervisor::rolling_restart). Without this it is stopped first.
    pub fn recycle_overlapping(mut self) -> Self {
        self.policy.recycle_overlapping = true;
        self
    }

    /// How its processes are set up. Without a name in them they have the child's.
    pub fn options(mut self, options: LaunchOptions) -> Self {
        self.options = options;
        self
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let least = Duration::from_millis(50);
        if self.policy.hang_timeout.is_some_and(|timeout| timeout < least) {
            return Some("its hang_timeout is less than 0.05 s");
        }
        if self.policy.max_age.is_some_and(|age| age.is_zero()) {
            return Some("its max_age is zero");
        }
        self.policy.backoff.fault()
    }

    pub(super) fn starter(self) -> Result<Starter, StartError> {
        let at_exit = AtExit::Stop { grace: self.policy.grace };
        let options = self.options.or_name(&*self.name);
        (self.starter)(Manner {
            at_exit,
            ready_by_target: self.policy.ready_by_target,
            ..Manner::new(options)
        })
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
