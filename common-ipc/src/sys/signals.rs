//! Signals as numbers: dispositions and waiting for blocked ones, real-time signals included,
//! which nix's enum leaves out.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use super::check;

/// The largest signal number of Linux.
pub(crate) const LAST: i32 = 64;

/// What a process does with a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    Default,
    Ignored,
    Handled,
}

/// Asks what happens on `signal`; `None` for a number that has no disposition to ask for.
pub(crate) fn disposition(signal: i32) -> Option<Disposition> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the new action is null, so this only asks; the old one has room to be written to.
    if unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: sigaction succeeded and has filled it in.
    Some(match unsafe { action.assume_init() }.sa_sigaction {
        libc::SIG_DFL => Disposition::Default,
        libc::SIG_IGN => Disposition::Ignored,
        _ => Disposition::Handled,
    })
}

/// The kernel's own `struct sigaction`, for actions that are no code.
#[repr(C)]
#[derive(Default)]
struct KernelAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// Sets `signal` to its default action, or to be ignored. A bare system call, as in [`set_mask`].
#[inline]
pub(crate) fn set_disposition(signal: i32, ignored: bool) -> io::Result<()> {
    let handler = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    let action = KernelAction { handler, ..KernelAction::default() };
    // SAFETY: the kernel reads one action of this layout. No code of ours can run because of it.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const action,
            std::ptr::null_mut::<KernelAction>(),
            size_of::<u64>(),
        )
    })
    .map(drop)
}

/// Sends `signal` to this process.
pub(crate) fn raise(signal: i32) -> io::Result<()> {
    // SAFETY: two integers.
    check(unsafe { libc::kill(libc::getpid(), signal) }.into()).map(drop)
}

/// Takes one of `signals`, which must be blocked, from those that are pending, waiting for up to
/// `timeout`. `None` means that none came.
pub(crate) fn wait_for(signals: &[i32], timeout: Duration) -> io::Result<Option<i32>> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    let deadline = std::time::Instant::now().checked_add(timeout);
    // SAFETY: sigemptyset initialises the set; sigaddset only changes it.
    let set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    };
    loop {
        // A deadline too far away to be an Instant is waited for in pieces of an hour.
        let left = match deadline {
            Some(deadline) => deadline.saturating_duration_since(std::time::Instant::now()),
            None => Duration::from_secs(3600),
        };
        let time = libc::timespec {
            tv_sec: left.as_secs().min(i32::MAX as u64) as libc::time_t,
            tv_nsec: left.subsec_nanos().into(),
        };
        // SAFETY: set and time are valid; the null pointer says that no details are wanted.
        let taken = unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &time) };
        match check(taken.into()) {
            Ok(signal) => return Ok(Some(signal as i32)),
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && deadline.is_some() => {
                return Ok(None);
            }
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Blocks exactly `signals` on the calling thread. A bare system call: in a forked child it saves
/// the page of code that libc's function is on.
#[inline]
pub(crate) fn set_mask(signals: &[i32]) {
    let mut mask = 0u64;
    for signal in signals {
        mask |= 1 << (signal - 1);
    }
    // SAFETY: the kernel's signal set is these eight bytes. It fails only for a `how` that doesn't
    // exist or another size.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            std::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    };
}
