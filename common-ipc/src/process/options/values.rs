//! The values that options take.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::link::pipe::{PipeReader, PipeWriter};
use crate::ownership::descriptors::PrivateFd;
use crate::process::signal::Signal;

/// Where a standard stream of a child leads.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// Where the parent's leads at the time of the start.
    #[default]
    Inherit,
    /// Nowhere: reads find the end at once, writes vanish.
    Null,
    /// To this descriptor. It stays open here for as long as the options exist; for a pipe's
    /// writing end that means that its reader sees the end only after the options are dropped.
    Fd(Arc<OwnedFd>),
    /// To an end of a library pipe, made by `from`; unlike with `give`, it stays usable here.
    #[doc(hidden)]
    Pipe(PipeEnd),
}

/// An end of a library pipe as somebody's standard stream.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct PipeEnd(pub(crate) Arc<PrivateFd>);

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Stdio {
        Stdio::Fd(Arc::new(fd))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        OwnedFd::from(file).into()
    }
}

impl From<&PipeReader> for Stdio {
    fn from(end: &PipeReader) -> Stdio {
        Stdio::Pipe(PipeEnd(Arc::clone(&end.fd)))
    }
}

impl From<&PipeWriter> for Stdio {
    fn from(end: &PipeWriter) -> Stdio {
        Stdio::Pipe(PipeEnd(Arc::clone(&end.fd)))
    }
}

impl Stdio {
    /// The descriptor that it stands for; `None` for [`Stdio::Inherit`].
    pub(crate) fn descriptor(&self) -> std::io::Result<Option<std::os::fd::BorrowedFd<'_>>> {
        Ok(match self {
            Stdio::Inherit => None,
            Stdio::Null => Some(crate::ownership::harmless::null()?),
            Stdio::Fd(fd) => Some(fd.as_fd()),
            Stdio::Pipe(end) => Some(end.0.get().map_err(std::io::Error::other)?),
        })
    }
}

/// What SIGINT does to a child. Ctrl-C at a terminal sends it to every process of the foreground
/// group: to the program and, unless they have a group of their own, to its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Sigint {
    /// It ends the child; a loop ends after its current iteration.
    #[default]
    Default,
    /// Nothing: the parent decides what becomes of the child.
    Ignore,
}

/// The process group of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProcessGroup {
    /// Its parent's.
    #[default]
    Inherit,
    /// One of its own, which everything that it starts belongs to as well, unless that moves out.
    /// Stopping or killing the child then ends the whole group.
    New,
    /// As [`ProcessGroup::New`], in a session of its own: without a controlling terminal.
    NewSession,
}

/// What happens to a child whose parent process dies without having stopped it.
///
/// A body that executes another program in its place keeps this only if it was started by the
/// program's main thread; as a child of any other thread that program goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ParentDeath {
    /// It gets this signal, within moments, also in the midst of a computation.
    Signal(Signal),
    /// It gets SIGTERM within moments, and if it is still there after the grace, SIGKILL.
    ///
    /// The child's own process sees to this, in a handler of signal 64 (SIGRTMAX) that it has for
    /// the purpose: a body that blocks that signal or takes it for itself isn't stopped.
    Stop {
        /// How long it may take over its end.
        grace: Duration,
    },
    /// It goes on. The program's exit leaves it alone, too.
    Survive,
}

impl ParentDeath {
    /// The grace of a loop whose parent dies, unless another one is set: 0.9 s, so that within a
    /// second nothing is left.
    pub const LOOP_GRACE: Duration = Duration::from_millis(900);
}

/// [`Signal::KILL`]: nothing that this library started outlives the program.
impl Default for ParentDeath {
    fn default() -> ParentDeath {
        ParentDeath::Signal(Signal::KILL)
    }
}

/// A resource whose use can be limited; setrlimit(2) has the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of address space.
    AddressSpace,
    /// Bytes of a core dump.
    Core,
    /// Seconds of processor time; at the soft limit SIGXCPU, at the hard limit SIGKILL.
    Cpu,
    /// Bytes of initialised data, heap and private writable mappings.
    Data,
    /// Bytes of a file that is written to. An output of more than 512 bytes counts as one.
    FileSize,
    /// Bytes of locked memory.
    LockedMemory,
    /// One more than the largest descriptor number. What is open before stays open, the child's streams and connections
    /// among it: with 3 nothing else can be opened for as long as the three streams are. With 0 or 1 a child can't wait
    /// for its connections, since poll(2) takes no more descriptors at once than this.
    OpenFiles,
    /// Processes and threads of the child's user.
    Processes,
    /// Bytes that the stack which the body runs on may grow to. Those of threads that it starts are
    /// as large as ever.
    Stack,
}

impl Resource {
    /// No limit.
    pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

    pub(crate) fn as_nix(self) -> nix::sys::resource::Resource {
        use nix::sys::resource::Resource as Nix;
        match self {
            Resource::AddressSpace => Nix::RLIMIT_AS,
            Resource::Core => Nix::RLIMIT_CORE,
            Resource::Cpu => Nix::RLIMIT_CPU,
            Resource::Data => Nix::RLIMIT_DATA,
            Resource::FileSize => Nix::RLIMIT_FSIZE,
            Resource::LockedMemory => Nix::RLIMIT_MEMLOCK,
            Resource::OpenFiles => Nix::RLIMIT_NOFILE,
            Resource::Processes => Nix::RLIMIT_NPROC,
            Resource::Stack => Nix::RLIMIT_STACK,
        }
    }
}
