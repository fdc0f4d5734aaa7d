//! An object that lives in another process, its methods called as if it were here.
//!
//! ```
//! use cross_process_bridge::{BridgeError, bridge};
//!
//! struct Counter {
//!     value: i64,
//! }
//!
//! #[bridge]
//! impl Counter {
//!     pub fn new(value: i64) -> Counter {
//!         Counter { value }
//!     }
//!
//!     pub fn add(&mut self, number: i64) -> i64 {
//!         self.value += number;
//!         self.value
//!     }
//!
//!     pub fn pid(&self) -> u32 {
//!         std::process::id()
//!     }
//! }
//!
//! fn main() -> Result<(), BridgeError> {
//!     let counter = CounterBridge::new(5); // no process yet
//!     counter.start()?; // forks; the constructor runs there
//!     assert_eq!(counter.add(3)?, 8);
//!     assert_ne!(counter.pid()?, std::process::id());
//!     counter.stop() // the object is dropped, its process ends
//! }
//! ```
//!
//! [`#[bridge]`](macro@bridge) leaves the type as it is, and makes another one, named after it, that has the same
//! constructors and the same methods. What those return is wrapped into a `Result`, since a process may die: the
//! methods of `CounterBridge` return `Result<i64, BridgeError>`; if a method itself returns a `Result`, there are two,
//! and `??` takes off both.
//!
//! What is it good for? An object that changes what belongs to a whole process - the working directory, the user, the
//! environment, a library's global state - and shouldn't change yours; one that may crash, leak or hang, such as a parser
//! of untrusted input; one that needs fewer rights than the program has, or a limit of memory.
//!
//! # The life of a bridge
//!
//! A bridge is a handle. Clones share one process and one object; any number of threads call at once, and the object
//! carries out one call after another. (For tasks of a tokio runtime there is `to_async()`, with the feature `tokio`.)
//!
//! - **`start()`** starts the process, has the constructor make the object there, and returns when it has. A constructor
//!   that fails or panics is the error of `start`. On a bridge that runs it does nothing. After the process has ended, by
//!   whatever cause, it starts a new one with a new object.
//! - **`stop()`** has the calls that came before carried out, the object dropped and the process ended. One that takes
//!   longer than 5 s over that is ended by SIGTERM, and half a second later by SIGKILL. A process that had ended by itself
//!   before is an error, so that a crash isn't overlooked. [`stop_timeout`](BridgeProcess::stop_timeout) takes another time.
//! - **`scope(|bridge| ..)`** starts, calls the closure, and stops, whatever happens: Python's `with` block.
//! - **`process()`** is the way to the process: its id, its [options](BridgeProcess::launch_with), a
//!   [restart](BridgeProcess::restart), its end.
//! - **Dropping** the last clone stops the process, too, but in a second at most, and then half a second; so it may block
//!   for so long. A `stop` of the class's own isn't called.
//!   The exit of the program stops it as it does all processes ([`AtExit`]): by SIGTERM, so that the object isn't dropped.
//!
//! If the class has a `start` or a `stop` of its own, it is called through: `start(..)` calls it once the object is made,
//! and again on a bridge that runs; `stop(..)` calls it before the process ends.
//!
//! # Where the process comes from
//!
//! | | from | the process has the memory of | beside threads |
//! |---|---|---|---|
//! | `start()` | a fork of the program | the program, at that moment | refused, see [the fork rule](Refusal) |
//! | after [`launch_from_template`](BridgeProcess::launch_from_template) | a template | the program, when the template was made | yes |
//! | after [`launch_in`](BridgeProcess::launch_in) | a zygote | none of the program's | yes |
//!
//! In all three the arguments of the constructor are sent to the process, serialised, as those of every call are. For an
//! object that can't be made of such there is [`from_fn`].
//!
//! # Arguments and results
//!
//! They cross the bridge by serde ([`Crosses`]). `&str`, `&[T]`, `&Path` and `&T` are sent without a copy of their own;
//! `&mut` arguments are sent, and written back when the method has returned. `Vec<u8>` and `&[u8]` cross at memory speed;
//! [`link::Bytes`] saves one more copy. What several processes are to change together is in a [`manager`]. Connections, queues, events and shared memory of this family of crates can be
//! arguments and results. The [table of the macro](macro@bridge) has all forms.
//!
//! # What comes back bit by bit
//!
//! A method that returns an iterator has its bridge's return a [`BridgeStream`]: the iterator runs in the object's process,
//! and its items come here as they are made, and only as far as they are wanted. A method with a closure as an argument is
//! lent that: it runs here, in the thread that waits for the call, and may borrow what it likes.
//!
//! ```
//! use cross_process_bridge::{BridgeError, bridge};
//!
//! struct Primes;
//!
//! #[bridge]
//! impl Primes {
//!     fn new() -> Primes {
//!         Primes
//!     }
//!
//!     fn from(&self, first: u64) -> impl Iterator<Item = u64> {
//!         (first..).filter(|number| (2..*number).all(|factor| number % factor != 0))
//!     }
//!
//!     fn visit(&self, end: u64, mut found: impl FnMut(u64) -> bool) -> usize {
//!         self.from(2).take_while(|prime| *prime < end && found(*prime)).count()
//!     }
//! }
//!
//! let primes = PrimesBridge::new();
//! primes.start()?;
//! let some: Vec<u64> = primes.from(100)?.take(3).collect::<Result<_, _>>()?;
//! assert_eq!(some, [101, 103, 107]);
//! let mut sum = 0;
//! let visited = primes.visit(100, |prime| {
//!     sum += prime;
//!     prime < 10
//! })?;
//! assert_eq!((visited, sum), (4, 2 + 3 + 5 + 7 + 11));
//! # Ok::<(), BridgeError>(())
//! ```
//!
//! From when such a call is made until the stream is over or dropped, or the method has returned, the object is *occupied*:
//! another call, by whichever thread or clone or by the closure itself, is [`BridgeError::Busy`] at once, since who makes it
//! may be who has to end the first one. (A call that was under way when the other one was made is carried out before, or is
//! `Busy`; a `one_way` one is carried out.) `stop`, `restart`, `kill` and the end of the process go through: the method is
//! unwound where it calls its closure next, and a stream's iterator dropped when it has made the item that it is at.
//!
//! A panic of a closure unwinds the method as well, and goes on in the caller when that has ended. If what it returns can't be
//! serialised, that is the error of the call, and the method is unwound by a panic. What the method calls it with has to be
//! serialisable; if it isn't, the method panics.
//!
//! # Several threads
//!
//! `#[bridge(threads = 4)]` has up to four `&self` methods of one object carried out at once, by as many threads of its process; a
//! `&mut self` method has the object alone. Calls begin in the order in which they came: one that wants the object alone
//! waits for those before it, and those behind it for that, so neither kind is starved. (In a [manager] each object has one thread.) The object has to be `Send` and
//! `Sync`, as the compiler says. It is made and dropped by the process's own thread. Iterators and closures can't be combined
//! with that, and the object can start processes only from a zygote, since forks beside threads are refused.
//!
//! # Errors
//!
//! [`BridgeError`] says why; [`execution`](BridgeError::execution) says whether the method ran, which decides whether to
//! call again. No call hangs because the process died: all that wait for it end at once, with the cause. A method that
//! never returns is ended by a [time-out](Timeout): `counter.with_timeout(Duration::from_secs(1)).add(3)`, with the
//! process killed if so asked.
//!
//! A panic in a method is an error of that call alone. The object stays as the panic left it, as after one that was
//! caught; if that is no state to go on from, [restart](BridgeProcess::restart).
//!
//! A handle belongs to the process that made it. A copy of it in a forked child is [`BridgeError::WrongProcess`]; in the
//! object's own process, where a call would wait for itself, it is [`BridgeError::Reentrant`].
//!
//! # Trust
//!
//! A process that was taken over by hostile input may answer whatever it wants. A result of a wrong type or no sense is
//! an error of its call; what breaks the connection ends the process, and every call says so. A result of the right type
//! is a result: check it as you would check any input.
//!
//! # From the Python package cross_process_bridge
//!
//! | Python | here |
//! |---|---|
//! | `class B(A, CrossProcessBridge)` | `#[bridge] impl A`: makes `ABridge` |
//! | `b = B(1, 2)` | a constructor of the same name: `ABridge::new(1, 2)` |
//! | `b.start()`, `b.stop()` | the same; the class's own are called through |
//! | `with B() as b:` | `ABridge::new().scope(\|b\| ..)` |
//! | `b.method(x)` | `b.method(x)?`, from any number of threads at once |
//! | a generator | an iterator: [`BridgeStream`] |
//! | a function as an argument | a closure: it runs in the caller |
//! | static methods and class methods | functions without `self` are methods of the bridge, and run there |
//! | `b.attribute`, `b.attribute = x` | `fields(attribute: T)`: `b.attribute()?`, `b.set_attribute(x)?` |
//! | `str(b)` | `traits(Display)`: `b.to_string()?` |
//! | methods of base classes | `traits(..)` |
//! | an exception | what the method returns; a panic is [`BridgeError::Panicked`] |
//! | a list as an argument stays as it was | a `&mut Vec` is written back |
//! | `multiprocessing.Manager().list()` as an argument | [`manager`]: lists, maps, locks, queues and objects that processes share |

