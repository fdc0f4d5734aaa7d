//! Memory that processes share: bytes, and arrays of plain numbers.
//!
//! ```text
//! shared      bytes                                (SharedMemory)
//! array       elements, with a shape               (SharedArray)
//! frozen      elements that nobody can change      (FrozenArray)
//! atomics     atomic numbers                       (SharedAtomics)
//!   segment       a descriptor and its mapping
//!   available     how much there is for more
//! errors      why there is none                    (MemoryError, OutOfRange, NoSuchPlace)
//! ```
//!
//! All of it is memory without a name: nothing is ever in /dev/shm, and what is left of it goes with the
//! last process that has it, however that ends. It can neither shrink nor grow, and its pages are there from
//! the start: a machine that is full is an error of the making, not a signal at a later write.
//!
//! There are three ways to another process. A child that **captures** it has it. One that is also **given**
//! it ([`LaunchOptions::give`](crate::process::LaunchOptions::give)) can send it on. And it can be **sent**
//! over a [`Connection`](crate::link::Connection), by itself or inside of another value, at the price of its
//! descriptor alone: it arrives as the same memory.
//!
//! Any process that has it may write to it at any time. So there is no `&[T]` of it, but get, set and copies,
//! until it is frozen; only atomics can be borrowed. One that means harm can also take pages away from it, or send memory whose pages aren't
//! there: they read as zeroes, and come when they are touched, at the cost of the machine's memory.

mod array;
mod atomics;
mod available;
mod errors;
mod frozen;
pub(crate) mod segment;
mod shape;
mod shared;

pub use array::SharedArray;
pub use atomics::SharedAtomics;
/// The crate that says which types are plain data, for `#[derive(Pod, Zeroable)]` with
/// `#[bytemuck(crate = "common_ipc::memory::bytemuck")]`: so a program needs no version of its own.
// Where another crate re-exports this module its documentation would have all of `core` in it.
#[doc(hidden)]
pub use bytemuck;
pub use bytemuck::{Pod, Zeroable};
pub use errors::{MemoryError, MemoryLimit, NoSuchPlace, OutOfRange};
pub use frozen::FrozenArray;
pub use shared::SharedMemory;
