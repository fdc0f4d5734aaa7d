//! Objects of bridges in a manager, from the side that calls them.

use std::io;
use std::time::Duration;

use common_ipc::link::{CallError, Execution, OpenCaller, OpenReply, OpenServer, open_calls};
use common_ipc::process::{Child, Launch, StartError, Template, Zygote};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crosses::Crosses;
use crate::error::BridgeError;
use crate::handle::Handle;
use crate::manager::Manager;
use crate::manager::error::ManagerError;
use crate::manager::proxy::{Proxy, nonsense, refused};
use crate::manager::server;
use crate::manager::wire::{ANSWER, Address, Answer, Failure};
use crate::method::{self, Method};
use crate::origin::Origin;
use crate::reply;
use crate::serving::Bridged;

/// A bridge, as [`Manager::share`] takes and returns it.
pub trait Shareable: From<Handle> {
    /// Its inside.
    #[doc(hidden)]
    fn handle(&self) -> &Handle;
}

/// The object of a bridge that is in a manager.
#[derive(Debug, Clone)]
pub(crate) struct SharedObject {
    /// Its type.
    object: &'static str,
    proxy: Proxy,
}

impl SharedObject {
    pub(crate) fn call<W, A, R>(
        &self,
        method: Method,
        arguments: &A,
        timeout: Option<Duration>,
    ) -> Result<R, BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
        R: Crosses,
    {
        if server::is_served_here(self.proxy.address) {
            return Err(BridgeError::Reentrant { object: self.object });
        }
        let caller = self.proxy.way.caller(method.name, timeout).map_err(of_manager)?;
        let argument = (self.proxy.address, arguments);
        let read = |came: OpenReply<'_>| match came.kind() {
            ANSWER => Err(match came.decode::<Answer>() {
                Ok(Answer::Failed(failure)) => of_manager(refused(method.name, failure)),
                _ => of_manager(nonsense(method.name)),
            }),
            _ => reply::read(method.name, came),
        };
        match caller.call::<(Address, W), _, _>(method.id, &argument, timeout, read) {
            Ok(result) => result,
            Err(error) => Err(self.explain(method, &caller, error, timeout)),
        }
    }

    pub(crate) fn send<W, A>(
        &self,
        method: Method,
        arguments: &A,
        timeout: Option<Duration>,
    ) -> Result<(), BridgeError>
    where
        W: DeserializeOwned,
        A: Serialize + ?Sized,
    {
        let caller = self.proxy.way.caller(method.name, timeout).map_err(of_manager)?;
        let argument = (self.proxy.address, arguments);
        let sent = caller.send::<(Address, W), _>(method.id, &argument, timeout);
        sent.map_err(|error| self.explain(method, &caller, error, timeout))
    }

    fn explain(
        &self,
        method: Method,
        caller: &OpenCaller,
        error: CallError,
        timeout: Option<Duration>,
    ) -> BridgeError {
        of_manager(self.proxy.way.failed(method.name, caller, error, timeout))
    }

    /// What isn't for an object that is in a manager.
    pub(crate) fn refuse(&self, operation: &'static str) -> BridgeError {
        BridgeError::InManager { object: self.object, operation }
    }
}

/// As the error of a bridge.
fn of_manager(error: ManagerError) -> BridgeError {
    match error {
        ManagerError::Bridge(error) => error,
        ManagerError::Timeout { operation: method, after, execution } => {
            BridgeError::Timeout { method, after, execution, killed: false }
        }
        ManagerError::Encode { operation: method, type_name, message } => {
            BridgeError::Encode { method, type_name, message, execution: Execution::NotRun }
        }
        ManagerError::Decode { operation: method, type_name, message, execution } => {
            BridgeError::Decode { method, type_name, message, execution }
        }
        ManagerError::TooLarge { operation: method, length, max } => {
            BridgeError::TooLarge { method, length, max, execution: Execution::NotRun }
        }
        error => BridgeError::Manager(Box::new(error)),
    }
}

/// What stands for the origin of an object that somebody else has made.
struct Elsewhere;

impl Elsewhere {
    fn refuse<R>() -> Result<R, StartError> {
        let source = io::Error::new(io::ErrorKind::Unsupported, "the object is in a manager");
        Err(StartError::Os { step: "start a process for an object", source })
    }
}

impl Origin for Elsewhere {
    fn name(&self) -> &'static str {
        "the manager"
    }

    fn fork(&self, _: &Launch<'_>, _: OpenServer, _: u64) -> Result<Child, StartError> {
        Elsewhere::refuse()
    }

    fn template(&self, _: &Launch<'_>, _: u64) -> Result<Template<OpenServer>, StartError> {
        Elsewhere::refuse()
    }

    fn start_in(&self, _: &Launch<'_>, _: &Zygote, _: OpenServer, _: u64) -> Result<Child, StartError> {
        Elsewhere::refuse()
    }

    fn construct(
        &self,
        caller: &OpenCaller,
        timeout: Duration,
        read: &mut dyn FnMut(OpenReply<'_>),
    ) -> Result<(), CallError> {
        // No process is ever started that could be asked.
        caller.call::<(), (), ()>(method::MAKE, &(), Some(timeout), read)
    }
}

