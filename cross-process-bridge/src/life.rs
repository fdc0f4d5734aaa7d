//! The life of a bridge's process: started, called, stopped, lost, and started again.
//!
//! ```text
//!            start                        the process ends
//! Idle ---------------> Up ---------------------------------> Lost
//!   ^                   |                                       |
//!   +------ stop -------+------------------- stop --------------+        start: from Lost to Up as well
//! ```

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::link::{CallError, DEFAULT_MAX_FRAME, Execution, LinkError, OpenServer, open_calls};
use common_ipc::process::{
    Child, ExitStatus, Generation, Launch, LaunchOptions, StartError, Stopped, Template, WrongProcess, Zygote,
};
use parking_lot::{Mutex, MutexGuard};

use crate::error::BridgeError;
use crate::method::Method;
use crate::origin::Origin;
use crate::reentry;
use crate::reply;
use crate::run::{Run, TERM_GRACE, broken, is_nonsense, unsent};

/// What the clones of a bridge share.
#[derive(Debug)]
pub(crate) struct Life {
    /// The type of the object.
    pub(crate) object: &'static str,
    home: Generation,
    number: u64,
    origin: Box<dyn Origin>,
    manner: Mutex<Manner>,
    /// Held by whoever starts or stops it: one at a time.
    changing: Mutex<()>,
    /// Locked for moments.
    state: Mutex<State>,
}

/// How the next process is started.
#[derive(Debug)]
pub(crate) struct Manner {
    pub(crate) options: LaunchOptions,
    pub(crate) way: Way,
    pub(crate) max_message: usize,
}

/// From what it is started.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Fork,
    Zygote(Zygote),
    Template(Arc<Template<OpenServer>>),
}

#[derive(Debug)]
struct State {
    now: Now,
    /// How often it was started.
    generation: u64,
}

#[derive(Debug)]
enum Now {
    Idle,
    Up(Arc<Run>),
    /// It has ended by itself, or was killed, and nobody has stopped or started the bridge since.
    Lost {
        child: Child,
        status: ExitStatus,
    },
}

/// How long a process that has closed its end may take over its own end, before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long `stop` waits for the calls that came before it, and for the drop of the object.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);
/// The same for a bridge that is dropped.
const DROP_GRACE: Duration = Duration::from_secs(1);

impl Life {
    pub(crate) fn new(object: &'static str, origin: Box<dyn Origin>) -> Life {
        Life {
            object,
            home: Generation::current(),
            number: reentry::number(),
            origin,
            manner: Mutex::new(Manner {
                options: LaunchOptions::new(),
                way: Way::Fork,
                max_message: DEFAULT_MAX_FRAME,
            }),
            changing: Mutex::new(()),
            state: Mutex::new(State { now: Now::Idle, generation: 0 }),
        }
    }

