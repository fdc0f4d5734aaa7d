//! How workers come and go, and what becomes of the tasks of those that go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::process::{Child, ExitStatus, JoinError, Signal, Worker};

use crate::measure;
use crate::workers::core::{Core, State};
use crate::workers::deal::wake_at;
use crate::workers::errors::WorkError;
use crate::workers::member::{Member, Place, Verdict, Vigil};
use crate::workers::pace::Pace;
use crate::workers::task::Task;

/// After so many workers in a row that weren't there in the end, tasks aren't left waiting for one.
const FAILURES_MAX: u32 = 3;
/// How long to wait after the first of them, ...
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// ... and at the most: twice as long after each.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// How long the kernel may take over a SIGKILL.
pub(crate) const DEATH_PATIENCE: Duration = Duration::from_secs(2);

impl Core {
    /// Takes in a worker that was just started.
    pub(crate) fn install(&self, state: &mut State, place: usize, worker: Worker) {
        let now = Instant::now();
        let token = state.next_token;
        state.next_token += 1;
        let within = self.settings.options.ready_within();
        let mut member = Member {
            worker,
            token,
            tasks: Default::default(),
            is_ready: false,
            is_retiring: false,
            verdict: None,
            is_killed: false,
            cut_off: None,
            pace: Pace::default(),
            first_since: now,
            done: 0,
            old_at: None,
            weigh_at: None,
            ready_by: now.checked_add(within),
            vigil: Vigil::default(),
            oom_kills: measure::oom_kills(),
        };
        state.statistics.started += 1;
        if let Err(error) = member.worker.watch(&self.poller, token) {
            // It can't be looked after.
            member.condemn(Verdict::Lost(format!("it can't be watched: {error}").into()));
            state.places[place] = Place::Up(Box::new(member));
            let status = self.wait_for_the_end(state, place);
            return self.bury(state, place, status);
        }
        // It says that it is ready.
        member.worker.is_to_ring(state.are_asked);
        wake_at(self, &mut state.wakes_at, member.ready_by);
        state.places[place] = Place::Up(Box::new(member));
        self.take_in_of(state, place);
        self.deal(state);
    }

    fn wait_for_the_end(&self, state: &State, place: usize) -> ExitStatus {
        let Place::Up(member) = &state.places[place] else { return ExitStatus::Unknown };
        let ended = member.worker.child().wait_timeout(DEATH_PATIENCE);
        ended.ok().flatten().unwrap_or(ExitStatus::Unknown)
    }

    /// There is none in the end.
    pub(crate) fn failed_once_more(&self, state: &mut State, place: usize, why: WorkError) {
        let count = state.failures.0.saturating_add(1);
        state.places[place] = Place::Down(Instant::now() + backoff(count));
        state.failures = (count, Some(why.clone()));
        if count >= FAILURES_MAX && !state.somebody_works() {
            state.queued_bytes = 0;
            for task in std::mem::take(&mut state.queue) {
                state.give_up(&task, why.clone(), 0);
            }
        }
    }

    /// A worker has ended. The tasks that it hadn't begun wait again; the one that it was at fails, or is begun once more.
    pub(crate) fn bury(&self, state: &mut State, place: usize, status: ExitStatus) {
        // What it had said before.
        self.take_in_of(state, place);
        let gone = std::mem::replace(&mut state.places[place], Place::Down(Instant::now()));
        let Place::Up(mut member) = gone else { return };
        member.unwatch(&self.poller);
        let recalled = member.recall();
        let begun = std::mem::take(&mut member.tasks);
        if member.is_ready && member.done == 0 && begun.is_empty() {
            // If that goes on, so would the starting, and nothing else.
            state.idle_deaths = state.idle_deaths.saturating_add(1);
            state.places[place] = Place::Down(Instant::now() + backoff(state.idle_deaths));
        }
        let mut again = Vec::new();
        for (turn, task) in begun.into_iter().enumerate() {
            let verdict = member.verdict.as_ref().filter(|_| turn == 0);
            if let Some(task) = self.lose(state, &member, verdict, &status, task) {
                again.push(task);
            }
        }
        state.statistics.died += 1;
        again.extend(recalled);
        self.queue_again(state, again);
        if !member.is_ready {
            let why = match &member.verdict {
                Some(verdict) => verdict.of_task(1),
                None => WorkError::NotReady { why: format!("it {status}").into() },
            };
            let why = match why {
                WorkError::Lost { why, .. } => WorkError::NotReady { why },
                why => why,
            };
            self.failed_once_more(state, place, why);
        }
        self.deal(state);
        self.sound_alarm();
    }

