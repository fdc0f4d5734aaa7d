//! A child's set-up by its options, in the order that the options' documentation promises.

use std::fmt;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::resource::setrlimit;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{self, Gid, Pid, Uid};
use serde::{Deserialize, Serialize};

use crate::process::fork_server::ProgramState;
use crate::process::options::{Identity, LaunchOptions, Prepared, ProcessGroup, Stdio};
use crate::sys;

/// A step of a child's set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SetupStep {
    /// Standard input was to be replaced.
    Stdin,
    /// Standard output was to be replaced.
    Stdout,
    /// Standard error was to be replaced.
    Stderr,
    /// A process group or session of its own.
    ProcessGroup,
    /// The nice value.
    Nice,
    /// The processors.
    Affinity,
    /// A resource limit: the option at this place, counted from 0.
    Limit(usize),
    /// The supplementary groups.
    Groups,
    /// The group.
    Group,
    /// The user.
    User,
    /// After the change of the user or group: the kernel has other ids than asked for, or root could
    /// be had back.
    VerifyIdentity,
    /// The working directory.
    WorkingDirectory,
    /// The ban on new privileges.
    NoNewPrivs,
    /// The tie to the parent's life.
    ParentDeath,
    /// The program's state at the time of the start, in a child of a zygote or a template.
    ProgramState(ProgramState),
}

/// What a child that couldn't be set up sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetupFailure {
    pub(crate) step: SetupStep,
    pub(crate) errno: i32,
}

impl SetupStep {
    fn failed(self, errno: Errno) -> SetupFailure {
        SetupFailure { step: self, errno: errno as i32 }
    }

    pub(crate) fn failed_io(self, error: &std::io::Error) -> SetupFailure {
        SetupFailure { step: self, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// The step in words, with what the options asked for.
    pub(crate) fn describe(self, options: &LaunchOptions) -> String {
        match self {
            SetupStep::Stdin => "set its standard input".to_owned(),
            SetupStep::Stdout => "set its standard output".to_owned(),
            SetupStep::Stderr => "set its standard error".to_owned(),
            SetupStep::ProcessGroup => format!("get a process group ({:?})", options.own.process_group),
            SetupStep::Nice => format!("set nice to {}", options.own.nice.unwrap_or_default()),
            SetupStep::Affinity => {
                format!("run on the processors {:?}", options.own.affinity.as_deref().unwrap_or_default())
            }
            SetupStep::Limit(place) => match options.own.limits.get(place) {
                Some((resource, soft, hard)) => format!("limit {resource:?} to {soft} (hard {hard})"),
                None => "set a limit".to_owned(),
            },
            SetupStep::Groups => format!("set its groups{}", who(options)),
            SetupStep::Group => format!("set its group{}", who(options)),
            SetupStep::User => format!("set its user{}", who(options)),
            SetupStep::VerifyIdentity => format!("verify its user and groups{}", who(options)),
            SetupStep::WorkingDirectory => {
                format!("enter {:?}", options.own.cwd.as_deref().unwrap_or_default())
            }
            SetupStep::NoNewPrivs => "ban new privileges".to_owned(),
            SetupStep::ParentDeath => "tie itself to its parent's life".to_owned(),
            SetupStep::ProgramState(what) => format!("take over the program's {what}"),
        }
    }
}

fn who(options: &LaunchOptions) -> String {
    struct Who<'a>(&'a LaunchOptions);
    impl fmt::Display for Who<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if let Some(user) = &self.0.user {
                write!(f, ", user {user:?}")?;
            }
            if let Some(uid) = self.0.uid {
                write!(f, ", uid {uid}")?;
            }
            if let Some(gid) = self.0.gid {
                write!(f, ", gid {gid}")?;
            }
            if let Some(groups) = &self.0.groups {
                write!(f, ", groups {groups:?}")?;
            }
            Ok(())
        }
    }
    Who(options).to_string()
}

/// Does all of it but the streams. Each step comes where it still has the rights that it needs: priorities and
/// limits before root is given up, the directory as the new user.
#[inline]
pub(crate) fn apply(prepared: &Prepared<'_>) -> Result<(), SetupFailure> {
    let own = prepared.own;
    let group = match own.process_group {
        ProcessGroup::Inherit => Ok(()),
        ProcessGroup::New => unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)),
        ProcessGroup::NewSession => unistd::setsid().map(drop),
    };
    group.map_err(|errno| SetupStep::ProcessGroup.failed(errno))?;
    if let Some(nice) = own.nice {
        sys::priority::set_nice(nice).map_err(|error| SetupStep::Nice.failed_io(&error))?;
    }
    if let Some(set) = &prepared.affinity {
        nix::sched::sched_setaffinity(Pid::from_raw(0), set)
            .map_err(|errno| SetupStep::Affinity.failed(errno))?;
    }
    if let Some(mask) = own.umask {
        umask(Mode::from_bits_truncate(mask & 0o777));
    }
    for (place, (resource, soft, hard)) in own.limits.iter().enumerate() {
        setrlimit(resource.as_nix(), *soft, *hard).map_err(|errno| SetupStep::Limit(place).failed(errno))?;
    }
    if prepared.identity != Identity::default() {
        become_identity(&prepared.identity)?;
    }
    if let Some(cwd) = &own.cwd {
        unistd::chdir(cwd.as_os_str()).map_err(|errno| SetupStep::WorkingDirectory.failed(errno))?;
    }
    if own.no_new_privs {
        nix::sys::prctl::set_no_new_privs().map_err(|errno| SetupStep::NoNewPrivs.failed(errno))?;
    }
    if own.env_clear || !own.env.is_empty() {
        let changes = own.env.iter().map(|(name, value)| (name.as_os_str(), value.as_deref()));
        sys::environment::change_in_child(own.env_clear, changes);
    }
    Ok(())
}

