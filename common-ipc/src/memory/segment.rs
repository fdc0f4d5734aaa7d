//! A piece of shared memory: its descriptor, by which other processes get it, and its mapping.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::fcntl::{FallocateFlags, fallocate};

use crate::link::attachments;
use crate::memory::available;
use crate::memory::errors::{MemoryError, MemoryLimit};
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::give::{Giver, How};
use crate::sys;
use crate::sys::mapping::{Mapping, View};

/// Memory that is shared by the capturing, giving or sending of what stands on it. A forked child inherits
/// the mapping; the descriptor it has only if that was given to it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) fd: Arc<PrivateFd>,
    pub(crate) mapping: Mapping,
}

/// So much is taken in one call: a signal that interrupts it costs the work on one piece only.
const PIECE: usize = 2 << 20;

/// New memory, all zero, that isn't mapped yet. Its pages are there: touching them needs no more.
pub(crate) fn allocate(name: &str, len: usize) -> Result<PrivateFd, MemoryError> {
    if isize::try_from(len).is_err() {
        return Err(MemoryError::TooLarge);
    }
    available::check(len)?;
    let memfd = PrivateFd::new(|| crate::sys::memfd::create(name, len)).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::EFBIG) => MemoryError::FileSizeLimit { asked: len as u64 },
            _ => MemoryError::Os { step: "make shared memory", source },
        }
    })?;
    let fd = memfd.get().map_err(wrong_process)?;
    for at in (0..len).step_by(PIECE) {
        let piece = PIECE.min(len - at);
        let taken = sys::retry(|| {
            Ok(fallocate(fd, FallocateFlags::empty(), at as libc::off_t, piece as libc::off_t)?)
        });
        taken.map_err(|source| match source.raw_os_error() {
            Some(libc::ENOSPC | libc::ENOMEM) => {
                let (asked, available) = (len as u64, at as u64);
                MemoryError::NotEnough { asked, available, limit: MemoryLimit::Kernel }
            }
            _ => MemoryError::Os { step: "take the pages of shared memory", source },
        })?;
    }
    Ok(memfd)
}

/// For what this process has just made: it can't be another's.
pub(crate) fn wrong_process(error: crate::ownership::generation::WrongProcess) -> MemoryError {
    MemoryError::Os { step: "use shared memory", source: io::Error::other(error) }
}

impl Segment {
    /// New memory, all zero. `name` is for those who look into /proc.
    pub(crate) fn new(name: &str, len: usize) -> Result<Segment, MemoryError> {
        let memfd = allocate(name, len)?;
        let mapping = Mapping::new(memfd.get().map_err(wrong_process)?, len);
        let mapping = mapping.map_err(|source| MemoryError::Os { step: "map shared memory", source })?;
        Ok(Segment { fd: Arc::new(memfd), mapping })
    }

    /// The memory. Any process that has it may write to it, at any time.
    #[inline]
    pub(crate) fn view(&self) -> View<'_> {
        self.mapping.view()
    }

    pub(crate) fn list(&self, giver: &mut Giver<'_>) {
        giver.add(&self.fd, How::Shared);
    }

    /// Has the message that is being encoded take it along.
    pub(crate) fn attach(&self) -> Result<u32, &'static str> {
        attachments::attach(&self.fd, How::Shared)
    }

    /// What came with the message that is being decoded, if it is sealed memory of exactly this length.
    pub(crate) fn receive(place: u32, len: usize) -> Result<Segment, String> {
        let memfd = attachments::take(place)?;
        let fd = memfd.get().map_err(|error| error.to_string())?;
        let mapping = Mapping::new(fd.as_fd(), len).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => {
                format!("the descriptor that came is no sealed shared memory of {len} bytes")
            }
            _ => format!("can't map the shared memory that came: {error}"),
        })?;
        Ok(Segment { fd: Arc::new(memfd), mapping })
    }
}
