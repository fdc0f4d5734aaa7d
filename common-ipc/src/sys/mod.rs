//! Raw system calls: the only unsafe code of the workspace, one subject a file.
//!
//! Everything here is a thin, safe door to one thing that neither the standard library nor nix
//! offers, with the reason for its soundness beside each unsafe block. The two doors that stay
//! `unsafe fn` are in [`fork_rule`], because only their caller can know that they are used well.
#![expect(unsafe_code, reason = "the workspace's one home for unsafe code")]

use std::io;

mod before_main;
pub(crate) mod caught;
pub(crate) mod credentials;
pub(crate) mod descriptors;
pub(crate) mod directory;
pub(crate) mod environment;
pub(crate) mod epoll;
pub(crate) mod fork;
pub(crate) mod fork_rule;
pub(crate) mod frozen;
pub(crate) mod function;
pub(crate) mod futex;
pub(crate) mod generation;
pub(crate) mod mapping;
pub(crate) mod memfd;
pub(crate) mod parent_death;
pub(crate) mod pidfd;
pub(crate) mod priority;
#[cfg(test)]
pub(crate) mod raced;
pub(crate) mod random;
#[cfg(feature = "tokio")]
pub(crate) mod readiness;
#[cfg(feature = "testing")]
pub(crate) mod seccomp;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod threads;

/// The one funnel for the C convention "negative is an error, look at errno".
fn check(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// Whether it can go better later: the process, or the machine, has no free descriptor or memory.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS))
}

/// The one loop for calls that a signal may interrupt.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
