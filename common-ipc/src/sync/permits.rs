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

use std::collections::HashSet;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::link::poll::Deadline;
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
    /// The owner of each permit.
    fn permit(&self, index: usize) -> &Self::Long;
    fn count(&self) -> usize;
}

/// A permit that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) index: usize,
    pub(crate) from_dead: bool,
}

/// Who asks, and what for.
pub(crate) struct Asks<'a> {
    /// Not FREE.
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
        wake_one(table);
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
pub(crate) fn release(table: &impl Table, index: usize, owner: u64) {
    let freed = table.permit(index).compare_exchange(owner, FREE, Ordering::Release, Ordering::Relaxed);
    if freed.is_err() {
        return;
    }
    // Step 2.
    fence(table);
    if table.sleepers().load(Ordering::Relaxed) != 0 {
        wake_one(table);
    }
}

/// Step 3.
#[cold]
fn wake_one(table: &impl Table) {
    table.sleepers().store(0, Ordering::Relaxed);
    // Release, for who reads the new number then also sees the flag cleared, and sets it after that.
    table.sequence().fetch_add(1, Ordering::Release);
    table.sequence().wake(Wake::One);
}

#[inline]
fn take_free(table: &impl Table, asks: &Asks<'_>) -> Option<Taken> {
    (0..table.count()).find_map(|offset| {
        let index = (asks.first + offset) % table.count();
        let is_free = table.permit(index).load(Ordering::Relaxed) == FREE;
        (is_free && take(table, index, FREE, asks.owner)).then_some(Taken { index, from_dead: false })
    })
}

#[cold]
fn take_from_dead(table: &impl Table, asks: &Asks<'_>) -> Option<Taken> {
    // Who was looked at once, as many permits as it may have. This process is alive.
    let mut alive = HashSet::from([asks.owner]);
    (0..table.count()).find_map(|index| {
        let owner = table.permit(index).load(Ordering::Relaxed);
        if alive.contains(&owner) {
            return None;
        }
        let from_dead = owner != FREE;
        if from_dead && !(asks.is_dead)(owner) {
            alive.insert(owner);
            return None;
        }
        take(table, index, owner, asks.owner).then_some(Taken { index, from_dead })
    })
}

#[inline]
fn take(table: &impl Table, index: usize, from: u64, owner: u64) -> bool {
    table.permit(index).compare_exchange(from, owner, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

#[inline]
fn fence<T: Table>(_: &T) {
    T::Word::fence();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::model::{Shared, Word, explore};
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    struct Model {
        sleepers: Word,
        sequence: Word,
        permits: Vec<AtomicU64>,
        data: Shared,
    }

    impl Model {
        fn new(owners: &[u64]) -> Arc<Model> {
            Arc::new(Model {
                sleepers: Word::new(0),
                sequence: Word::new(0),
                permits: owners.iter().map(|owner| AtomicU64::new(*owner)).collect(),
                data: Shared::new(),
            })
        }

        /// Whose sleepers wake by themselves.
        fn restless(owners: &[u64]) -> Arc<Model> {
            let sleepers = Word::new(0);
            let permits = owners.iter().map(|owner| AtomicU64::new(*owner)).collect();
            Arc::new(Model { sleepers, sequence: Word::restless(0), permits, data: Shared::new() })
        }
    }

    impl Table for Model {
        type Word = Word;
        type Long = AtomicU64;

        fn sleepers(&self) -> &Word {
            &self.sleepers
        }

        fn sequence(&self) -> &Word {
            &self.sequence
        }

        fn permit(&self, index: usize) -> &AtomicU64 {
            &self.permits[index]
        }

        fn count(&self) -> usize {
            self.permits.len()
        }
    }

    const DEAD: u64 = 99;

    fn must_acquire(model: &Model, owner: u64) -> Taken {
        let is_dead = |owner| owner == DEAD;
        let asks = Asks { owner, first: 0, deadline: Deadline::NEVER, spin: None, is_dead: &is_dead };
        acquire(model, &asks).unwrap().unwrap()
    }

    fn one_step(model: &Model, owner: u64) {
        let taken = must_acquire(model, owner);
        model.data.step();
        release(model, taken.index, owner);
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
            release(&*model, taken.index, 2);
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
                    release(&*model, taken.index, 1);
                    taken.from_dead
                })
            };
            let taken = must_acquire(&model, 2);
            model.data.step();
            release(&*model, taken.index, 2);
            assert!(taken.from_dead != other.join().unwrap(), "exactly one is told");
            assert_eq!(model.data.steps(), 2);
        });
    }
}
