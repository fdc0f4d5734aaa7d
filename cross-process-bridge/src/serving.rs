//! The child's side: it makes the object, and carries out calls one after another until it is told to end.

use common_ipc::RemoteError;
use common_ipc::link::{LinkError, OpenServer};
use common_ipc::process::PanicReport;

use crate::call::{Call, Object, Served};
use crate::crew::Crew;
use crate::desk::Desk;
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
    /// On how many threads its methods are carried out.
    #[doc(hidden)]
    const THREADS: usize = 1;

    /// Carries out one call.
    #[doc(hidden)]
    fn serve(call: Call<'_, Self>) -> Served;

    /// By whom, once there is an object.
    #[doc(hidden)]
    fn crew() -> Crew<Self> {
        Crew::ALONE
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
    let (desk, crew) = (Desk::new(server), T::crew());
    loop {
        let request = match desk.next(&mut buffer) {
            Ok(request) => request,
            // The other side was dropped, or has died.
            Err(LinkError::Closed) => break,
            Err(error) => failed::<T>(&error),
        };
        let what = request.what();
        match what {
            method::STOP => {
                Answer::of(request.responder()).result(&());
                break;
            }
            // Of something that was over when it came.
            method::GIVE_UP => continue,
            _ => {}
        }
        let mut answer = Answer::NONE;
        let object_here = Object::Own { object: &mut object, desk: Some(&desk) };
        let call = Call { request, answer: &mut answer, object: object_here };
        let served = PanicReport::catch(|| match make.take() {
            Some(make) if what == method::MAKE => call.construct(|()| make()),
            _ => T::serve(call),
        });
        match served {
            Ok(served) if served.is_last() => break,
            Ok(_) => {}
            Err(report) => {
                answer.failure(Failure::Panicked(report));
                if object.is_none() {
                    // Its constructor, or a method that takes it, has panicked.
                    break;
                }
            }
        }
        if let (Some(work), Some(made)) = (crew.work, object.take_if(|_| crew.work.is_some())) {
            object = work(server, made);
            break;
        }
    }
    // A panic in its drop is how the process ends.
    drop(object);
}

/// By this the other side learns why: it is how the process ends.
pub(crate) fn failed<T: Bridged>(error: &LinkError) -> ! {
    panic!("the bridge to an object of type {} has failed: {error}", T::NAME)
}
