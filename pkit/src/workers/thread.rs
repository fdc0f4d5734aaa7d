//! The pool's thread: it sleeps until a worker rings or ends, or until something is due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::process::{ExitStatus, LibraryThread, start_library_thread};

use crate::measure;
use crate::workers::core::{ALARM, ATTENTION, Core, Phase, State};
use crate::workers::end::kill_all;
use crate::workers::errors::WorkError;
use crate::workers::member::{Place, Verdict};

/// Starts it.
pub(crate) fn start(core: &Arc<Core>) -> std::io::Result<()> {
    core.with(|state| state.thread_runs = true);
    let own = Arc::clone(core);
    let started = start_library_thread("pkit-workers", move |thread| {
        // Should it panic, whoever waits for its end isn't to wait in vain.
        let runs = Runs(own);
        run(&runs.0, thread);
    });
    if started.is_err() {
        core.with(|state| state.thread_runs = false);
    }
    started
}

struct Runs(Arc<Core>);

impl Drop for Runs {
    fn drop(&mut self) {
        let is_left = self.0.with(|state| {
            state.thread_runs = false;
            state.phase != Phase::Ended
        });
        if is_left {
            self.0.break_off("its thread has panicked".into());
        }
    }
}

fn run(core: &Arc<Core>, thread: &mut LibraryThread) {
    let mut tokens = Vec::new();
    loop {
        let (next, told) = core.with_told(|state| {
            core.see_to_times(state);
            let starts = core.due_starts(state);
            state.wakes_at = core.next_time(state);
            (state.phase, starts, state.wakes_at)
        });
        let (phase, starts, wakes_at) = next;
        if !told.is_empty() {
            // What is woken may be other people's code.
            thread.call(|| told.wake());
        }
        if phase == Phase::Ended {
            return;
        }
        if !starts.is_empty() {
            start_workers(core, thread, starts);
        }
        tokens.clear();
        let timeout = wakes_at.map(|at| at.saturating_duration_since(Instant::now()));
        let slept = thread.sleep(|| core.poller.wait(timeout, &mut tokens));
        if let Err(error) = slept {
            return core.break_off(format!("its workers can't be waited for: {error}").into());
        }
        let ((), told) = core.with_told(|state| {
            for &token in &tokens {
                if token == ALARM {
                    if let Err(error) = core.alarm.clear() {
                        log::error!("the alarm of a pool can't be silenced: {error}");
                    }
                } else {
                    core.look_at(state, token);
                }
            }
            core.take_in(state);
        });
        if !told.is_empty() {
            thread.call(|| told.wake());
        }
    }
}

/// On a thread of their own: a start waits for the zygote, and should that be stuck, everything else would wait as well.
fn start_workers(core: &Arc<Core>, thread: &mut LibraryThread, places: Vec<usize>) {
    let (own, their) = (Arc::clone(core), places.clone());
    let started = start_library_thread("pkit-start", move |thread| {
        for place in their {
            thread.call(|| own.start_at(place));
        }
    });
    if let Err(error) = started {
        log::warn!("a pool starts its workers without a thread for that: {error}");
        for place in places {
            thread.call(|| core.start_at(place));
        }
    }
}

impl Core {
    /// A worker has rung, or has ended.
    fn look_at(&self, state: &mut State, token: u64) {
        let is_it = |place: &Place| matches!(place, Place::Up(member) if member.token == token);
        let Some(place) = state.places.iter().position(is_it) else { return };
        let Place::Up(member) = &mut state.places[place] else { return };
        let is_cut_off = member.worker.hear();
        if state.are_asked {
            // It rings once. Asked first, then looked at.
            member.worker.is_to_ring(true);
        }
        let ended = member.worker.child().try_wait();
        self.take_in_of(state, place);
        let Place::Up(member) = &mut state.places[place] else { return };
        match (ended, is_cut_off) {
            (Ok(Some(status)), _) => self.bury(state, place, status),
            (Err(error), _) => {
                log::error!("a pool can't see how a worker has ended: {error}");
                self.bury(state, place, ExitStatus::Unknown);
            }
            (Ok(None), Ok(false)) => {}
            (Ok(None), cut_off) => {
                let why = cut_off.map_or_else(|error| error.to_string(), |_| CUT_OFF.to_owned());
                // It would ring on; its end is still watched. As a rule it is on its way there.
                member.worker.watch_end_only(&self.poller);
                member.is_cut_off(why.into(), Instant::now());
            }
        }
    }

