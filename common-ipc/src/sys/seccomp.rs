//! System calls that another thread is asked about before the kernel does them: user notification, seccomp_unotify(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, retry};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

// Classic BPF, linux/bpf_common.h: load a word of what is asked about; jump if equal; return.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
// struct seccomp_data
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    id: u64,
    /// The thread that called.
    pub(crate) thread: libc::pid_t,
    pub(crate) number: libc::c_long,
}

/// Has the calling thread, and all threads and processes that it will make, ask before each of these system calls; who
/// asks is heard by the descriptor that it returns. That can't be taken back. Where nobody listens any more, such a call
/// fails with ENOSYS.
///
/// # Errors
///
/// EBUSY: there is a listener already. ENOSYS, EINVAL, EACCES: a kernel without that, or one that doesn't allow it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) fn ask_before(numbers: &[libc::c_long]) -> io::Result<OwnedFd> {
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![
        instruction(LOAD, 0, 0, OFFSET_ARCHITECTURE),
        instruction(JUMP_IF_EQUAL, 1, 0, ARCHITECTURE),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(LOAD, 0, 0, OFFSET_NUMBER),
    ];
    for number in numbers {
        program.push(instruction(JUMP_IF_EQUAL, 0, 1, *number as u32));
        program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    }
    program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let install = || {
        // SAFETY: `program` points to as many instructions as it says, for the length of the call, which copies them.
        let installed = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                &raw const program,
            )
        };
        check(installed)
    };
    let fd = match install() {
        // Without privileges the kernel wants the promise that nothing that is executed gets more of them.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            nix::sys::prctl::set_no_new_privs()?;
            install()?
        }
        other => other?,
    };
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn ask_before(_: &[libc::c_long]) -> io::Result<OwnedFd> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Waits for the next one who asks. Takes no lock and no memory: whoever asks may hold the allocator's.
///
/// # Errors
///
/// What the kernel says.
pub(crate) fn next(listener: BorrowedFd<'_>) -> io::Result<Asked> {
    loop {
        // SAFETY: integers alone, for which all zero is a value, as the kernel wants it to be.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        let received = retry(|| {
            // SAFETY: the kernel fills in what was handed over, which lives for the length of the call.
            check(unsafe {
                libc::c_long::from(libc::ioctl(
                    listener.as_raw_fd(),
                    libc::SECCOMP_IOCTL_NOTIF_RECV,
                    &raw mut asked,
                ))
            })
        });
        match received {
            Ok(_) => {
                return Ok(Asked {
                    id: asked.id,
                    thread: asked.pid as libc::pid_t,
                    number: libc::c_long::from(asked.data.nr),
                });
            }
            // It was killed, or interrupted, in between.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether who asked still waits: its number is still its own then.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, asked: &Asked) -> bool {
    // SAFETY: the kernel reads a number, which lives for the length of the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const asked.id) == 0 }
}

/// Answers: the call fails with this error; or, without one, the kernel goes on with it. Nothing happens if nobody
/// waits for that any more.
pub(crate) fn answer(listener: BorrowedFd<'_>, asked: &Asked, errno: Option<i32>) {
    let answer = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: errno.map_or(0, |errno| -errno),
        flags: if errno.is_some() { 0 } else { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 },
    };
    // SAFETY: the kernel reads what was handed over, which lives for the length of the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
}

/// Whether a thread is one of this process.
pub(crate) fn is_mine(thread: libc::pid_t) -> bool {
    // SAFETY: integers alone; signal 0 is none.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) == 0 }
}
