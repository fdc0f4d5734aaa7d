#![doc = include_str!("manager.md")]

// From the user's side to the manager's:
//
//   list, map, value, event    operations and what comes back
//   lock, queue, waiting       those that wait, and are given up
//   shared                     objects of bridges
//   proxy, wire, error         which object, and what goes over
//   builder                    the start of the process
//   server/                    the process
mod builder;
mod error;
mod event;
mod list;
mod lock;
mod map;
mod proxy;
mod queue;
mod server;
mod shared;
mod value;
mod waiting;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::link::{CallError, OpenCaller};
use common_ipc::process::{Child, Errands, ExitStatus, Generation, Portable, StopStep};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use builder::{ManagerBuilder, ManagerTemplate};
pub use error::ManagerError;
pub use event::SharedEvent;
pub use list::SharedList;
pub use lock::{SharedLock, SharedLockGuard};
pub use map::SharedMap;
pub use queue::SharedQueue;
#[doc(hidden)]
pub use shared::Shareable;
pub(crate) use shared::SharedObject;
pub use value::SharedValue;

use crate::run::TERM_GRACE;
use common_ipc::link::Execution;
use proxy::{Proxy, Way};
use server::Settings;
pub(crate) use server::share;
use wire::Made;
pub(crate) use wire::{Address, Failure as Refused};

/// How long `stop` waits for the calls of shared objects that came before it, and for their drops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The same for a manager that is dropped.
const DROP_GRACE: Duration = Duration::from_secs(1);
/// What a message has beside a value at most.
const BESIDE: u64 = 64;
/// How long a process whose start has failed may take over its own end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A process that keeps objects which several processes share.
///
/// It belongs to the process that has started it; what is handed to others are the proxies of its objects. **Dropping**
/// it stops the process, as [`stop`](Manager::stop) does, but in a second at most, and then half a second; so it may block
/// for so long.
pub struct Manager {
    errands: Errands,
    way: Arc<Way>,
    child: Child,
    settings: Settings,
    home: Generation,
}

impl Manager {
    /// Forks the manager's process.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Start`]: beside other threads for example, where
    /// [`Manager::builder`] has other ways.
    pub fn start() -> Result<Manager, ManagerError> {
        Manager::builder().start()
    }

    /// How it is to be, and other ways to start it.
    #[must_use]
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    fn new(errands: Errands, way: Arc<Way>, child: Child, settings: Settings) -> Manager {
        Manager { errands, way, child, settings, home: Generation::current() }
    }

    /// An empty list.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Full`] if it may keep no more; else [`ManagerError`].
    pub fn list<T: Serialize + DeserializeOwned>(&self) -> Result<SharedList<T>, ManagerError> {
        self.make("Manager::list", Made::List).map(SharedList::new)
    }

    /// A list of these.
    ///
    /// # Errors
    ///
    /// As for [`list`](Manager::list).
    pub fn list_of<T: Serialize + DeserializeOwned>(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<SharedList<T>, ManagerError> {
        let list = self.list()?;
        let values: Vec<T> = values.into_iter().collect();
        list.extend(&values)?;
        Ok(list)
    }

    /// An empty map.
    ///
    /// # Errors
    ///
    /// As for [`list`](Manager::list).
    #[doc(alias = "dict")]
    pub fn map<K, V>(&self) -> Result<SharedMap<K, V>, ManagerError>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        self.make("Manager::map", Made::Map).map(SharedMap::new)
    }

    /// A value.
    ///
    /// # Errors
    ///
    /// As for [`list`](Manager::list).
    #[doc(alias = "Value")]
    pub fn value<T: Serialize + DeserializeOwned>(&self, value: T) -> Result<SharedValue<T>, ManagerError> {
        const NAME: &str = "Manager::value";
        // No object is there yet whose proxy could encode it.
        let bytes = self.proxy(Address { id: 0, key: 0 }).encode(NAME, &value)?;
        let (length, max) = (bytes.len() as u64 + BESIDE, self.settings.max_message);
        if length > max {
            return Err(ManagerError::TooLarge { operation: NAME, length, max });
        }
        self.make(NAME, Made::Value(bytes)).map(SharedValue::new)
    }

    /// A lock that nobody holds.
    ///
    /// # Errors
    ///
    /// As for [`list`](Manager::list).
    #[doc(alias = "Lock")]
    pub fn lock(&self) -> Result<SharedLock, ManagerError> {
        self.make("Manager::lock", Made::Lock).map(SharedLock::new)
    }

