//! What all proxies have inside: which object of which manager, and how it is reached.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common_ipc::link::codec::{self, EncodeError};
use common_ipc::link::{CallError, Connector, Execution, LinkError, OpenCaller};
use common_ipc::process::{Child, ExitStatus, start_library_thread};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::manager::error::{self, ManagerError, Peer};
use crate::manager::wire::{ANSWER, Address, Answer, BUILT_IN, Failure, Op};
use common_ipc::link::Bytes;

/// The way to a manager.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) connector: Connector,
    /// In the process that has started it.
    pub(crate) child: Option<Child>,
    /// Somebody waits for room for what was said last.
    pub(crate) has_messenger: AtomicBool,
}

impl Way {
    pub(crate) fn new(connector: Connector, child: Option<Child>) -> Way {
        Way { connector, child, has_messenger: AtomicBool::new(false) }
    }
}

/// How long a process that has closed its end may take over its own end.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Way {
    /// Whether the manager lives, after it has closed a connection.
    pub(crate) fn peer(&self) -> Peer {
        let begin = Instant::now();
        while !self.connector.has_ended() {
            // It may be on its way out: its connections close before its end can be seen.
            if begin.elapsed() > LAST_WORDS / 2 {
                return Peer::Lives;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let known = self.child.as_ref().and_then(|child| child.wait_timeout(LAST_WORDS).ok().flatten());
        Peer::Ended(known.or_else(|| ExitStatus::of_server(&self.connector)))
    }

    /// This process's connection.
    pub(crate) fn caller(
        &self,
        operation: &'static str,
        timeout: Option<Duration>,
    ) -> Result<OpenCaller, ManagerError> {
        self.connector
            .caller(timeout)
            .map_err(|error| error::unconnected(operation, error, timeout, || self.peer()))
    }

    /// Why a call has failed. A connection that is of no more use is forgotten: the next call makes another one, if the
    /// manager lives.
    #[cold]
    pub(crate) fn failed(
        &self,
        operation: &'static str,
        caller: &OpenCaller,
        error: CallError,
        timeout: Option<Duration>,
    ) -> ManagerError {
        let is_lost = matches!(
            error.cause,
            LinkError::Closed | LinkError::Truncated | LinkError::Garbled(_) | LinkError::Broken(_)
        );
        let error = error::failed(operation, error, timeout, || self.peer());
        if is_lost {
            self.connector.disconnect(caller);
        }
        error
    }
}

/// One object, for one process.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) way: Arc<Way>,
    pub(crate) address: Address,
    pub(crate) timeout: Option<Duration>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("id", &self.address.id).finish_non_exhaustive()
    }
}

/// A number for something that waits: no two that this process asks for have the same.
pub(crate) fn next_wait() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Proxy {
    /// Asks for an operation.
    pub(crate) fn ask(&self, operation: &'static str, op: &Op) -> Result<Answer, ManagerError> {
        self.ask_within(operation, op, self.timeout)
    }

    pub(crate) fn ask_within(
        &self,
        operation: &'static str,
        op: &Op,
        timeout: Option<Duration>,
    ) -> Result<Answer, ManagerError> {
        let caller = self.way.caller(operation, timeout)?;
        self.ask_by(&caller, operation, op, timeout)
    }

    pub(crate) fn ask_by(
        &self,
        caller: &OpenCaller,
        operation: &'static str,
        op: &Op,
        timeout: Option<Duration>,
    ) -> Result<Answer, ManagerError> {
        let called = caller.call::<(Address, Op), _, _>(BUILT_IN, &(self.address, op), timeout, |reply| {
            (reply.kind() == ANSWER).then(|| reply.decode::<Answer>())
        });
        match called {
            Ok(Some(Ok(Answer::Failed(failure)))) => Err(refused(operation, failure)),
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(error))) => Err(unreadable(operation, error)),
            Ok(None) => Err(nonsense(operation)),
            Err(error) => Err(self.way.failed(operation, caller, error, timeout)),
        }
    }

    /// Says something that nobody answers, and never waits. If there is no room for it a thread of the library's waits
    /// for that: others wait for the word, and this process may have nothing more to say.
    pub(crate) fn say_by(&self, caller: &OpenCaller, op: &Op) -> Result<(), CallError> {
        caller.post::<(Address, Op), _>(BUILT_IN, &(self.address, op))?;
        if caller.has_posted() && !self.way.has_messenger.swap(true, Ordering::SeqCst) {
            let (way, caller) = (Arc::clone(&self.way), caller.clone());
            let started = start_library_thread("last words", move |thread| {
                loop {
                    let sent = thread.sleep(|| caller.send_posted(None));
                    way.has_messenger.store(false, Ordering::SeqCst);
                    // More may have come just before that, from somebody who relied on this one.
                    let ends = sent.is_err() || !caller.has_posted();
                    if ends || way.has_messenger.swap(true, Ordering::SeqCst) {
                        return;
                    }
                }
            });
            if started.is_err() {
                // Then it goes with what is said next.
                self.way.has_messenger.store(false, Ordering::SeqCst);
            }
        }
        Ok(())
    }

    /// As [`say_by`](Proxy::say_by), waiting for room.
    pub(crate) fn tell_by(
        &self,
        caller: &OpenCaller,
        op: &Op,
        timeout: Option<Duration>,
    ) -> Result<(), CallError> {
        caller.send::<(Address, Op), _>(BUILT_IN, &(self.address, op), timeout)
    }

    /// A value's bytes. Proxies of this manager in it are written as such.
    pub(crate) fn encode<T: Serialize + DeserializeOwned>(
        &self,
        operation: &'static str,
        value: &T,
    ) -> Result<Bytes, ManagerError> {
        let encoded = within(&self.way, || codec::encode_checked(value));
        encoded.map(Bytes::from).map_err(|error| unwritable(operation, error))
    }

    /// The bytes of what a `T` was borrowed as, which are to be those of the `T`.
    pub(crate) fn encode_borrowed<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Bytes, ManagerError> {
        let bytes =
            within(&self.way, || codec::encode(value)).map_err(|error| unwritable(operation, error))?;
        if cfg!(debug_assertions) {
            if let Err(error) = within(&self.way, || codec::decode::<T>(&bytes)) {
                let message = format!("it can't be read back: {}", error.message);
                return Err(unwritable(operation, EncodeError { type_name: error.type_name, message }));
            }
        }
        Ok(Bytes::from(bytes))
    }

    pub(crate) fn decode<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        bytes: &Bytes,
    ) -> Result<T, ManagerError> {
        within(&self.way, || codec::decode(bytes)).map_err(|error| unreadable(operation, error))
    }

    /// The object is gone, for all.
    pub(crate) fn delete(&self, operation: &'static str) -> Result<(), ManagerError> {
        self.ask(operation, &Op::Delete).map(drop)
    }
}

