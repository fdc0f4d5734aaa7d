//! For those who look after many ends at once: what one of them says without waiting, and when it is to ring.
//!
//! Whoever waits for several ends sleeps on their control sockets, and asks each end to ring before: ask, then look,
//! then sleep. While they look, no end needs to ring, which saves the other sides a call of the kernel's for each
//! message. Such an end isn't polled in the sense of `as_fd`.

use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;

use crate::link::connection::end::End;
use crate::link::error::LinkError;
use crate::link::ring;

impl End {
    /// Whether there is something to be received, or to be found out.
    #[inline]
    pub(crate) fn has_something(&self) -> bool {
        let Ok(view) = self.view() else { return true };
        self.receiving.try_lock().is_none_or(|receiving| !receiving.is_empty(self, view))
    }

    /// Has the other side ring for the next chunk, or not ring. Look again afterwards, before sleeping.
    #[inline]
    pub(crate) fn is_to_ring(&self, is_to: bool) {
        let (Ok(view), Some(receiving)) = (self.view(), self.receiving.try_lock()) else { return };
        if is_to {
            receiving.consumer.wait_for_chunks(view);
        } else {
            receiving.consumer.stop_waiting(view);
        }
    }

    /// Takes in what was said beside the messages, rings among it, and says whether the other side is gone for good.
    pub(crate) fn hear(&self) -> Result<bool, LinkError> {
        let _receiving = self.receiving.lock();
        self.listen()
    }

    /// What is readable once the other side has rung, or is gone.
    pub(crate) fn bell(&self) -> Result<BorrowedFd<'_>, LinkError> {
        Ok(self.wires.control.get()?)
    }

    /// One of the words in the shared memory that the ring has no use for.
    #[inline]
    pub(crate) fn spare_word(&self, which: usize) -> Result<&AtomicU64, LinkError> {
        Ok(self.view()?.long(ring::spare_word(which)))
    }
}
