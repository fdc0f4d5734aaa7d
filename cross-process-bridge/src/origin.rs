//! What an object is made of, and the ways to start a process for it.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use common_ipc::RemoteError;
use common_ipc::link::{CallError, OpenCaller, OpenReply, OpenServer};
use common_ipc::process::{Child, Launch, StartError, Template, Zygote};
use parking_lot::Mutex;

use crate::crosses::Crosses;
use crate::manager::{self, Address, Refused};
use crate::method::{self, Method};
use crate::serving::{self, Bridged};

/// How the objects of one bridge are made, whatever their type.
pub(crate) trait Origin: Send + Sync {
    /// The constructor's name, for errors.
    fn name(&self) -> &'static str;
    /// Forks a child that serves the bridge of that number.
    fn fork(&self, launch: &Launch<'_>, server: OpenServer, bridge: u64) -> Result<Child, StartError>;
    /// Makes a template of such children.
    fn template(&self, launch: &Launch<'_>, bridge: u64) -> Result<Template<OpenServer>, StartError>;
    /// Starts one from a zygote.
    fn start_in(
        &self,
        launch: &Launch<'_>,
        zygote: &Zygote,
        server: OpenServer,
        bridge: u64,
    ) -> Result<Child, StartError>;
    /// What a manager is to call for an object of this type.
    fn sharing(&self) -> Result<Sharing, StartError> {
        let why = "a closure has no bytes to be sent as; bridge by a constructor";
        let source = io::Error::new(io::ErrorKind::Unsupported, why);
        Err(StartError::Os { step: "make an object by a closure in a manager", source })
    }
    /// Asks the child to make the object, which is its first call.
    fn construct(
        &self,
        caller: &OpenCaller,
        timeout: Duration,
        read: &mut dyn FnMut(OpenReply<'_>),
    ) -> Result<(), CallError>;
}

/// Starts the thread of an object in a manager.
pub(crate) type Sharing = fn(OpenServer) -> Result<Address, Refused>;

/// By a constructor, with arguments that are sent anew at each start.
pub(crate) struct ByConstructor<T, W> {
    constructor: Method,
    arguments: Mutex<W>,
    makes: PhantomData<fn() -> T>,
}

impl<T, W> ByConstructor<T, W> {
    pub(crate) fn new(constructor: Method, arguments: W) -> ByConstructor<T, W> {
        ByConstructor { constructor, arguments: Mutex::new(arguments), makes: PhantomData }
    }
}

/// The closure that a child is started with if it is to take a constructor call.
type NoClosure<T> = Option<fn() -> Result<T, RemoteError>>;

fn serve<T: Bridged>(server: &OpenServer, bridge: u64) {
    serving::serve(server, bridge, NoClosure::<T>::None);
}

impl<T: Bridged, W: Crosses + Send> Origin for ByConstructor<T, W> {
    fn name(&self) -> &'static str {
        self.constructor.name
    }

    fn fork(&self, launch: &Launch<'_>, server: OpenServer, bridge: u64) -> Result<Child, StartError> {
        launch.start(move || serve::<T>(&server, bridge))
    }

    fn template(&self, launch: &Launch<'_>, bridge: u64) -> Result<Template<OpenServer>, StartError> {
        launch.template_with(move |server: OpenServer| serve::<T>(&server, bridge))
    }

    fn start_in(
        &self,
        launch: &Launch<'_>,
        zygote: &Zygote,
        server: OpenServer,
        bridge: u64,
    ) -> Result<Child, StartError> {
        let run = |(server, bridge): (OpenServer, u64)| serve::<T>(&server, bridge);
        launch.start_in(zygote, run, &(server, bridge))
    }

    fn sharing(&self) -> Result<Sharing, StartError> {
        Ok(manager::share::<T>)
    }

    fn construct(
        &self,
        caller: &OpenCaller,
        timeout: Duration,
        read: &mut dyn FnMut(OpenReply<'_>),
    ) -> Result<(), CallError> {
        let arguments = self.arguments.lock();
        caller.call::<W, W, ()>(self.constructor.id, &arguments, Some(timeout), read)
    }
}

/// By a closure, which a fork moves into the child. It stays here, and each child runs its own copy.
pub(crate) struct ByClosure<F> {
    make: Mutex<Option<F>>,
}

impl<F> ByClosure<F> {
    pub(crate) fn new(make: F) -> ByClosure<F> {
        ByClosure { make: Mutex::new(Some(make)) }
    }
}

impl<T, F> Origin for ByClosure<F>
where
    T: Bridged,
    F: FnOnce() -> T + Send,
{
    fn name(&self) -> &'static str {
        "the closure"
    }

    fn fork(&self, launch: &Launch<'_>, server: OpenServer, bridge: u64) -> Result<Child, StartError> {
        let mut make = self.make.lock();
        launch.start(|| serving::serve(&server, bridge, make.take().map(|make| || Ok(make()))))
    }

    fn template(&self, launch: &Launch<'_>, bridge: u64) -> Result<Template<OpenServer>, StartError> {
        let mut make = self.make.lock();
        launch.template_with(|server: OpenServer| {
            serving::serve(&server, bridge, make.take().map(|make| || Ok(make())));
        })
    }

    fn start_in(&self, _: &Launch<'_>, _: &Zygote, _: OpenServer, _: u64) -> Result<Child, StartError> {
        let why = "a closure has no bytes to be sent as; bridge by a constructor, or start from a template";
        let source = io::Error::new(io::ErrorKind::Unsupported, why);
        Err(StartError::Os { step: "start a closure from a zygote", source })
    }

    fn construct(
        &self,
        caller: &OpenCaller,
        timeout: Duration,
        read: &mut dyn FnMut(OpenReply<'_>),
    ) -> Result<(), CallError> {
        caller.call::<(), (), ()>(method::MAKE, &(), Some(timeout), read)
    }
}

impl fmt::Debug for dyn Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Origin").field(&self.name()).finish()
    }
}
