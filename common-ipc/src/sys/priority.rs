//! Scheduling priority.

use std::io;

/// Sets the nice value of this process: -20 (first served) to 19 (last).
pub(crate) fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: three integers; 0 means the calling process.
    super::check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }.into()).map(drop)
}

/// The nice value of this process.
pub(crate) fn nice() -> i32 {
    // SAFETY: integers only. The bare call says 20 minus the nice value, so that an error is told from it.
    20 - unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) as i32 }
}
