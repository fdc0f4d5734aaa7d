//! The base of `multiprocess`: everything that touches the kernel.
//!
//! Most programs use one of the crates that stand on this one and re-export what they need from
//! it: `offspring` for tasks in processes of their own, or the umbrella `multiprocess`.
//!
//! - [`process`]: children, started by fork with a discipline that makes that safe, and waited for
//!   in ways that never hang because a process died.
//! - [`link`]: pipes, typed connections, calls and queues between processes.
//! - [`memory`]: memory that processes share, as bytes, arrays, frozen arrays and atomic numbers.
//! - [`sync`]: events, semaphores and mutexes that processes share.
//! - [`logging`]: log records of children, handed to the program's logger.
//! - Feature `tokio`: `link::AsyncConnection` and `link::AsyncOpenCaller`, for programs that use that runtime.
//! - Feature `testing`: `testing`, a kit for tests: fault injection, a chaos monkey, leak police, deadlines.
//! - [`RemoteError`]: any error, carried from one process to another.
//!
//! ```
//! use common_ipc::process::{Launch, LaunchOptions};
//!
//! let child = Launch::new(&LaunchOptions::new()).start(|| 6 * 7)?;
//! assert_eq!(child.output::<i32>()?, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The fork rule
//!
//! A forked child has one thread and a copy of all memory, locks included. If another thread held
//! a lock at that moment, it stays locked in the child for ever. So a start is refused, with an error
//! that says what to do ([`process::Refusal`]), while threads are running that don't belong to this
//! library: start processes before threads. [`process::set_fork_rule`] can change that.
//!
//! # Beside threads
//!
//! There are two ways to start processes in a program that has threads, an async runtime say. Both have
//! another process make the child, one that was forked while there was one thread; the child is the
//! program's own all the same.
//!
//! - From a **zygote** ([`process::Zygote`]): a function, on a value that is serialised. The program calls
//!   [`process::init`] on the first line of `main`, or [`init_before_main!`] in a file of tests. A start costs
//!   the same however large the program is; a fork of a program of 1 GiB takes some 40 ms.
//! - From a **template** ([`process::Template`]): any closure, again and again. The template is made while the
//!   program has one thread, and keeps the closure.
//!
//! | | runs | made | the child has the memory of | and the state (directory, user, streams, ...) of |
//! |---|---|---|---|---|
//! | [`Launch::start`](process::Launch::start) | any closure | at any time, with one thread | its start | its start |
//! | [`Launch::start_in`](process::Launch::start_in) | a function on a serialised value | at any time | `init`, and the zygote's preload | its start |
//! | [`Template::start`](process::Template::start) | the template's closure | at any time | the template's making | its start |
//!
//! # Platform
//!
//! Linux 5.10 or later with glibc; anything else is a compile error. Each of these being missing or
//! denied (by a seccomp filter, say) is a typed error at the start, or has the named fallback:
//!
//! | needed | without it |
//! |---|---|
//! | pidfd_open, pidfd_send_signal, waitid on a pidfd | `StartError::Os`, `ChildError::Os` |
//! | memfd_create | outputs of more than 512 bytes are `JoinError::Undeliverable`; no shared memory (`MemoryError::Os`), nor what stands on it: events, semaphores, mutexes |
//! | fallocate | no shared memory, as above |
//! | clone3; statx, if it is forbidden (for one that is unknown libc stands in) | no zygotes and templates: `StartError::Os` |
//! | PR_GET_TID_ADDRESS (a kernel with CONFIG_CHECKPOINT_RESTORE) | in children of zygotes and templates libc's own thread id is the server's, so that pthread mutexes that ask who owns them (recursive, error-checking, robust) take it for that |
//! | unshare (to count threads) | the count in /proc |
//! | /proc | no zygotes and templates (`StartError::Os`); of the two ways to count threads the other one; without both, `Refusal::ThreadsUnknown` once the program isn't allowed to assume one thread |
//! | /proc/meminfo, the files of control groups | whether there is enough memory isn't asked before: the kernel has the last word |
//! | /proc/self/ns, /proc/PID/stat | semaphores and mutexes are shared by capturing alone, and an owner is known by its id alone |
//! | eventfd | no `EventFd`, no `CaughtSignals`: their making is an error |
//! | SO_COOKIE; pidfds that have inodes (6.9), or else /proc | copies of a `Connector` that come to a process one after another are several, each with a connection |
//! | close_range | one close for each descriptor; where they have to be found first, by /proc: no keeper without that |
//! | MADV_WIPEONFORK | the pid tells processes apart |
//! | PIDFD_GET_INFO (6.15) | a status that somebody else collected is `ExitStatus::Unknown` |

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
compile_error!("common-ipc works on Linux with glibc only: it stands on pidfd, memfd, futex and on_exit");

// From the ground up: sys (all unsafe code), error, ownership, link, memory, logging, process, sync, testing. Each room
// uses those before it only.
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod link;
pub mod logging;
pub mod memory;
mod ownership;
pub mod process;
pub mod sync;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::RemoteError;

/// A number that nobody can guess: for the crates of this family.
#[doc(hidden)]
#[must_use]
pub fn random_number() -> u64 {
    sys::random::number()
}

/// The README's programs are tests as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
