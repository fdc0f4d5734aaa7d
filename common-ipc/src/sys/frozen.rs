//! Memory that was sealed against writing, as a slice.

use std::io;
use std::os::fd::BorrowedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use super::mapping::Mapping;

/// Memory that nobody can write to any more: a plain slice.
#[derive(Debug)]
pub(crate) struct FrozenMapping(Mapping);

impl FrozenMapping {
    /// Seals a memfd against writing, for good.
    ///
    /// # Errors
    ///
    /// EBUSY while anybody, in any process, has it mapped for writing.
    pub(crate) fn freeze(memfd: BorrowedFd<'_>) -> io::Result<()> {
        fcntl(memfd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE))?;
        Ok(())
    }

    /// Maps all of a memfd that was sealed, by whomever.
    ///
    /// # Errors
    ///
    /// EINVAL if it isn't sealed against writing and shrinking, or not of this size; else as for a mapping.
    pub(crate) fn new(memfd: BorrowedFd<'_>, len: usize) -> io::Result<FrozenMapping> {
        let seals = SealFlag::from_bits_truncate(fcntl(memfd, FcntlArg::F_GET_SEALS)?);
        if !seals.contains(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(FrozenMapping(Mapping::map(memfd, len, libc::PROT_READ)?))
    }

    /// The bytes, aligned to a page.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped until drop, and of this length. With F_SEAL_WRITE the kernel allows no writes
        // by any descriptor or mapping, whosesoever, and no holes: the bytes don't change while the
        // slice lives, or ever.
        unsafe { std::slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}
