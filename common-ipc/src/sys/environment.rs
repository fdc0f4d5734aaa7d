//! The environment of a process that has just been forked.

use std::ffi::OsStr;

/// Sets or removes variables, after clearing the environment if `clear` says so.
///
/// Only for a forked child that hasn't run any of its user's code: it has one thread. Names must
/// not be empty nor hold `=` or NUL, values must not hold NUL.
pub(crate) fn change_in_child<'a>(
    clear: bool,
    changes: impl Iterator<Item = (&'a OsStr, Option<&'a OsStr>)>,
) {
    if clear {
        // Whole, not by names: an inherited entry may have none, or one that can't be set.
        // SAFETY: this process has no other thread that could be reading the environment.
        unsafe { libc::clearenv() };
    }
    for (name, value) in changes {
        match value {
            // SAFETY: as above.
            Some(value) => unsafe { std::env::set_var(name, value) },
            // SAFETY: as above.
            None => unsafe { std::env::remove_var(name) },
        }
    }
}
