//! Zygotes: processes that were forked early and start functions on serialised values.

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::link::attachments::{self, Incoming};
use crate::link::codec;
use crate::link::poll::Deadline;
use crate::logging;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::generation::Generation;
use crate::ownership::give::How;
use crate::ownership::per_process::PerProcess;
use crate::process::child::Child;
use crate::process::child_side;
use crate::process::errors::StartError;
use crate::process::exit_hook;
use crate::process::fork_rule;
use crate::process::fork_server::{
    self, Births, ForServer, ForkServer, NoChild, Outcome, Server, Start, Surroundings, Thunk, Work,
};
use crate::process::keeper;
use crate::process::options::{DEFAULT_READY_TIMEOUT, LaunchOptions, Sigint, Stdio};
use crate::process::plan::Plan;
use crate::process::portable::Portable;
use crate::process::report::OutputFailure;
use crate::process::signals::ToReset;
use crate::sys;
use crate::sys::function::{self, Modules};

/// A process from which children are started that share nothing with the program but its code.
///
/// A start from a zygote costs the same however large the program is (a fork copies its page tables), and is
/// safe beside any threads (a fork copies their locks). What runs is a function, on a value that is
/// [`Portable`]: see [`Launch::start_in`](crate::process::Launch::start_in). The child has the program's state of
/// the time of its start - user and groups, capabilities, working directory, umask, environment, limits, nice
/// value, processors, process group, standard streams - and is the program's own child in every respect. It has none of the
/// program's memory, and no descriptor that wasn't sent to it.
///
/// The program calls [`init`](crate::process::init) first. The zygote itself is made at the first start; should
/// it die, the start that it was working on fails, and the next one gets a new zygote.
///
/// What doesn't follow the program, and stays as it was at the moment of `init`: control groups, scheduling policies,
/// namespaces other than that of mounts, timer slack, the filter of core dumps, the adjustment for the OOM killer,
/// and a Landlock sandbox, which the kernel shows to nobody: a program that enters one calls `init` for the first
/// time afterwards. A changed root directory or mount namespace, and new filters of system calls, are
/// [`StartError::ZygoteStale`], until `init` is called again.
///
/// Handlers of `pthread_atfork` don't run; hooks of [`after_fork`](crate::process::after_fork) that were registered
/// before `init`, or by the preload, do. A logger or a panic hook that was set after `init` isn't there, so that log
/// records vanish: have them [relayed](crate::logging), or set the logger before, by such a hook, or in the preload.
///
/// A zygote that was killed while nobody started anything stays a zombie until the next start.
///
/// Clones are the same zygote. Dropping the last of them ends it, but not its children.
#[derive(Debug, Clone)]
pub struct Zygote {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    home: Generation,
    preload: Option<Preload>,
    /// Made at the first start, and again after its death.
    server: parking_lot::Mutex<Option<Arc<Server>>>,
}

/// What a zygote does before its first child.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Preload {
    thunk: u64,
    function: u64,
    argument: Vec<u8>,
}

/// Decodes the argument of a preload and calls it.
type PreloadThunk = fn(function: usize, argument: &[u8]) -> Result<(), String>;

impl Zygote {
    /// The program's zygote, which has run nothing. Every call gives the same one.
    ///
    /// This only names it: without [`init`](crate::process::init) the start is [`StartError::NotInitialised`].
    #[must_use]
    pub fn global() -> Zygote {
        static GLOBAL: PerProcess<Mutex<Option<Zygote>>> = PerProcess::new(Mutex::new(None), Mutex::default);
        let mut global = GLOBAL.own().lock().unwrap_or_else(PoisonError::into_inner);
        global.get_or_insert_with(|| Zygote::new(None)).clone()
    }

