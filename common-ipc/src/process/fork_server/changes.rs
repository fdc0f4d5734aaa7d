//! What a child makes good, before it does anything else, to be as the program is.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::process::fork_server::status::TWO_SIGNALS;
use crate::process::fork_server::surroundings::ProgramState;
use crate::sys;
use crate::sys::credentials::Capabilities;

/// What a child makes good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changes {
    pub(super) limits: Vec<(u32, (u64, u64))>,
    pub(super) nice: Option<i32>,
    pub(super) affinity: Option<Vec<u8>>,
    pub(super) umask: Option<u32>,
    pub(super) ignored: Option<u64>,
    /// A descriptor of the directory comes along.
    pub(super) cwd: bool,
    pub(super) groups: Option<Vec<u32>>,
    pub(super) gids: Option<[u32; 4]>,
    pub(super) uids: Option<[u32; 4]>,
    /// Of the bounding set there is more to lose than the target says.
    pub(super) capabilities: Option<(Capabilities, u64)>,
    /// SECBIT_ flags.
    pub(super) secure_bits: Option<u32>,
    pub(super) no_new_privs: bool,
    pub(super) dumpable: Option<i32>,
    pub(super) memory_rules: Option<i32>,
    pub(super) group: Option<i32>,
    pub(super) environment: Option<Vec<(OsString, OsString)>>,
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
            // This call doesn't say whether it has worked, but what there was before.
            nix::unistd::setfsgid(for_files);
            if nix::unistd::setfsgid(for_files) != for_files {
                return Err((ProgramState::GroupIds, libc::EPERM));
            }
        }
        if let Some(uids) = self.uids {
            let [real, effective, saved, for_files] = uids.map(Uid::from_raw);
            setresuid(real, effective, saved).map_err(|errno| (ProgramState::UserIds, errno as i32))?;
            nix::unistd::setfsuid(for_files);
            if nix::unistd::setfsuid(for_files) != for_files {
                return Err((ProgramState::UserIds, libc::EPERM));
            }
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
