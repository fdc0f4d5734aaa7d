//! What is done to permits beside taking them and giving them back: keeping them, and freeing those of others.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use crate::sync::owner::{is_kept_by, is_of_epoch, kept, process_of};
use crate::sync::permits::{FREE, Table, Taken, release, tell_sleepers};
use crate::sync::words::{FutexWord, LongWord, Wake};

/// From now on a permit stays without a guard. Nothing happens if it isn't this owner's any more.
pub(crate) fn keep(table: &impl Table, taken: &Taken) {
    let (before, after) = (taken.word, kept(taken.word));
    let _ = table.permit(taken.index).compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
}

/// Gives back one of the permits that this process keeps, if there is one.
pub(crate) fn release_kept(table: &impl Table, owner: u64) -> bool {
    (0..table.count()).any(|index| {
        let word = table.permit(index).load(Ordering::Relaxed);
        is_kept_by(word, owner) && release(table, index, word)
    })
}

/// Frees the permits of the dead, and says how many.
pub(crate) fn reclaim(table: &impl Table, owner: u64, is_dead: &dyn Fn(u64) -> bool) -> usize {
    let mut alive = HashSet::from([owner]);
    let freed = (0..table.count()).filter(|&index| {
        let word = table.permit(index).load(Ordering::Relaxed);
        if word == FREE || alive.contains(&process_of(word)) {
            return false;
        }
        if !is_dead(word) {
            alive.insert(process_of(word));
            return false;
        }
        table.permit(index).compare_exchange(word, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
    });
    let freed = freed.count();
    if freed > 0 {
        tell_sleepers(table, Wake::All);
    }
    freed
}

/// Frees all permits of earlier epochs.
pub(crate) fn reset(table: &impl Table) {
    let epoch = table.epoch().fetch_add(1, Ordering::AcqRel).wrapping_add(1);
    for index in 0..table.count() {
        let permit = table.permit(index);
        let mut word = permit.load(Ordering::Relaxed);
        while word != FREE && !is_of_epoch(word, epoch) {
            // Release, for who takes it then sees the new epoch.
            match permit.compare_exchange(word, FREE, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
    }
    tell_sleepers(table, Wake::All);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::model::{DEAD, Model, explore, must_acquire};
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_a_reset_wakes_those_who_sleep() {
        explore(|| {
            // Somebody has both, and gives neither back.
            let model = Model::new(&[9, 9]);
            let takers = [1, 2].map(|owner| {
                let model = Arc::clone(&model);
                thread::spawn(move || must_acquire(&model, owner).index)
            });
            reset(&*model);
            let mut indices = takers.map(|taker| taker.join().unwrap());
            indices.sort_unstable();
            assert_eq!(indices, [0, 1]);
        });
    }

    #[test]
    fn loom_what_is_reclaimed_wakes_those_who_sleep() {
        explore(|| {
            let model = Model::new(&[DEAD, DEAD]);
            let takers = [1, 2].map(|owner| {
                let model = Arc::clone(&model);
                thread::spawn(move || must_acquire(&model, owner).from_dead)
            });
            let freed = reclaim(&*model, 3, &|word| word == DEAD);
            for taker in takers {
                assert!(!taker.join().unwrap(), "they don't look for the dead here");
            }
            assert_eq!(freed, 2);
        });
    }

    #[test]
    fn loom_a_permit_from_before_a_reset_frees_nothing() {
        explore(|| {
            let model = Model::new(&[FREE]);
            let old = must_acquire(&model, 1);
            // The same process takes the place again, as soon as it is free.
            let other = {
                let model = Arc::clone(&model);
                thread::spawn(move || {
                    let taken = must_acquire(&model, 1);
                    assert!(release(&*model, taken.index, taken.word), "it was freed by the void one");
                })
            };
            reset(&*model);
            // It may meet the other's take halfway, which then takes it once more.
            release(&*model, old.index, old.word);
            other.join().unwrap();
        });
    }

    #[test]
    fn loom_a_permit_is_kept_or_reset() {
        explore(|| {
            let model = Model::new(&[FREE]);
            let taken = must_acquire(&model, 1);
            let other = {
                let model = Arc::clone(&model);
                thread::spawn(move || reset(&*model))
            };
            keep(&*model, &taken);
            let released = release_kept(&*model, 1);
            other.join().unwrap();
            assert!(!release_kept(&*model, 1) && !release(&*model, taken.index, taken.word));
            // Whichever it was, once.
            assert_eq!(model.permits[0].load(Ordering::Relaxed), FREE, "{released}");
        });
    }
}
