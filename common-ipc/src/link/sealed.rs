//! Bytes on their way to another process in a memfd that can't shrink.
//!
//! The sender writes them; whoever it is sent to copies them out, once, and looks at its copy only. Only
//! memory can be sealed, so what is sealed is no pipe, device or remote file: reading it neither blocks nor
//! fails. It isn't sealed against writing. Nobody needs that who only reads a copy, and the kernel sometimes
//! refuses it, with EBUSY, while it moves the pages about.

use std::io;
use std::os::fd::BorrowedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::stat::fstat;
use nix::sys::uio::{pread, pwrite};

use crate::sys;
pub(crate) use crate::sys::memfd::create;

/// Writes the parts one after the other, as many bytes in all as the memory was made for.
///
/// # Errors
///
/// No memory left.
pub(crate) fn fill(memfd: BorrowedFd<'_>, parts: &[&[u8]]) -> io::Result<()> {
    let mut at = 0;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let written = sys::retry(|| Ok(pwrite(memfd, rest, at as i64)?))?;
            rest = &rest[written..];
            at += written;
        }
    }
    Ok(())
}

/// Such memory that came from another process.
#[derive(Debug)]
pub(crate) struct Sealed<'a> {
    memfd: BorrowedFd<'a>,
    len: u64,
}

impl<'a> Sealed<'a> {
    /// Looks at a descriptor, which may be anything.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] unless it is memory that is sealed against shrinking.
    pub(crate) fn new(memfd: BorrowedFd<'a>) -> io::Result<Sealed<'a>> {
        let seals = fcntl(memfd, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
        if !seals.is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_SHRINK)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a memfd that isn't sealed"));
        }
        Ok(Sealed { memfd, len: u64::try_from(fstat(memfd)?.st_size).unwrap_or(0) })
    }

    /// How many bytes there are. Whoever reads them compares that with a cap before.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// A copy of `len` bytes from offset `at` on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if there aren't so many.
    pub(crate) fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        if at.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            let place = at + filled as u64;
            match sys::retry(|| Ok(pread(self.memfd, &mut bytes[filled..], place as i64)?))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::os::fd::AsFd;
    use std::os::fd::OwnedFd;

    #[test]
    fn what_was_filled_is_read_back_in_any_pieces() {
        let memfd = create("test", 7).unwrap();
        fill(memfd.as_fd(), &[b"abc", b"", b"defg"]).unwrap();
        let sealed = Sealed::new(memfd.as_fd()).unwrap();
        assert_eq!(sealed.len(), 7);
        assert_eq!(sealed.read(0, 7).unwrap(), b"abcdefg");
        assert_eq!(sealed.read(2, 3).unwrap(), b"cde");
        assert_eq!(sealed.read(7, 0).unwrap(), b"");
        for (at, len) in [(0, 8), (7, 1), (8, 0), (u64::MAX, 1)] {
            assert_eq!(sealed.read(at, len).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(nix::unistd::ftruncate(&memfd, 6).is_err(), "nobody can cut it");
    }

    #[test]
    fn what_is_not_sealed_is_refused() {
        let unsealed = memfd_create("test", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC).unwrap();
        let device = OwnedFd::from(std::fs::File::open("/dev/zero").unwrap());
        for fd in [unsealed, device] {
            assert_eq!(Sealed::new(fd.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
