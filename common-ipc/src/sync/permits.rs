//! The algorithm of semaphores and mutexes: a table of permits, each of which holds its owner, or FREE.
//!
//! An owner that died is found by whoever finds nothing free: its permit goes from its hands into theirs,
//! in one step, and never looks free in between. So exactly one is told.
//!
//! Who finds nothing sleeps on `sequence`, which changes with every wake-up, having set `sleepers`:
//!
//! 1. The waiter reads `sequence`, sets `sleepers`, passes the fence, and looks once more.
//! 2. The releaser frees its permit, passes the fence, and looks at `sleepers`. The two fences are in some
//!    order: either the waiter sees the permit, or the releaser sees the flag.
//! 3. The releaser that sees the flag clears it, counts `sequence` up and wakes one. Who had read
//!    `sequence` before and isn't asleep yet doesn't fall asleep. Others may sleep on, with the flag cleared.
//! 4. So whoever was woken begins with step 1 again, the flag included, also where it then takes a permit; and
//!    before it leaves it looks once more: if another permit is free, it wakes the next one as in step 3. A
//!    release that came meanwhile and saw no flag is made good by this.
//!
//! One who is killed between 3 and 4 leaves the others asleep, with a permit free: until they look by
//! themselves, which they do every 50 ms.
//!
//! A permit also holds the *epoch* in which it was taken. A reset begins a new one, and then frees what is of any
//! other. So a permit from before it names nothing any more, also where its process has taken the same place
//! again. One that is taken beside a reset looks once more at the epoch: it was freed, and is taken anew, or
//! is of the new epoch from then on.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::link::poll::Deadline;
use crate::sync::owner::{in_epoch, is_of_epoch, process_of};
use crate::sync::spin::Spin;
use crate::sync::words::{FutexWord, LOOK_AGAIN, LongWord, Wake};

/// A permit that nobody has.
pub(crate) const FREE: u64 = 0;
/// To find out who is dead takes longer than to sleep a short wait out, so that comes after this ...
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// ... and then every 50 ms; and one that was woken in vain so often looks as well.
const IN_VAIN: u32 = 16;

/// The words of a table of permits. How many permits there are is this process's own knowledge.
pub(crate) trait Table {
    type Word: FutexWord;
    type Long: LongWord;

    /// Not zero: somebody may be asleep.
    fn sleepers(&self) -> &Self::Word;
    /// Changes with every wake-up.
    fn sequence(&self) -> &Self::Word;
    /// Counts the resets.
    fn epoch(&self) -> &Self::Word;
    /// The owner of each permit.
    fn permit(&self, index: usize) -> &Self::Long;
    fn count(&self) -> usize;
}

/// A permit that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) index: usize,
    /// What stands there.
    pub(crate) word: u64,
    pub(crate) from_dead: bool,
}

/// Who asks, and what for.
pub(crate) struct Asks<'a> {
    /// The process. Not FREE.
    pub(crate) owner: u64,
    /// Where to look first.
    pub(crate) first: usize,
    pub(crate) deadline: Deadline,
    pub(crate) spin: Option<&'a Spin>,
    pub(crate) is_dead: &'a dyn Fn(u64) -> bool,
}

/// Takes a permit, waiting for one until the deadline.
#[inline]
pub(crate) fn acquire(table: &impl Table, asks: &Asks<'_>) -> io::Result<Option<Taken>> {
    match take_free(table, asks) {
        Some(taken) => Ok(Some(taken)),
        None => wait(table, asks),
    }
}

#[cold]
fn wait(table: &impl Table, asks: &Asks<'_>) -> io::Result<Option<Taken>> {
    if asks.deadline.has_passed() {
        return Ok(take_from_dead(table, asks));
    }
    let mut taken = None;
    if let Some(spin) = asks.spin {
        spin.until(asks.deadline, || {
            taken = take_free(table, asks);
            taken.is_some()
        });
    }
    if taken.is_some() {
        return Ok(taken);
    }
    let slept = sleep(table, asks);
    // Step 4.
    if (0..table.count()).any(|index| table.permit(index).load(Ordering::Relaxed) == FREE) {
        wake(table, Wake::One);
    }
    slept
}

fn sleep(table: &impl Table, asks: &Asks<'_>) -> io::Result<Option<Taken>> {
    let mut in_vain = 0;
    let mut longest = FIRST_LOOK;
    let mut look_for_dead = false;
    loop {
        // Step 1.
        let sequence = table.sequence().load(Ordering::Acquire);
        table.sleepers().store(1, Ordering::Relaxed);
        fence(table);
        let mut taken = take_free(table, asks);
        let is_over = asks.deadline.has_passed();
        if taken.is_none() && (look_for_dead || is_over) {
            taken = take_from_dead(table, asks);
            longest = LOOK_AGAIN;
        }
        if taken.is_some() || is_over {
            return Ok(taken);
        }
        let timeout = asks.deadline.left().map_or(longest, |left| left.min(longest));
        let time_ran_out = table.sequence().sleep(sequence, timeout)?;
        in_vain += 1;
        look_for_dead = time_ran_out || in_vain % IN_VAIN == 0;
    }
}

