//! Calls of an object through its own bridge.
//!
//! A forked child has copies of its parent's handles, that of its own object among them. A call through that would wait
//! for the call in whose midst it is. It can't even begin, since the bridge is the parent's; what the caller is told is
//! why. The same goes for the child's children: each has the list of all bridges at whose far end it, or an ancestor, is.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

static SERVED_HERE: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number for a new bridge. No two that one process knows of, by its own doing or by its ancestors', have the same.
pub(crate) fn number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// In a child: it carries out the calls of this bridge.
pub(crate) fn enter(bridge: u64) {
    // A zygote's child hasn't counted with the program.
    NEXT.fetch_max(bridge + 1, Ordering::Relaxed);
    SERVED_HERE.lock().push(bridge);
}

/// Whether this process, or an ancestor by forks alone, carries out the calls of this bridge.
pub(crate) fn is_served_here(bridge: u64) -> bool {
    // Nobody holds it for longer than a moment, but a fork may have copied such a moment.
    SERVED_HERE.try_lock().is_some_and(|served| served.contains(&bridge))
}
