//! What happens in a child when its parent dies: a signal, and a handler that bounds a polite end.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::check;
use super::signals::LAST;

/// The signal whose handler ends this process politely: the last of the real-time ones, which no
/// program has by accident.
pub(crate) const POLITE_END: i32 = LAST;

/// Has the kernel send `signal` to this process when the thread that forked it ends.
#[inline]
pub(crate) fn set_signal(signal: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal) }).map(drop)
}

/// The grace in nanoseconds.
static GRACE: AtomicU64 = AtomicU64::new(0);

/// From now on [`POLITE_END`] is, to this process, a SIGTERM and, after `grace`, a SIGKILL.
pub(crate) fn handle_polite_end(grace: Duration) -> io::Result<()> {
    GRACE.store(grace.as_nanos().clamp(1, u64::MAX.into()) as u64, Ordering::Relaxed);
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeroes is a valid action: no flags, an empty mask. The handler that is put in does
    // what a handler may: it makes system calls and reads one atomic.
    check(unsafe {
        (*action.as_mut_ptr()).sa_sigaction = end_politely as extern "C" fn(libc::c_int) as usize;
        (*action.as_mut_ptr()).sa_flags = libc::SA_RESTART;
        libc::sigaction(POLITE_END, action.as_ptr(), std::ptr::null_mut()).into()
    })
    .map(drop)
}

extern "C" fn end_politely(_: libc::c_int) {
    let grace = GRACE.swap(0, Ordering::Relaxed);
    if grace == 0 {
        // Told twice: by the socket and by the kernel's own watch over the parent.
        return;
    }
    // SAFETY: bare system calls on integers and on what lives on this stack; errno, which the
    // interrupted code may be about to read, is put back.
    unsafe {
        let errno = *libc::__errno_location();
        if !kill_after(grace) {
            // Without a bound there is no grace.
            libc::syscall(libc::SYS_kill, libc::syscall(libc::SYS_getpid), libc::SIGKILL);
        }
        libc::syscall(libc::SYS_kill, libc::syscall(libc::SYS_getpid), libc::SIGTERM);
        *libc::__errno_location() = errno;
    }
}

/// Whatever this process is about: if it is still there after `time`, it is killed.
pub(crate) fn kill_this_process_after(time: Duration) {
    kill_after(time.as_nanos().clamp(1, u64::MAX.into()) as u64);
}

/// Has the kernel send SIGKILL to this process after so many nanoseconds. Bare system calls: it is
/// called in a signal handler as well.
fn kill_after(nanoseconds: u64) -> bool {
    // SAFETY: integers, and structures on this stack for which all zeroes is a valid value.
    unsafe {
        let mut event = MaybeUninit::<libc::sigevent>::zeroed().assume_init();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer: libc::c_int = 0;
        let clock = libc::CLOCK_MONOTONIC;
        let made = libc::syscall(libc::SYS_timer_create, clock, &raw const event, &raw mut timer);
        let mut time = MaybeUninit::<libc::itimerspec>::zeroed().assume_init();
        time.it_value.tv_sec = (nanoseconds / 1_000_000_000) as libc::time_t;
        time.it_value.tv_nsec = (nanoseconds % 1_000_000_000) as libc::c_long;
        let null = std::ptr::null_mut::<libc::itimerspec>();
        made == 0 && libc::syscall(libc::SYS_timer_settime, timer, 0, &raw const time, null) == 0
    }
}
