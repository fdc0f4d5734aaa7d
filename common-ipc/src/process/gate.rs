//! The gate between forks and the library's own threads.
//!
//! A child must not inherit a lock that a library thread held at the moment of the fork. So library
//! threads are *inside* the gate whenever they run, and outside only while they sleep in a bare
//! system call, where they hold nothing; a fork closes the gate, which waits until nobody is inside.
//! A library thread that calls a user's code is outside too, and counted as a stranger by the fork
//! rule: nobody knows what that code holds.
//!
//! The state is one word: bit 31 while a fork is under way, below it the number of threads inside.
//! The child, whose only thread is the one that forked, just sets its copy to zero. (A lock with a
//! queue elsewhere, such as parking_lot's, couldn't be reset like that.)

use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::futex;

const FORKING: u32 = 1 << 31;

static STATE: AtomicU32 = AtomicU32::new(0);
/// How many threads sleep on the word, or are about to: without any, nobody need be woken.
static SLEEPERS: AtomicU32 = AtomicU32::new(0);

/// A library thread's stay inside the gate.
pub(crate) struct Inside(());

/// Enters, waiting for a fork under way to be over.
pub(crate) fn enter() -> Inside {
    let mut state = STATE.load(Ordering::Relaxed);
    loop {
        if state & FORKING != 0 {
            sleep_on(state);
            state = STATE.load(Ordering::Relaxed);
            continue;
        }
        match STATE.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Inside(()),
            Err(seen) => state = seen,
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // The last one out tells the fork that waits.
        if STATE.fetch_sub(1, Ordering::SeqCst) == FORKING + 1 {
            wake_sleepers();
        }
    }
}

/// The gate closed for a fork; dropping it opens it again.
pub(crate) struct Closed(());

/// Closes the gate: waits for another fork to be over, then for everyone inside to leave.
pub(crate) fn close() -> Closed {
    let mut state = STATE.load(Ordering::Relaxed);
    loop {
        if state & FORKING != 0 {
            sleep_on(state);
            state = STATE.load(Ordering::Relaxed);
            continue;
        }
        match STATE.compare_exchange_weak(state, state | FORKING, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => break,
            Err(seen) => state = seen,
        }
    }
    loop {
        // Acquire: what those who left did happens before the fork.
        let state = STATE.load(Ordering::Acquire);
        if state == FORKING {
            return Closed(());
        }
        sleep_on(state);
    }
}

impl Closed {
    /// In the child: nobody else is there, so the gate is open and empty.
    #[inline]
    pub(crate) fn reset_in_child(self) {
        reset();
        std::mem::forget(self);
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        STATE.fetch_and(!FORKING, Ordering::SeqCst);
        wake_sleepers();
    }
}

/// In a process that came about by somebody else's fork.
pub(crate) fn reset() {
    STATE.store(0, Ordering::Relaxed);
    SLEEPERS.store(0, Ordering::Relaxed);
}

/// The counter and the word are each written by one side and then read by the other, all
/// sequentially consistent: either the waker sees the sleeper, or the kernel sees, before it lets
/// the sleeper sleep, that the word has changed.
fn sleep_on(state: u32) {
    SLEEPERS.fetch_add(1, Ordering::SeqCst);
    // It fails only for an address or a time that isn't valid; then this is a busy loop, not a hang.
    let _ = futex::wait(&STATE, state, None);
    SLEEPERS.fetch_sub(1, Ordering::SeqCst);
}

fn wake_sleepers() {
    if SLEEPERS.load(Ordering::SeqCst) > 0 {
        futex::wake_all(&STATE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn nobody_is_inside_while_it_is_closed() {
        static INSIDE: AtomicU64 = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let inside = enter();
                        INSIDE.fetch_add(1, Ordering::Relaxed);
                        INSIDE.fetch_sub(1, Ordering::Relaxed);
                        drop(inside);
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let closed = close();
                        assert_eq!(INSIDE.load(Ordering::Relaxed), 0);
                        drop(closed);
                    }
                });
            }
        });
    }
}
