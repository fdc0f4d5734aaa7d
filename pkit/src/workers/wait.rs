//! Waiting: with a look at the workers for as long as that is cheap, and then asleep.

use std::time::{Duration, Instant};

use crate::workers::core::{ATTENTION, Core, State};
use crate::workers::deal::wake_at;
use crate::workers::task::{Bell, Sleeper};

impl Core {
    /// Waits until it is so, which the bell rings for, and says whether that was in time. Takes in replies meanwhile.
    pub(crate) fn wait_for(&self, bell: &Bell, deadline: Option<Instant>, is_so: impl Fn() -> bool) -> bool {
        if is_so() {
            return true;
        }
        let mut spinner = self.with(|state| {
            state.lookers += 1;
            state.ask(false);
            state.spinners.pop().unwrap_or_default()
        });
        if deadline.is_none_or(|deadline| deadline > Instant::now()) {
            spinner.spin(|| {
                if !is_so() {
                    self.look();
                }
                is_so()
            });
        }
        self.with(|state| {
            state.spinners.push(spinner);
            state.lookers -= 1;
            self.take_in(state);
            if state.lookers > 0 {
                return;
            }
            if is_so() {
                // There may be more of it soon.
                state.was_looked = true;
                wake_at(self, &mut state.wakes_at, Some(Instant::now() + ATTENTION));
            } else {
                // Asked first, then looked at: what is said in between rings.
                state.ask(true);
                self.take_in(state);
            }
        });
        if is_so() {
            return true;
        }
        let in_time = loop {
            bell.add(Sleeper::Thread(std::thread::current()));
            if is_so() {
                break true;
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(Duration::ZERO) => break false,
                Some(left) => std::thread::park_timeout(left),
            }
            if is_so() {
                break true;
            }
            bell.remove_this_thread();
        };
        bell.remove_this_thread();
        in_time
    }

    /// Takes in what is there, unless somebody else is at it.
    fn look(&self) {
        let Some(mut state) = self.state.try_lock() else { return };
        self.take_in(&mut state);
        let told = std::mem::take(&mut state.told);
        if state.waiters > 0 {
            self.changed.notify_all();
        }
        drop(state);
        told.wake();
    }

    /// Waits with the lock until it is so, and says whether that was in time.
    pub(crate) fn wait_until(
        &self,
        deadline: Option<Instant>,
        mut is_so: impl FnMut(&mut State) -> bool,
    ) -> bool {
        let mut state = self.state.lock();
        loop {
            if is_so(&mut state) {
                return true;
            }
            state.waiters += 1;
            let in_time = match deadline {
                None => {
                    self.changed.wait(&mut state);
                    true
                }
                Some(deadline) => !self.changed.wait_until(&mut state, deadline).timed_out(),
            };
            state.waiters -= 1;
            if !in_time {
                return is_so(&mut state);
            }
        }
    }
}
