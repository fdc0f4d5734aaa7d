//! Objects of bridges, each on a thread of its own.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use common_ipc::link::{KeptRequest, OpenRequest, OpenServer};
use common_ipc::process::PanicReport;
use parking_lot::{Condvar, Mutex};

use crate::call::Call;
use crate::manager::server::{House, house};
use crate::manager::wire::{Address, Failure};
use crate::method;
use crate::reply::{Answer, Failure as NoResult};
use crate::serving::Bridged;

/// Calls that wait for an object.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// With the bytes and the descriptors that each keeps.
    calls: VecDeque<(KeptRequest, usize, usize)>,
    bytes: usize,
    descriptors: usize,
    is_closed: bool,
}

/// So many calls wait for one object at most.
const CALLS_MAX: usize = 4096;
/// And so many descriptors with them: all clients need some of the process's.
const DESCRIPTORS_MAX: usize = 64;

impl Inbox {
    /// Has a call wait, up to a longest one beside others that are shorter. Else its caller is told.
    pub(super) fn push(&self, call: KeptRequest, size: usize, descriptors: usize, max: usize) {
        let mut waiting = self.waiting.lock();
        let failure = if waiting.is_closed {
            Failure::Deleted
        } else if waiting.calls.len() >= CALLS_MAX || waiting.bytes > max {
            Failure::Full { max: max as u64 }
        } else if waiting.descriptors + descriptors > DESCRIPTORS_MAX {
            Failure::TooManyDescriptors { max: DESCRIPTORS_MAX as u64 }
        } else {
            waiting.bytes += size;
            waiting.descriptors += descriptors;
            waiting.calls.push_back((call, size, descriptors));
            self.changed.notify_one();
            return;
        };
        drop(waiting);
        refuse(call, failure);
    }

    /// No more calls are taken; those that wait are carried out.
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// The next one; `None` after the last.
    fn pop(&self) -> Option<KeptRequest> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some((call, size, descriptors)) = waiting.calls.pop_front() {
                waiting.bytes -= size;
                waiting.descriptors -= descriptors;
                return Some(call);
            }
            if waiting.is_closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
    }
}

/// The threads that there are.
#[derive(Debug, Default)]
pub(super) struct Threads(Mutex<Vec<(Arc<Inbox>, JoinHandle<()>)>>);

impl Threads {
    /// Has each carry out the calls that came before, and drop its object.
    pub(super) fn end_all(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        all.iter().for_each(|(inbox, _)| inbox.close());
        for (_, thread) in all {
            // Its panics are caught.
            let _ = thread.join();
        }
    }
}

/// For the program: a thread for an object, which its constructor is to make by a call that comes over `server`.
pub(crate) fn share<T: Bridged>(server: OpenServer) -> Result<Address, Failure> {
    let house = house().ok_or(Failure::Deleted)?;
    let inbox = Arc::new(Inbox::default());
    let address = house.store.lock().make_bridge(Arc::clone(&inbox))?;
    let (there, calls) = (Arc::clone(&house), Arc::clone(&inbox));
    let body = move || {
        SERVED.set(Some(address));
        serve::<T>(server, &calls);
        there.end(address, &calls);
    };
    match std::thread::Builder::new().name(T::NAME.to_owned()).spawn(body) {
        Ok(thread) => {
            let mut threads = house.threads.0.lock();
            threads.retain(|(_, thread)| !thread.is_finished());
            threads.push((inbox, thread));
            Ok(address)
        }
        Err(error) => {
            house.end(address, &inbox);
            Err(Failure::Undecodable(format!("no thread for the object: {error}")))
        }
    }
}

impl House {
    /// An object is no more.
    fn end(&self, address: Address, inbox: &Inbox) {
        inbox.close();
        let mut outgoing = Vec::new();
        self.store.lock().delete(address, &mut outgoing);
        super::send(outgoing);
        // Those that came too late.
        while let Some(call) = inbox.pop() {
            refuse(call, Failure::Deleted);
        }
    }
}

/// Tells a caller that its call isn't carried out.
pub(super) fn refuse(call: KeptRequest, failure: Failure) {
    let mut room = Vec::new();
    let answer = crate::manager::wire::Answer::Failed(failure);
    super::send(vec![(call.lend(&mut room).responder(), answer)]);
}

thread_local! {
    /// The object whose thread this is.
    static SERVED: Cell<Option<Address>> = const { Cell::new(None) };
}

/// Whether this thread is the object's: a call of it would wait for itself.
pub(crate) fn is_served_here(address: Address) -> bool {
    SERVED.get() == Some(address)
}

/// The life of an object.
fn serve<T: Bridged>(server: OpenServer, calls: &Inbox) {
    let (mut object, mut buffer) = (None::<T>, Vec::new());
    let made = server.recv(&mut buffer).is_ok_and(|request| carry_out(request, &mut object));
    drop(server);
    if !made || object.is_none() {
        return;
    }
    while let Some(call) = calls.pop() {
        if !carry_out(call.lend(&mut buffer), &mut object) {
            break;
        }
    }
    if let Err(report) = PanicReport::catch(|| drop(object)) {
        log::warn!("the drop of an object of type {} in a manager {report}", T::NAME);
    }
}

/// One call; false after the last one.
fn carry_out<T: Bridged>(request: OpenRequest<'_>, object: &mut Option<T>) -> bool {
    if method::is_ours(request.what()) {
        // What ends a process isn't for anybody here.
        Answer::of(request.responder()).failure(NoResult::Unknown);
        return true;
    }
    let mut answer = Answer::NONE;
    let call = Call::new(request, &mut answer, object);
    match PanicReport::catch(|| T::serve(call)) {
        Ok(served) => !served.is_last(),
        Err(report) => {
            answer.failure(NoResult::Panicked(report));
            object.is_some()
        }
    }
}
