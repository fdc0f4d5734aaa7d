//! Memory that processes share: mapping it, and reading and writing it with care.
//!
//! Another process may write to it at any time, also one that means harm. So there is never a reference
//! into it but to atomics: words are atomics, and bytes are copied in and out, to and from memory that is
//! this process's own. What was copied is then looked at; what is still there is never looked at twice.

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::generation;

/// Memory shared with every process that has a mapping of it, forked children included.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(super) start: NonNull<u8>,
    pub(super) len: usize,
}

// SAFETY: the pointer is to memory that lives until drop and that is only accessed by atomics and by
// copies, which other processes do as well.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of a memfd for reading and writing. Its size must be sealed.
    ///
    /// # Errors
    ///
    /// No memory left, or too many mappings; EINVAL if it isn't of this size, or not sealed.
    pub(crate) fn new(memfd: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        Mapping::map(memfd, len, libc::PROT_READ | libc::PROT_WRITE)
    }

    pub(super) fn map(memfd: BorrowedFd<'_>, len: usize, protection: libc::c_int) -> io::Result<Mapping> {
        if len == 0 {
            return Ok(Mapping { start: NonNull::<u64>::dangling().cast(), len });
        }
        if !super::memfd::is_sealed(memfd, len) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: a new mapping at a place that the kernel chooses disturbs nothing. The memory can't
        // shrink, so an access within len never faults.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, memfd.as_raw_fd(), 0)
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Mapping { start, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The memory, for as long as the mapping lives.
    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        View { start: self.start, len: self.len, mapping: PhantomData }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: mapped by `new`, and no view outlives self. In a forked child this ends the
            // child's mapping alone.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

/// A mapping that a fork doesn't copy: it belongs to the process that made it.
#[derive(Debug)]
pub(crate) struct PrivateMapping {
    mapping: std::mem::ManuallyDrop<Mapping>,
    home: NonZeroU64,
}

impl PrivateMapping {
    /// As [`Mapping::new`].
    pub(crate) fn new(memfd: BorrowedFd<'_>, len: usize) -> io::Result<PrivateMapping> {
        let mapping = Mapping::new(memfd, len)?;
        // SAFETY: the range is the mapping just made.
        let kept = unsafe { libc::madvise(mapping.start.as_ptr().cast(), len, libc::MADV_DONTFORK) };
        super::check(kept.into())?;
        Ok(PrivateMapping { mapping: std::mem::ManuallyDrop::new(mapping), home: generation::current() })
    }

    /// The memory; `None` in a process that isn't the one that mapped it, where it isn't.
    #[inline]
    pub(crate) fn view(&self) -> Option<View<'_>> {
        (self.home == generation::current()).then(|| self.mapping.view())
    }
}

impl Drop for PrivateMapping {
    fn drop(&mut self) {
        if self.home == generation::current() {
            // SAFETY: dropped once, here, and not used after. In any other process the addresses are
            // not mapped, or are somebody else's.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.mapping) };
        }
    }
}

/// Shared memory, as it may be accessed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(super) start: NonNull<u8>,
    pub(super) len: usize,
    mapping: PhantomData<&'a Mapping>,
}

impl<'a> View<'a> {
    /// How many bytes there are.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// The address of `len` bytes from offset `at` on.
    ///
    /// # Panics
    ///
    /// If they aren't all within the mapping: an offset is computed by this process, and checked by its
    /// callers where a part of it comes from another.
    #[inline]
    fn range(self, at: usize, len: usize) -> NonNull<u8> {
        assert!(at <= self.len && len <= self.len - at, "outside of the mapping");
        // SAFETY: within the mapping, as just checked.
        unsafe { self.start.add(at) }
    }

