//! Memory that forked children share, and the least that two processes need to talk through it.
//!
//! No typed messages, no deaths noticed, no time-outs: what is here is the limit that the benchmarks
//! compare the library with.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// What may lie in shared memory.
///
/// # Safety
///
/// All bytes zero must be a value of the type, it must not need a drop, and other processes must be
/// free to use it through a shared reference at the same time: it is made of atomics, or guards by
/// atomics what isn't.
pub unsafe trait Shareable {}

/// A value in a mapping of its own, shared with every process forked while it exists. It starts with
/// all bytes zero.
#[derive(Debug)]
pub struct Shared<T: Shareable> {
    at: NonNull<T>,
}

impl<T: Shareable> Shared<T> {
    /// Maps it.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    #[must_use]
    pub fn new() -> Shared<T> {
        const { assert!(align_of::<T>() <= 4096 && size_of::<T>() > 0) };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at a place that the kernel chooses disturbs nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<T>(), protection, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Shared { at: NonNull::new(at.cast()).unwrap_or_else(|| panic!("mapped at 0")) }
    }
}

impl<T: Shareable> Default for Shared<T> {
    fn default() -> Self {
        Shared::new()
    }
}

impl<T: Shareable> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped by `new` until drop, aligned to a page, and of a type for which zeros are a
        // value and which others may use at the same time.
        unsafe { self.at.as_ref() }
    }
}

impl<T: Shareable> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no borrow outlives self. Other processes keep their mappings.
        unsafe { libc::munmap(self.at.as_ptr().cast(), size_of::<T>()) };
    }
}

/// Something of its own cache line, and of the neighbour that the processor fetches with it.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Line<T>(pub T);

/// How a process waits for a word to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// In the kernel at once.
    Futex,
    /// By so many looks, which yield the processor in between; then in the kernel.
    Spin {
        /// How many looks.
        looks: u32,
    },
}

/// Between two looks at a word: a process that spins without yielding on the other one's core keeps it
/// from its answer for a whole time slice. On a core of its own the call returns before an answer from
/// another core can be there.
pub(super) fn between_looks() {
    std::thread::yield_now();
}

/// A word that one process sets and another one waits for.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Bell {
    value: AtomicU32,
    asleep: AtomicU32,
}

// SAFETY: two atomics.
unsafe impl Shareable for Line<Bell> {}

impl Bell {
    /// Sets it, and wakes the other process if that sleeps.
    pub fn ring(&self, value: u32) {
        self.value.store(value, Ordering::Release);
        // Either the sleeper is seen here, or it sees the value before it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) != 0 {
            // SAFETY: the word's address is only a key to the kernel.
            unsafe { libc::syscall(libc::SYS_futex, self.value.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
    }

    /// Waits until it has this value.
    pub fn wait_for(&self, value: u32, wait: Wait) {
        if let Wait::Spin { looks } = wait {
            for _ in 0..looks {
                if self.value.load(Ordering::Acquire) == value {
                    return;
                }
                between_looks();
            }
        }
        loop {
            let seen = self.value.load(Ordering::Acquire);
            if seen == value {
                return;
            }
            self.asleep.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let forever = std::ptr::null::<libc::timespec>();
            // SAFETY: the word is valid for the call, which only compares it; without a time-out.
            unsafe { libc::syscall(libc::SYS_futex, self.value.as_ptr(), libc::FUTEX_WAIT, seen, forever) };
            self.asleep.store(0, Ordering::Relaxed);
        }
    }
}

/// A place for one message of 16 bytes.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Mailbox {
    bell: Bell,
    message: [AtomicU64; 2],
}

/// One mailbox there and one back.
#[derive(Debug)]
#[repr(C)]
pub struct Mailboxes {
    /// Of the one who asks.
    pub there: Line<Mailbox>,
    /// Of the one who answers.
    pub back: Line<Mailbox>,
}

// SAFETY: nothing but atomics.
unsafe impl Shareable for Mailboxes {}

/// Two bells.
#[derive(Debug)]
#[repr(C)]
pub struct Bells {
    /// Of the one who asks.
    pub there: Line<Bell>,
    /// Of the one who answers.
    pub back: Line<Bell>,
}

// SAFETY: nothing but atomics.
unsafe impl Shareable for Bells {}

impl Mailbox {
    /// Puts the message with this number in. The one before must have been taken.
    pub fn put(&self, number: u32, message: [u64; 2]) {
        for (word, value) in self.message.iter().zip(message) {
            word.store(value, Ordering::Relaxed);
        }
        self.bell.ring(number);
    }

    /// Waits for the message with this number and takes it out.
    pub fn take(&self, number: u32, wait: Wait) -> [u64; 2] {
        self.bell.wait_for(number, wait);
        [self.message[0].load(Ordering::Relaxed), self.message[1].load(Ordering::Relaxed)]
    }
}
