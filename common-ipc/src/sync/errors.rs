//! Why there is no permit, or one that needs a second look.

use std::error::Error;
use std::fmt;
use std::io;

use bytemuck::Pod;

use crate::error::debug_is_display;
use crate::sync::mutex::MutexGuard;

/// Why a permit of a semaphore, or a mutex's value, can't be had.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// This process is in another pid or time namespace than the one that made it, where ids of processes
    /// mean something else, so that a dead owner couldn't be told from a living one.
    #[error(
        "semaphores and mutexes are for processes in the same pid and time namespace, and with a /proc that \
         says so; this process is in another one than their maker: make them where they are used"
    )]
    OtherNamespace,
    /// What futex(2) failed with; none of its errors is expected here.
    #[error("can't wait for a permit: {0}")]
    Os(#[source] io::Error),
}

debug_is_display!(AcquireError);

impl From<AcquireError> for io::Error {
    fn from(error: AcquireError) -> io::Error {
        io::Error::other(error)
    }
}

/// Why a mutex's value wasn't handed out plainly.
#[non_exhaustive]
pub enum LockError<T: Pod> {
    /// A process died while it had the value. **The mutex is locked**, by the guard in here: its value is whole,
    /// as the last one published it who gave it back; what the dead process was about to change, it didn't. If
    /// that will do, go on with [`into_guard`](LockError::into_guard). It is told once: to the next one.
    OwnerDied(MutexGuard<T>),
    /// The mutex wasn't locked.
    Acquire(AcquireError),
}

impl<T: Pod> LockError<T> {
    /// The guard, although a process died.
    ///
    /// ```
    /// use common_ipc::sync::{LockError, Mutex};
    ///
    /// let total = Mutex::new(0u64)?;
    /// let mut guard = total.lock().or_else(LockError::into_guard)?;
    /// *guard += 1;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The [`AcquireError`], if that is what it is.
    pub fn into_guard(self) -> Result<MutexGuard<T>, AcquireError> {
        match self {
            LockError::OwnerDied(guard) => Ok(guard),
            LockError::Acquire(error) => Err(error),
        }
    }
}

impl<T: Pod> fmt::Display for LockError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(_) => f.write_str(
                "a process died while it had this mutex locked; the value is the last one that was published: \
                 if that will do, go on with LockError::into_guard",
            ),
            LockError::Acquire(error) => error.fmt(f),
        }
    }
}

impl<T: Pod> fmt::Debug for LockError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: Pod> Error for LockError<T> {}

impl<T: Pod> From<AcquireError> for LockError<T> {
    fn from(error: AcquireError) -> LockError<T> {
        LockError::Acquire(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Mutex;

    #[test]
    fn the_guard_of_a_dead_owner_can_be_had() {
        let mutex = Mutex::new(3u8).unwrap();
        let error = LockError::OwnerDied(mutex.lock().unwrap());
        assert!(error.to_string().contains("a process died while it had this mutex locked"));
        assert_eq!(format!("{error}"), format!("{error:?}"));
        *error.into_guard().unwrap() += 1;
        assert_eq!(*mutex.lock().unwrap(), 4);
        let error = LockError::<u8>::from(AcquireError::OtherNamespace);
        let text = error.to_string();
        let error = error.into_guard().unwrap_err();
        assert_eq!((error.to_string(), io::Error::from(error).to_string()), (text.clone(), text));
    }
}