    /// A zygote that calls `preload` first: it loads a library, a dictionary, a model once, and its children have
    /// that in their memory, shared until they change it. Returns when it has.
    ///
    /// What it leaves in memory has its price: each start forks the zygote, which takes some 0.03 ms for each MiB that
    /// the zygote has touched. Large data is better sent as a [`FrozenArray`](crate::memory::FrozenArray).
    ///
    /// Descriptors that it opens its children have as well, under the same numbers. Processes that it starts it has
    /// to wait for. Should the zygote die, the next start makes another one, which calls it again, while other starts
    /// wait for that.
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use common_ipc::process::{self, Launch, LaunchOptions, Zygote};
    ///
    /// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// process::init()?;
    /// let zygote = Zygote::with_preload(
    ///     |words: Vec<String>| WORDS.set(words).unwrap(),
    ///     &vec!["any".to_owned(), "words".to_owned()],
    /// )?;
    /// let child = Launch::new(&LaunchOptions::new())
    ///     .start_in(&zygote, |place: usize| WORDS.get().unwrap()[place].clone(), &1)?;
    /// assert_eq!(child.output::<String>()?, "words");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StartError::NotInitialised`]; [`StartError::EndedEarly`] if the preload panics, exits or dies;
    /// [`StartError::NotReady`] if it takes longer than 60 s; [`Refusal::ThreadsOfPreload`](crate::process::Refusal::ThreadsOfPreload) if it leaves threads
    /// behind; [`StartError::Argument`] if its argument can't be read there; any other of a start. It isn't tried
    /// again.
    pub fn with_preload<A: Portable>(preload: fn(A), argument: &A) -> Result<Zygote, StartError> {
        let thunk: PreloadThunk = |function, argument| {
            let argument = codec::decode::<A>(argument).map_err(|error| error.to_string())?;
            // As it was made a number below.
            function::at::<fn(A)>(function)(argument);
            Ok(())
        };
        let (thunk, preload) = (function::address(thunk), function::address(preload));
        let zygote = Zygote::new(Some(Preload {
            thunk: thunk as u64,
            function: preload as u64,
            argument: codec::encode_checked(argument)?,
        }));
        let made = zygote.make(Deadline::after(DEFAULT_READY_TIMEOUT))?;
        *zygote.inner.server.lock() = Some(made);
        Ok(zygote)
    }

    fn new(preload: Option<Preload>) -> Zygote {
        let home = Generation::current();
        Zygote { inner: Arc::new(Inner { home, preload, server: parking_lot::Mutex::new(None) }) }
    }

    /// Its process id, if it is there at this moment; `None` also while it is being made.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.inner.home.check().ok()?;
        let server = self.inner.server.try_lock()?.clone();
        server.filter(|server| server.is_alive()).map(|server| server.id())
    }

    /// Starts a child.
    pub(crate) fn start(&self, plan: &Plan<'_>, start: Start) -> Result<Child, StartError> {
        self.start_knowing(plan, start).map(|(child, _)| child)
    }

    /// As [`start`](Zygote::start), and says what the child has of the program's code.
    pub(crate) fn start_knowing(
        &self,
        plan: &Plan<'_>,
        start: Start,
    ) -> Result<(Child, Arc<Modules>), StartError> {
        self.inner.home.check()?;
        if !plan.options.given.is_empty() {
            return Err(StartError::GivenToZygote);
        }
        exit_hook::register();
        let deadline = Deadline::after(plan.timeout());
        let mut asked_before = false;
        loop {
            let server = self.server(plan, deadline)?;
            server.check(start.functions())?;
            // Now that there is nothing more to wait for: the child has no more rights than the program has now.
            let now = fork_server::now()?;
            let failed = match server.start_in(plan, &start, &now, None, deadline) {
                Ok(child) => {
                    start.outgoing.sent();
                    return Ok((child, Arc::clone(server.modules())));
                }
                Err(failed) => failed,
            };
            let is_stuck = matches!(failed, NoChild::Failed(StartError::ServerStuck { .. }));
            if is_stuck || !server.is_alive() {
                self.let_go(&server);
            }
            match failed {
                // It had died while nobody looked: that is no business of this start's.
                NoChild::NobodyAsked(_) if !asked_before => asked_before = true,
                NoChild::Late(_) if !deadline.has_passed() => {}
                failed => return Err(failed.into()),
            }
        }
    }

    /// The process, made if there is none.
    fn server(&self, plan: &Plan<'_>, deadline: Deadline) -> Result<Arc<Server>, StartError> {
        let stuck = || StartError::ServerStuck { server: ForkServer::Zygote, timeout: plan.timeout() };
        // Others may be making it.
        let mut current = deadline.lock(&self.inner.server).ok_or_else(stuck)?;
        // Looked at rather than just asked: the keeper closes its copy of a new one's socket when it comes to that, and what
        // is sent there would have been heard by nobody.
        if let Some(server) = current.as_ref().filter(|server| server.is_alive()) {
            // Of a keeper that was replaced, or is dead, it is good all the same, unless it is behind for good.
            let of_another =
                keeper::current().is_ok_and(|keeper| !Arc::ptr_eq(keeper.modules(), server.modules()));
            if !of_another || server.surroundings().until(&fork_server::now()?).is_ok() {
                return Ok(Arc::clone(server));
            }
        }
        Ok(Arc::clone(current.insert(self.make(deadline)?)))
    }

    /// The next start gets a new one, unless another thread has made that already.
    fn let_go(&self, server: &Arc<Server>) {
        if let Some(mut current) = Deadline::after(DEATH_PATIENCE).lock(&self.inner.server) {
            if current.as_ref().is_some_and(|known| Arc::ptr_eq(known, server)) {
                *current = None;
            }
        }
    }

    /// Has the keeper make it.
    fn make(&self, deadline: Deadline) -> Result<Arc<Server>, StartError> {
        let keeper = keeper::current()?;
        let (ours, theirs) = fork_server::both_sides()?;
        let ForServer { socket, births } = theirs;
        let preload = self.inner.preload.clone();
        if let Some(preload) = &preload {
            keeper.check([preload.thunk as usize, preload.function as usize])?;
        }
        let seed = Seed { socket: Descriptor(socket), births: Descriptor(births), preload };
        let start = Start::new(hatch, function::address(hatch as Thunk), &seed)?;
        let options = LaunchOptions::new().name("mp-zygote").stdin(Stdio::Inherit);
        let mut plan = Plan::of_server(&options)?;
        plan.relays_records = self.inner.preload.is_some();
        let os = |source| StartError::Os { step: "open the working directory", source };
        loop {
            // It is, from the beginning, in the directory that is noted down, should another thread enter another one.
            let cwd = fork_server::open_cwd().map_err(os)?;
            let now = fork_server::now()?.within(cwd.as_fd()).map_err(os)?;
            let now = now.no_nicer_than(keeper.surroundings());
            let child = match keeper.start_in(&plan, &start, &now, Some(cwd), deadline) {
                // On a busy machine, say: it is asked anew, with the state of now.
                Err(NoChild::Late(_)) if !deadline.has_passed() => continue,
                made => made.map_err(StartError::from)?,
            };
            let modules = Arc::clone(keeper.modules());
            return Ok(Arc::new(Server::new(ForkServer::Zygote, child, ours, now, modules)));
        }
    }
}

