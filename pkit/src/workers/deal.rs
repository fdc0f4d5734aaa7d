//! Dealing out tasks, and taking in what the workers say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common_ipc::link::{Execution, LinkError};

use crate::workers::core::{Core, State};
use crate::workers::errors::WorkError;
use crate::workers::member::{Heard, LOOK_AGAIN, Place, Verdict};
use crate::workers::settings::WEIGH_AFTER;
use crate::workers::task::Task;

/// So long tasks may wait behind one that takes its time while another worker has nothing to do.
const EVEN_OUT_AFTER: Duration = Duration::from_millis(1);

impl Core {
    /// Takes in what all workers have said, and deals out what is waiting.
    pub(crate) fn take_in(&self, state: &mut State) {
        for place in 0..state.places.len() {
            self.take_in_of(state, place);
        }
        if std::mem::take(&mut state.is_to_deal) {
            self.deal(state);
            self.even_out_later(state);
        }
    }

    /// Takes in what one has said. Whether that makes room for others is for [`take_in`](Core::take_in) to see to, which
    /// follows sooner or later.
    pub(crate) fn take_in_of(&self, state: &mut State, place: usize) {
        let Place::Up(member) = &mut state.places[place] else { return };
        if !member.worker.has_something() {
            return;
        }
        state.is_to_deal = true;
        let now = Instant::now();
        let mut answered = 0;
        member.vigil.was_late = false;
        loop {
            match member.hear_one() {
                Heard::Nothing => break,
                Heard::Ready => {
                    member.is_ready = true;
                    member.ready_by = None;
                    member.first_since = now;
                    member.old_at = self.settings.recycle.old_at(now);
                    member.pace.begins(now);
                    if std::mem::take(&mut state.failures).0 > 0 {
                        // Other places that have none may have one again.
                        self.sound_alarm();
                    }
                    wake_at(self, &mut state.wakes_at, member.old_at);
                }
                Heard::Done(Some(task), _) if matches!(member.verdict, Some(Verdict::Cancelled)) => {
                    // It came to its end in the moment in which it was killed. Whoever cancelled it was told that it hadn't.
                    state.statistics.cancelled += 1;
                    let cancelled = WorkError::Cancelled { execution: Execution::Ran };
                    task.finish(Err(cancelled), 0, &mut state.told);
                }
                Heard::Done(task, reply) => {
                    answered += 1;
                    if let Some(task) = task {
                        task.finish(Ok(reply), 0, &mut state.told);
                    }
                }
            }
        }
        wake_at(self, &mut state.wakes_at, member.cut_off_at());
        if answered > 0 {
            member.pace.did(answered, now, !member.tasks.is_empty());
            member.first_since = now;
            member.done += answered;
            state.statistics.answered += answered;
            state.idle_deaths = 0;
            if self.settings.recycle.memory.is_some() && member.weigh_at.is_none() {
                member.weigh_at = now.checked_add(WEIGH_AFTER);
                wake_at(self, &mut state.wakes_at, member.weigh_at);
            }
            wake_at(self, &mut state.wakes_at, member.limit_at());
            let is_used_up = self.settings.recycle.tasks.is_some_and(|most| member.done >= most)
                || member.old_at.is_some_and(|at| at <= now);
            if is_used_up && !member.is_retiring {
                self.retire(state, place);
            }
            self.let_go_if_done(state, place);
            self.note_plenty(state);
        }
    }

