//! Calls that don't block the thread: for tasks of a tokio runtime.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use common_ipc::link::{AsyncOpenCaller, CallError, Execution, OpenReply};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bridge_process::BridgeProcess;
use crate::closures::{Asked, Outcome, Progress, Step};
use crate::crosses::Crosses;
use crate::error::BridgeError;
use crate::handle::Handle;
use crate::lent::Resumed;
use crate::method::{self, Method};
use crate::reply;
use crate::run::Run;
use crate::timeout::Timeout;

/// The inside of an asynchronous bridge. Clones share its process; each call belongs to the runtime in which it is made.
#[derive(Clone)]
pub struct AsyncHandle {
    handle: Handle,
    /// Made anew for each run, and for each runtime: another one's may not be running.
    callers: Arc<Mutex<Vec<RunsCaller>>>,
}

/// The caller of one run, in one runtime.
struct RunsCaller {
    run: Arc<Run>,
    runtime: Option<tokio::runtime::Id>,
    caller: AsyncOpenCaller,
}

impl Handle {
    /// The same bridge, for tasks.
    #[must_use]
    pub fn to_async(&self) -> AsyncHandle {
        AsyncHandle { handle: self.clone(), callers: Arc::default() }
    }
}

impl AsyncHandle {
    /// As [`Handle::call`]. If the future is dropped, a late reply is, too.
    pub async fn call<W, A, R>(&self, method: Method, arguments: &A) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        let run = self.handle.free_run(method)?;
        self.call_on::<W, A, R>(&run, method, arguments).await
    }

    async fn call_on<W, A, R>(&self, run: &Arc<Run>, method: Method, arguments: &A) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        let caller = self.caller(run, method)?;
        let read = |came: OpenReply<'_>| reply::read(method.name, came);
        match caller.call::<W, A, _>(method.id, arguments, self.handle.time(), read).await {
            Ok(result) => result,
            Err(error) => Err(self.explain(run, method, error).await),
        }
    }

    /// As [`Handle::call_with`]. The closures are called within polls of the future.
    pub async fn call_with<W, A, R>(
        &self,
        method: Method,
        arguments: &A,
        mut closures: impl FnMut(u32, Asked<'_>) -> Outcome,
    ) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        let run = self.run(method)?;
        let caller = self.caller(&run, method)?;
        let occupied = run.occupy(method)?;
        let mut progress = Progress::new(self.time());
        let mut read = |came: OpenReply<'_>| Step::of(method, came, &mut closures);
        let request = (occupied.number, arguments);
        let mut step = caller.call::<(u64, W), _, _>(method.id, &request, self.time(), &mut read).await;
        let result = loop {
            match step {
                Ok(Step::Asked(outcome)) => {
                    let resumed = (occupied.number, progress.resume(outcome));
                    let left = progress.left();
                    step =
                        caller.call::<(u64, Resumed), _, _>(method::RESUME, &resumed, left, &mut read).await;
                }
                Ok(Step::Ended(result)) => {
                    occupied.over();
                    break result;
                }
                Err(error) => {
                    let error = self.explain(&run, method, error).await;
                    drop(occupied);
                    break Err(progress.lost(error));
                }
            }
        };
        progress.end(result)
    }

    /// As [`Handle::finish`].
    pub async fn finish<W, A, R>(&self, method: Method, arguments: &A) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        let run = self.handle.free_run(method)?;
        let result = self.call_on::<W, A, R>(&run, method, arguments).await;
        if result.as_ref().map_or_else(BridgeError::execution, |_| Execution::Ran) == Execution::Ran {
            let life = Arc::clone(self.handle.life());
            // Should the runtime shut down: the process ends all the same.
            let _ = tokio::task::spawn_blocking(move || life.finished(&run)).await;
        }
        result
    }

    /// As [`Handle::send`].
    pub async fn send<W, A>(&self, method: Method, arguments: &A) -> Result<(), BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
    {
        let run = self.handle.free_run(method)?;
        let caller = self.caller(&run, method)?;
        match caller.send::<W, A>(method.id, arguments, self.handle.time()).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explain(&run, method, error).await),
        }
    }

    /// As [`Handle::start`]. A fork happens on this very thread, and blocks it until the constructor has returned; from a
    /// zygote or a template nothing is blocked.
    pub async fn start(&self) -> Result<(), BridgeError> {
        let handle = self.handle.clone();
        if handle.life().forks() {
            return handle.start();
        }
        beside("start", move || handle.start()).await
    }

    /// As [`Handle::stop`].
    pub async fn stop(&self) -> Result<(), BridgeError> {
        self.handle.life().check()?;
        // They would keep the connection open.
        self.callers.lock().clear();
        let handle = self.handle.clone();
        beside("stop", move || handle.stop()).await
    }

    /// Its process, and how that is started.
    #[must_use]
    pub fn process(&self) -> &BridgeProcess {
        self.handle.process()
    }

    /// The same bridge, each of whose calls may take so long.
    #[must_use]
    pub fn with_timeout(&self, timeout: Timeout) -> AsyncHandle {
        AsyncHandle { handle: self.handle.with_timeout(timeout), callers: Arc::clone(&self.callers) }
    }

    /// What a call goes to.
    pub(crate) fn run(&self, method: Method) -> Result<Arc<Run>, BridgeError> {
        self.handle.run(method)
    }

    /// How long a call may take.
    pub(crate) fn time(&self) -> Option<Duration> {
        self.handle.time()
    }

    pub(crate) fn caller(&self, run: &Arc<Run>, method: Method) -> Result<AsyncOpenCaller, BridgeError> {
        let runtime = tokio::runtime::Handle::try_current().ok().map(|runtime| runtime.id());
        let mut callers = self.callers.lock();
        let known = callers.iter().find(|known| Arc::ptr_eq(&known.run, run) && known.runtime == runtime);
        if let Some(known) = known {
            return Ok(known.caller.clone());
        }
        let caller = run.caller.to_async().map_err(|source| BridgeError::Broken {
            method: method.name,
            source: source.into(),
            execution: Execution::NotRun,
        })?;
        callers.retain(|known| Arc::ptr_eq(&known.run, run) && known.caller.is_driven());
        callers.push(RunsCaller { run: Arc::clone(run), runtime, caller: caller.clone() });
        Ok(caller)
    }

    /// It may have to wait for the end of a process.
    pub(crate) async fn explain(&self, run: &Arc<Run>, method: Method, error: CallError) -> BridgeError {
        let (handle, run) = (self.handle.clone(), Arc::clone(run));
        let explained = beside(method.name, move || Ok(handle.explain(&run, method, error))).await;
        explained.unwrap_or_else(|error| error)
    }
}

/// Does what blocks on a thread of the runtime's for that.
async fn beside<R: Send + 'static>(
    method: &'static str,
    work: impl FnOnce() -> Result<R, BridgeError> + Send + 'static,
) -> Result<R, BridgeError> {
    // It fails when the runtime shuts down.
    let failed = |error: tokio::task::JoinError| BridgeError::Broken {
        method,
        source: io::Error::from(error).into(),
        execution: Execution::Unknown,
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

impl fmt::Debug for AsyncHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncHandle").field(&self.handle).finish()
    }
}
