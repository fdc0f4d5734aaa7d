//! Memory as a file of its own, without a name.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

/// A new memfd of `len` bytes, all zero, that can neither shrink nor grow, close-on-exec.
///
/// # Errors
///
/// No descriptors or no memory left; EFBIG where a limit on file sizes (RLIMIT_FSIZE), which counts for
/// memory as well, is smaller: asked before, for past it a signal would come first.
pub(crate) fn create(name: &str, len: usize) -> io::Result<OwnedFd> {
    let (allowed, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if len as u64 > allowed {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let memfd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let length = i64::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    nix::unistd::ftruncate(&memfd, length)?;
    fcntl(&memfd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW))?;
    Ok(memfd)
}

/// Whether `memfd` is memory of exactly `len` bytes that nobody can shrink: touching a mapping of it never
/// faults. Asked of every descriptor that comes from another process before it is mapped.
///
/// It isn't made of huge pages, either: of those a peer could give back some when there are no more.
pub(crate) fn is_sealed(memfd: BorrowedFd<'_>, len: usize) -> bool {
    let Ok(seals) = fcntl(memfd, FcntlArg::F_GET_SEALS) else { return false };
    let right_size = nix::sys::stat::fstat(memfd).is_ok_and(|stat| stat.st_size as u64 == len as u64);
    let right_kind = fstatfs(memfd).is_ok_and(|system| system.filesystem_type() == TMPFS_MAGIC);
    SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK) && right_size && right_kind
}
