//! Which directory a path leads to.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;

use super::check;

/// Device, inode and mount: equal for two looks, with somebody in the directory all the time, if they are at
/// the same directory in the same mount namespace. (The mount is zero before Linux 5.8.)
pub(crate) fn identity(path: &str) -> io::Result<[u64; 3]> {
    let path = CString::new(path)?;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path ends with a NUL; the kernel fills in what it knows of a structure that may be all zero.
    let found = unsafe {
        let mask = libc::STATX_INO | libc::STATX_MNT_ID;
        check(libc::statx(libc::AT_FDCWD, path.as_ptr(), 0, mask, found.as_mut_ptr()).into())?;
        found.assume_init()
    };
    let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    Ok([device, found.stx_ino, found.stx_mnt_id])
}
