//! Which doors this process knows: so that copies that come to it one after another are one.
//!
//! A copy may come from somebody who means harm, together with another process's pidfd. So two are the same only if
//! the kernel says so of both descriptors; where it can't, they are taken for two, which costs a connection more.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Arc, Weak};

use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;
use parking_lot::Mutex;

use crate::link::door::Door;
use crate::ownership::descriptors::PrivateFd;
use crate::ownership::per_process::PerProcess;
use crate::sys;

/// Those that were used here, or came in a message.
type Known = Mutex<Vec<(Identity, Weak<Door>)>>;

static KNOWN: PerProcess<Known> = PerProcess::new(Mutex::new(Vec::new()), Mutex::default);

/// The socket's, and the process's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity(u64, Option<u64>);

/// What the kernel's own file system of processes is known by (Linux 6.9).
const PID_FS_MAGIC: i64 = 0x5049_4446;

/// A number that no other process has while the machine runs; before Linux 6.9, one that no other living process has.
fn of_process(pidfd: &PrivateFd) -> Option<u64> {
    let pidfd = pidfd.get().ok()?;
    let kind = fstatfs(pidfd).ok()?.filesystem_type();
    if kind.0 as i64 == PID_FS_MAGIC { Some(fstat(pidfd).ok()?.st_ino) } else { pid(pidfd).map(u64::from) }
}

/// The id of the process behind a pidfd, while it lives.
fn pid(pidfd: BorrowedFd<'_>) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid != 0).then_some(pid)
}

fn identity(door: &Door) -> Option<Identity> {
    let cookie = sys::socket::cookie(door.socket.get().ok()?).ok()?;
    let owner = door.owner.get().map(|owner| of_process(owner));
    match owner {
        None => Some(Identity(cookie, None)),
        Some(owner) => Some(Identity(cookie, Some(owner?))),
    }
}

pub(super) fn are_same(one: &Door, other: &Door) -> bool {
    identity(one).is_some_and(|known| identity(other) == Some(known))
}

/// The one that this process knows already, or this one.
pub(super) fn or_new(door: Door) -> Arc<Door> {
    let Some(identity) = identity(&door) else { return Arc::new(door) };
    let mut known = KNOWN.own().lock();
    known.retain(|(_, door)| door.strong_count() > 0);
    let same = known.iter().filter(|(of, _)| *of == identity).find_map(|(_, door)| door.upgrade());
    if let Some(same) = same {
        drop(known);
        return same;
    }
    let door = Arc::new(door);
    known.push((identity, Arc::downgrade(&door)));
    door
}

/// Notes one that was made here, or captured by a fork, when it is used; another one that is the same and was known
/// before.
pub(super) fn remember(door: &Arc<Door>) -> Option<Arc<Door>> {
    let identity = identity(door)?;
    let mut known = KNOWN.own().lock();
    known.retain(|(_, door)| door.strong_count() > 0);
    let same = known.iter().filter(|(of, _)| *of == identity).find_map(|(_, door)| door.upgrade());
    match same {
        None => {
            known.push((identity, Arc::downgrade(door)));
            None
        }
        Some(same) => (!Arc::ptr_eq(&same, door)).then_some(same),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_others_by_its_pidfd() {
        let open = |pid: u32| PrivateFd::new(|| sys::pidfd::open(pid as i32)).unwrap();
        let me = std::process::id();
        let (one, other) = (open(me), open(me));
        assert_eq!(of_process(&one), of_process(&other));
        assert_eq!(pid(one.get().unwrap()), Some(me));
        let parent = open(std::os::unix::process::parent_id());
        assert_ne!(of_process(&one), of_process(&parent));
    }
}
