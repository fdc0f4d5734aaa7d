//! Ending a loop from elsewhere.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common_ipc::sync::EventFd;

/// Ends a [`MainLoop`](crate::MainLoop) from any thread, in its process. Clones end the same loop.
///
/// ```
/// use valkka_multiprocess::MainLoop;
///
/// let mut main_loop = MainLoop::<()>::new()?;
/// let handle = main_loop.stop_handle();
/// let thread = std::thread::spawn(move || handle.stop());
/// assert_eq!(main_loop.next()?, None);
/// thread.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct StopHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_stopped: AtomicBool,
    bell: EventFd,
}

impl StopHandle {
    pub(super) fn new() -> io::Result<StopHandle> {
        Ok(StopHandle(Arc::new(Inner { is_stopped: AtomicBool::new(false), bell: EventFd::new()? })))
    }

    /// Ends the loop: [`next`](crate::MainLoop::next) returns `None` from now on, also where it waits at this moment.
    /// An event that it has returned already is handled to the end. Again, or when the loop is gone, it does nothing;
    /// in a forked copy of the program it doesn't reach the loop.
    pub fn stop(&self) {
        if !self.0.is_stopped.swap(true, Ordering::Release) {
            // It fails in a forked copy.
            let _ = self.0.bell.set();
        }
    }

    /// Whether the loop was ended, by whatever handle.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::Acquire)
    }

    /// Whether there are others.
    pub(super) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}
