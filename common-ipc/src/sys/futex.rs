//! Sleeping on a word, also on one in memory that processes share.

use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::check;

/// Sleeps while `word` holds `expected`, for up to `timeout`; returns early on a wake-up, on a
/// signal, or for no reason at all, so the caller looks again. Works between processes.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> io::Result<()> {
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word is valid for the call; the kernel only compares it. time is null or valid.
    let slept =
        check(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, time) });
    match slept {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT) => Ok(()),
            _ => Err(error),
        },
    }
}

/// Wakes everyone who sleeps on `word`, in whichever process.
pub(crate) fn wake_all(word: &AtomicU32) {
    wake(word, i32::MAX);
}

/// Wakes up to `count` of those who sleep on `word`, in whichever processes.
pub(crate) fn wake(word: &AtomicU32, count: i32) {
    // SAFETY: the word's address is only a key to the kernel. The call can't fail on a valid one.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}
