//! The environment of a process that has just been forked.

use std::ffi::OsStr;
use std::ops::Range;
use std::ptr;

/// Sets or removes variables, after clearing the environment if `clear` says so, with what the kernel shows of it.
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
        wipe_initial();
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

/// Zeroes the strings that the program was started with: they stay where the kernel has put them, whatever becomes of
/// the environment, and whoever can read a file `/proc/self/environ` has them. Without /proc they are left.
fn wipe_initial() {
    let stat = std::fs::read("/proc/self/stat").unwrap_or_default();
    let Some(Range { start, end }) = initial(&stat) else { return };
    // SAFETY: getauxval only looks a number up.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    // Elsewhere it would be what somebody has made of it, by PR_SET_MM.
    if end != name {
        return;
    }
    // SAFETY: the kernel has put the strings there, right below the program's name, on the first thread's stack, which is
    // mapped for as long as the process lives; they are this process's own copy, and may be written to. Nobody reads
    // them at this moment: there is one thread. Pointers to them that code has kept from `getenv`, which no clearing of
    // an environment leaves good, lead to empty strings.
    unsafe { ptr::write_bytes(ptr::with_exposed_provenance_mut::<u8>(start), 0, end - start) };
}

/// Where they are, as proc_pid_stat(5) has it: in the fields 50 and 51.
fn initial(stat: &[u8]) -> Option<Range<usize>> {
    // The name is in parentheses and may hold anything. After it comes the third field.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    let mut ends = fields.split_ascii_whitespace().skip(50 - 3).map(|field| field.parse().ok());
    let (start, end) = (ends.next()??, ends.next()??);
    (start != 0 && start <= end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_where_the_environment_is() {
        let found = initial(&std::fs::read("/proc/self/stat").unwrap()).unwrap();
        let environ = std::fs::read("/proc/self/environ").unwrap();
        assert_eq!(found.len(), environ.len());
        // SAFETY: a number.
        assert_eq!(found.end, unsafe { libc::getauxval(libc::AT_EXECFN) } as usize);
    }

    #[test]
    fn what_is_no_stat_has_none() {
        for text in ["", "1 (x", "1 (x) R 0 0", "1 () 2) R"] {
            assert_eq!(initial(text.as_bytes()), None, "{text}");
        }
        let stat = format!("1 (a )b) R{} 10 20 0", " 0".repeat(46));
        assert_eq!(initial(stat.as_bytes()), Some(10..20));
        assert_eq!(initial(stat.replace(" 10 ", " 30 ").as_bytes()), None);
    }
}
