//! One worker of a pool, and the place that it has there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common_ipc::link::{Execution, LinkError, Poller};
use common_ipc::process::{Child, PanicReport, Reply, Told, Worker};

use crate::workers::errors::WorkError;
use crate::workers::pace::Pace;
use crate::workers::task::Task;

/// Where a worker is, or will be.
pub(crate) enum Place {
    Up(Box<Member>),
    /// A thread is at it.
    Starting,
    /// There is none, and is to be none before this.
    Down(Instant),
}

pub(crate) struct Member {
    pub(crate) worker: Worker,
    pub(crate) token: u64,
    /// Those that it was sent and hasn't answered, in order.
    pub(crate) tasks: VecDeque<Arc<Task>>,
    /// Its state is made.
    pub(crate) is_ready: bool,
    /// It gets no more tasks, and ends when it has done those that it has.
    pub(crate) is_retiring: bool,
    /// What is wrong with it, if this pool knows better than how it ends.
    pub(crate) verdict: Option<Verdict>,
    /// There is nothing to wait for but its end.
    pub(crate) is_killed: bool,
    /// It can't be reached any more, for this reason; if it is still there at this time, it is killed.
    pub(crate) cut_off: Option<(Instant, Arc<str>)>,
    pub(crate) pace: Pace,
    /// Since when it may have been at the first of its tasks.
    pub(crate) first_since: Instant,
    pub(crate) done: u64,
    /// When it is old.
    pub(crate) old_at: Option<Instant>,
    /// When its memory is to be looked at next.
    pub(crate) weigh_at: Option<Instant>,
    /// When it must be ready.
    pub(crate) ready_by: Option<Instant>,
    /// Whether it begins what it has.
    pub(crate) vigil: Vigil,
    /// How many processes the kernel had killed for want of memory when it was started.
    pub(crate) oom_kills: u64,
}

/// How long a process may take from the closing of its descriptors to its end.
const LAST_MOMENTS: Duration = Duration::from_millis(100);

/// So often it is looked whether a worker has begun any of its tasks, ...
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// ... and if it hasn't for so many times in a row, it never will.
const LOOKS: u32 = 20;

/// Looks at a worker now and then: one that is stopped, or lies, may never begin what it was sent. Looks are counted rather
/// than time, since all processes may have been stopped for a while.
#[derive(Debug, Default)]
pub(crate) struct Vigil {
    pub(crate) next: Option<Instant>,
    /// What it had done at the last look.
    done: u64,
    /// How many looks in a row have found it as it was.
    idle: u32,
    /// There was no room for a task at the last try, though it had none.
    pub(crate) is_full: bool,
    /// The first of its tasks has had its time without being begun, and it has said nothing since.
    pub(crate) was_late: bool,
}

/// Why a worker was killed. It concerns the first of its tasks, if there is one.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    TimedOut(Duration),
    Cancelled,
    Lost(Arc<str>),
    InitFailed(PanicReport),
    NotReady(Duration),
}

/// One thing that a worker has said.
pub(crate) enum Heard {
    Nothing,
    Ready,
    /// A task is done; it is there unless the worker says what it never does.
    Done(Option<Arc<Task>>, Reply),
}

impl Vigil {
    /// Whether others come first.
    pub(crate) fn is_doubted(&self) -> bool {
        self.idle > 0 || self.was_late
    }
}

impl Member {
    /// How many tasks it may be sent now.
    pub(crate) fn room(&self) -> usize {
        if self.is_retiring || self.verdict.is_some() || self.cut_off.is_some() || self.has_bound() {
            return 0;
        }
        // What is sent before it is ready can be taken back, should somebody else have room sooner.
        let depth = if self.is_ready { self.pace.depth() } else { 1 };
        depth.saturating_sub(self.tasks.len())
    }

    /// Whether it may be sent this one now. What can't be taken back is sent only to a worker that does it at once, and
    /// nothing is sent after it: so no other task is in the way of it, nor it in the way of others.
    pub(crate) fn has_room_for(&self, task: &Task) -> bool {
        if task.is_bound { self.is_idle() } else { self.room() > 0 }
    }

    /// Whether its task is one that can't be taken back. It has no others then.
    pub(crate) fn has_bound(&self) -> bool {
        self.tasks.front().is_some_and(|task| task.is_bound)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.is_ready && self.room() > 0
    }

    /// Whether it has tasks that others would do sooner: behind the one that it is at, or until it is ready.
    pub(crate) fn has_some_for_others(&self) -> bool {
        (self.tasks.len() > 1 || !self.is_ready) && self.worker.waiting() > 0
    }

    /// When the first of its tasks has had its time.
    pub(crate) fn limit_at(&self) -> Option<Instant> {
        if !self.is_ready || self.verdict.is_some() {
            return None;
        }
        self.first_since.checked_add(self.tasks.front()?.terms.limit?)
    }

