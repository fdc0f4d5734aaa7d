//! An empty task from its start to its collected end: ours, the limit, and another crate's.

use integration_tests::raw;

/// The limit: what the kernel takes.
pub(crate) fn limit() {
    let pid = raw::fork(|| 0);
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
}

/// Ours: with a typed result, and all that the fork needs to be safe.
pub(crate) fn ours() {
    offspring::spawn(|| ()).unwrap().join().unwrap();
}

/// procspawn's, which runs the program anew. It has threads, beside which nobody should fork: it needs
/// a process of its own.
pub(crate) fn procspawn() {
    procspawn::spawn((), |()| ()).join().unwrap();
}
