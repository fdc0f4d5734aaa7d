//! Why there is no shared memory, or not at that place.

use std::fmt;
use std::io;

use crate::error::debug_is_display;

/// Why shared memory can't be had.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// There is less than was asked for. Nothing was taken.
    #[error(
        "{asked} bytes of shared memory were asked for, and {available} are available in {limit}; ask for \
         less, or free some"
    )]
    NotEnough {
        /// In bytes.
        asked: u64,
        /// In bytes, at that moment.
        available: u64,
        /// What has no more.
        limit: MemoryLimit,
    },
    /// It has more bytes than a process can address.
    #[error("shared memory of this shape has more bytes than a process can address")]
    TooLarge,
    /// A limit of this process on the size of files, which counts for memory as well, is smaller.
    #[error(
        "{asked} bytes of shared memory were asked for, and RLIMIT_FSIZE (ulimit -f) of this process allows \
         less; make it in the parent, or before the limit is set"
    )]
    FileSizeLimit {
        /// In bytes.
        asked: u64,
    },
    /// The kernel refused.
    #[error("can't {step}: {source}")]
    Os {
        /// What it refused.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

debug_is_display!(MemoryError);

impl From<MemoryError> for io::Error {
    /// [`io::ErrorKind::OutOfMemory`] where there is not enough; the typed error is inside.
    fn from(error: MemoryError) -> io::Error {
        let kind = match &error {
            MemoryError::NotEnough { .. } | MemoryError::TooLarge => io::ErrorKind::OutOfMemory,
            MemoryError::FileSizeLimit { .. } => io::ErrorKind::FileTooLarge,
            MemoryError::Os { source, .. } => source.kind(),
        };
        io::Error::new(kind, error)
    }
}

/// What it is that has no more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryLimit {
    /// The machine: MemAvailable of /proc/meminfo, without swap.
    Machine,
    /// A control group that this process is in: its limit, less what is used and can't be reclaimed.
    Cgroup,
    /// One of the two, as the kernel found when the memory was taken.
    Kernel,
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemoryLimit::Machine => "this machine (MemAvailable)",
            MemoryLimit::Cgroup => "the control group of this process (its memory limit)",
            MemoryLimit::Kernel => "the machine or its control group, says the kernel",
        })
    }
}

/// A range that isn't all within the memory. Nothing was read or written.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{count} from place {at} on are outside of shared memory that has {len}")]
#[non_exhaustive]
pub struct OutOfRange {
    /// The first place, in elements (of [`SharedMemory`](crate::memory::SharedMemory): in bytes).
    pub at: usize,
    /// How many there were to be.
    pub count: usize,
    /// How many there are.
    pub len: usize,
}

debug_is_display!(OutOfRange);

impl OutOfRange {
    /// Checks a range.
    #[inline]
    pub(crate) fn check(at: usize, count: usize, len: usize) -> Result<(), OutOfRange> {
        if at <= len && count <= len - at { Ok(()) } else { Err(OutOfRange { at, count, len }) }
    }
}

/// A place that an array of this shape doesn't have.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no place {place:?} in an array of the shape {shape:?}")]
#[non_exhaustive]
pub struct NoSuchPlace {
    /// The place.
    pub place: Vec<usize>,
    /// The array's shape.
    pub shape: Vec<usize>,
}

debug_is_display!(NoSuchPlace);
