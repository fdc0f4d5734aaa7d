//! Options made ready in the parent: whatever can be checked or looked up before the fork, is.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nix::sched::CpuSet;
use nix::unistd::{Gid, Uid, User};

use serde::{Deserialize, Serialize};

use super::{LaunchOptions, OwnSetup, ProcessGroup};

/// An option that can't be meant; found before anything was started.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A name, variable or value holds a NUL byte, or a variable's name is empty or holds `=`.
    #[error("{what} {value:?} {problem}")]
    Text {
        /// Which option.
        what: &'static str,
        /// What it was set to.
        value: OsString,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The user database doesn't have this user.
    #[error("there is no user {0:?}")]
    NoSuchUser(OsString),
    /// The user database couldn't be asked.
    #[error("the user database can't say who {user:?} is: {source}")]
    UserDatabase {
        /// Who was looked for.
        user: OsString,
        /// Why not.
        source: std::io::Error,
    },
    /// An affinity without a processor, or with one that can't exist.
    #[error("can't run on processor {0}: processors are counted from 0, and there must be at least one")]
    Processor(String),
}

crate::error::debug_is_display!(OptionError);

/// Who the child becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) gid: Option<u32>,
    pub(crate) uid: Option<u32>,
}

/// Options after all checks and look-ups: what the child needs to know of them.
#[derive(Debug)]
pub(crate) struct Prepared<'a> {
    pub(crate) own: &'a OwnSetup,
    /// For the kernel: at most 15 bytes, then NULs.
    pub(crate) comm: [u8; COMM_MAX + 1],
    pub(crate) identity: Identity,
    pub(crate) affinity: Option<CpuSet>,
}

/// What the kernel keeps of a process name, without the NUL (TASK_COMM_LEN in linux/sched.h).
pub(crate) const COMM_MAX: usize = 15;

impl<'a> Prepared<'a> {
    pub(crate) fn new(options: &'a LaunchOptions, name: &OsStr) -> Result<Prepared<'a>, OptionError> {
        let bytes = name.as_bytes();
        no_nul("the name", name)?;
        let mut comm = [0; COMM_MAX + 1];
        let kept = bytes.len().min(COMM_MAX);
        comm[..kept].copy_from_slice(&bytes[..kept]);
        for (variable, value) in &options.own.env {
            if variable.is_empty() {
                return Err(text("the name of an environment variable", variable, "is empty"));
            }
            if variable.as_bytes().contains(&b'=') {
                return Err(text("the name of an environment variable", variable, "holds a '='"));
            }
            no_nul("the environment variable", variable)?;
            if let Some(value) = value {
                no_nul("the environment value", value)?;
            }
        }
        if let Some(cwd) = &options.own.cwd {
            no_nul("the working directory", cwd)?;
        }
        Prepared::of(&options.own, comm, identity(options)?)
    }

    /// Of what was checked before.
    #[inline]
    pub(crate) fn of(
        own: &'a OwnSetup,
        comm: [u8; COMM_MAX + 1],
        identity: Identity,
    ) -> Result<Prepared<'a>, OptionError> {
        let affinity = own.affinity.as_deref().map(cpu_set).transpose()?;
        Ok(Prepared { own, comm, identity, affinity })
    }

    /// Whether the child has anything to do that may fail, so that the start must wait for it.
    pub(crate) fn can_fail(&self, options: &LaunchOptions) -> bool {
        let own = self.own;
        own.cwd.is_some()
            || self.identity.uid.is_some()
            || self.identity.gid.is_some()
            || self.identity.groups.is_some()
            || !own.limits.is_empty()
            || own.nice.is_some()
            || own.affinity.is_some()
            || own.no_new_privs
            || own.process_group != ProcessGroup::Inherit
            || options.stdin.is_some()
            || !matches!(options.stdout, super::Stdio::Inherit)
            || !matches!(options.stderr, super::Stdio::Inherit)
    }
}

fn text(what: &'static str, value: &OsStr, problem: &'static str) -> OptionError {
    OptionError::Text { what, value: value.to_owned(), problem }
}

fn no_nul(what: &'static str, value: &OsStr) -> Result<(), OptionError> {
    if value.as_bytes().contains(&0) { Err(text(what, value, "holds a NUL byte")) } else { Ok(()) }
}

fn cpu_set(processors: &[usize]) -> Result<CpuSet, OptionError> {
    if processors.is_empty() {
        return Err(OptionError::Processor("(none)".to_owned()));
    }
    let mut set = CpuSet::new();
    for &processor in processors {
        set.set(processor).map_err(|_| OptionError::Processor(processor.to_string()))?;
    }
    Ok(set)
}

fn identity(options: &LaunchOptions) -> Result<Identity, OptionError> {
    let mut identity = Identity::default();
    if let Some(name) = &options.user {
        no_nul("the user", name)?;
        let user = look_up(name)?;
        identity.groups = Some(groups_of(name, &user)?);
        identity.gid = Some(user.gid.as_raw());
        identity.uid = Some(user.uid.as_raw());
    }
    identity.uid = options.uid.or(identity.uid);
    identity.gid = options.gid.or(identity.gid);
    identity.groups = options.groups.clone().or(identity.groups);
    // Whoever drops root but says nothing of the groups wouldn't want to keep root's.
    if identity.uid.is_some_and(|uid| uid != 0) && identity.groups.is_none() && Uid::effective().is_root() {
        identity.groups = Some(Vec::new());
    }
    Ok(identity)
}

fn look_up(name: &OsStr) -> Result<User, OptionError> {
    let broken = |source: std::io::Error| OptionError::UserDatabase { user: name.to_owned(), source };
    // nix asks by &str; a user whose name isn't UTF-8 can be named by its uid.
    let Some(name_str) = name.to_str() else { return Err(OptionError::NoSuchUser(name.to_owned())) };
    match User::from_name(name_str) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(OptionError::NoSuchUser(name.to_owned())),
        Err(errno) => Err(broken(errno.into())),
    }
}

fn groups_of(name: &OsStr, user: &User) -> Result<Vec<u32>, OptionError> {
    let name_c = CString::new(name.as_bytes()).map_err(|_| text("the user", name, "holds a NUL byte"))?;
    let name_c: &CStr = &name_c;
    let groups = nix::unistd::getgrouplist(name_c, user.gid);
    groups
        .map(|groups| groups.into_iter().map(Gid::as_raw).collect())
        .map_err(|errno| OptionError::UserDatabase { user: name.to_owned(), source: errno.into() })
}
