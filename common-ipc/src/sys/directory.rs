//! Which directory a path leads to.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::check;

/// Device, inode and mount: equal for two looks, with somebody in the directory all the time, if they are at
/// the same directory in the same mount namespace. (The mount is zero before Linux 5.8.)
pub(crate) fn identity(path: &str) -> io::Result<[u64; 3]> {
    look(libc::AT_FDCWD, &CString::new(path)?, 0)
}

/// As [`identity`], of a descriptor's.
pub(crate) fn identity_of(directory: BorrowedFd<'_>) -> io::Result<[u64; 3]> {
    look(directory.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn look(from: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<[u64; 3]> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path ends with a NUL; the kernel fills in what it knows of a structure that may be all zero.
    let found = unsafe {
        let mask = libc::STATX_INO | libc::STATX_MNT_ID;
        check(libc::statx(from, path.as_ptr(), flags, mask, found.as_mut_ptr()).into())?;
        found.assume_init()
    };
    let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    Ok([device, found.stx_ino, found.stx_mnt_id])
}
