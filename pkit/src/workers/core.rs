//! What the handles of a pool share: its tasks, its workers, and the one thread that looks after them.
//!
//! All of it is under one lock, which is held for moments. Whoever waits for a result, or submits a task, takes in what the
//! workers have said, and deals out what is waiting: so a small task costs no more than a message each way. When nobody
//! looks any more the workers ring, which wakes the thread; it sleeps on their bells and on their ends.
//!
//! ```text
//! are_asked     every worker that has something to do, or to say, rings, or has rung and the thread isn't there yet
//! otherwise     nobody rings. Somebody looks (lookers > 0), or did a moment ago, and the thread wakes within a millisecond
//!               to see whether that is still so, and asks if it isn't
//! ```
//!
//! Asking at once, between two tasks of somebody who submits one after another, would have each of them ring: a call of the
//! kernel's, and a thread that wakes for nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common_ipc::link::{Execution, Poller, Spinner};
use common_ipc::process::{Child, Generation, StartError, Work, Worker, WrongProcess};
use common_ipc::sync::EventFd;
use parking_lot::{Condvar, Mutex};

use crate::workers::errors::WorkError;
use crate::workers::member::Place;
use crate::workers::settings::Settings;
use crate::workers::statistics::Statistics;
use crate::workers::task::{Basket, Task, Terms, Told};

pub(crate) struct Core {
    pub(crate) home: Generation,
    pub(crate) settings: Settings,
    pub(crate) start: StartWorker,
    pub(crate) state: Mutex<State>,
    /// Told of each change that somebody with the lock may wait for: room, the last task, the thread's end.
    pub(crate) changed: Condvar,
    /// What the thread sleeps on.
    pub(crate) poller: Poller,
    /// Wakes it.
    pub(crate) alarm: EventFd,
    next_task: AtomicU64,
    /// How many tasks are enough to keep all workers busy for a while.
    pub(crate) plenty: AtomicUsize,
}

/// Starts one worker of the pool's kind.
pub(crate) type StartWorker = Box<dyn Fn(&Settings) -> Result<Worker, StartError> + Send + Sync>;

/// The alarm's token; workers have others.
pub(crate) const ALARM: u64 = 0;

/// So long after somebody has looked the workers don't ring: they are asked by the next look of the thread, at the latest
/// after twice that.
pub(crate) const ATTENTION: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// What is there is done, and nothing more is taken.
    Closing,
    Ended,
}

pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Those that wait for a worker, the next one first.
    pub(crate) queue: VecDeque<Arc<Task>>,
    /// About how many bytes they take.
    pub(crate) queued_bytes: usize,
    pub(crate) places: Vec<Place>,
    /// Those that were let go, and when they are killed if they are still there.
    pub(crate) leaving: Vec<(Child, Instant)>,
    /// Those that the pool's end has to wait for, whoever asks for it.
    pub(crate) ending: Vec<Child>,
    pub(crate) next_token: u64,
    /// How many threads are awake and look for replies.
    pub(crate) lookers: usize,
    /// Somebody has looked since the thread did.
    pub(crate) was_looked: bool,
    /// The workers are to ring.
    pub(crate) are_asked: bool,
    /// What they have learnt about that.
    pub(crate) spinners: Vec<Spinner>,
    /// How many threads wait for `changed`.
    pub(crate) waiters: usize,
    /// When the thread wakes by itself; `None`: not before something happens.
    pub(crate) wakes_at: Option<Instant>,
    pub(crate) thread_runs: bool,
    /// How many workers in a row weren't there in the end, and why the last one wasn't.
    pub(crate) failures: (u32, Option<WorkError>),
    /// How many workers in a row have died that were ready and had begun nothing.
    pub(crate) idle_deaths: u32,
    /// When to look whether tasks wait behind a long one while others have nothing to do.
    pub(crate) even_out_at: Option<Instant>,
    /// A worker may have room since tasks were dealt out last, or there are more to be dealt out.
    pub(crate) is_to_deal: bool,
    pub(crate) statistics: Statistics,
    pub(crate) told: Told,
}

impl Core {
    pub(crate) fn new(settings: Settings, start: StartWorker) -> std::io::Result<Core> {
        let places = (0..settings.size).map(|_| Place::Down(Instant::now())).collect();
        let (poller, alarm) = (Poller::new()?, EventFd::new()?);
        poller.add(std::os::fd::AsFd::as_fd(&alarm), ALARM)?;
        Ok(Core {
            home: Generation::current(),
            plenty: AtomicUsize::new(2 * settings.size),
            settings,
            start,
            state: Mutex::new(State {
                phase: Phase::Open,
                queue: VecDeque::new(),
                queued_bytes: 0,
                places,
                leaving: Vec::new(),
                ending: Vec::new(),
                next_token: ALARM + 1,
                lookers: 0,
                was_looked: false,
                are_asked: true,
                spinners: Vec::new(),
                waiters: 0,
                wakes_at: None,
                thread_runs: false,
                failures: (0, None),
                idle_deaths: 0,
                even_out_at: None,
                is_to_deal: false,
                statistics: Statistics::default(),
                told: Told::default(),
            }),
            changed: Condvar::new(),
            poller,
            alarm,
            next_task: AtomicU64::new(1),
        })
    }

