//! The tasks of a pool that run, and the places for more.
//!
//! Nothing works in the background as a rule. A pool with slots of its own has as many places as it has tasks that
//! haven't ended, and looks at those when it needs one. With slots that are shared, each task's slot is given back
//! where its process is collected, which the library's own thread does as soon as it has ended: others may be
//! waiting for it.
//!
//! The lock is never held across a start, nor across a wait: a child would inherit it locked.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common_ipc::process::{ChildError, Generation, WrongProcess, wait_any};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;

use crate::pool::clock::{Clock, Due};
use crate::pool::errors::PoolError;
use crate::pool::task::Core;
use crate::slots::{Slot, SlotPool};

/// How long a task that ended without a handle may stay uncollected.
const ORPHAN_PATIENCE: Duration = Duration::from_millis(50);
/// How long to wait before looking again at what no descriptor tells.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The same for a start that is under way in another thread: a moment.
pub(crate) const START_PATIENCE: Duration = Duration::from_millis(2);

pub(crate) enum Slots {
    /// So many.
    Own(usize),
    Shared(SlotPool),
}

pub(crate) struct Running {
    home: Generation,
    slots: Slots,
    tasks: Mutex<Tasks>,
    clock: OnceCell<Clock>,
    /// The clock knows of tasks without handles.
    has_orphans: AtomicBool,
}

#[derive(Default)]
struct Tasks {
    running: Vec<Arc<Core>>,
    /// Places that are taken by starts under way.
    starting: usize,
    closed: bool,
}

/// A place for a task that is about to be started.
pub(crate) struct Place<'a> {
    pool: &'a Arc<Running>,
    pub(crate) slot: Option<Slot>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.tasks.lock().starting -= 1;
    }
}

impl Running {
    pub(crate) fn new(slots: Slots) -> Running {
        Running {
            home: Generation::current(),
            slots,
            tasks: Mutex::default(),
            clock: OnceCell::new(),
            has_orphans: AtomicBool::new(false),
        }
    }

    pub(crate) fn check(&self) -> Result<(), WrongProcess> {
        self.home.check()
    }

    pub(crate) fn size(&self) -> usize {
        match &self.slots {
            Slots::Own(size) => *size,
            Slots::Shared(slots) => slots.size(),
        }
    }

    pub(crate) fn free(&self) -> Result<usize, PoolError> {
        match &self.slots {
            Slots::Own(size) => {
                self.sweep()?;
                let tasks = self.tasks.lock();
                Ok(size.saturating_sub(tasks.running.len() + tasks.starting))
            }
            Slots::Shared(slots) => Ok(slots.free()),
        }
    }

