//! The pool's end: all at once, or when all is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::link::Execution;
use common_ipc::process::{Child, ChildError, Worker, stop_all};

use crate::workers::core::{Core, Phase, State};
use crate::workers::errors::WorkError;
use crate::workers::life::DEATH_PATIENCE;
use crate::workers::member::Place;

impl Core {
    /// Ends all of it: what waits isn't begun, and what is being done is stopped, with so much grace. When somebody else
    /// is at that already, it is as if both had asked: the shorter grace counts.
    pub(crate) fn end(&self, grace: Duration) -> Result<(), WorkError> {
        self.check()?;
        let (children, gone) = self.with(|state| self.give_up_all(state, None));
        self.sound_alarm();
        let stopped = if grace.is_zero() {
            let killed = kill_all(&children);
            // One that learnt before that nobody has tasks for it would begin to end by itself.
            drop(gone);
            killed
        } else {
            drop(gone);
            stop_all(&children, grace)
        };
        self.wait_for_threads();
        Ok(stopped?)
    }

    /// Nobody looks after the workers any more: they are killed, and whoever waits is told why.
    pub(crate) fn break_off(&self, why: Arc<str>) {
        log::error!("a pool of workers is ended: {why}");
        let (children, gone) = self.with(|state| self.give_up_all(state, Some(why)));
        for child in &children {
            if let Err(error) = child.kill() {
                log::error!("worker {} can't be killed: {error}", child.id());
            }
        }
        drop(gone);
    }

    /// Gives up all tasks and all workers. Returns those that are to be ended, and what must live until they are told.
    fn give_up_all(&self, state: &mut State, why: Option<Arc<str>>) -> (Vec<Child>, Vec<Worker>) {
        state.phase = Phase::Ended;
        self.take_in(state);
        let mut left: Vec<_> = std::mem::take(&mut state.queue).into();
        let mut gone = Vec::new();
        for place in 0..state.places.len() {
            // One that is being started is killed by whoever starts it.
            if matches!(state.places[place], Place::Starting) {
                continue;
            }
            let was = std::mem::replace(&mut state.places[place], Place::Down(Instant::now()));
            let Place::Up(mut member) = was else { continue };
            member.unwatch(&self.poller);
            left.extend(member.recall());
            for task in std::mem::take(&mut member.tasks) {
                let ended = WorkError::Ended { execution: Execution::Unknown, why: why.clone() };
                state.give_up(&task, ended, member.worker.item(task.number));
            }
            state.ending.push(member.child());
            gone.push(member.worker);
        }
        for task in left {
            state.give_up(&task, WorkError::Ended { execution: Execution::NotRun, why: why.clone() }, 0);
        }
        state.queued_bytes = 0;
        (state.all_ending(), gone)
    }

    /// Takes no more tasks, waits until all are done, and lets the workers go. Says whether that was in time.
    pub(crate) fn close(&self, deadline: Option<Instant>) -> Result<bool, WorkError> {
        self.check()?;
        self.with(|state| {
            if state.phase == Phase::Open {
                state.phase = Phase::Closing;
            }
        });
        self.sound_alarm();
        // A worker that is being started is let go as all are: what it has made is dropped.
        let is_done = |state: &mut State| {
            let is_starting = state.places.iter().any(|place| matches!(place, Place::Starting));
            state.outstanding() == 0 && (!is_starting || state.phase == Phase::Ended)
        };
        if !self.wait_until(deadline, is_done) {
            return Ok(false);
        }
        let children = self.with(|state| {
            for place in 0..state.places.len() {
                self.let_go(state, place);
            }
            state.phase = Phase::Ended;
            state.all_ending()
        });
        self.sound_alarm();
        let begin = Instant::now();
        let is_late = |child: &&Child| {
            let left = self.settings.grace.saturating_sub(begin.elapsed());
            !matches!(child.wait_timeout(left), Ok(Some(_)))
        };
        let late: Vec<_> = children.iter().filter(is_late).collect();
        stop_all(late, Duration::ZERO)?;
        self.wait_for_threads();
        Ok(true)
    }

    /// Until they have ended, or wait for what may take its time.
    fn wait_for_threads(&self) {
        let are_done = |state: &mut State| {
            !state.thread_runs && !state.places.iter().any(|place| matches!(place, Place::Starting))
        };
        self.wait_until(Some(Instant::now() + DEATH_PATIENCE), are_done);
    }
}

impl State {
    /// All that have been let go and may still be there.
    fn all_ending(&mut self) -> Vec<Child> {
        self.ending.extend(self.leaving.drain(..).map(|(child, _)| child));
        self.ending.retain(|child| !matches!(child.try_wait(), Ok(Some(_))));
        self.ending.clone()
    }
}

/// Kills all that can be killed, and collects them.
pub(crate) fn kill_all(children: &[Child]) -> Result<(), ChildError> {
    let killed: Vec<_> = children.iter().map(|child| child.kill()).collect();
    for (child, killed) in children.iter().zip(killed) {
        killed?;
        child.wait_timeout(DEATH_PATIENCE)?;
    }
    Ok(())
}