    /// Sends waiting tasks to workers that have room, the one with the fewest first.
    pub(crate) fn deal(&self, state: &mut State) {
        if state.queue.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut full = Vec::new();
        while let Some(task) = state.queue.front() {
            let up = state.places.iter_mut().filter_map(|place| match place {
                Place::Up(member) if member.has_room_for(task) && !full.contains(&member.token) => {
                    Some(member)
                }
                _ => None,
            });
            let Some(member) =
                up.min_by_key(|member| (!member.is_ready, member.vigil.is_doubted(), member.tasks.len()))
            else {
                break;
            };
            if state.are_asked && member.tasks.is_empty() {
                member.worker.is_to_ring(true);
            }
            match member.send(task, now) {
                Ok(()) => {
                    wake_at(self, &mut state.wakes_at, member.limit_at().or(Some(now + LOOK_AGAIN)));
                    // What has an end must not wait behind what it would lose.
                    state.queued_bytes = state.queued_bytes.saturating_sub(task.size());
                    state.queue.pop_front();
                }
                Err(LinkError::Full) => {
                    full.push(member.token);
                    if member.tasks.is_empty() {
                        // Of what was taken back from it. It makes room without a word.
                        member.vigil.is_full = true;
                        state.is_to_deal = true;
                        wake_at(self, &mut state.wakes_at, Some(now + EVEN_OUT_AFTER));
                    }
                }
                Err(LinkError::Closed) => {
                    member.is_cut_off("it has closed its link".into(), now);
                    wake_at(self, &mut state.wakes_at, member.cut_off_at());
                }
                Err(error @ (LinkError::Garbled(_) | LinkError::Broken(_))) => {
                    member.condemn(Verdict::Lost(error.to_string().into()));
                }
                Err(error) => {
                    state.queued_bytes = state.queued_bytes.saturating_sub(task.size());
                    if let Some(task) = state.queue.pop_front() {
                        state.give_up(&task, error.into(), 0);
                    }
                }
            }
        }
    }

    /// Puts back into the queue what a worker hasn't begun, if that can be.
    pub(crate) fn take_back(&self, state: &mut State, place: usize) {
        if let Place::Up(member) = &mut state.places[place] {
            if member.has_bound() {
                return;
            }
            let recalled = member.recall();
            self.queue_again(state, recalled);
        }
    }

    /// Before all others that wait, in the same order.
    pub(crate) fn queue_again(&self, state: &mut State, tasks: Vec<Arc<Task>>) {
        state.is_to_deal = true;
        for task in tasks.into_iter().rev() {
            if task.can_be_sent() {
                state.statistics.moved += 1;
                state.queued_bytes += task.size();
                state.queue.push_front(task);
            } else {
                state.give_up(&task, WorkError::Gone, 0);
            }
        }
    }

    /// If one worker has nothing to do, and nothing is waiting but behind other workers' tasks.
    fn even_out_later(&self, state: &mut State) {
        if state.even_out_at.is_none() && can_be_evened_out(state) {
            state.even_out_at = Some(Instant::now() + EVEN_OUT_AFTER);
            wake_at(self, &mut state.wakes_at, state.even_out_at);
        }
    }

    /// Takes tasks back from those workers that are at one that takes its time, for those that have nothing to do.
    pub(crate) fn even_out(&self, state: &mut State) {
        state.even_out_at = None;
        if !can_be_evened_out(state) {
            return;
        }
        let now = Instant::now();
        for place in 0..state.places.len() {
            let Place::Up(member) = &state.places[place] else { continue };
            let is_long = now.saturating_duration_since(member.first_since) >= EVEN_OUT_AFTER / 2;
            if is_long && member.has_some_for_others() {
                self.take_back(state, place);
            }
        }
        self.deal(state);
        self.even_out_later(state);
    }

    fn note_plenty(&self, state: &State) {
        let depth = |place: &Place| match place {
            Place::Up(member) => member.pace.depth(),
            _ => 1,
        };
        self.plenty.store(2 * state.places.iter().map(depth).sum::<usize>(), Ordering::Relaxed);
    }
}

fn can_be_evened_out(state: &State) -> bool {
    let mut up = state.places.iter().filter_map(|place| match place {
        Place::Up(member) => Some(member),
        _ => None,
    });
    state.queue.is_empty()
        && up.clone().any(|member| member.is_idle())
        && up.any(|member| member.has_some_for_others())
}

/// Has the thread wake at that time, if there is one, and it would sleep for longer.
pub(crate) fn wake_at(core: &Core, wakes_at: &mut Option<Instant>, at: Option<Instant>) {
    let Some(at) = at else { return };
    if wakes_at.is_none_or(|wakes| at < wakes) {
        *wakes_at = Some(at);
        core.sound_alarm();
    }
}
