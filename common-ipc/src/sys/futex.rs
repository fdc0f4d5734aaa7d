//! A futex word in memory that processes share, and sleeping on a word.

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
    // SAFETY: the word's address is only a key to the kernel. The call can't fail on a valid one.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// One word in a page of its own, shared with every process forked while it exists. It starts at 0.
#[derive(Debug)]
pub(crate) struct SharedWord {
    word: *mut AtomicU32,
}

// SAFETY: the pointer is to an atomic that lives until drop; atomics may be used from any thread.
unsafe impl Send for SharedWord {}
// SAFETY: as above.
unsafe impl Sync for SharedWord {}

const PAGE: usize = 4096;

impl SharedWord {
    /// Maps a new page. Fails when there is no memory or the limit on mappings is reached.
    pub(crate) fn new() -> io::Result<SharedWord> {
        // SAFETY: a new mapping at a place that the kernel chooses disturbs nothing.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(SharedWord { word: page.cast() })
    }

    /// The word. Another process may change it at any time: it is to be read as a fact, not as a promise.
    pub(crate) fn get(&self) -> &AtomicU32 {
        // SAFETY: mapped by `new` until drop, aligned to a page, and only ever used as an atomic,
        // in this process and in the others.
        unsafe { &*self.word }
    }
}

impl Drop for SharedWord {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no borrow of the word outlives self. In a forked child
        // this ends the child's mapping alone.
        unsafe { libc::munmap(self.word.cast(), PAGE) };
    }
}