// The way of a call, and what it stands on:
//
//   handle, asynchronous    here: arguments out, the result in, or why there is none     (inside of each bridge)
//   life, run               the process: started, stopped, lost, started again           (BridgeProcess)
//   origin                  by a constructor or a closure; by a fork, a template, a zygote
//   serving, call, crew     there: the object, and one call after another, or several   (Bridged)
//   occupied                here: whether a call goes on between its messages
//   closures, lent          here and there: a method's calls of closures
//   stream, outlet, reception    here and there: an iterator's items
//   desk                    there: what came meanwhile
//   method, wire, reply, failure, crosses    what goes over
//   reentry                 calls of an object by itself
#[cfg(feature = "tokio")]
mod asynchronous;
mod bridge_process;
mod call;
mod closures;
mod crew;
mod crosses;
mod desk;
mod error;
mod failure;
mod handle;
mod lent;
mod life;
pub mod manager;
mod method;
mod occupied;
mod origin;
mod outlet;
mod reception;
mod reentry;
mod reply;
mod run;
mod serving;
mod stream;
mod timeout;
mod wire;

pub use bridge_process::BridgeProcess;
pub use common_ipc::link::Execution;
pub use common_ipc::process::{
    AtExit, Child, ChildError, ExitStatus, LaunchOptions, PanicReport, ParentDeath, ProcessGroup, Refusal,
    Resource, Sigint, Signal, StartError, Stdio, StopStep, Stopped, WrongProcess, Zygote, init,
};
pub use common_ipc::{RemoteError, init_before_main};
#[doc(no_inline)]
pub use common_ipc::{link, logging, memory, process, sync};
#[doc = include_str!("bridge.md")]
#[doc(inline)]
pub use cross_process_bridge_macros::bridge;
pub use crosses::Crosses;
pub use error::BridgeError;
pub use handle::from_fn;
pub use serving::Bridged;
#[cfg(feature = "tokio")]
pub use stream::AsyncBridgeStream;
pub use stream::BridgeStream;
pub use timeout::Timeout;

/// What `#[bridge]` expands to.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "tokio")]
    pub use crate::asynchronous::AsyncHandle;
    pub use crate::call::{Call, Served};
    pub use crate::closures::{Asked, Outcome};
    pub use crate::crew::{Crew, crew};
    pub use crate::crosses::Crosses;
    pub use crate::handle::Handle;
    pub use crate::lent::Lent;
    pub use crate::manager::Shareable;
    pub use crate::method::Method;
    pub use crate::outlet::Opening;
    pub use crate::serving::Bridged;
    pub use common_ipc::RemoteError;
    pub use common_ipc::link::Bytes;
    pub use serde::{Deserialize, Deserializer, Serialize, Serializer};
    pub mod failure {
        pub use crate::failure::*;
    }
    pub mod wire {
        pub use crate::wire::*;
    }
}

/// The README's programs are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
