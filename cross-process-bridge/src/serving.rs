//! The child's side: it makes the object, and carries out calls one after another until it is told to end.

use common_ipc::RemoteError;
use common_ipc::link::{LinkError, OpenRequest, OpenServer};
use common_ipc::process::PanicReport;
use serde::de::DeserializeOwned;

use crate::crosses::Crosses;
use crate::handle::Handle;
use crate::method;
use crate::reentry;
use crate::reply::{Answer, Failure};

/// A type that `#[bridge]` was applied to.
pub trait Bridged: Sized + 'static {
    /// What stands for its objects in the process that calls them.
    type Bridge: From<Handle>;
    /// The type's name, after which its processes are named.
    const NAME: &'static str;

    /// Carries out one call.
    #[doc(hidden)]
    fn serve(call: Call<'_, Self>) -> Served;
}

/// A call in the child, and the object that it is for.
#[derive(Debug)]
pub struct Call<'a, T> {
    request: OpenRequest<'a>,
    answer: &'a mut Answer,
    object: &'a mut Option<T>,
}

/// A call was carried out. What comes next.
#[derive(Debug)]
pub struct Served(Next);

#[derive(Debug)]
enum Next {
    Call,
    End,
}

impl Served {
    /// Whether there may be more calls.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.0, Next::Call)
    }

    const GO_ON: Served = Served(Next::Call);
    const END: Served = Served(Next::End);
}

impl<'a, T> Call<'a, T> {
    pub(crate) fn new(request: OpenRequest<'a>, answer: &'a mut Answer, object: &'a mut Option<T>) -> Self {
        Call { request, answer, object }
    }

    /// Which interface: the main block, or a trait's place in its list.
    #[must_use]
    pub fn interface(&self) -> u16 {
        method::interface_of(self.request.what())
    }

    /// Which method of the interface.
    #[must_use]
    pub fn method(&self) -> u16 {
        method::method_of(self.request.what())
    }

    /// Makes the object.
    pub fn construct<W>(self, make: impl FnOnce(W) -> Result<T, RemoteError>) -> Served
    where
        W: DeserializeOwned,
    {
        let Call { request, answer, object } = self;
        if object.is_some() {
            // It is made once; in a manager anybody can ask for it.
            Answer::of(request.responder()).failure(Failure::Unknown);
            return Served::GO_ON;
        }
        let Some(arguments) = read(request, answer) else { return Served::END };
        match make(arguments) {
            Ok(made) => {
                *object = Some(made);
                answer.result(&());
                Served::GO_ON
            }
            Err(error) => {
                answer.failure(Failure::Constructor(error));
                Served::END
            }
        }
    }

    /// Calls a method of the object.
    pub fn answer<W, R>(self, run: impl FnOnce(&mut T, W) -> R) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        let Call { request, answer, object } = self;
        let Some(arguments) = read(request, answer) else { return Served::GO_ON };
        match object {
            Some(object) => answer.result(&run(object, arguments)),
            // There is one, unless the other side sends what it never does.
            None => answer.failure(Failure::Unknown),
        }
        Served::GO_ON
    }

    /// Calls a function that takes no object.
    pub fn answer_static<W, R>(self, run: impl FnOnce(W) -> R) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        let Call { request, answer, .. } = self;
        if let Some(arguments) = read(request, answer) {
            answer.result(&run(arguments));
        }
        Served::GO_ON
    }

    /// Reads a field of the object.
    pub fn answer_field<R: Crosses>(self, get: impl FnOnce(&T) -> &R) -> Served {
        let Call { request, answer, object } = self;
        *answer = Answer::of(request.responder());
        match object {
            Some(object) => answer.result(get(object)),
            None => answer.failure(Failure::Unknown),
        }
        Served::GO_ON
    }

    /// Calls a method that takes the object itself, after which there is nothing more to be called.
    pub fn finish<W, R>(self, run: impl FnOnce(T, W) -> R) -> Served
    where
        W: DeserializeOwned,
        R: Crosses,
    {
        let Call { request, answer, object } = self;
        let Some(arguments) = read(request, answer) else { return Served::GO_ON };
        match object.take() {
            Some(object) => answer.result(&run(object, arguments)),
            None => answer.failure(Failure::Unknown),
        }
        Served::END
    }

    /// There is no such method.
    #[must_use]
    pub fn unknown(self) -> Served {
        Answer::of(self.request.responder()).failure(Failure::Unknown);
        Served::GO_ON
    }
}

/// The arguments. If they can't be read the caller is told.
fn read<W: DeserializeOwned>(request: OpenRequest<'_>, answer: &mut Answer) -> Option<W> {
    let (arguments, responder) = request.decode();
    *answer = Answer::of(responder);
    match arguments {
        Ok(arguments) => Some(arguments),
        Err(error) => {
            let (type_name, message) = (error.type_name.to_owned(), error.message);
            answer.failure(Failure::Arguments { type_name, message });
            None
        }
    }
}

/// The life of the child: from the making of the object, by its constructor or, if there is one, by `make`, to the end
/// of the bridge.
pub(crate) fn serve<T: Bridged>(
    server: &OpenServer,
    bridge: u64,
    make: Option<impl FnOnce() -> Result<T, RemoteError>>,
) {
    reentry::enter(bridge);
    let mut make = make;
    let mut object = None;
    let mut buffer = Vec::new();
    loop {
        let request = match server.recv(&mut buffer) {
            Ok(request) => request,
            // The other side was dropped, or has died.
            Err(LinkError::Closed) => break,
            // By this the other side learns why: it is how the process ended.
            Err(error) => panic!("the bridge to an object of type {} has failed: {error}", T::NAME),
        };
        let what = request.what();
        if what == method::STOP {
            Answer::of(request.responder()).result(&());
            break;
        }
        let mut answer = Answer::NONE;
        let call = Call { request, answer: &mut answer, object: &mut object };
        let served = PanicReport::catch(|| match make.take() {
            Some(make) if what == method::MAKE => call.construct(|()| make()),
            _ => T::serve(call),
        });
        match served {
            Ok(Served(Next::Call)) => {}
            Ok(Served(Next::End)) => break,
            Err(report) => {
                answer.failure(Failure::Panicked(report));
                if object.is_none() {
                    // Its constructor, or a method that takes it, has panicked.
                    break;
                }
            }
        }
    }
    // A panic in its drop is how the process ends.
    drop(object);
}