    /// Checks that the bridge is this process's. Nothing of it is locked before: in a copy of the process the lock may
    /// never come free.
    pub(crate) fn check(&self) -> Result<(), BridgeError> {
        match self.home.check() {
            Ok(()) => Ok(()),
            Err(WrongProcess) if reentry::is_served_here(self.number) => {
                Err(BridgeError::Reentrant { object: self.object })
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock()
    }

    /// What a call goes to.
    #[inline]
    pub(crate) fn run(&self, method: Method) -> Result<Arc<Run>, BridgeError> {
        self.check()?;
        match &self.state.lock().now {
            Now::Up(run) => Ok(Arc::clone(run)),
            Now::Idle => Err(self.not_started()),
            Now::Lost { status, .. } => Err(BridgeError::PeerDied {
                method: method.name,
                status: status.clone(),
                execution: Execution::NotRun,
            }),
        }
    }

    /// The process, if it was started and not stopped.
    pub(crate) fn child(&self) -> Option<Child> {
        self.check().ok()?;
        match &self.state.lock().now {
            Now::Up(run) => Some(run.child.clone()),
            Now::Lost { child, .. } => Some(child.clone()),
            Now::Idle => None,
        }
    }

    pub(crate) fn not_started(&self) -> BridgeError {
        BridgeError::NotStarted { object: self.object }
    }

    /// Whether the next start is a fork, which goes by the thread that asks for it.
    #[cfg(feature = "tokio")]
    pub(crate) fn forks(&self) -> bool {
        self.check().is_err() || matches!(self.manner.lock().way, Way::Fork)
    }

    /// How often it was started.
    pub(crate) fn generation(&self) -> u64 {
        if self.check().is_ok() { self.state.lock().generation } else { 0 }
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&self) -> Result<(), BridgeError> {
        self.check()?;
        let _changing = self.changing.lock();
        if let Some(child) = self.child() {
            if child.is_alive()? {
                return Ok(());
            }
        }
        let run = Arc::new(self.begin()?);
        let mut state = self.state.lock();
        state.generation += 1;
        let before = std::mem::replace(&mut state.now, Now::Up(run));
        drop(state);
        drop(before);
        Ok(())
    }

    /// How an object is made that a manager is to have, and how long that may take.
    pub(crate) fn to_share(&self) -> Result<(&dyn Origin, Duration), BridgeError> {
        self.check()?;
        Ok((&*self.origin, self.manner.lock().options.ready_within()))
    }

    /// A process with an object in it.
    fn begin(&self) -> Result<Run, BridgeError> {
        let (options, way, max_message) = {
            let manner = self.manner.lock();
            (manner.options.clone(), manner.way.clone(), manner.max_message)
        };
        let io = |source| StartError::Os { step: "make a connection", source };
        let (caller, server) = open_calls(max_message).map_err(io)?;
        let (begin, timeout) = (Instant::now(), options.ready_within());
        let child = match &way {
            Way::Fork => {
                let options = options.give(&server);
                self.origin.fork(&Launch::new(&options).kind(self.object), server, self.number)?
            }
            Way::Zygote(zygote) => {
                let launch = Launch::new(&options).kind(self.object);
                self.origin.start_in(&launch, zygote, server, self.number)?
            }
            Way::Template(template) => template.start_as(&options, &server)?,
        };
        // An object may lie about that, or its process have no descriptor to tell it by.
        let served = child.serves(&caller);
        let run = Run::new(caller, child);
        if let Err(error) = served {
            run.child.kill()?;
            run.child.wait()?;
            return Err(StartError::Os {
                step: "watch for the end of the new process",
                source: io::Error::other(error),
            }
            .into());
        }
        match self.construct(&run, begin, timeout) {
            Ok(()) => Ok(run),
            Err(error) => {
                // As a rule it ends by itself.
                run.child.wait_or_stop(LAST_WORDS, Duration::ZERO)?;
                Err(error)
            }
        }
    }

    fn construct(&self, run: &Run, begin: Instant, timeout: Duration) -> Result<(), BridgeError> {
        let constructor = self.origin.name();
        let mut made = Ok(());
        let left = timeout.saturating_sub(begin.elapsed());
        let called = self.origin.construct(&run.caller, left, &mut |reply| {
            made = reply::read::<()>(constructor, reply);
        });
        let Err(error) = called else { return made };
        Err(match error.cause {
            LinkError::NoReply | LinkError::TimedOut => {
                run.child.kill()?;
                StartError::NotReady { timeout }.into()
            }
            LinkError::Closed | LinkError::Truncated => {
                StartError::EndedEarly { status: run.end(LAST_WORDS)? }.into()
            }
            LinkError::Encode(_) | LinkError::TooLarge(_) | LinkError::WrongProcess(_) => {
                // Nobody has told it anything.
                run.child.kill()?;
                unsent(constructor, error)
            }
            cause => {
                run.child.kill()?;
                let source = match cause {
                    LinkError::Io(source) => source,
                    cause => io::Error::other(cause),
                };
                StartError::Os { step: "hear from the new process", source }.into()
            }
        })
    }

    /// Makes a template of its processes.
    pub(crate) fn make_template(&self) -> Result<(), BridgeError> {
        self.check()?;
        let options = self.manner.lock().options.clone();
        let template = self.origin.template(&Launch::new(&options).kind(self.object), self.number)?;
        self.manner.lock().way = Way::Template(Arc::new(template));
        Ok(())
    }

    /// Why a call has failed that the connection didn't carry through. If the process is gone, or of no more use, the
    /// bridge knows that from now on.
    #[cold]
    pub(crate) fn failed(&self, run: &Arc<Run>, method: Method, error: CallError) -> BridgeError {
        let method = method.name;
        let execution = error.execution();
        let ended = match error.cause {
            LinkError::Closed | LinkError::Truncated => self.see_the_end(run),
            _ if execution == Execution::NotRun && !is_nonsense(&error.cause) => {
                return unsent(method, error);
            }
            _ => {
                // It has written nonsense: whatever it does now, nobody can talk to it any more.
                let killed = run.child.kill().map_err(BridgeError::from);
                let ended = killed.and_then(|()| self.see_the_end(run));
                return ended.err().unwrap_or_else(|| broken(method, error));
            }
        };
        match ended {
            Ok(status) => BridgeError::PeerDied { method, status, execution },
            Err(error) => error,
        }
    }

    /// Waits for the end of a process that can't be called any more, and has it ended if that takes long.
    pub(crate) fn see_the_end(&self, run: &Arc<Run>) -> Result<ExitStatus, BridgeError> {
        // If it isn't the current one any more, somebody is about to stop it, with all the time that this takes.
        let patience = if self.is_current(run) { LAST_WORDS } else { STOP_GRACE };
        let status = run.end(patience)?;
        self.leave(run, Now::Lost { child: run.child.clone(), status: status.clone() });
        Ok(status)
    }

    /// Ends it: asks it to, waits for `grace`, and then insists.
    pub(crate) fn stop(&self, grace: Duration) -> Result<Stopped, BridgeError> {
        self.check()?;
        let _changing = self.changing.lock();
        // From here on there is nothing to be called.
        match std::mem::replace(&mut self.state.lock().now, Now::Idle) {
            Now::Up(run) => run.stop(grace),
            Now::Lost { child, .. } => Ok(child.stop(grace)?),
            Now::Idle => Err(self.not_started()),
        }
    }

    /// Kills it, and sees that it is dead.
    pub(crate) fn kill(&self) -> Result<(), BridgeError> {
        self.check()?;
        let run = match &self.state.lock().now {
            Now::Up(run) => Arc::clone(run),
            Now::Lost { .. } | Now::Idle => return Ok(()),
        };
        run.child.kill()?;
        self.see_the_end(&run).map(drop)
    }

    /// Ends it, if it runs, and starts the next one.
    pub(crate) fn restart(&self, grace: Duration) -> Result<(), BridgeError> {
        match self.stop(grace) {
            Ok(_) | Err(BridgeError::NotStarted { .. }) => self.start(),
            Err(error) => Err(error),
        }
    }

    /// A method has taken the object: the process ends by itself. Should it not, that takes nothing from the method's
    /// result.
    pub(crate) fn finished(&self, run: &Arc<Run>) {
        let _changing = self.changing.lock();
        self.leave(run, Now::Idle);
        if let Err(error) = run.child.wait_or_stop(STOP_GRACE, TERM_GRACE) {
            log::warn!("the process of a finished bridge to {} goes on: {error}", self.object);
        }
        // Another call may have seen the end first, and taken it for an accident.
        let mut state = self.state.lock();
        if matches!(&state.now, Now::Lost { child, .. } if child.id() == run.child.id()) {
            state.now = Now::Idle;
        }
    }

    fn is_current(&self, run: &Arc<Run>) -> bool {
        matches!(&self.state.lock().now, Now::Up(current) if Arc::ptr_eq(current, run))
    }

    /// What comes after this run, unless there is another one by now.
    fn leave(&self, run: &Arc<Run>, next: Now) {
        let mut state = self.state.lock();
        if matches!(&state.now, Now::Up(current) if Arc::ptr_eq(current, run)) {
            let before = std::mem::replace(&mut state.now, next);
            drop(state);
            drop(before);
        }
    }
}

/// The last handle is dropped: the object is, too, and its process ends.
impl Drop for Life {
    fn drop(&mut self) {
        if self.home.check().is_err() {
            return;
        }
        if let Now::Up(run) = &self.state.get_mut().now {
            if let Err(error) = run.stop(DROP_GRACE) {
                log::warn!("the process of a dropped bridge to {} goes on: {error}", self.object);
            }
        }
    }
}
