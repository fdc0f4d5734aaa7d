//! Signals that a program catches: the workspace's one handler, which notes what came, and rings.
//!
//! It touches nothing but the places below, which are there for the life of the program, so that it can come at any
//! moment, on any thread. A place belongs to one process: what a fork copies is nobody's, and is taken anew.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::{check, generation, signals};

/// Where the handler leaves what came for one who catches.
#[derive(Debug)]
pub(crate) struct Place {
    /// The number of the process in which it is taken; 0 where it is free.
    owner: AtomicU64,
    /// One bit for each signal.
    wanted: AtomicU64,
    came: AtomicU64,
    /// An eventfd.
    bell: AtomicI32,
    /// Handlers that look at it.
    inside: AtomicU32,
}

/// So many can catch signals at once in a process.
pub(crate) const PLACES: usize = 32;

static TABLE: [Place; PLACES] = [const { Place::new() }; PLACES];

/// The owner of a place that is just being taken.
const NOBODY_YET: u64 = u64::MAX;

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

impl Place {
    const fn new() -> Place {
        Place {
            owner: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            came: AtomicU64::new(0),
            bell: AtomicI32::new(-1),
            inside: AtomicU32::new(0),
        }
    }

    /// A free place, or one that belonged to an ancestor of this process. `bell` is an eventfd that stays open until
    /// [`leave`](Place::leave).
    pub(crate) fn take(bell: BorrowedFd<'_>) -> Option<&'static Place> {
        let here = generation::current().get();
        TABLE.iter().find(|place| {
            let owner = place.owner.load(SeqCst);
            let is_free = owner != here && owner != NOBODY_YET;
            if !is_free || place.owner.compare_exchange(owner, NOBODY_YET, SeqCst, SeqCst).is_err() {
                return false;
            }
            if owner != 0 {
                // Of an ancestor's threads, which aren't here.
                place.inside.store(0, SeqCst);
            }
            place.wanted.store(0, SeqCst);
            place.came.store(0, SeqCst);
            place.bell.store(bell.as_raw_fd(), SeqCst);
            place.owner.store(here, SeqCst);
            true
        })
    }

    pub(crate) fn want(&self, signal: i32) {
        self.wanted.fetch_or(bit(signal), SeqCst);
    }

    /// Takes one of those that came.
    pub(crate) fn take_first(&self) -> Option<i32> {
        let mut came = self.came.load(SeqCst);
        while came != 0 {
            let first = came.trailing_zeros() as i32 + 1;
            came = self.came.fetch_and(!bit(first), SeqCst);
            if came & bit(first) != 0 {
                return Some(first);
            }
        }
        None
    }

    /// Gives it up. When this returns no handler uses the bell.
    pub(crate) fn leave(&self) {
        self.wanted.store(0, SeqCst);
        // A handler is through in no time; one that is a copy from before a fork never is.
        for _ in 0..10_000 {
            if self.inside.load(SeqCst) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.inside.store(0, SeqCst);
        self.owner.store(0, SeqCst);
    }

    /// Says whether it is wanted.
    fn hear(&self, signal: i32) -> bool {
        self.inside.fetch_add(1, SeqCst);
        let is_wanted = self.wanted.load(SeqCst) & bit(signal) != 0;
        if is_wanted {
            self.came.fetch_or(bit(signal), SeqCst);
            let one = 1u64;
            // SAFETY: reads eight bytes of `one`. The bell is open while somebody is inside of a place that is
            // wanted; if it is full, it rings.
            unsafe { libc::write(self.bell.load(SeqCst), (&raw const one).cast(), size_of::<u64>()) };
        }
        self.inside.fetch_sub(1, SeqCst);
        is_wanted
    }
}

/// The handler: atomics, write(2), and what is needed for a copy of a process.
extern "C" fn on_signal(signal: libc::c_int) {
    // SAFETY: libc's errno of this thread is always there.
    let errno = unsafe { *libc::__errno_location() };
    let here = generation::current().get();
    let mut is_wanted = false;
    for place in TABLE.iter().filter(|place| place.owner.load(SeqCst) == here) {
        is_wanted |= place.hear(signal);
    }
    // A fork that this library knows nothing of has copied the handler to a process where nobody wants it: there the
    // signal does what it does by default, once this returns. If another handler has called this one, it's that
    // one's business.
    if !is_wanted && is_installed(signal) && signals::set_disposition(signal, false).is_ok() {
        let _ = signals::raise(signal);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn handler() -> libc::sighandler_t {
    on_signal as extern "C" fn(libc::c_int) as *const () as libc::sighandler_t
}

/// What a process did with a signal before.
#[derive(Clone, Copy)]
pub(crate) struct Before(libc::sigaction);

/// Sets the handler, and returns what was set.
pub(crate) fn install(signal: i32) -> io::Result<Before> {
    // SAFETY: all zeroes are an action: the default one, with an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler();
    // Calls that can be resumed are: nobody else is to notice.
    action.sa_flags = libc::SA_RESTART;
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: action is a whole one, and there is room for the old one. The handler does only what is allowed in one.
    check(unsafe { libc::sigaction(signal, &action, before.as_mut_ptr()) }.into())?;
    // SAFETY: sigaction succeeded and has filled it in.
    Ok(Before(unsafe { before.assume_init() }))
}

/// Undoes [`install`], unless somebody else has set another handler since.
pub(crate) fn put_back(signal: i32, before: &Before) {
    if is_installed(signal) {
        // SAFETY: the action was read from the kernel: who had set it vouches for it.
        unsafe { libc::sigaction(signal, &before.0, std::ptr::null_mut()) };
    }
}

pub(crate) fn is_installed(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the new action is null, so this only asks; the old one has room to be written to.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: sigaction succeeded and has filled it in.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == handler()
}