    /// Does what is due.
    fn see_to_times(&self, state: &mut State) {
        let now = Instant::now();
        if !state.are_asked && state.lookers == 0 && !std::mem::take(&mut state.was_looked) {
            state.ask(true);
        }
        self.take_in(state);
        for place in 0..state.places.len() {
            self.time_out(state, place, now);
            let Place::Up(member) = &mut state.places[place] else { continue };
            if let Some(why) =
                member.cut_off.as_ref().filter(|(at, _)| *at <= now).map(|(_, why)| Arc::clone(why))
            {
                if !member.is_killed {
                    member.condemn(Verdict::Lost(why));
                }
            }
            member.look_whether_stuck(now);
            let mut is_worn = member.done > 0 && member.old_at.is_some_and(|at| at <= now);
            if member.weigh_at.is_some_and(|at| at <= now) {
                member.weigh_at = None;
                let resident = measure::resident(member.worker.child());
                is_worn |= resident > self.settings.recycle.memory;
            }
            if is_worn && !member.is_retiring && member.verdict.is_none() {
                self.retire(state, place);
                self.deal(state);
            }
        }
        if state.even_out_at.is_some_and(|at| at <= now) {
            self.even_out(state);
        }
        state.leaving.retain(|(child, until)| {
            if *until > now {
                return !matches!(child.try_wait(), Ok(Some(_)));
            }
            // One that has ended is collected in any case.
            if let Err(error) = child.kill() {
                log::error!("worker {} can't be killed: {error}", child.id());
            }
            false
        });
    }

    /// The places for which a worker is to be started now.
    fn due_starts(&self, state: &mut State) -> Vec<usize> {
        let now = Instant::now();
        let mut due = Vec::new();
        if !state.wants_workers() || self.is_crowded(state) {
            return due;
        }
        for (place, at) in state.places.iter_mut().enumerate() {
            if matches!(at, Place::Down(at) if *at <= now) {
                *at = Place::Starting;
                due.push(place);
            }
        }
        due
    }

    /// So many are on their way out that none is started before one of them has ended: they take memory, too.
    fn is_crowded(&self, state: &State) -> bool {
        state.leaving.len() > self.settings.size
    }

    /// When something is due next.
    fn next_time(&self, state: &State) -> Option<Instant> {
        let down_counts = state.wants_workers() && !self.is_crowded(state);
        let of_places = state.places.iter().filter_map(|place| match place {
            Place::Up(member) if member.is_killed => None,
            Place::Up(member) => {
                let old_at = member.old_at.filter(|_| !member.is_retiring && member.done > 0);
                let times = [
                    member.limit_at(),
                    old_at,
                    member.weigh_at,
                    member.ready_by,
                    member.cut_off_at(),
                    member.vigil.next,
                ];
                times.into_iter().flatten().min()
            }
            Place::Down(at) if down_counts => Some(*at),
            _ => None,
        });
        let crowded = self.is_crowded(state).then(|| Instant::now() + CROWDED);
        let of_leaving = state.leaving.iter().map(|(_, until)| *until);
        let attention = (!state.are_asked).then(|| Instant::now() + ATTENTION);
        of_places.chain(of_leaving).chain(crowded).chain(state.even_out_at).chain(attention).min()
    }

    fn start_at(&self, place: usize) {
        let started = (self.start)(&self.settings);
        let late = self.with(|state| {
            match started {
                Ok(worker) if state.phase == Phase::Ended => return Some(worker),
                Ok(worker) => self.install(state, place, worker),
                Err(error) => self.failed_once_more(state, place, WorkError::Start(Arc::new(error))),
            }
            None
        });
        if let Some(worker) = late {
            // Whoever has ended the pool waits for this.
            if let Err(error) = kill_all(&[worker.child().clone()]) {
                log::error!("worker {} can't be killed: {error}", worker.child().id());
            }
            self.with(|state| state.places[place] = Place::Down(Instant::now()));
        }
        // Whatever has become of it, times have changed.
        self.sound_alarm();
    }
}

/// How often to look whether one has ended meanwhile.
const CROWDED: Duration = Duration::from_millis(10);

const CUT_OFF: &str = "it has cut itself off: it closed its descriptors, or executed another program";