    /// An empty queue of up to so many items (one at least), of any length that a message may have.
    ///
    /// # Errors
    ///
    /// As for [`list`](Manager::list).
    #[doc(alias = "Queue")]
    pub fn queue<T: Serialize + DeserializeOwned>(
        &self,
        capacity: usize,
    ) -> Result<SharedQueue<T>, ManagerError> {
        self.queue_of_bytes(capacity, u64::MAX)
    }

    /// An empty queue of up to so many items (one at least), whose encodings have up to so many bytes in all.
    ///
    /// # Errors
    ///
    /// As for [`list`](Manager::list).
    pub fn queue_of_bytes<T: Serialize + DeserializeOwned>(
        &self,
        capacity: usize,
        bytes: u64,
    ) -> Result<SharedQueue<T>, ManagerError> {
        let made = Made::Queue { capacity: capacity as u64, bytes };
        self.make("Manager::queue", made).map(SharedQueue::new)
    }

    /// An event that isn't set.
    ///
    /// # Errors
    ///
    /// As for [`list`](Manager::list).
    #[doc(alias = "Event")]
    pub fn event(&self) -> Result<SharedEvent, ManagerError> {
        self.make("Manager::event", Made::Event).map(SharedEvent::new)
    }

    /// Its process: to watch it, or to signal it. [`stop`](Manager::stop) is the way to end it.
    #[must_use]
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Ends it: the calls of shared objects that came before are carried out, the objects are dropped, the process ends.
    /// If that takes longer than 5 s, SIGTERM, and half a second later SIGKILL. From then on all proxies are
    /// [`ManagerError::Gone`]; stopping it once more is no error.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Gone`] if it had ended by itself before, so that a crash isn't overlooked, each time;
    /// [`ManagerError::Bridge`] if it runs as another user whom this process may not signal;
    /// [`ManagerError::WrongProcess`].
    #[doc(alias = "shutdown")]
    pub fn stop(&self) -> Result<(), ManagerError> {
        const NAME: &str = "Manager::stop";
        self.check()?;
        let (status, by) = self.end(STOP_GRACE)?;
        if by == StopStep::HadEnded && !status.success() {
            return Err(ManagerError::Gone {
                operation: NAME,
                status: Some(status),
                execution: Execution::NotRun,
            });
        }
        Ok(())
    }

    fn end(&self, grace: Duration) -> Result<(ExitStatus, StopStep), ManagerError> {
        let begin = Instant::now();
        // It ends by its own exit then; else more is needed.
        let _ = self.errands.run(server::stop, &(), Some(grace));
        let stopped = self.child.wait_or_stop(grace.saturating_sub(begin.elapsed()), TERM_GRACE);
        let stopped = stopped.map_err(crate::BridgeError::from)?;
        Ok((stopped.status, stopped.by))
    }

    fn kill(&self) {
        let _ = self.child.kill();
        self.end_within(LAST_WORDS);
    }

    fn end_within(&self, time: Duration) {
        let _ = self.child.wait_or_stop(time, Duration::ZERO);
    }

    fn check(&self) -> Result<(), ManagerError> {
        Ok(self.home.check()?)
    }

    fn max_message(&self) -> usize {
        self.settings.max_message as usize
    }

    fn proxy(&self, address: Address) -> Proxy {
        Proxy { way: Arc::clone(&self.way), address, timeout: None }
    }

    fn serves(&self, caller: &OpenCaller) -> Result<(), ManagerError> {
        let failed = |source| ManagerError::Connection {
            operation: "Manager::share",
            source,
            execution: Execution::NotRun,
        };
        self.child.serves(caller).map_err(failed)
    }

    fn failed(&self, operation: &'static str, error: CallError, timeout: Option<Duration>) -> ManagerError {
        error::failed(operation, error, timeout, || self.way.peer())
    }

    fn make(&self, operation: &'static str, made: Made) -> Result<Proxy, ManagerError> {
        self.check()?;
        let made = self.errand(operation, server::make, &made, None)?;
        made.map(|address| self.proxy(address)).map_err(|failure| proxy::refused(operation, failure))
    }

    /// Has its process call a function.
    fn errand<A: Portable, O: Serialize + DeserializeOwned>(
        &self,
        operation: &'static str,
        run: fn(A) -> O,
        argument: &A,
        timeout: Option<Duration>,
    ) -> Result<O, ManagerError> {
        self.errands.run(run, argument, timeout).map_err(|error| self.failed(operation, error, timeout))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if self.home.check().is_err() || !self.child.is_alive().unwrap_or(false) {
            return;
        }
        if let Err(error) = self.end(DROP_GRACE) {
            log::warn!("the process of a dropped manager goes on: {error}");
        }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("pid", &self.child.id()).finish_non_exhaustive()
    }
}
