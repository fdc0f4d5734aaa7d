//! What of a program's state its children take over: recorded, compared, and made good in a child that was
//! made by a process which is behind.
//!
//! A fork server has the state of the moment at which it was made. The program goes on: it enters another
//! directory, drops privileges, redirects its streams. So each request brings what has changed since, and the
//! child makes up for it before it does anything else. Most starts bring nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use crate::ownership::descriptors;
use crate::process::fork_server::changes::Changes;
use crate::process::fork_server::request::Moment;
use crate::process::fork_server::status::Status;
use crate::sys;

/// A part of the state that a program's children take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramState {
    /// Standard input, output and error.
    #[error("standard streams")]
    Streams,
    /// The limits of resources.
    #[error("resource limits")]
    Limits,
    /// The nice value.
    #[error("nice value")]
    Nice,
    /// The processors.
    #[error("processor affinity")]
    Affinity,
    /// The permissions that new files don't get.
    #[error("umask")]
    Umask,
    /// Whether SIGPIPE and SIGHUP are ignored.
    #[error("ignored signals")]
    IgnoredSignals,
    /// The working directory.
    #[error("working directory")]
    WorkingDirectory,
    /// The root directory, or the whole mount namespace.
    #[error("root directory or mount namespace")]
    RootDirectory,
    /// The supplementary groups.
    #[error("supplementary groups")]
    Groups,
    /// The group ids.
    #[error("group ids")]
    GroupIds,
    /// The user ids.
    #[error("user ids")]
    UserIds,
    /// The capabilities.
    #[error("capabilities")]
    Capabilities,
    /// The ban on new privileges.
    #[error("ban on new privileges")]
    NoNewPrivs,
    /// Who may look into its memory (PR_SET_DUMPABLE), and whether what it executes may be written to (PR_SET_MDWE).
    #[error("rules for its memory")]
    MemoryRules,
    /// The process group; one of another session can't be joined.
    #[error("process group or session")]
    ProcessGroup,
    /// The filters of system calls.
    #[error("filters of system calls (seccomp)")]
    Seccomp,
}

/// The state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// When this was looked at.
    pub(crate) at: Moment,
    status: Status,
    secure_bits: u32,
    /// PR_GET_DUMPABLE and PR_GET_MDWE: who may look into it, and whether it may write to what it executes.
    dumpable: i32,
    memory_rules: i32,
    /// Its process group.
    group: i32,
    limits: Vec<(u64, u64)>,
    nice: i32,
    affinity: Vec<u8>,
    cwd: Directory,
    root: Directory,
    environment: Vec<(OsString, OsString)>,
}

/// A directory, as long as somebody is in it: by its device, its inode, and the mount it is reached through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Directory(u64, u64, u64);

impl Directory {
    fn at(path: &str) -> io::Result<Directory> {
        let found = sys::directory::identity(path)?;
        Ok(Directory(found[0], found[1], found[2]))
    }
}

impl Surroundings {
    /// Those of the calling thread.
    ///
    /// # Errors
    ///
    /// There is no /proc, or the working directory can't be told.
    pub(crate) fn now() -> io::Result<Surroundings> {
        Ok(Surroundings {
            at: Moment::now(),
            status: Status::read()?,
            secure_bits: sys::credentials::secure_bits()?,
            dumpable: sys::credentials::dumpable(),
            memory_rules: sys::credentials::memory_rules(),
            group: nix::unistd::getpgrp().as_raw(),
            limits: (0..).map_while(|resource| sys::credentials::limit(resource).ok()).collect(),
            nice: sys::priority::nice(),
            affinity: sys::credentials::affinity()?,
            cwd: Directory::at(".")?,
            root: Directory::at("/")?,
            environment: std::env::vars_os().filter(|(name, _)| can_be_set(name)).collect(),
        })
    }

    /// The same, with the nice value of these or of the others that leaves its children more to choose from: who may
    /// not lower it may raise it.
    pub(crate) fn no_nicer_than(mut self, other: &Surroundings) -> Surroundings {
        self.nice = self.nice.min(other.nice);
        self
    }

    /// The same, in the directory of this descriptor.
    pub(crate) fn within(mut self, cwd: BorrowedFd<'_>) -> io::Result<Surroundings> {
        let [device, inode, mount] = sys::directory::identity_of(cwd)?;
        self.cwd = Directory(device, inode, mount);
        Ok(self)
    }

    /// What a child of a process in these surroundings has to change to be in `now`.
    ///
    /// # Errors
    ///
    /// What no child can change.
    pub(crate) fn until(&self, now: &Surroundings) -> Result<Changes, ProgramState> {
        let (before, after) = (&self.status, &now.status);
        if self.root != now.root {
            return Err(ProgramState::RootDirectory);
        }
        if before.seccomp != after.seccomp {
            return Err(ProgramState::Seccomp);
        }
        if before.no_new_privs && !after.no_new_privs {
            return Err(ProgramState::NoNewPrivs);
        }
        let limits = now.limits.iter().zip(&self.limits).enumerate();
        Ok(Changes {
            limits: limits
                .filter(|(_, (now, before))| now != before)
                .map(|(resource, (now, _))| (resource as u32, *now))
                .collect(),
            nice: (self.nice != now.nice).then_some(now.nice),
            affinity: (self.affinity != now.affinity).then(|| now.affinity.clone()),
            umask: (before.umask != after.umask).then_some(after.umask),
            ignored: (before.ignored != after.ignored).then_some(after.ignored),
            cwd: self.cwd != now.cwd,
            groups: (before.groups != after.groups).then(|| after.groups.clone()),
            gids: (before.gids != after.gids).then_some(after.gids),
            uids: (before.uids != after.uids).then_some(after.uids),
            capabilities: (before.capabilities != after.capabilities || self.secure_bits != now.secure_bits)
                .then_some((after.capabilities, before.capabilities.bounding)),
            secure_bits: (self.secure_bits != now.secure_bits).then_some(now.secure_bits),
            no_new_privs: before.no_new_privs != after.no_new_privs,
            dumpable: (self.dumpable != now.dumpable).then_some(now.dumpable),
            memory_rules: (self.memory_rules != now.memory_rules).then_some(now.memory_rules),
            group: (self.group != now.group).then_some(now.group),
            environment: (self.environment != now.environment).then(|| now.environment.clone()),
        })
    }
}

/// A descriptor by which a child can enter the working directory, which may have been removed.
pub(crate) fn open_cwd() -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    descriptors::above_stderr(nix::fcntl::open(".", flags, nix::sys::stat::Mode::empty())?)
}

/// What environ(7) holds may be anything.
fn can_be_set(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.is_empty() && !name.contains(&b'=')
}
