//! Scheduling priority.

use std::io;

/// Sets the nice value of this process: -20 (first served) to 19 (last).
pub(crate) fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: three integers; 0 means the calling process.
    super::check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }.into()).map(drop)
}