fn unwritable(operation: &'static str, error: EncodeError) -> ManagerError {
    ManagerError::Encode { operation, type_name: error.type_name.to_owned(), message: error.message }
}

/// What the manager says of an operation that it doesn't carry out.
pub(crate) fn refused(operation: &'static str, failure: Failure) -> ManagerError {
    match failure {
        Failure::Deleted => ManagerError::Deleted { operation },
        Failure::WrongKind { is } => ManagerError::WrongKind { operation, is },
        Failure::Full { max } => ManagerError::Full { operation, max },
        Failure::TooManyWaits { max } => ManagerError::TooManyWaits { operation, max },
        Failure::TooManyDescriptors { max } => ManagerError::TooManyDescriptors { operation, max },
        Failure::OutOfRange { index, length } => ManagerError::OutOfRange { operation, index, length },
        Failure::Undecodable(message) => ManagerError::Decode {
            operation,
            type_name: "an operation".to_owned(),
            message,
            execution: Execution::NotRun,
        },
    }
}

fn unreadable(operation: &'static str, error: codec::DecodeError) -> ManagerError {
    let (type_name, message) = (error.type_name.to_owned(), error.message);
    ManagerError::Decode { operation, type_name, message, execution: Execution::Ran }
}

/// It has answered something else than was asked for.
pub(crate) fn nonsense(operation: &'static str) -> ManagerError {
    ManagerError::Decode {
        operation,
        type_name: "the answer to it".to_owned(),
        message: "it answers something else".to_owned(),
        execution: Execution::Unknown,
    }
}

thread_local! {
    /// Whose values are being written or read.
    static WITHIN: RefCell<Option<Arc<Way>>> = const { RefCell::new(None) };
}

/// Writes or reads values that a manager keeps: proxies of its objects are in them as addresses.
fn within<R>(way: &Arc<Way>, work: impl FnOnce() -> R) -> R {
    // Dropped by a panic, too.
    let _before = Before(WITHIN.replace(Some(Arc::clone(way))));
    work()
}

/// What was so before.
struct Before(Option<Arc<Way>>);

impl Drop for Before {
    fn drop(&mut self) {
        let within = WITHIN.replace(self.0.take());
        // Its drop may come back here.
        drop(within);
    }
}

fn current() -> Option<Arc<Way>> {
    WITHIN.with_borrow(Clone::clone)
}

/// How a proxy is written.
#[derive(Serialize, Deserialize)]
enum Written {
    /// In a value that its own manager keeps.
    Here(Address),
    /// In a message.
    Anywhere(Address, Connector),
}

/// Inside of a message, and of the values that its manager keeps. With other formats it is an error.
impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match current() {
            Some(way) if way.connector.is_same(&self.way.connector) => Written::Here(self.address),
            _ => Written::Anywhere(self.address, self.way.connector.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Proxy, D::Error> {
        let (address, way) = match Written::deserialize(deserializer)? {
            Written::Anywhere(address, connector) => (address, Arc::new(Way::new(connector, None))),
            Written::Here(address) => {
                let way =
                    current().ok_or_else(|| D::Error::custom("a proxy without the way to its manager"))?;
                (address, way)
            }
        };
        Ok(Proxy { way, address, timeout: None })
    }
}
