//! What every bridge has inside: calls, and the way to the process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::link::{CallError, Execution, LinkError, OpenReply};
use common_ipc::process::{ExitStatus, StopStep, Stopped};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bridge_process::BridgeProcess;
use crate::crosses::Crosses;
use crate::error::BridgeError;
use crate::life::{Life, STOP_GRACE};
use crate::manager::SharedObject;
use crate::method::Method;
use crate::origin::{ByClosure, ByConstructor, Origin};
use crate::reply;
use crate::run::Run;
use crate::serving::Bridged;
use crate::timeout::Timeout;

/// The inside of a bridge. Clones share its process.
#[derive(Clone)]
pub struct Handle {
    process: BridgeProcess,
    /// Where the object is, if that is a manager.
    shared: Option<Arc<SharedObject>>,
    timeout: Option<Timeout>,
}

impl Handle {
    /// A bridge to an object that a constructor is to make, of these arguments, in a process that isn't there yet.
    pub fn new<T: Bridged, W: Crosses + Send>(constructor: Method, arguments: W) -> Handle {
        Handle::of::<T>(Box::new(ByConstructor::<T, W>::new(constructor, arguments)))
    }

    fn of<T: Bridged>(origin: Box<dyn Origin>) -> Handle {
        Handle::of_origin(T::NAME, origin, None)
    }

    pub(crate) fn of_origin(
        object: &'static str,
        origin: Box<dyn Origin>,
        shared: Option<SharedObject>,
    ) -> Handle {
        let process = BridgeProcess::new(Arc::new(Life::new(object, origin)));
        Handle { process, shared: shared.map(Arc::new), timeout: None }
    }

    /// Where the object is, if that is a manager.
    pub(crate) fn shared_object(&self) -> Option<&Arc<SharedObject>> {
        self.shared.as_ref()
    }

    /// Calls a method: `W` is what the child reads as its arguments, `R` is read here as its result.
    pub fn call<W, A, R>(&self, method: Method, arguments: &A) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        if let Some(shared) = &self.shared {
            return shared.call::<W, A, R>(method, arguments, self.time());
        }
        self.call_on::<W, A, R>(&self.free_run(method)?, method, arguments)
    }

    /// What a call goes to that needs a process of the object's own.
    #[inline]
    pub(crate) fn run(&self, method: Method) -> Result<Arc<Run>, BridgeError> {
        match &self.shared {
            Some(shared) => Err(shared.refuse(method.name)),
            None => self.life().run(method),
        }
    }

    /// The same, unless it would have to wait for who makes the call.
    #[inline]
    pub(crate) fn free_run(&self, method: Method) -> Result<Arc<Run>, BridgeError> {
        let run = self.run(method)?;
        run.check_free(method)?;
        Ok(run)
    }

    fn call_on<W, A, R>(&self, run: &Arc<Run>, method: Method, arguments: &A) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        let read = |came: OpenReply<'_>| reply::read(method.name, came);
        match run.caller.call::<W, A, _>(method.id, arguments, self.time(), read) {
            Ok(result) => result,
            Err(error) => Err(self.explain(run, method, error)),
        }
    }

    /// As [`call`](Handle::call), of a method that takes the object itself.
    pub fn finish<W, A, R>(&self, method: Method, arguments: &A) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        if let Some(shared) = &self.shared {
            return shared.call::<W, A, R>(method, arguments, self.time());
        }
        let run = self.free_run(method)?;
        let result = self.call_on::<W, A, R>(&run, method, arguments);
        if result.as_ref().map_or_else(BridgeError::execution, |_| Execution::Ran) == Execution::Ran {
            self.life().finished(&run);
        }
        result
    }

    /// Has a method called, and doesn't wait for that.
    pub fn send<W, A>(&self, method: Method, arguments: &A) -> Result<(), BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
    {
        if let Some(shared) = &self.shared {
            return shared.send::<W, A>(method, arguments, self.time());
        }
        let run = self.free_run(method)?;
        let sent = run.caller.send::<W, A>(method.id, arguments, self.time());
        sent.map_err(|error| self.explain(&run, method, error))
    }

    /// Starts the process, unless it runs.
    pub fn start(&self) -> Result<(), BridgeError> {
        match &self.shared {
            Some(shared) => Err(shared.refuse("start")),
            None => self.life().start(),
        }
    }

    /// Stops the process; no error if there is none.
    pub fn stop(&self) -> Result<(), BridgeError> {
        if let Some(shared) = &self.shared {
            return Err(shared.refuse("stop"));
        }
        match self.life().stop(STOP_GRACE) {
            Ok(stopped) if stopped.by == StopStep::HadEnded => Err(BridgeError::PeerDied {
                method: "stop",
                status: stopped.status,
                execution: Execution::NotRun,
            }),
            // The drop of the object has.
            Ok(Stopped { status: status @ ExitStatus::Panicked(_), .. }) => {
                Err(BridgeError::PeerDied { method: "stop", status, execution: Execution::Ran })
            }
            Ok(_) | Err(BridgeError::NotStarted { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Its process, and how that is started.
    #[must_use]
    pub fn process(&self) -> &BridgeProcess {
        &self.process
    }

    /// The same bridge, each of whose calls may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Timeout) -> Handle {
        Handle { timeout: Some(timeout), ..self.clone() }
    }

    /// How long a call may take.
    pub(crate) fn time(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.after)
    }

    /// Why a call has failed that the connection didn't carry through.
    #[cold]
    pub(crate) fn explain(&self, run: &Arc<Run>, method: Method, error: CallError) -> BridgeError {
        let (LinkError::NoReply | LinkError::TimedOut, Some(Timeout { after, kills })) =
            (&error.cause, self.timeout)
        else {
            return self.life().failed(run, method, error);
        };
        if kills {
            let killed = run.child.kill().map_err(BridgeError::from);
            if let Err(error) = killed.and_then(|()| self.life().see_the_end(run)) {
                return error;
            }
        }
        BridgeError::Timeout { method: method.name, after, execution: error.execution(), killed: kills }
    }

    pub(crate) fn life(&self) -> &Arc<Life> {
        self.process.life()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("process", &self.process).field("timeout", &self.timeout).finish()
    }
}

/// A bridge to an object that `make` makes, in the process that `start` forks: for what no serialisable arguments can
/// make, such as an object that owns a file, a socket or a child of `Rc`s. The closure stays here as well, for starts
/// to come, and each process runs its own copy; it isn't for zygotes.
///
/// ```
/// use std::rc::Rc;
/// use cross_process_bridge::{bridge, from_fn};
///
/// struct Words(Rc<Vec<String>>);
///
/// #[bridge]
/// impl Words {
///     fn new() -> Words {
///         Words(Rc::new(Vec::new()))
///     }
///     fn count(&self) -> usize {
///         self.0.len()
///     }
/// }
///
/// let text = "captured by the closure".to_owned();
/// let words = from_fn(move || Words(Rc::new(text.split(' ').map(str::to_owned).collect())));
/// words.start()?;
/// assert_eq!(words.count()?, 4);
/// # Ok::<(), cross_process_bridge::BridgeError>(())
/// ```
pub fn from_fn<T, F>(make: F) -> T::Bridge
where
    T: Bridged,
    F: FnOnce() -> T + Send + 'static,
{
    Handle::of::<T>(Box::new(ByClosure::new(make))).into()
}
