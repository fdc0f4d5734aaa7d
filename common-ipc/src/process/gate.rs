//! The gate between forks and the library's own threads.
//!
//! A child must not inherit a lock that a library thread held at the moment of the fork. So library
//! threads are *inside* the gate whenever they run, and outside only while they sleep in a bare
//! system call, where they hold nothing; a fork closes the gate, which waits until nobody is inside.
//! A library thread that calls a user's code is outside too, and counted as a stranger by the fork
//! rule: nobody knows what that code holds.
//!
//! The state is one word: bit 31 while a fork is under way, below it the number of threads inside.
//! Each process has a gate of its own, so a child's is open and empty.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::ownership::per_process::PerProcess;
use crate::sys::futex;

const FORKING: u32 = 1 << 31;

#[derive(Debug)]
struct Gate {
    word: AtomicU32,
    /// How many threads sleep on the word, or are about to: without any, nobody need be woken.
    sleepers: AtomicU32,
}

static GATE: PerProcess<Gate> = PerProcess::new(Gate::new(), Gate::new);

/// A library thread's stay inside the gate.
#[derive(Debug)]
pub(crate) struct Inside(&'static Gate);

/// Enters, waiting for a fork under way to be over.
pub(crate) fn enter() -> Inside {
    let gate = GATE.own();
    let mut state = gate.word.load(Ordering::Relaxed);
    loop {
        if state & FORKING != 0 {
            gate.sleep_on(state);
            state = gate.word.load(Ordering::Relaxed);
            continue;
        }
        match gate.word.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return Inside(gate),
            Err(seen) => state = seen,
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // The last one out tells the fork that waits.
        if self.0.word.fetch_sub(1, Ordering::SeqCst) == FORKING + 1 {
            self.0.wake_sleepers();
        }
    }
}

/// The gate closed for a fork; dropping it opens it again.
pub(crate) struct Closed(&'static Gate);

/// Closes the gate: waits for another fork to be over, then for everyone inside to leave.
pub(crate) fn close() -> Closed {
    let gate = GATE.own();
    let mut state = gate.word.load(Ordering::Relaxed);
    loop {
        if state & FORKING != 0 {
            gate.sleep_on(state);
            state = gate.word.load(Ordering::Relaxed);
            continue;
        }
        match gate.word.compare_exchange_weak(state, state | FORKING, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => break,
            Err(seen) => state = seen,
        }
    }
    loop {
        // Acquire: what those who left did happens before the fork.
        let state = gate.word.load(Ordering::Acquire);
        if state == FORKING {
            return Closed(gate);
        }
        gate.sleep_on(state);
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.word.fetch_and(!FORKING, Ordering::SeqCst);
        self.0.wake_sleepers();
    }
}

impl Gate {
    const fn new() -> Gate {
        Gate { word: AtomicU32::new(0), sleepers: AtomicU32::new(0) }
    }

    /// The counter and the word are each written by one side and then read by the other, all
    /// sequentially consistent: either the waker sees the sleeper, or the kernel sees, before it
    /// lets the sleeper sleep, that the word has changed.
    fn sleep_on(&self, state: u32) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // It fails only for an address or a time that isn't valid; then this is a busy loop, not a hang.
        let _ = futex::wait(&self.word, state, None);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_sleepers(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            futex::wake_all(&self.word);
        }
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