    /// In another process the lock may never come free.
    pub(crate) fn check(&self) -> Result<(), WrongProcess> {
        self.home.check()
    }

    /// Does something with the lock held, and afterwards wakes those who are to be told.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let (result, told) = self.with_told(work);
        told.wake();
        result
    }

    /// The same, and returns those who are to be told.
    pub(crate) fn with_told<R>(&self, work: impl FnOnce(&mut State) -> R) -> (R, Told) {
        let mut state = self.state.lock();
        let result = work(&mut state);
        let told = std::mem::take(&mut state.told);
        if state.waiters > 0 {
            self.changed.notify_all();
        }
        (result, told)
    }

    /// Has the thread look at everything again.
    pub(crate) fn sound_alarm(&self) {
        if let Err(error) = self.alarm.set() {
            log::error!("the thread of a pool can't be woken: {error}");
        }
    }

    /// A task that is to be submitted.
    pub(crate) fn task(&self, work: Work, terms: Terms, basket: Option<(Arc<Basket>, usize)>) -> Arc<Task> {
        Task::new(self.next_task.fetch_add(1, Ordering::Relaxed), work, terms, basket)
    }

    /// Takes in a task: sends it to a worker, or has it wait. With the task's room in the queue waited for until then;
    /// if it has none, it can be submitted again.
    pub(crate) fn submit(&self, task: &Arc<Task>, patience: Patience) -> Result<(), WorkError> {
        self.check()?;
        let size = task.size();
        let max = self.settings.max_waiting;
        loop {
            let taken = self.with(|state| {
                if state.phase != Phase::Open {
                    return Err(WorkError::Closed);
                }
                self.take_in(state);
                state.was_looked = true;
                if !state.queue.is_empty() && state.queued_bytes + size > max {
                    state.ask(true);
                    self.take_in(state);
                    if !state.queue.is_empty() && state.queued_bytes + size > max {
                        return Ok(false);
                    }
                }
                state.statistics.submitted += 1;
                state.queue.push_back(Arc::clone(task));
                state.queued_bytes += size;
                self.deal(state);
                if state.failures.0 > 0 && !state.queue.is_empty() {
                    // Workers are started again for somebody who waits.
                    self.sound_alarm();
                }
                Ok(true)
            })?;
            if taken {
                return Ok(());
            }
            let deadline = match patience {
                Patience::None => return Err(WorkError::Full),
                Patience::Until(deadline) => deadline,
            };
            let has_room = |state: &mut State| {
                state.phase != Phase::Open || state.queue.is_empty() || state.queued_bytes + size <= max
            };
            if !self.wait_until(deadline, has_room) {
                return Err(WorkError::Full);
            }
        }
    }
}

/// How long to wait for room.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    None,
    /// `None`: for as long as it takes.
    Until(Option<Instant>),
}

impl State {
    /// Has all workers that have something to do ring, or not. Look again afterwards, before sleeping.
    pub(crate) fn ask(&mut self, are_to: bool) {
        if std::mem::replace(&mut self.are_asked, are_to) == are_to {
            return;
        }
        for place in &self.places {
            if let Place::Up(member) = place {
                if !are_to || !member.tasks.is_empty() || !member.is_ready {
                    member.worker.is_to_ring(are_to);
                }
            }
        }
    }

    /// Whether a worker is to be started for each place that has none.
    pub(crate) fn wants_workers(&self) -> bool {
        match self.phase {
            // Once all of them fail, only for somebody who waits.
            Phase::Open => self.failures.0 == 0 || !self.queue.is_empty() || self.somebody_works(),
            Phase::Closing => !self.queue.is_empty(),
            Phase::Ended => false,
        }
    }

    /// Whether there is a worker that has got ready.
    pub(crate) fn somebody_works(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Up(member) if member.is_ready))
    }

    /// A task was cancelled that nobody had begun.
    pub(crate) fn cancelled_before(&mut self, task: &Task) -> bool {
        self.statistics.cancelled += 1;
        task.finish(Err(WorkError::Cancelled { execution: Execution::NotRun }), 0, &mut self.told);
        true
    }

    /// A task has no result, and that isn't the fault of what it does.
    pub(crate) fn give_up(&mut self, task: &Task, why: WorkError, item: usize) {
        self.statistics.given_up += 1;
        task.finish(Err(why), item, &mut self.told);
    }

    /// How many tasks have no outcome yet.
    pub(crate) fn outstanding(&self) -> usize {
        let with_workers = self.places.iter().map(|place| match place {
            Place::Up(member) => member.tasks.len(),
            _ => 0,
        });
        self.queue.len() + with_workers.sum::<usize>()
    }
}
