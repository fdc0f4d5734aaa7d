//! What a contender needs of the machine.

use integration_tests::proc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a contender needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Needs {
    Nothing,
    /// So many GiB of memory for itself. It takes part if there is half as much again.
    Memory {
        gib: u64,
    },
    /// The right to so many open files.
    Descriptors(u64),
}

impl Needs {
    /// Whether getting it ready takes longer than a quick run has for it.
    pub(crate) fn is_much(self) -> bool {
        match self {
            Needs::Nothing => false,
            Needs::Memory { .. } => true,
            Needs::Descriptors(count) => count > 3000,
        }
    }

    /// Why the contender can't take part.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Needs::Nothing => None,
            Needs::Memory { gib } => {
                let available = proc::available_kib().unwrap_or(0) >> 10;
                let wanted = gib * 1024 * 3 / 2;
                (available < wanted).then(|| format!("{available} MiB of memory are available, not {wanted}"))
            }
            Needs::Descriptors(count) => {
                let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
                (most < count).then(|| format!("{most} files may be open, not {count}"))
            }
        }
    }
}

/// Has this process open as many files as it may.
pub(crate) fn raise_descriptors() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}