    /// A place for a task, waited for until then. `None`: there was none.
    pub(crate) fn place<'a>(
        self: &'a Arc<Running>,
        until: Option<Instant>,
    ) -> Result<Option<Place<'a>>, PoolError> {
        self.check()?;
        match &self.slots {
            Slots::Own(size) => self.own_place(*size, until),
            Slots::Shared(slots) => self.shared_place(slots, until),
        }
    }

    fn own_place<'a>(
        self: &'a Arc<Running>,
        size: usize,
        until: Option<Instant>,
    ) -> Result<Option<Place<'a>>, PoolError> {
        loop {
            let mut tasks = self.tasks.lock();
            if tasks.closed {
                return Err(PoolError::Closed);
            }
            if tasks.running.len() + tasks.starting < size {
                tasks.starting += 1;
                return Ok(Some(Place { pool: self, slot: None }));
            }
            drop(tasks);
            if !self.wait_for_an_end(until)? {
                return Ok(None);
            }
        }
    }

    fn shared_place<'a>(
        self: &'a Arc<Running>,
        slots: &SlotPool,
        until: Option<Instant>,
    ) -> Result<Option<Place<'a>>, PoolError> {
        loop {
            if self.tasks.lock().closed {
                return Err(PoolError::Closed);
            }
            let slot = slots.acquire_timeout(left(until).map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN)))?;
            if slot.is_some() {
                let mut tasks = self.tasks.lock();
                if tasks.closed {
                    return Err(PoolError::Closed);
                }
                tasks.starting += 1;
                return Ok(Some(Place { pool: self, slot }));
            }
            if left(until) == Some(Duration::ZERO) {
                return Ok(None);
            }
        }
    }

    /// Waits until a task has ended, or a place may have come free otherwise; says whether that was in time.
    fn wait_for_an_end(&self, until: Option<Instant>) -> Result<bool, ChildError> {
        let (running, starting) = {
            let tasks = self.tasks.lock();
            (tasks.running.clone(), tasks.starting)
        };
        let mut left = left(until);
        let is_over = left == Some(Duration::ZERO);
        if starting > 0 {
            left = Some(left.map_or(START_PATIENCE, |left| left.min(START_PATIENCE)));
        }
        if running.is_empty() {
            std::thread::sleep(left.unwrap_or_default());
        }
        let ended = wait_any(running.iter().map(|core| &core.child), left)?;
        if ended.is_empty() {
            return Ok(!is_over);
        }
        let ended: Vec<_> = ended.into_iter().map(|place| running[place].told(running[place].id)).collect();
        self.tasks.lock().running.retain(|core| !ended.contains(&core.id));
        Ok(true)
    }

    /// Takes those that have ended off the list.
    fn sweep(&self) -> Result<(), ChildError> {
        self.wait_for_an_end(Some(Instant::now())).map(drop)
    }

    /// Takes in the task whose start took this place.
    pub(crate) fn take_in(&self, place: Place<'_>, core: &Arc<Core>) {
        if let (Some(until), Some(clock)) = (core.until, self.clock.get()) {
            clock.add(until, Due::TimeOut(Arc::downgrade(core)));
        }
        if let Some(slot) = core.slot.clone() {
            if let Err(error) = core.child.on_collected(move |_| drop(slot.lock().take())) {
                log::warn!("the slot of task {} is free when somebody waits for it: {error}", core.id);
            }
        }
        let is_crowded = {
            let mut tasks = self.tasks.lock();
            tasks.running.push(Arc::clone(core));
            tasks.running.len() > 2 * self.size()
        };
        // Counted as running before it isn't counted as starting.
        drop(place);
        if is_crowded {
            // What can't be looked at now is looked at the next time.
            let _ = self.sweep();
        }
    }

    /// Has a clock from now on.
    pub(crate) fn wind_clock(&self) -> io::Result<&Clock> {
        self.clock.get_or_try_init(Clock::start)
    }

    /// Those that run, the oldest first.
    pub(crate) fn running(&self) -> Result<Vec<Arc<Core>>, ChildError> {
        self.check()?;
        self.sweep()?;
        Ok(self.tasks.lock().running.clone())
    }

    pub(crate) fn close(&self) -> Result<(), WrongProcess> {
        self.check()?;
        self.tasks.lock().closed = true;
        Ok(())
    }

    /// Waits until there is none, and says whether that was in time.
    pub(crate) fn wait_for_all(&self, until: Option<Instant>) -> Result<bool, PoolError> {
        self.check()?;
        loop {
            let nothing_left = {
                let tasks = self.tasks.lock();
                tasks.running.is_empty() && tasks.starting == 0
            };
            if nothing_left {
                return Ok(true);
            }
            if !self.wait_for_an_end(until)? {
                return Ok(false);
            }
        }
    }

    /// A task has lost its last handle.
    pub(crate) fn has_orphan(self: &Arc<Running>, core: &Core) {
        // Those whose slots are shared are collected in the background in any case.
        if self.check().is_err() || matches!(self.slots, Slots::Shared(_)) {
            return;
        }
        // As a rule this pool finds it when it looks for a place, long before the clock does.
        if self.has_orphans.load(Ordering::SeqCst) || core.has_ended() {
            return;
        }
        if self.has_orphans.swap(true, Ordering::SeqCst) {
            return;
        }
        match self.wind_clock() {
            Ok(clock) => {
                clock.add(Instant::now() + ORPHAN_PATIENCE, Due::Orphans(Arc::downgrade(self)));
            }
            Err(_) => {
                self.has_orphans.store(false, Ordering::SeqCst);
                core.leave_to_background();
            }
        }
    }

    /// Whoever loses its handle from now on says so; whoever has lost it before is seen here. Hence one order of all.
    pub(crate) fn hand_over_orphans(&self) {
        self.has_orphans.store(false, Ordering::SeqCst);
        let running = self.tasks.lock().running.clone();
        for core in running.iter().filter(|core| core.has_no_handle()) {
            if !core.has_ended() {
                core.leave_to_background();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.check().is_err() {
            // The clock is the parent's, and what its channel is like in this copy nobody knows.
            std::mem::forget(self.clock.take());
            return;
        }
        for core in std::mem::take(&mut self.tasks.get_mut().running) {
            // The clock may keep what nobody else has.
            if core.has_no_handle() {
                core.leave_to_background();
            }
            if let (Some(until), Some(clock), false) = (core.until, self.clock.get(), core.has_ended()) {
                clock.add(until, Due::TimeOutOfLeft(core));
            }
        }
    }
}

fn left(until: Option<Instant>) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(Instant::now()))
}

/// The number of the next task of this process.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
