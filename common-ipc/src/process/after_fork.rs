//! Hooks that run in each new child: for whatever must not be the same in two processes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

static HOOKS: Mutex<Vec<fn()>> = Mutex::new(Vec::new());
/// Whether there is any: most programs have none, and their children needn't touch the lock.
static ANY: AtomicBool = AtomicBool::new(false);

/// Has `hook` run in each child that this process (or a child of it) starts from now on: after the
/// child's set-up, before its body, in the order of registration.
///
/// Children of zygotes have the hooks that were registered before [`init`](crate::process::init), or by the zygote's
/// preload; those of templates the ones from before the template was made.
///
/// This is the place to seed a random number generator anew, to reopen a log file, to drop a cached
/// pid. A panic in a hook is the child's panic: its body doesn't run. A hook is registered once,
/// however often this is called with it.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use common_ipc::process::{self, Launch, LaunchOptions};
///
/// static SEED: AtomicU32 = AtomicU32::new(0);
///
/// process::after_fork(|| SEED.store(std::process::id(), Ordering::Relaxed));
/// let child = Launch::new(&LaunchOptions::new()).start(|| SEED.load(Ordering::Relaxed))?;
/// assert_eq!(child.output::<u32>()?, child.id());
/// assert_eq!(SEED.load(Ordering::Relaxed), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn after_fork(hook: fn()) {
    let mut hooks = HOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    if !hooks.iter().any(|known| std::ptr::fn_addr_eq(*known, hook)) {
        hooks.push(hook);
        ANY.store(true, Ordering::Release);
    }
}

/// In a child.
#[inline]
pub(crate) fn run() {
    if ANY.load(Ordering::Acquire) {
        run_all();
    }
}

#[cold]
fn run_all() {
    let count = HOOKS.lock().unwrap_or_else(PoisonError::into_inner).len();
    for place in 0..count {
        // Not under the lock: a hook may register one itself.
        let hook = HOOKS.lock().unwrap_or_else(PoisonError::into_inner).get(place).copied();
        if let Some(hook) = hook {
            hook();
        }
    }
}
