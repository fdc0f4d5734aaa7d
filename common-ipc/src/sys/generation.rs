//! A page that the kernel wipes in every forked copy of it: how a process knows that it is new.

use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The numbers given out so far; a child continues from its parent's count.
static LAST: AtomicU64 = AtomicU64::new(0);
static PAGE: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();

/// A number for this process, different from that of each of its ancestors.
///
/// It is kept in a page with MADV_WIPEONFORK, so every kind of fork gives a new one, also a bare
/// clone that libc never saw. Where the kernel refuses such a page, the pid stands in for it.
pub(crate) fn current() -> NonZeroU64 {
    let Some(word) = PAGE.get_or_init(wiped_page) else {
        return NonZeroU64::new(u64::from(std::process::id())).unwrap_or(NonZeroU64::MIN);
    };
    match NonZeroU64::new(word.load(Ordering::Relaxed)) {
        Some(number) => number,
        None => claim(word),
    }
}

/// Names a process that hasn't a number yet; of several threads that try at once one wins.
fn claim(word: &AtomicU64) -> NonZeroU64 {
    let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let number = match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(theirs) => theirs,
    };
    // The number can't be zero: it would take 2^64 processes. MIN keeps this free of a panic.
    NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN)
}

fn wiped_page() -> Option<&'static AtomicU64> {
    const SIZE: usize = 4096;
    // SAFETY: a new private mapping at a place that the kernel chooses disturbs nothing.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the range is the mapping just made.
    if unsafe { libc::madvise(page, SIZE, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above, and nothing refers to it.
        unsafe { libc::munmap(page, SIZE) };
        return None;
    }
    // SAFETY: the page is never unmapped, is aligned to its size, zeroed, and only ever accessed
    // as this atomic. In a child it is a new page of zeroes, a valid value as well.
    Some(unsafe { &*page.cast::<AtomicU64>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_keeps_its_number() {
        assert_eq!(current(), current());
    }
}
