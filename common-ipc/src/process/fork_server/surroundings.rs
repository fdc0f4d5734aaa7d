//! What of a program's state its children take over: recorded, compared, and made good in a child that was
//! made by a process which is behind.
//!
//! A fork server has the state of the moment at which it was made. The program goes on: it enters another
//! directory, drops privileges, redirects its streams. So each request brings what has changed since, and the
//! child makes up for it before it does anything else. Most starts bring nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::uio::pread;
use nix::unistd::{getpid, gettid};
use serde::{Deserialize, Serialize};

use crate::ownership::descriptors;
use crate::process::fork_server::request::Moment;
use crate::process::state;
use crate::sys;
use crate::sys::credentials::Capabilities;

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

/// What a child makes good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    limits: Vec<(u32, (u64, u64))>,
    nice: Option<i32>,
    affinity: Option<Vec<u8>>,
    umask: Option<u32>,
    ignored: Option<u64>,
    /// A descriptor of the directory comes along.
    pub(crate) cwd: bool,
    groups: Option<Vec<u32>>,
    gids: Option<[u32; 4]>,
    uids: Option<[u32; 4]>,
    /// Of the bounding set there is more to lose than the target says.
    capabilities: Option<(Capabilities, u64)>,
    /// SECBIT_ flags.
    secure_bits: Option<u32>,
    no_new_privs: bool,
    dumpable: Option<i32>,
    memory_rules: Option<i32>,
    group: Option<i32>,
    environment: Option<Vec<(OsString, OsString)>>,
}

/// What /proc says of a thread: proc_pid_status(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Status {
    umask: u32,
    /// Real, effective, saved, and for files.
    uids: [u32; 4],
    gids: [u32; 4],
    groups: Vec<u32>,
    /// Of SIGPIPE and SIGHUP.
    ignored: u64,
    capabilities: Capabilities,
    no_new_privs: bool,
    seccomp: [u64; 2],
}

/// Those that a child leaves ignored where its parent does.
const TWO_SIGNALS: [i32; 2] = [libc::SIGPIPE, libc::SIGHUP];

impl Status {
    /// Of the calling thread.
    fn read() -> io::Result<Status> {
        let mut text = [0; 4096];
        let is_main = gettid() == getpid();
        let length = match is_main.then(|| {
            let mut process = state::lock();
            process.open_status_file();
            process.status_file().and_then(|file| pread(file, &mut text, 0).ok())
        }) {
            Some(Some(length)) => length,
            _ => File::open("/proc/thread-self/status")?.read(&mut text)?,
        };
        if length == text.len() {
            // Of a process with hundreds of groups.
            return Status::parse(&std::fs::read("/proc/thread-self/status")?).ok_or_else(other_status);
        }
        Status::parse(&text[..length]).ok_or_else(other_status)
    }

    fn parse(text: &[u8]) -> Option<Status> {
        let mut status = Status::default();
        let mut seen = 0;
        for line in text.split(|byte| *byte == b'\n') {
            // Most lines are none of those below.
            if !matches!(line.first(), Some(b'U' | b'G' | b'S' | b'C' | b'N')) {
                continue;
            }
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Some((label, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            let hexadecimal = || u64::from_str_radix(value, 16).ok();
            let ids = || -> Option<[u32; 4]> {
                let mut ids = value.split_ascii_whitespace().map_while(|id| id.parse().ok());
                Some([ids.next()?, ids.next()?, ids.next()?, ids.next()?])
            };
            let capabilities = &mut status.capabilities;
            match label {
                "Umask" => status.umask = u32::from_str_radix(value, 8).ok()?,
                "Uid" => status.uids = ids()?,
                "Gid" => status.gids = ids()?,
                "Groups" => {
                    status.groups = value.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
                }
                "SigIgn" => {
                    let two = TWO_SIGNALS.iter().fold(0, |bits, signal| bits | 1 << (signal - 1));
                    status.ignored = hexadecimal()? & two;
                }
                "CapInh" => capabilities.inheritable = hexadecimal()?,
                "CapPrm" => capabilities.permitted = hexadecimal()?,
                "CapEff" => capabilities.effective = hexadecimal()?,
                "CapBnd" => capabilities.bounding = hexadecimal()?,
                "CapAmb" => capabilities.ambient = hexadecimal()?,
                "NoNewPrivs" => status.no_new_privs = value == "1",
                // Without support for it these aren't there.
                "Seccomp" => status.seccomp[0] = value.parse().ok()?,
                "Seccomp_filters" => status.seccomp[1] = value.parse().ok()?,
                _ => continue,
            }
            seen += u32::from(!label.starts_with("Seccomp"));
        }
        (seen == 11).then_some(status)
    }
}

fn other_status() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc/thread-self/status isn't as it should be")
}

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

impl Changes {
    /// In a child: makes them, each while it still has the rights for it. The streams are in place by now.
    ///
    /// # Errors
    ///
    /// What couldn't be changed, and why.
    pub(crate) fn make(&self, cwd: Option<BorrowedFd<'_>>) -> Result<(), (ProgramState, i32)> {
        let because = |what| move |error: io::Error| (what, error.raw_os_error().unwrap_or(libc::EIO));
        for (resource, limit) in &self.limits {
            sys::credentials::set_limit(*resource, *limit).map_err(because(ProgramState::Limits))?;
        }
        if let Some(nice) = self.nice {
            sys::priority::set_nice(nice).map_err(because(ProgramState::Nice))?;
        }
        if let Some(bits) = &self.affinity {
            sys::credentials::set_affinity(bits).map_err(because(ProgramState::Affinity))?;
        }
        if let Some(mask) = self.umask {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
        }
        if let Some(ignored) = self.ignored {
            for signal in TWO_SIGNALS {
                sys::signals::set_disposition(signal, ignored & (1 << (signal - 1)) != 0)
                    .map_err(because(ProgramState::IgnoredSignals))?;
            }
        }
        if let Some(group) = self.group {
            let joined =
                nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(group));
            joined.map_err(|errno| (ProgramState::ProcessGroup, errno as i32))?;
        }
        if self.cwd {
            // As whoever the server is: the program is there already.
            let entered = cwd.ok_or(Errno::EBADF).and_then(nix::unistd::fchdir);
            entered.map_err(|errno| (ProgramState::WorkingDirectory, errno as i32))?;
        }
        self.change_credentials()?;
        if self.no_new_privs {
            let banned = nix::sys::prctl::set_no_new_privs();
            banned.map_err(|errno| (ProgramState::NoNewPrivs, errno as i32))?;
        }
        // After the change of user, which sets it.
        if let Some(dumpable) = self.dumpable {
            sys::credentials::set_dumpable(dumpable).map_err(because(ProgramState::MemoryRules))?;
        }
        if let Some(rules) = self.memory_rules {
            sys::credentials::set_memory_rules(rules).map_err(because(ProgramState::MemoryRules))?;
        }
        if let Some(environment) = &self.environment {
            let all = environment.iter().map(|(name, value)| (name.as_os_str(), Some(value.as_os_str())));
            sys::environment::change_in_child(true, all);
        }
        Ok(())
    }

