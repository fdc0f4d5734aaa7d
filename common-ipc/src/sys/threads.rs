//! How many threads this process has.

use std::io;

/// Whether the calling thread is the only one. `None` where the kernel (a seccomp filter, as a
/// rule) doesn't let one ask this way.
pub(crate) fn is_alone() -> Option<bool> {
    // SAFETY: asked of a process with one thread this changes nothing; of a process with several
    // it fails with EINVAL, which is the answer.
    if unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_THREAD) } == 0 {
        return Some(true);
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EINVAL) => Some(false),
        _ => None,
    }
}
