//! What a child is to run, and how it is looked after.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::process::{AtExit, Child, LaunchOptions, Portable, Sigint, StartError, Zygote};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backoff::Backoff;
use super::outcome::{Outcome, verdict_of};
use super::policy::{Policy, Restart};
use crate::starter::{Manner, Starter};

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
    hold_stop_signals: bool,
    starter: Box<dyn FnOnce(Manner) -> Result<Starter, StartError>>,
    /// Whether what it returned is a failure.
    verdict: Verdict,
}

/// How long a start from a template or zygote may take unless the options set another time: while it goes on, nothing
/// else is looked after. It takes a fraction of a millisecond as a rule.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at what a child returned.
pub(super) type Verdict = fn(&Child) -> Result<(), String>;

impl ChildSpec {
    /// A child that runs a closure, which may capture anything.
    ///
    /// At the supervisor's start, while the program has one thread, a *template* is made of it: a small process that
    /// keeps the closure, and from which the child is started each time with a fresh copy of it
    /// ([`Template`](common_ipc::process::Template)). So each process of the child begins with what the closure had
    /// captured then.
    ///
    /// An end of a connection or a pipe, which [moves](LaunchOptions::give), would be the first process's, and is refused
    /// by the supervisor's start unless the child is [`Temporary`](Restart::Temporary). What is started again shares:
    /// a [`Queue`](common_ipc::link::Queue), events, locks, memory, and what other libraries open.
    ///
    /// A template that dies can't be made anew, since the program may have threads by then: the restarts of its child fail
    /// from then on, which says so, until there are too many failures ([`intensity`](super::SupervisorBuilder::intensity)).
    /// Others go on till then.
    ///
    /// The closure returns nothing, never, or a `Result`, of which an `Err` is a failure: [`Outcome`].
    pub fn new<O, F>(name: impl AsRef<str>, run: F) -> ChildSpec
    where
        F: FnOnce() -> O + 'static,
        O: Outcome,
    {
        let starter = move |manner: Manner| Starter::by_template(&manner, move || run().verdict());
        ChildSpec::of(name, starter, verdict_of::<Result<(), String>>)
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
        O: Outcome + Serialize + DeserializeOwned + 'static,
    {
        let zygote = zygote.clone();
        let starter = move |manner| Ok(Starter::in_zygote(manner, zygote, run, argument));
        ChildSpec::of(name, starter, verdict_of::<O>)
    }

    fn of(
        name: impl AsRef<str>,
        starter: impl FnOnce(Manner) -> Result<Starter, StartError> + 'static,
        verdict: Verdict,
    ) -> ChildSpec {
        ChildSpec {
            name: Arc::from(name.as_ref()),
            policy: Policy::default(),
            options: LaunchOptions::new(),
            hold_stop_signals: false,
            starter: Box::new(starter),
            verdict,
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

    /// It takes requests to stop itself, by [`StopSignals`](crate::StopSignals), so that it can finish what it is about
    /// before it is replaced or stopped: it has the [`grace`](ChildSpec::grace) for that. Otherwise SIGTERM ends it at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pkit::StopSignals;
    /// use pkit::supervisor::{ChildSpec, Supervisor};
    ///
    /// let spec = ChildSpec::new("worker", || -> Result<(), std::io::Error> {
    ///     let stop = StopSignals::held()?;
    ///     while !stop.wait_timeout(Duration::from_millis(5))? {
    ///         // a step of the work, which is always finished
    ///     }
    ///     Ok(())
    /// });
    /// let supervisor = Supervisor::builder().child(spec.hold_stop_signals()).start()?;
    /// supervisor.rolling_restart("worker")?;
    /// supervisor.stop()?;
    /// # Ok::<(), pkit::supervisor::SupervisorError>(())
    /// ```
    pub fn hold_stop_signals(mut self) -> Self {
        self.hold_stop_signals = true;
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
    /// counted. A child that is itself stopped by a signal, or by a debugger, does hang; so does one that waits for work
    /// without a time-out, which it does best by waits that are shorter than this, each followed by a `progress`.
    pub fn hang_timeout(mut self, timeout: Duration) -> Self {
        self.policy.hang_timeout = Some(timeout);
        self
    }

    /// For so long one process of it is to serve, and up to a tenth longer, at random, so that children which were
    /// started together aren't all replaced together; then it is replaced by a new one.
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

    /// How its processes are set up. Without a name in them they have the child's; without a policy for SIGINT they
    /// ignore it: Ctrl-C goes to all processes of a terminal, and the supervisor decides their end. Without a
    /// [`ready_timeout`](LaunchOptions::ready_timeout) a start may take 5 s, up to where the target runs.
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
        if self.options.moves_something() && self.policy.restart != Restart::Temporary {
            return Some(
                "its options give it what only its first process could have, an end of a connection, say. Share a queue, \
                 or make it Temporary",
            );
        }
        self.policy.backoff.fault()
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub(super) fn starter(self) -> Result<Starter, StartError> {
        let options =
            self.options.or_name(&*self.name).or_sigint(Sigint::Ignore).or_ready_timeout(START_TIMEOUT);
        let manner = Manner {
            at_exit: AtExit::Stop { grace: self.policy.grace },
            ready_by_target: self.policy.ready_by_target,
            hold_stop_signals: self.hold_stop_signals,
            ..Manner::new(options)
        };
        (self.starter)(manner)
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
