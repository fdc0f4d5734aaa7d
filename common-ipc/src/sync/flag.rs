//! The algorithm of an event: one word, which also says whether anybody may be asleep.
//!
//! All changes are read-modify-writes of the one word, so each sees the one before it, and no barrier between two
//! words is needed: a waiter goes to sleep only on AWAITED, and whoever replaces AWAITED by SET wakes
//! everyone. `clear` replaces nothing but SET, and so never hides that somebody sleeps.

use std::io;
use std::sync::atomic::Ordering;

use crate::link::poll::Deadline;
use crate::sync::spin::Spin;
use crate::sync::words::{FutexWord, LOOK_AGAIN, Wake};

const CLEAR: u32 = 0;
const SET: u32 = 1;
/// Not set, and somebody may be asleep.
const AWAITED: u32 = 2;

/// What came before in this thread is seen by those who then find it set.
#[inline]
pub(crate) fn set(word: &impl FutexWord) {
    match word.swap(SET, Ordering::AcqRel) {
        CLEAR | SET => {}
        // AWAITED, or what a hostile peer wrote.
        _ => word.wake(Wake::All),
    }
}

#[inline]
pub(crate) fn clear(word: &impl FutexWord) {
    let _ = word.compare_exchange(SET, CLEAR, Ordering::AcqRel, Ordering::Relaxed);
}

#[inline]
pub(crate) fn is_set(word: &impl FutexWord) -> bool {
    word.load(Ordering::Acquire) == SET
}

/// Waits until it is set or the deadline has passed, and says whether it is set.
pub(crate) fn wait(word: &impl FutexWord, deadline: Deadline, spin: Option<&Spin>) -> io::Result<bool> {
    if is_set(word) {
        return Ok(true);
    }
    if !deadline.has_passed() && spin.is_some_and(|spin| spin.until(deadline, || is_set(word))) {
        return Ok(true);
    }
    loop {
        let seen = word.load(Ordering::Acquire);
        if seen == SET {
            return Ok(true);
        }
        if deadline.has_passed() {
            return Ok(false);
        }
        if seen == CLEAR {
            let awaited = word.compare_exchange(CLEAR, AWAITED, Ordering::Relaxed, Ordering::Relaxed);
            if awaited.is_err() {
                continue;
            }
        }
        // Whatever else a hostile peer wrote is slept on as it is: all that this costs is time.
        let expected = if seen == CLEAR { AWAITED } else { seen };
        word.sleep(expected, deadline.left().map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN)))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::model::{Shared, Word, explore};
    use loom::sync::Arc;
    use loom::thread;

    fn must_wait(word: &Word) {
        assert!(wait(word, Deadline::NEVER, None).unwrap());
    }

    #[test]
    fn loom_a_waiter_wakes_and_sees_what_came_before() {
        explore(|| {
            let (word, data) = (Arc::new(Word::new(CLEAR)), Arc::new(Shared::new()));
            let setter = {
                let (word, data) = (Arc::clone(&word), Arc::clone(&data));
                thread::spawn(move || {
                    data.step();
                    set(&*word);
                })
            };
            must_wait(&word);
            assert_eq!(data.steps(), 1);
            setter.join().unwrap();
        });
    }

    #[test]
    fn loom_all_waiters_wake() {
        explore(|| {
            let word = Arc::new(Word::new(CLEAR));
            let waiters = [(), ()].map(|()| {
                let word = Arc::clone(&word);
                thread::spawn(move || must_wait(&word))
            });
            set(&*word);
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
    }

    #[test]
    fn loom_a_clear_hides_no_sleeper() {
        explore(|| {
            // Set at first: the clear comes before, between or after what the waiter does.
            let word = Arc::new(Word::new(SET));
            let waiter = {
                let word = Arc::clone(&word);
                thread::spawn(move || must_wait(&word))
            };
            clear(&*word);
            clear(&*word);
            set(&*word);
            waiter.join().unwrap();
        });
    }

    #[test]
    fn loom_a_second_setter_hides_no_first_one() {
        explore(|| {
            let (word, data) = (Arc::new(Word::new(CLEAR)), Arc::new([Shared::new(), Shared::new()]));
            let setters = [0, 1].map(|index| {
                let (word, data) = (Arc::clone(&word), Arc::clone(&data));
                thread::spawn(move || {
                    data[index].step();
                    set(&*word);
                })
            });
            // Not by a join, which would order them.
            must_wait(&word);
            let seen = [data[0].steps(), data[1].steps()];
            assert!(seen.contains(&1), "{seen:?}");
            setters.into_iter().for_each(|setter| setter.join().unwrap());
        });
    }
}