/// The first step: descriptors come before a limit on them.
#[inline]
pub(crate) fn streams(options: &LaunchOptions, null: BorrowedFd<'_>) -> Result<(), SetupFailure> {
    if let (None, Stdio::Inherit, Stdio::Inherit) = (&options.stdin, &options.stdout, &options.stderr) {
        // The common case, on the shortest way.
        return sys::descriptors::place(null, 0).map_err(|error| SetupStep::Stdin.failed_io(&error));
    }
    let empty = Stdio::Null;
    let stdin = options.stdin.as_ref().unwrap_or(&empty);
    let streams = [
        (SetupStep::Stdin, stdin),
        (SetupStep::Stdout, &options.stdout),
        (SetupStep::Stderr, &options.stderr),
    ];
    // All that was given stands above 2 (`Stdio::Fd` may be 0 to 2 itself, then it is that stream of the
    // parent's; two of them crossed over would need copies, made first).
    let mut copies = [None, None, None];
    for (number, (step, stream)) in streams.iter().enumerate() {
        let fd = stream.descriptor().map_err(|error| step.failed_io(&error))?;
        copies[number] = match fd {
            Some(fd) if needs_copy(fd, number) => {
                Some(fd.try_clone_to_owned().map_err(|error| step.failed_io(&error))?)
            }
            _ => None,
        };
    }
    for (number, (step, stream)) in streams.iter().enumerate() {
        use std::os::fd::AsFd;
        let fd = stream.descriptor().map_err(|error| step.failed_io(&error))?;
        let fd = copies[number].as_ref().map(AsFd::as_fd).or(fd);
        if let Some(fd) = fd {
            sys::descriptors::place(fd, number as i32).map_err(|error| step.failed_io(&error))?;
        }
    }
    options.drop_stream_pipes();
    Ok(())
}

/// Whether an earlier stream's placing would overwrite this one's source.
fn needs_copy(fd: std::os::fd::BorrowedFd<'_>, number: usize) -> bool {
    use std::os::fd::AsRawFd;
    (0..number as i32).contains(&fd.as_raw_fd())
}

/// Groups, group, user: each needs rights that the next one gives up. Then what came of it.
fn become_identity(identity: &Identity) -> Result<(), SetupFailure> {
    if let Some(groups) = &identity.groups {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        unistd::setgroups(&groups).map_err(|errno| SetupStep::Groups.failed(errno))?;
    }
    if let Some(gid) = identity.gid.map(Gid::from_raw) {
        unistd::setresgid(gid, gid, gid).map_err(|errno| SetupStep::Group.failed(errno))?;
    }
    if let Some(uid) = identity.uid.map(Uid::from_raw) {
        unistd::setresuid(uid, uid, uid).map_err(|errno| SetupStep::User.failed(errno))?;
    }
    verify_identity(identity)
}

fn verify_identity(identity: &Identity) -> Result<(), SetupFailure> {
    let broken = SetupStep::VerifyIdentity.failed(Errno::EPERM);
    let asked = |errno| SetupStep::VerifyIdentity.failed(errno);
    if let Some(groups) = &identity.groups {
        let sorted = |mut groups: Vec<u32>| {
            groups.sort_unstable();
            groups.dedup();
            groups
        };
        let have = unistd::getgroups().map_err(asked)?;
        let have = sorted(have.into_iter().map(Gid::as_raw).collect());
        if have != sorted(groups.clone()) {
            return Err(broken);
        }
    }
    if let Some(gid) = identity.gid.map(Gid::from_raw) {
        let have = unistd::getresgid().map_err(asked)?;
        if [have.real, have.effective, have.saved] != [gid; 3] {
            return Err(broken);
        }
    }
    if let Some(uid) = identity.uid.map(Uid::from_raw) {
        let have = unistd::getresuid().map_err(asked)?;
        let root = Uid::from_raw(0);
        let can_return = !uid.is_root() && unistd::setresuid(root, root, root).is_ok();
        if [have.real, have.effective, have.saved] != [uid; 3] || can_return {
            return Err(broken);
        }
    }
    Ok(())
}
