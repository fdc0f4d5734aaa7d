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
        let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
        for name in names {
            // SAFETY: this process has no other thread that could be reading the environment.
            unsafe { std::env::remove_var(name) };
        }
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