    /// A task has lost its worker. It is returned if it is to have another one.
    fn lose(
        &self,
        state: &mut State,
        member: &Member,
        verdict: Option<&Verdict>,
        status: &ExitStatus,
        task: Arc<Task>,
    ) -> Option<Arc<Task>> {
        let (attempts, once_more) = task.count_attempt();
        let is_final = matches!(verdict, Some(Verdict::TimedOut(_) | Verdict::Cancelled));
        if once_more && !is_final && task.can_be_sent() {
            state.statistics.retried += 1;
            return Some(task);
        }
        match verdict {
            Some(Verdict::TimedOut(_)) => state.statistics.timed_out += 1,
            Some(Verdict::Cancelled) => state.statistics.cancelled += 1,
            _ => state.statistics.lost += 1,
        }
        let error = verdict.map_or_else(
            || WorkError::Died {
                status: told_by(&member.child(), status),
                out_of_memory: status.signal() == Some(Signal::KILL)
                    && measure::oom_kills() > member.oom_kills,
                attempts,
            },
            |verdict| verdict.of_task(attempts),
        );
        task.finish(Err(error), member.worker.item(task.number), &mut state.told);
        None
    }

    /// A worker is to get no more tasks, and to end when it has done what it is at.
    pub(crate) fn retire(&self, state: &mut State, place: usize) {
        self.take_back(state, place);
        if let Place::Up(member) = &mut state.places[place] {
            member.is_retiring = true;
            state.statistics.recycled += 1;
        }
        self.let_go_if_done(state, place);
    }

    pub(crate) fn let_go_if_done(&self, state: &mut State, place: usize) {
        let is_done =
            |member: &Member| member.is_retiring && member.tasks.is_empty() && member.verdict.is_none();
        if matches!(&state.places[place], Place::Up(member) if is_done(member)) {
            self.let_go(state, place);
        }
    }

    /// A worker that has nothing to do ends by itself, in its time.
    pub(crate) fn let_go(&self, state: &mut State, place: usize) {
        if !matches!(state.places[place], Place::Up(_)) {
            return;
        }
        let now = Instant::now();
        let gone = std::mem::replace(&mut state.places[place], Place::Down(now));
        let Place::Up(member) = gone else { return };
        member.unwatch(&self.poller);
        // Of those that have ended nothing is kept, or fast replacements would use up the descriptors.
        state.leaving.retain(|(child, _)| !matches!(child.try_wait(), Ok(Some(_))));
        state.leaving.push((member.child(), now + self.settings.grace));
        // By this it learns of it.
        drop(member);
        wake_at(self, &mut state.wakes_at, Some(now));
    }

    /// A worker has had its time for its first task, or for getting ready. It may have just done it.
    pub(crate) fn time_out(&self, state: &mut State, place: usize, now: Instant) {
        let is_late = |state: &State| match &state.places[place] {
            Place::Up(member) => member.limit_at().is_some_and(|at| at <= now),
            _ => false,
        };
        if let Place::Up(member) = &mut state.places[place] {
            let has_begun_nothing = member.worker.waiting() >= member.tasks.len();
            if has_begun_nothing && member.limit_at().is_some_and(|at| at <= now) {
                // It may be stopped: others come first until it says something.
                member.vigil.was_late = true;
                if member.has_bound() {
                    // What can't be taken back has its time from when it is begun.
                    member.first_since = now;
                }
            }
        }
        if is_late(state) {
            // What follows isn't begun any more: it would be killed along.
            self.take_back(state, place);
            self.take_in_of(state, place);
            if is_late(state) {
                if let Place::Up(member) = &mut state.places[place] {
                    let limit = member.tasks.front().and_then(|task| task.terms.limit).unwrap_or_default();
                    member.condemn(Verdict::TimedOut(limit));
                }
            }
            self.deal(state);
        }
        if let Place::Up(member) = &mut state.places[place] {
            if !member.is_ready && !member.is_killed && member.ready_by.is_some_and(|by| by <= now) {
                let within = self.settings.options.ready_within();
                member.condemn(Verdict::NotReady(within));
            }
        }
    }
}

/// How long to wait after so many failures in a row.
fn backoff(count: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << count.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

/// In a program whose panics abort, the signal alone wouldn't say what the process said before.
fn told_by(child: &Child, status: &ExitStatus) -> ExitStatus {
    match child.output::<()>() {
        Err(JoinError::Panicked(report)) => ExitStatus::Panicked(report),
        _ => status.clone(),
    }
}