    fn change_credentials(&self) -> Result<(), (ProgramState, i32)> {
        use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
        let capabilities =
            |error: io::Error| (ProgramState::Capabilities, error.raw_os_error().unwrap_or(libc::EIO));
        if let Some((target, have)) = &self.capabilities {
            sys::credentials::cut_bounding(*have, target.bounding).map_err(capabilities)?;
        }
        if self.uids.is_some() && (self.capabilities.is_some() || self.secure_bits.is_some()) {
            sys::credentials::keep_across_users(true).map_err(capabilities)?;
        }
        if let Some(groups) = &self.groups {
            let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
            setgroups(&groups).map_err(|errno| (ProgramState::Groups, errno as i32))?;
        }
        if let Some(gids) = self.gids {
            let [real, effective, saved, for_files] = gids.map(Gid::from_raw);
            setresgid(real, effective, saved).map_err(|errno| (ProgramState::GroupIds, errno as i32))?;
            nix::unistd::setfsgid(for_files);
        }
        if let Some(uids) = self.uids {
            let [real, effective, saved, for_files] = uids.map(Uid::from_raw);
            setresuid(real, effective, saved).map_err(|errno| (ProgramState::UserIds, errno as i32))?;
            nix::unistd::setfsuid(for_files);
        }
        if let Some(bits) = self.secure_bits {
            // It takes a right that the change of user has taken out of use. What is to be kept across another
            // change is among them.
            sys::credentials::use_all_permitted().map_err(capabilities)?;
            sys::credentials::set_secure_bits(bits).map_err(capabilities)?;
        } else if self.uids.is_some() && self.capabilities.is_some() {
            sys::credentials::keep_across_users(false).map_err(capabilities)?;
        }
        if let Some((target, _)) = &self.capabilities {
            target.set().map_err(capabilities)?;
        }
        Ok(())
    }
}

/// A standard stream of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stream {
    /// As the server's own: nowhere.
    Null,
    /// Not open.
    Closed,
    /// A descriptor of it comes along.
    Sent,
}

/// What is open behind the number of a standard stream of this process.
pub(crate) fn own_stream(number: i32) -> Option<BorrowedFd<'static>> {
    let stream = sys::descriptors::standing(number);
    nix::fcntl::fcntl(stream, nix::fcntl::FcntlArg::F_GETFD).is_ok().then_some(stream)
}

/// In a child: puts its streams in place.
///
/// # Errors
///
/// The errno of what failed.
#[inline]
pub(crate) fn place_streams(
    streams: [Stream; 3],
    null: BorrowedFd<'_>,
    sent: &mut impl Iterator<Item = OwnedFd>,
) -> Result<(), i32> {
    for (number, stream) in streams.into_iter().enumerate() {
        let number = number as i32;
        let placed = match stream {
            Stream::Null => sys::descriptors::place(null, number),
            Stream::Closed => {
                sys::descriptors::close_range(number, number);
                Ok(())
            }
            Stream::Sent => match sent.next() {
                Some(fd) => {
                    let placed = sys::descriptors::place(fd.as_fd(), number);
                    sys::descriptors::close(fd);
                    placed
                }
                None => Err(io::Error::from_raw_os_error(libc::EBADF)),
            },
        };
        placed.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
    }
    Ok(())
}
