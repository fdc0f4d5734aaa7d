//! A lock of libc's.

/// A mutex of libc's in memory that is shared with all processes that are forked from now on. It is robust: if
/// its owner dies, the kernel says so to the next one.
#[derive(Debug)]
pub struct PthreadMutex(*mut libc::pthread_mutex_t);

// SAFETY: made for use by any thread of any process; never unmapped.
unsafe impl Sync for PthreadMutex {}
// SAFETY: as above.
unsafe impl Send for PthreadMutex {}

impl PthreadMutex {
    /// One that is unlocked.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    #[must_use]
    pub fn new() -> PthreadMutex {
        let (flags, access) = (libc::MAP_SHARED | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping, large enough; the mutex is initialised before anybody can use it.
        unsafe {
            let page = libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            let mut attributes = std::mem::zeroed::<libc::pthread_mutexattr_t>();
            libc::pthread_mutexattr_init(&raw mut attributes);
            libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED);
            libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST);
            // It knows its owner by libc's idea of the thread's number.
            libc::pthread_mutexattr_settype(&raw mut attributes, libc::PTHREAD_MUTEX_ERRORCHECK);
            libc::pthread_mutex_init(page.cast(), &raw const attributes);
            PthreadMutex(page.cast())
        }
    }

    /// Locks it: 0 or an errno. After EOWNERDEAD it is locked, and as good as new.
    #[must_use]
    pub fn lock(&self) -> i32 {
        // SAFETY: an initialised mutex that is never unmapped.
        unsafe {
            let result = libc::pthread_mutex_lock(self.0);
            if result == libc::EOWNERDEAD {
                libc::pthread_mutex_consistent(self.0);
            }
            result
        }
    }

    /// Unlocks it: 0 or an errno.
    #[must_use]
    pub fn unlock(&self) -> i32 {
        // SAFETY: as above; that it isn't this thread's is an errno.
        unsafe { libc::pthread_mutex_unlock(self.0) }
    }
}

impl Default for PthreadMutex {
    fn default() -> Self {
        PthreadMutex::new()
    }
}
