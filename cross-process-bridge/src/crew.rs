//! In the object's process: several threads that carry out calls at once.
//!
//! Each takes the next request when it has nothing to do. Before another one takes the one after that, it has the object,
//! to share or alone as the call wants it: so calls begin in the order in which they came, and one that wants the object
//! alone waits for those before it, and those behind it for that.

use std::fmt;
use std::thread;

use common_ipc::link::{LinkError, OpenServer};
use common_ipc::process::PanicReport;
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::call::{Call, Object, Served};
use crate::method;
use crate::reply::{Answer, Failure};
use crate::serving::{Bridged, failed};

/// What several threads can have at once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't have its methods called by several threads at once: it isn't `Send` and `Sync`",
    label = "isn't `Send + Sync`, so it can't be bridged with `threads`",
    note = "share what is in it by `Arc`, `Mutex` and atomics, in place of `Rc`, `RefCell` and `Cell`",
    note = "or leave out `threads`: one call is carried out after another then"
)]
pub trait Concurrent: Send + Sync {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync> Concurrent for T {}

/// Who carries out the calls of an object.
pub struct Crew<T> {
    /// What several threads do, until the end of the bridge. What is left of the object is returned.
    pub(crate) work: Option<fn(&OpenServer, T) -> Option<T>>,
}

impl<T> Crew<T> {
    /// One thread, the process's own.
    pub(crate) const ALONE: Crew<T> = Crew { work: None };
}

/// So many threads.
#[must_use]
pub const fn crew<T: Bridged + Concurrent, const THREADS: usize>() -> Crew<T> {
    Crew { work: Some(work::<T, THREADS>) }
}

impl<T> fmt::Debug for Crew<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("works", &self.work.is_some()).finish()
    }
}

/// The object, and whose turn it is.
#[derive(Debug)]
struct Workplace<'a, T> {
    server: &'a OpenServer,
    object: RwLock<Option<T>>,
    turn: Mutex<Course>,
}

/// How it goes on.
#[derive(Debug, Default)]
struct Course {
    is_over: bool,
    /// Who asked for the end.
    stop: Answer,
    error: Option<LinkError>,
}

/// Held by who has taken a request, until it has the object.
#[derive(Debug)]
pub(crate) struct Turn<'a, T> {
    object: &'a RwLock<Option<T>>,
    turn: MutexGuard<'a, Course>,
}

impl<'a, T> Turn<'a, T> {
    pub(crate) fn alone(self) -> RwLockWriteGuard<'a, Option<T>> {
        let object = self.object.write();
        drop(self.turn);
        object
    }

    /// For the last call: nobody takes a request any more, unless it wasn't one.
    pub(crate) fn last(self, run: impl FnOnce(&mut Option<T>) -> Served) -> Served {
        let Turn { object, mut turn } = self;
        let mut object = object.write();
        turn.is_over = true;
        let served = run(&mut object);
        turn.is_over = served.is_last();
        served
    }

    pub(crate) fn shared(self) -> RwLockReadGuard<'a, Option<T>> {
        let object = self.object.read();
        drop(self.turn);
        object
    }
}

fn work<T: Bridged + Concurrent, const THREADS: usize>(server: &OpenServer, object: T) -> Option<T> {
    let place = Workplace { server, object: RwLock::new(Some(object)), turn: Mutex::default() };
    thread::scope(|scope| {
        // This one is the first.
        for number in 2..=THREADS {
            let thread = thread::Builder::new().name(format!("calls-{number}"));
            if let Err(error) = thread.spawn_scoped(scope, || place.work()) {
                log::warn!("an object of type {} has {} threads only: {error}", T::NAME, number - 1);
                break;
            }
        }
        place.work();
    });
    let Workplace { object, turn, .. } = place;
    let mut course = turn.into_inner();
    if let Some(error) = course.error {
        failed::<T>(&error);
    }
    // All that came before was carried out.
    course.stop.result(&());
    object.into_inner()
}

impl<T: Bridged> Workplace<'_, T> {
    /// One thread's share.
    fn work(&self) {
        let mut buffer = Vec::new();
        loop {
            let mut turn = self.turn.lock();
            if turn.is_over {
                return;
            }
            let request = match self.server.recv(&mut buffer) {
                Ok(request) => request,
                Err(error) => {
                    turn.is_over = true;
                    turn.error = Some(error).filter(|error| !matches!(error, LinkError::Closed));
                    return;
                }
            };
            match request.what() {
                method::STOP => {
                    turn.is_over = true;
                    turn.stop = Answer::of(request.responder());
                    return;
                }
                method::GIVE_UP => continue,
                _ => {}
            }
            let mut answer = Answer::NONE;
            let object = Object::Shared(Turn { object: &self.object, turn });
            let call = Call { request, answer: &mut answer, object };
            if let Err(report) = PanicReport::catch(|| T::serve(call)) {
                answer.failure(Failure::Panicked(report));
            }
        }
    }
}