    /// Sends it a task.
    pub(crate) fn send(&mut self, task: &Arc<Task>, now: Instant) -> Result<(), LinkError> {
        task.with_work(|work| {
            // It is there until the task is done, and then nobody sends it.
            work.as_mut().map_or(Err(LinkError::Closed), |work| self.worker.try_send(task.number, work))
        })?;
        self.vigil.is_full = false;
        if self.tasks.is_empty() {
            self.first_since = now;
            self.pace.begins(now);
        }
        self.tasks.push_back(Arc::clone(task));
        Ok(())
    }

    /// Takes in one thing that it has said.
    pub(crate) fn hear_one(&mut self) -> Heard {
        let nonsense = match self.worker.try_recv() {
            Ok(None) => return Heard::Nothing,
            Ok(Some(Told::Ready)) if !self.is_ready => return Heard::Ready,
            // It answers in order: the base has looked at that.
            Ok(Some(Told::Done { reply, .. })) => return Heard::Done(self.tasks.pop_front(), reply),
            Ok(Some(Told::InitFailed(report))) if !self.is_ready => {
                self.verdict = Some(Verdict::InitFailed(report));
                return Heard::Nothing;
            }
            Ok(Some(_)) => "it says twice that it is ready".into(),
            Err(error @ (LinkError::Closed | LinkError::Truncated)) => {
                self.is_cut_off(error.to_string().into(), Instant::now());
                return Heard::Nothing;
            }
            Err(error) => error.to_string().into(),
        };
        self.condemn(Verdict::Lost(nonsense));
        Heard::Nothing
    }

    /// Looks at it, if it is time for that, and kills it if it has begun none of its tasks for long. They are for others.
    pub(crate) fn look_whether_stuck(&mut self, now: Instant) {
        let has_work = std::mem::take(&mut self.vigil.is_full) || !self.tasks.is_empty();
        if !has_work || !self.is_ready || self.is_killed {
            // What was found late is so until it says something.
            self.vigil = Vigil { was_late: self.vigil.was_late, ..Vigil::default() };
            return;
        }
        if self.vigil.next.is_some_and(|next| next > now) {
            return;
        }
        let is_as_it_was = self.vigil.next.is_some()
            && self.vigil.done == self.done
            && self.worker.waiting() == self.tasks.len();
        self.vigil.idle = if is_as_it_was { self.vigil.idle + 1 } else { 0 };
        (self.vigil.next, self.vigil.done) = (Some(now + LOOK_AGAIN), self.done);
        if is_as_it_was {
            self.worker.remind();
        }
        if self.vigil.idle >= LOOKS {
            self.condemn(Verdict::Lost("it has begun none of its tasks for five seconds".into()));
        } else if !self.worker.is_sane() {
            self.condemn(Verdict::Lost("it says to have begun what it was not sent".into()));
        }
    }

    /// Its link is closed. As a rule it is on its way to its end, by which is told why.
    pub(crate) fn is_cut_off(&mut self, why: Arc<str>, now: Instant) {
        if self.cut_off.is_none() {
            self.cut_off = Some((now + LAST_MOMENTS, why));
        }
    }

    /// When it is killed for that.
    pub(crate) fn cut_off_at(&self) -> Option<Instant> {
        self.cut_off.as_ref().filter(|_| !self.is_killed).map(|(at, _)| *at)
    }

    /// Kills it. What it said before is still heard; when it has ended, the verdict goes to the task that it was at.
    pub(crate) fn condemn(&mut self, verdict: Verdict) {
        if self.verdict.is_none() {
            self.verdict = Some(verdict);
        }
        self.is_killed = true;
        if let Err(error) = self.worker.child().kill() {
            log::error!("worker {} can't be killed: {error}", self.worker.child().id());
        }
    }

    /// Takes back those tasks that it hasn't begun, in order.
    pub(crate) fn recall(&mut self) -> Vec<Arc<Task>> {
        let recalled = self.worker.recall();
        // They are the last ones that it was sent.
        let begun = self.tasks.len().saturating_sub(recalled.len());
        self.tasks.split_off(begun).into()
    }

    pub(crate) fn child(&self) -> Child {
        self.worker.child().clone()
    }

    pub(crate) fn unwatch(&self, poller: &Poller) {
        self.worker.unwatch(poller);
    }
}

impl Verdict {
    /// For the task that the worker was at, which so many workers have begun.
    pub(crate) fn of_task(&self, attempts: u32) -> WorkError {
        match self {
            Verdict::TimedOut(limit) => WorkError::TimedOut { limit: *limit },
            Verdict::Cancelled => WorkError::Cancelled { execution: Execution::Unknown },
            Verdict::Lost(why) => WorkError::Lost { why: Arc::clone(why), attempts },
            Verdict::InitFailed(report) => WorkError::Init(report.clone()),
            Verdict::NotReady(_) => WorkError::NotReady { why: self.of_worker() },
        }
    }

    fn of_worker(&self) -> Arc<str> {
        match self {
            Verdict::NotReady(time) => format!("it was not ready after {time:?} and was killed").into(),
            Verdict::Lost(why) => Arc::clone(why),
            _ => "it was killed".into(),
        }
    }
}