/// How long to wait for the lock of a zygote that was lost.
const DEATH_PATIENCE: Duration = Duration::from_millis(100);

/// What a zygote is made from.
#[derive(Serialize, Deserialize)]
struct Seed {
    socket: Descriptor,
    births: Descriptor,
    preload: Option<Preload>,
}

/// One that goes along.
struct Descriptor(Arc<PrivateFd>);

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        attachments::attach(&self.0, How::Shared).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Descriptor, D::Error> {
        let place = u32::deserialize(deserializer)?;
        attachments::take(place).map(|fd| Descriptor(Arc::new(fd))).map_err(serde::de::Error::custom)
    }
}

/// The task of the keeper's child that becomes a zygote.
fn hatch(_: usize, seed: &[u8], incoming: Option<Incoming>, ready: &mut dyn FnMut()) -> Outcome {
    let unreadable = |message| OutputFailure::Argument { message };
    let seed = codec::decode_message::<Seed>(seed, incoming);
    let seed = seed.map_err(|error| unreadable(error.to_string()))?;
    if let Some(preload) = &seed.preload {
        let failed = |error: std::io::Error| unreadable(error.to_string());
        let cwd = fork_server::open_cwd().map_err(failed)?;
        let before = Surroundings::now().map_err(failed)?;
        // Both were in what was loaded before the keeper was forked.
        let thunk = function::at::<PreloadThunk>(preload.thunk as usize);
        thunk(preload.function as usize, &preload.argument).map_err(unreadable)?;
        // Before anything else: what follows is for a process with one thread.
        if let Some(count) = fork_rule::threads_left_behind() {
            return Err(OutputFailure::Threads { count });
        }
        // Children are in the program's surroundings, whatever the preload did to its own.
        let after = Surroundings::now().map_err(failed)?;
        let undone = after
            .until(&before)
            .and_then(|changes| changes.make(Some(cwd.as_fd())).map_err(|(what, _)| what));
        undone.map_err(|what| unreadable(format!("the preload has changed the {what} for good")))?;
        ToReset::find(None).reset(Sigint::Default);
        let _ = std::io::stdout().flush();
        sys::fork::flush_c_streams(false);
        // Handlers that it has registered are not its children's.
        child_side::trap_exit();
        logging::tell_losses();
        // Its children have links of their own.
        logging::cut_off();
    }
    let births = Births::receive(&seed.births.0).map_err(|error| unreadable(error.to_string()))?;
    ready();
    let served = fork_server::serve(&seed.socket.0, births, Work::Tasks);
    served.map(|()| Vec::new()).map_err(|error| unreadable(error.to_string()))
}
