//! Process descriptors: a process held by a handle that no other process can take over.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, retry};

/// How a process ended, as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawStatus {
    Exited(i32),
    Signaled { signal: i32, core_dumped: bool },
}

/// What a look at a child said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It hasn't ended.
    Running,
    /// It has, and this is how; a reaping look has collected it.
    Ended(RawStatus),
    /// It is no child of this process (any more): somebody else has collected it.
    NotOurs,
}

/// A descriptor of process `pid`: readable once that process has ended. It has FD_CLOEXEC set.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and returns a new descriptor or -1.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Looks at a child without blocking; `reap` collects it if it has ended.
pub(crate) fn look(pidfd: BorrowedFd<'_>, reap: bool) -> io::Result<Look> {
    let mut options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
    if !reap {
        options |= libc::WNOWAIT;
    }
    // SAFETY: siginfo_t is plain data for which all zeroes is a valid value.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let looked = retry(|| {
        // SAFETY: info is a valid place for the kernel to write to.
        check(libc::c_long::from(unsafe {
            libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &mut info, options)
        }))
    });
    match looked {
        Ok(_) => {}
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(Look::NotOurs),
        Err(error) => return Err(error),
    }
    // SAFETY: waitid succeeded, so the fields of a child's status are the ones that are set; they
    // stay zero when there was nothing to tell.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(Look::Running);
    }
    Ok(Look::Ended(match info.si_code {
        libc::CLD_EXITED => RawStatus::Exited(status),
        code => RawStatus::Signaled { signal: status, core_dumped: code == libc::CLD_DUMPED },
    }))
}

/// Sends `signal` to the process, or to the process group that it leads.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: no pointer but a null one, which asks the kernel to fill in the sender.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    };
    check(sent).map(drop)
}

/// The first version of the kernel's `struct pidfd_info` (linux/pidfd.h).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
// _IOWR(0xFF, 11, struct pidfd_info), the size being that of the first version.
const PIDFD_GET_INFO: libc::c_ulong =
    (3 << 30) | ((mem::size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xFF << 8) | 11;

/// The status of a process that somebody else has collected: Linux 6.15 and later keep it for as
/// long as a descriptor of the process is open. `None` where the kernel doesn't or can't say.
pub(crate) fn status_after_theft(pidfd: BorrowedFd<'_>) -> Option<RawStatus> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: info has the layout and the size that the request's number names.
    let asked = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &mut info) };
    if asked < 0 || info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    let status = info.exit_code;
    Some(if libc::WIFEXITED(status) {
        RawStatus::Exited(libc::WEXITSTATUS(status))
    } else {
        RawStatus::Signaled { signal: libc::WTERMSIG(status), core_dumped: libc::WCOREDUMP(status) }
    })
}
