//! Numbers that nobody can guess.

use std::hash::{BuildHasher, Hasher, RandomState};

/// One that the kernel makes.
pub(crate) fn number() -> u64 {
    let mut number = 0u64;
    // SAFETY: the kernel writes at most as many bytes as there are.
    let got = unsafe { libc::getrandom((&raw mut number).cast(), size_of::<u64>(), 0) };
    if got == size_of::<u64>() as isize {
        return number;
    }
    // A kernel that has no more than a file for it, which the standard library has read.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(number);
    hasher.finish()
}