/// Gives a permit back. Nothing happens if it isn't this owner's any more.
#[inline]
pub(crate) fn release(table: &impl Table, index: usize, word: u64) -> bool {
    let freed = table.permit(index).compare_exchange(word, FREE, Ordering::Release, Ordering::Relaxed);
    if freed.is_ok() {
        tell_sleepers(table, Wake::One);
    }
    freed.is_ok()
}

/// Step 2.
#[inline]
pub(crate) fn tell_sleepers(table: &impl Table, how_many: Wake) {
    fence(table);
    if table.sleepers().load(Ordering::Relaxed) != 0 {
        wake(table, how_many);
    }
}

/// Step 3.
#[cold]
fn wake(table: &impl Table, how_many: Wake) {
    table.sleepers().store(0, Ordering::Relaxed);
    // Release, for who reads the new number then also sees the flag cleared, and sets it after that.
    table.sequence().fetch_add(1, Ordering::Release);
    table.sequence().wake(how_many);
}

#[inline]
fn take_free(table: &impl Table, asks: &Asks<'_>) -> Option<Taken> {
    (0..table.count()).find_map(|offset| {
        let index = (asks.first + offset) % table.count();
        let is_free = table.permit(index).load(Ordering::Relaxed) == FREE;
        if is_free { take(table, index, FREE, asks.owner) } else { None }
    })
}

#[cold]
fn take_from_dead(table: &impl Table, asks: &Asks<'_>) -> Option<Taken> {
    // Who was looked at once, as many permits as it may have. This process is alive.
    let mut alive = HashSet::from([asks.owner]);
    (0..table.count()).find_map(|index| {
        let word = table.permit(index).load(Ordering::Relaxed);
        if alive.contains(&process_of(word)) {
            return None;
        }
        if word != FREE && !(asks.is_dead)(word) {
            alive.insert(process_of(word));
            return None;
        }
        take(table, index, word, asks.owner)
    })
}

#[inline]
fn take(table: &impl Table, index: usize, from: u64, owner: u64) -> Option<Taken> {
    let permit = table.permit(index);
    let mut word = in_epoch(owner, table.epoch().load(Ordering::Relaxed));
    permit.compare_exchange(from, word, Ordering::Acquire, Ordering::Relaxed).ok()?;
    loop {
        let epoch = table.epoch().load(Ordering::Relaxed);
        if is_of_epoch(word, epoch) {
            return Some(Taken { index, word, from_dead: from != FREE });
        }
        let newer = in_epoch(owner, epoch);
        permit.compare_exchange(word, newer, Ordering::Acquire, Ordering::Relaxed).ok()?;
        word = newer;
    }
}

#[inline]
fn fence<T: Table>(_: &T) {
    T::Word::fence();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::model::{DEAD, Model, explore, must_acquire};
    use loom::sync::Arc;
    use loom::thread;

    fn one_step(model: &Model, owner: u64) {
        let taken = must_acquire(model, owner);
        model.data.step();
        assert!(release(model, taken.index, taken.word));
    }

    #[test]
    fn loom_one_permit_keeps_others_out() {
        explore(|| {
            let model = Model::new(&[FREE]);
            let other = {
                let model = Arc::clone(&model);
                thread::spawn(move || one_step(&model, 1))
            };
            one_step(&model, 2);
            let taken = must_acquire(&model, 2);
            // Not joined yet: what is seen is seen by way of the permit alone.
            let steps = model.data.steps();
            assert!(steps == 1 || steps == 2, "{steps}");
            release(&*model, taken.index, taken.word);
            other.join().unwrap();
            assert_eq!(model.data.steps(), 2);
        });
    }

    #[test]
    fn loom_two_sleepers_both_wake() {
        explore(|| {
            // This thread has the permit; each of the others needs it once.
            let model = Model::new(&[3]);
            let others = [1, 2].map(|owner| {
                let model = Arc::clone(&model);
                thread::spawn(move || one_step(&model, owner))
            });
            release(&*model, 0, 3);
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(model.data.steps(), 2);
        });
    }

    #[test]
    fn loom_two_releases_wake_two() {
        explore(|| {
            // Both permits are given back at once, and neither taker gives its own back.
            let model = Model::new(&[3, 4]);
            let takers = [1, 2].map(|owner| {
                let model = Arc::clone(&model);
                thread::spawn(move || must_acquire(&model, owner).index)
            });
            release(&*model, 0, 3);
            release(&*model, 1, 4);
            let mut indices = takers.map(|taker| taker.join().unwrap());
            indices.sort_unstable();
            assert_eq!(indices, [0, 1]);
        });
    }

    #[test]
    fn loom_what_the_dead_held_goes_to_one() {
        explore(|| {
            let model = Model::restless(&[DEAD]);
            let other = {
                let model = Arc::clone(&model);
                thread::spawn(move || {
                    let taken = must_acquire(&model, 1);
                    model.data.step();
                    release(&*model, taken.index, taken.word);
                    taken.from_dead
                })
            };
            let taken = must_acquire(&model, 2);
            model.data.step();
            release(&*model, taken.index, taken.word);
            assert!(taken.from_dead != other.join().unwrap(), "exactly one is told");
            assert_eq!(model.data.steps(), 2);
        });
    }
}
