//! Values of which every process has its own.
//!
//! A fork, by this library or by anybody else, leaves a child with a copy of a value that may be
//! half changed, or locked by a thread that isn't there any more. So nobody looks at the copy: a
//! process finds its own value by its generation, makes it when it first asks, and leaves those of
//! its ancestors as they are - also undropped, for they hold what is the ancestors' business.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ownership::generation::Generation;

/// A value of which every process has its own.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    /// Whose `value` is; 0 before the first use.
    home: AtomicU64,
    value: T,
    fresh: fn() -> T,
    /// The value of a descendant: the list is as long as the line of forked processes.
    next: OnceLock<Box<PerProcess<T>>>,
}

impl<T> PerProcess<T> {
    /// The first process's value, and how to make those of the others.
    pub(crate) const fn new(value: T, fresh: fn() -> T) -> PerProcess<T> {
        PerProcess { home: AtomicU64::new(0), value, fresh, next: OnceLock::new() }
    }

    /// This process's value.
    pub(crate) fn own(&self) -> &T {
        let here = Generation::current().number();
        let mut place = self;
        loop {
            let mut home = place.home.load(Ordering::Relaxed);
            if home == 0 {
                home = place
                    .home
                    .compare_exchange(0, here, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|taken| taken, |_| here);
            }
            if home == here {
                return &place.value;
            }
            place = place.next.get_or_init(|| {
                let value = PerProcess::new((self.fresh)(), self.fresh);
                value.home.store(here, Ordering::Relaxed);
                Box::new(value)
            });
        }
    }
}
