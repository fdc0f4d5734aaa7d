//! Objects that several processes share, in a process of their own: lists, maps, values, locks, queues, events, and
//! objects of bridges.
//!
//! ```
//! use cross_process_bridge::bridge;
//! use cross_process_bridge::manager::{Manager, SharedList};
//!
//! struct B;
//!
//! #[bridge]
//! impl B {
//!     fn new() -> B {
//!         B
//!     }
//!
//!     /// Carried out in the bridge's process; what it changes is in the manager's.
//!     fn add_to_list(&self, list: &SharedList<String>) {
//!         list.append(&"a".to_owned()).unwrap();
//!     }
//! }
//!
//! let manager = Manager::start()?; // forks the manager's process
//! let list: SharedList<String> = manager.list()?;
//! let b = BBridge::new();
//! b.start()?;
//! b.add_to_list(&list)?;
//! assert_eq!(list.to_vec()?, ["a"]);
//! b.stop()?;
//! manager.stop()?;
//! # Ok::<(), cross_process_bridge::manager::ManagerError>(())
//! ```
//!
//! A [`Manager`] is the handle of the process, and belongs to the program that has started it. What it makes are
//! *proxies*, which belong to nobody: each operation of one is carried out in the manager, whole, one after another of
//! all who ask.
//!
//! # What to take
//!
//! | for | take |
//! |---|---|
//! | a sequence, a log of results | [`SharedList`] |
//! | a table; counters by name, with [`update`](SharedMap::update) | [`SharedMap`] |
//! | one number, one state | [`SharedValue`] |
//! | several operations that belong together | [`SharedLock`] |
//! | jobs that each are for one worker | [`SharedQueue`] |
//! | a signal to all | [`SharedEvent`] |
//! | anything else: a type of your own, whose methods are the operations | [`Manager::share`] |
//! | numbers and arrays at memory speed | [`memory`](crate::memory), [`sync`](crate::sync): no manager needed |
//!
//! An operation takes about as long as a call of a bridge.
//!
//! # Where proxies go
//!
//! They are `Clone + Send + Sync`. A process has one if it was forked and captured it, if it came as an argument or a
//! result of a bridge's method, with the start from a zygote, or in any message of this family of crates; from there it
//! may go on, and so forth. A value that the manager keeps may have proxies of the same manager in it. There is no path
//! and no name by which anybody else could reach a manager. Serialised by another format (JSON, say) a proxy is an error
//! of that format.
//!
//! A process makes its connection at its first operation, and has one for each manager, which all threads and proxies
//! share: three descriptors, and two for the way to it, which forked children have as well, used or not.
//!
//! An object lives until [`delete`](SharedList::delete), or as long as the manager; that no proxy is left of it ends
//! nothing.
//!
//! # Values
//!
//! They are kept as bytes ([`codec`](crate::link::codec)): equal are values whose encodings are. What has descriptors
//! (connections, shared memory) can't be kept. A proxy doesn't check what others put in: what isn't of its type is
//! [`ManagerError::Decode`] of the operation that reads it, and if that has taken it out (`pop`, `recv`) it is gone.
//!
//! # Time
//!
//! What waits has a form with a time-out; and `with_timeout` gives a proxy each of whose operations may take so long,
//! also while the manager is stopped (SIGSTOP), or its door is full. Who gives up leaves nothing behind: no lock that
//! nobody knows of, no item that nobody has.
//!
//! # Death
//!
//! - **A client dies**: what it waited for is forgotten; its locks go to the next one, who is
//!   [told](SharedLockGuard::holder_died); an item that it hadn't received yet goes back. What it had begun to change
//!   stays as it is: a lock and that word tell of it.
//! - **The manager dies**: every operation under way, in every process, is one [`ManagerError::Gone`], and every later one,
//!   at once. All that it kept is gone. Nobody connects anew by itself: a new manager makes new objects.
//! - **The program dies**: so does the manager.
//!
//! A crash within the manager can come of the objects of bridges alone; those that may crash have
//! a process of their own better.
//!
//! # Who is trusted
//!
//! A client may be hostile: another user's process, one that reads untrusted input. It can do with the objects whose
//! proxies it has what their operations allow, and nothing with others, whose addresses can't be guessed. Garbage ends its
//! own connection; what it doesn't read holds up nobody else; its connections, its waits and what it has the manager keep
//! are bounded ([`ManagerBuilder`]). It may keep a lock, and fill the manager's memory up to
//! [`max_memory`](ManagerBuilder::max_memory): give it a manager of its own where that matters. It may also close the door
//! that its proxies came with: processes that haven't connected by then have [`ManagerError::Refused`].
//!
//! A proxy that came from a hostile process leads wherever that wants: its answers are data, and a time-out bounds it.
//!
//! # From Python's multiprocessing
//!
//! | Python | here |
//! |---|---|
//! | `with Manager() as manager:` | `let manager = Manager::start()?;`, which ends with its drop, or [`stop`](Manager::stop) |
//! | `manager.list()`, `manager.list([1, 2])` | [`list`](Manager::list), [`list_of`](Manager::list_of) |
//! | `manager.dict()` | [`map`](Manager::map) |
//! | `d[k] += 1`, which loses updates | [`map.update(&k, \|v\| ..)`](SharedMap::update), which doesn't |
//! | `manager.Value(..)`, `manager.Namespace()` | [`value`](Manager::value) of a number or of a struct |
//! | `manager.Lock()`; `with lock:` | [`lock`](Manager::lock); `let guard = lock.lock()?;` |
//! | `manager.Queue(10)` | [`queue`](Manager::queue) |
//! | `manager.Event()` | [`event`](Manager::event) |
//! | `BaseManager.register(..)`, `manager.Counter(5)` | [`manager.share(&CounterBridge::new(5))`](Manager::share) |
//! | `manager.shutdown()` | [`stop`](Manager::stop) |
//! | a proxy of a manager that is gone: `ConnectionRefusedError`, `EOFError`, .. | [`ManagerError::Gone`] |
//! | `BaseManager(address, authkey)`, servers for other machines | isn't there: proxies are handed on |

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
    /// [`ManagerError::Bridge`] with the [`StartError`](crate::StartError): beside other threads for example, where
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
    /// [`ManagerError::Gone`]; stopping again is no error.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Gone`] if it had ended by itself before, so that a crash isn't overlooked;
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