    /// The word at offset `at`, a multiple of four. What it holds is a fact, not a promise.
    #[inline]
    pub(crate) fn word(self, at: usize) -> &'a AtomicU32 {
        assert!(at % 4 == 0);
        // SAFETY: in range, aligned since mappings begin at a page, and alive for 'a; atomics may be
        // shared with other processes.
        unsafe { self.range(at, 4).cast::<AtomicU32>().as_ref() }
    }

    /// The long word at offset `at`, a multiple of eight.
    #[inline]
    pub(crate) fn long(self, at: usize) -> &'a AtomicU64 {
        assert!(at % 8 == 0);
        // SAFETY: as for `word`.
        unsafe { self.range(at, 8).cast::<AtomicU64>().as_ref() }
    }

    /// All of the memory as long words; what is left at its end is left out.
    #[inline]
    pub(crate) fn longs(self) -> &'a [AtomicU64] {
        // SAFETY: as for `long`, so many as there is room for. An empty mapping starts at an aligned address, too.
        unsafe { std::slice::from_raw_parts(self.start.cast::<AtomicU64>().as_ptr(), self.len / 8) }
    }

    /// Copies `bytes` in at offset `at`, at full speed. Whoever else reads or writes there at the same
    /// time finds any mixture: a protocol keeps honest parties apart.
    #[inline]
    pub(crate) fn copy_in(self, at: usize, bytes: &[u8]) {
        let to = self.range(at, bytes.len());
        // SAFETY: in range, and bytes is this process's own memory, so they don't overlap. Bytes may
        // hold any value, whoever writes to them as well.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
    }

    /// Appends a copy of `len` bytes from offset `at` on to `to`, at full speed. As for `copy_in`.
    #[inline]
    pub(crate) fn append_to(self, at: usize, len: usize, to: &mut Vec<u8>) {
        let from = self.range(at, len);
        to.reserve(len);
        let filled = to.len();
        // SAFETY: in range; `to` has room for len more bytes, all of which are written before they
        // count as part of it.
        unsafe {
            std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr().add(filled), len);
            to.set_len(filled + len);
        }
    }

    /// Writes `bytes` at offset `at` by atomics, eight at a time where that is aligned: other threads
    /// and processes may read and write there at the same time, and find each eight old or new.
    pub(crate) fn store_bytes(self, at: usize, bytes: &[u8]) {
        let head = bytes.len().min(at.wrapping_neg() % 8);
        let (first, rest) = bytes.split_at(head);
        let (longs, last) = rest.split_at(rest.len() / 8 * 8);
        self.store_single(at, first);
        for (index, eight) in longs.chunks_exact(8).enumerate() {
            let mut copy = [0; 8];
            copy.copy_from_slice(eight);
            self.long(at + head + index * 8).store(u64::from_ne_bytes(copy), Ordering::Relaxed);
        }
        self.store_single(at + head + longs.len(), last);
    }

    fn store_single(self, at: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            self.byte(at + index).store(*byte, Ordering::Relaxed);
        }
    }

    /// Reads into `bytes` from offset `at` on, as [`store_bytes`](View::store_bytes) writes.
    pub(crate) fn load_bytes(self, at: usize, bytes: &mut [u8]) {
        let head = bytes.len().min(at.wrapping_neg() % 8);
        let (first, rest) = bytes.split_at_mut(head);
        let (longs, last) = rest.split_at_mut(rest.len() / 8 * 8);
        self.load_single(at, first);
        for (index, eight) in longs.chunks_exact_mut(8).enumerate() {
            eight.copy_from_slice(&self.long(at + head + index * 8).load(Ordering::Relaxed).to_ne_bytes());
        }
        self.load_single(at + head + longs.len(), last);
    }

    fn load_single(self, at: usize, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(at + index).load(Ordering::Relaxed);
        }
    }

    /// Writes one element: whole, if it has 1, 2, 4 or 8 bytes and lies at a multiple of that; else as
    /// [`store_bytes`](View::store_bytes).
    #[inline]
    pub(crate) fn store_element(self, at: usize, bytes: &[u8]) {
        match *bytes {
            [byte] => self.byte(at).store(byte, Ordering::Relaxed),
            [a, b] if at % 2 == 0 => self.half(at).store(u16::from_ne_bytes([a, b]), Ordering::Relaxed),
            [a, b, c, d] if at % 4 == 0 => {
                self.word(at).store(u32::from_ne_bytes([a, b, c, d]), Ordering::Relaxed);
            }
            [a, b, c, d, e, f, g, h] if at % 8 == 0 => {
                let long = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                self.long(at).store(long, Ordering::Relaxed);
            }
            _ => self.store_bytes(at, bytes),
        }
    }

    /// Reads one element, as [`store_element`](View::store_element) writes it.
    #[inline]
    pub(crate) fn load_element(self, at: usize, bytes: &mut [u8]) {
        match bytes.len() {
            1 => bytes[0] = self.byte(at).load(Ordering::Relaxed),
            2 if at % 2 == 0 => bytes.copy_from_slice(&self.half(at).load(Ordering::Relaxed).to_ne_bytes()),
            4 if at % 4 == 0 => bytes.copy_from_slice(&self.word(at).load(Ordering::Relaxed).to_ne_bytes()),
            8 if at % 8 == 0 => bytes.copy_from_slice(&self.long(at).load(Ordering::Relaxed).to_ne_bytes()),
            _ => self.load_bytes(at, bytes),
        }
    }

    /// The half word at offset `at`, a multiple of two.
    #[inline]
    fn half(self, at: usize) -> &'a AtomicU16 {
        assert!(at % 2 == 0);
        // SAFETY: as for `word`.
        unsafe { self.range(at, 2).cast::<AtomicU16>().as_ref() }
    }

    #[inline]
    fn byte(self, at: usize) -> &'a AtomicU8 {
        // SAFETY: in range and alive for 'a.
        unsafe { self.range(at, 1).cast::<AtomicU8>().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::frozen::FrozenMapping;
    use crate::sys::memfd;
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::os::fd::AsFd;

    #[test]
    fn bytes_go_in_and_come_out_at_any_offset() {
        let memfd = memfd::create("test", 4096).unwrap();
        let mapping = Mapping::new(memfd.as_fd(), 4096).unwrap();
        let view = mapping.view();
        for at in [0, 1, 7, 8, 13] {
            for len in [0, 1, 7, 8, 9, 31, 64] {
                let bytes: Vec<u8> = (0..len).map(|n| (n * 7 + at) as u8).collect();
                view.store_bytes(at, &bytes);
                let mut back = vec![0; len];
                view.load_bytes(at, &mut back);
                assert_eq!(back, bytes);
                let mut appended = vec![1];
                view.append_to(at, len, &mut appended);
                assert_eq!(appended[1..], bytes);
            }
        }
    }

    #[test]
    fn elements_go_in_and_come_out() {
        let memfd = memfd::create("test", 4096).unwrap();
        let mapping = Mapping::new(memfd.as_fd(), 4096).unwrap();
        let view = mapping.view();
        for len in [1, 2, 3, 4, 8, 16, 24] {
            for at in [0, 8, 9, 10] {
                let bytes: Vec<u8> = (1..=len).collect();
                view.store_element(at, &bytes);
                let mut back = vec![0; bytes.len()];
                view.load_element(at, &mut back);
                assert_eq!(back, bytes);
                view.load_bytes(at, &mut back);
                assert_eq!(back, bytes);
            }
        }
    }

    #[test]
    #[should_panic(expected = "outside of the mapping")]
    fn beyond_the_end_is_a_panic() {
        let memfd = memfd::create("test", 4096).unwrap();
        Mapping::new(memfd.as_fd(), 4096).unwrap().view().copy_in(4090, &[0; 7]);
    }

    #[test]
    fn what_can_shrink_is_not_mapped() {
        let plain = memfd_create("plain", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
        nix::unistd::ftruncate(&plain, 4096).unwrap();
        assert!(Mapping::new(plain.as_fd(), 4096).is_err());
        let memfd = memfd::create("test", 4096).unwrap();
        assert!(Mapping::new(memfd.as_fd(), 8192).is_err());
        assert!(FrozenMapping::new(memfd.as_fd(), 4096).is_err());
    }

    #[test]
    fn huge_pages_are_not_mapped() {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_HUGETLB;
        // Not every kernel has them.
        let Ok(memfd) = memfd_create("huge", flags) else { return };
        let len = nix::sys::stat::fstat(&memfd).unwrap().st_blksize as usize;
        nix::unistd::ftruncate(&memfd, len as i64).unwrap();
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)).unwrap();
        assert!(!memfd::is_sealed(memfd.as_fd(), len));
    }

    #[test]
    fn frozen_memory_stays_as_it_is() {
        let memfd = memfd::create("test", 4096).unwrap();
        let mapping = Mapping::new(memfd.as_fd(), 4096).unwrap();
        mapping.view().copy_in(0, b"written");
        assert_eq!(FrozenMapping::freeze(memfd.as_fd()).unwrap_err().raw_os_error(), Some(libc::EBUSY));
        drop(mapping);
        FrozenMapping::freeze(memfd.as_fd()).unwrap();
        assert!(Mapping::new(memfd.as_fd(), 4096).is_err());
        let frozen = FrozenMapping::new(memfd.as_fd(), 4096).unwrap();
        assert_eq!(&frozen.bytes()[..7], b"written");
    }
}