impl Handle {
    /// A bridge to an object that is in a manager.
    pub(crate) fn shared(object: &'static str, proxy: Proxy) -> Handle {
        Handle::of_origin(object, Box::new(Elsewhere), Some(SharedObject { object, proxy }))
    }

    /// Reads one that came in a message.
    ///
    /// # Errors
    ///
    /// What came is no proxy, or one of an object of another type.
    #[doc(hidden)]
    pub fn receive<'de, T: Bridged, D: Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
        let (name, proxy) = <(String, Proxy)>::deserialize(deserializer)?;
        if name != T::NAME {
            let expected = T::NAME;
            return Err(D::Error::custom(format!(
                "the bridge to a {name} came where one to a {expected} should"
            )));
        }
        Ok(Handle::shared(T::NAME, proxy))
    }
}

/// Of an object that is in a manager, inside of a message. A bridge that has a process of its own belongs to its program.
impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shared = self.shared_object().ok_or_else(|| {
            serde::ser::Error::custom(
                "the bridge has a process of its own, which its program alone can call: share its object in a \
                 manager (Manager::share), and send what that returns",
            )
        })?;
        (shared.object, &shared.proxy).serialize(serializer)
    }
}

impl Manager {
    /// Has an object made in the manager, by the constructor of a bridge that isn't started, and returns the bridge to
    /// it: of the same type, with the same methods, and a proxy as the others are. Its calls follow each other, on a
    /// thread of the object's own.
    ///
    /// Such a bridge has no process of its own: `start`, `stop` and `scope` are [`BridgeError::InManager`]. So are, as they
    /// would keep the object from all others, methods that return streams or take closures, and so far the asynchronous
    /// twin's calls. Of `#[bridge(threads = ..)]` one thread remains. A method that calls its own object through a proxy is
    /// [`BridgeError::Reentrant`]; two objects that call each other wait for each other, until a time-out. A method that
    /// starts a process does so from a zygote or a template, since the manager has threads. An object that hangs keeps
    /// its own callers alone waiting; one that crashes takes the manager with it.
    ///
    /// ```
    /// use cross_process_bridge::{bridge, manager::{Manager, ManagerError}};
    ///
    /// struct Counter(i64);
    ///
    /// #[bridge]
    /// impl Counter {
    ///     fn new(value: i64) -> Counter {
    ///         Counter(value)
    ///     }
    ///     fn add(&mut self, number: i64) -> i64 {
    ///         self.0 += number;
    ///         self.0
    ///     }
    /// }
    ///
    /// let manager = Manager::start()?;
    /// let counter = manager.share(&CounterBridge::new(5))?;
    /// assert_eq!(counter.add(3)?, 8);
    /// manager.stop()?;
    /// # Ok::<(), ManagerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ManagerError::Bridge`] with what the constructor failed with, or since the bridge was made by a closure, which
    /// no running process can be sent; else [`ManagerError`].
    #[doc(alias = "register")]
    pub fn share<B: Shareable>(&self, bridge: &B) -> Result<B, ManagerError> {
        let handle = self.share_handle(bridge.handle())?;
        Ok(B::from(handle))
    }

    fn share_handle(&self, handle: &Handle) -> Result<Handle, ManagerError> {
        const NAME: &str = "Manager::share";
        self.check()?;
        let life = handle.life();
        if let Some(shared) = handle.shared_object() {
            return Err(shared.refuse("Manager::share").into());
        }
        let (origin, time) = life.to_share()?;
        let (caller, server) = open_calls(self.max_message()).map_err(|error| {
            let step = "make a connection";
            BridgeError::from(StartError::Os { step, source: error })
        })?;
        // Before it is sent: whoever dies with it ends the calls.
        let share = origin.sharing().map_err(BridgeError::from)?;
        let address = self.errand(NAME, share, &server, Some(time))?.map_err(|failure| match failure {
            Failure::Undecodable(text) => BridgeError::from(StartError::Os {
                step: "start a thread in the manager",
                source: io::Error::other(text),
            })
            .into(),
            failure => refused(NAME, failure),
        })?;
        self.serves(&caller)?;
        let mut made = Ok(());
        let called =
            origin.construct(&caller, time, &mut |came| made = reply::read::<()>(origin.name(), came));
        called.map_err(|error| self.failed(NAME, error, Some(time)))?;
        made?;
        Ok(Handle::shared(life.object, self.proxy(address)))
    }
}
