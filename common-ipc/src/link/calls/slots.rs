//! The calls that wait for their replies, and who sleeps.
//!
//! Each has a slot, found by the number of its request: the slot's index, and in the upper half how often the slot
//! had been used, so that the reply to an earlier call finds nobody. Slots and what is in them are used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use crate::link::connection::Came;
use crate::link::spin::Spinner;

/// Room for a longer reply isn't kept.
const KEPT: usize = 64 << 10;

/// All of it, under one lock.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Those that nobody uses. The last one is used next: its room is warm.
    free: Vec<u32>,
    /// How many calls have no reply yet.
    pub(super) unanswered: usize,
    /// Somebody holds the reader role.
    pub(super) is_read: bool,
    /// How many threads are awake and about to look whether the role is free, before they do anything else that
    /// takes time.
    pub(super) looking: usize,
    /// How many threads sleep.
    threads_asleep: usize,
    /// How many tasks do.
    #[cfg(feature = "tokio")]
    tasks_asleep: usize,
    /// How many tasks take the role whenever there is something, on behalf of those that sleep.
    #[cfg(feature = "tokio")]
    pub(super) drivers: usize,
    /// One of them has found the end of the connection: there is nothing for the others to bring.
    #[cfg(feature = "tokio")]
    pub(super) is_over: bool,
    /// One of them has found the role taken, and is to be told when it is free.
    #[cfg(feature = "tokio")]
    pub(super) missed: bool,
    /// By this.
    #[cfg(feature = "tokio")]
    pub(super) released: Arc<tokio::sync::Notify>,
}

#[derive(Debug)]
struct Slot {
    /// How often it was used; never zero.
    generation: u32,
    phase: Phase,
    /// The reply, or room for one.
    reply: Vec<u8>,
    came: Came,
    /// What its users have learnt about waiting.
    spinner: Spinner,
    bell: Bell,
}

#[derive(Debug)]
enum Phase {
    Free,
    /// Whoever calls is awake.
    Awake,
    Asleep(Sleeper),
    Replied,
}

/// Set as soon as a slot has a reply: for looking without the lock.
#[derive(Debug, Clone, Default)]
pub(super) struct Bell(Arc<AtomicBool>);

impl Bell {
    #[inline]
    pub(super) fn was_rung(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Who is to be woken.
#[derive(Debug)]
pub(super) enum Sleeper {
    Thread(Thread),
    #[cfg(feature = "tokio")]
    Task(std::task::Waker),
    /// All who drive.
    #[cfg(feature = "tokio")]
    Drivers(Arc<tokio::sync::Notify>),
    /// Each of these.
    #[cfg(feature = "tokio")]
    All(Vec<Sleeper>),
}

impl Sleeper {
    /// Without the lock held: whoever wakes takes that first.
    pub(super) fn wake(self) {
        match self {
            Sleeper::Thread(thread) => thread.unpark(),
            #[cfg(feature = "tokio")]
            Sleeper::Task(task) => task.wake(),
            #[cfg(feature = "tokio")]
            Sleeper::Drivers(drivers) => drivers.notify_waiters(),
            #[cfg(feature = "tokio")]
            Sleeper::All(sleepers) => sleepers.into_iter().for_each(Sleeper::wake),
        }
    }
}

impl Slots {
    /// A slot for a call. Its number isn't zero.
    pub(super) fn reserve(&mut self) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 1,
                phase: Phase::Free,
                reply: Vec::new(),
                came: None,
                spinner: Spinner::default(),
                bell: Bell::default(),
            });
            // So that giving it back takes no memory.
            self.free.reserve(self.slots.len());
            (self.slots.len() - 1) as u32
        });
        self.unanswered += 1;
        let slot = &mut self.slots[index as usize];
        slot.phase = Phase::Awake;
        u64::from(slot.generation) << 32 | u64::from(index)
    }

    /// How many calls there are.
    pub(super) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(number as u32 as usize)?;
        let is_known = slot.generation == (number >> 32) as u32 && !matches!(slot.phase, Phase::Free);
        is_known.then_some(slot)
    }

    /// What a call's thread needs to look for its reply, and what was learnt of such looks.
    pub(super) fn look(&mut self, number: u64) -> (Bell, Spinner) {
        self.slot(number)
            .map(|slot| (slot.bell.clone(), std::mem::take(&mut slot.spinner)))
            .unwrap_or_default()
    }

    /// Keeps what was learnt.
    pub(super) fn learnt(&mut self, number: u64, spinner: Spinner) {
        if let Some(slot) = self.slot(number) {
            slot.spinner = spinner;
        }
    }

    /// Takes the reply to a call out of its slot, if one is there: its bytes are swapped for those of `bytes`.
    pub(super) fn take(&mut self, number: u64, bytes: &mut Vec<u8>) -> Option<Came> {
        let slot = self.slot(number)?;
        if !matches!(slot.phase, Phase::Replied) {
            return None;
        }
        std::mem::swap(&mut slot.reply, bytes);
        Some(slot.came.take())
    }

    /// The room in a slot whose call is about to leave.
    pub(super) fn lend_room(&mut self, number: u64) -> Vec<u8> {
        self.slot(number).map(|slot| std::mem::take(&mut slot.reply)).unwrap_or_default()
    }

    /// Gives it back.
    pub(super) fn return_room(&mut self, number: u64, room: Vec<u8>) {
        if let Some(slot) = self.slot(number) {
            slot.reply = room;
        }
    }

    /// Hands a reply over, and leaves other room in `bytes`. What nobody waits for is dropped, and so is the second
    /// reply to a call. Says who is to be woken.
    pub(super) fn put(&mut self, number: u64, bytes: &mut Vec<u8>, came: Came) -> Option<Sleeper> {
        let slot = self.slot(number)?;
        if matches!(slot.phase, Phase::Replied) {
            return None;
        }
        std::mem::swap(&mut slot.reply, bytes);
        slot.came = came;
        slot.bell.0.store(true, Ordering::Relaxed);
        let sleeper = self.wake(number);
        self.slot(number)?.phase = Phase::Replied;
        self.unanswered -= 1;
        sleeper
    }

    /// Who calls is about to sleep.
    pub(super) fn sleep(&mut self, number: u64, sleeper: Sleeper) {
        let Some(slot) = self.slot(number) else { return };
        let is_thread = matches!(sleeper, Sleeper::Thread(_));
        slot.phase = Phase::Asleep(sleeper);
        *self.asleep(is_thread) += 1;
    }

    /// Who calls is awake, or about to be: says who is to be woken, if it slept.
    pub(super) fn wake(&mut self, number: u64) -> Option<Sleeper> {
        let slot = self.slot(number)?;
        if !matches!(slot.phase, Phase::Asleep(_)) {
            return None;
        }
        let Phase::Asleep(sleeper) = std::mem::replace(&mut slot.phase, Phase::Awake) else { return None };
        *self.asleep(matches!(sleeper, Sleeper::Thread(_))) -= 1;
        Some(sleeper)
    }

    #[cfg_attr(not(feature = "tokio"), expect(unused_variables, reason = "there are threads only"))]
    fn asleep(&mut self, threads: bool) -> &mut usize {
        #[cfg(feature = "tokio")]
        if !threads {
            return &mut self.tasks_asleep;
        }
        &mut self.threads_asleep
    }

    /// The call has its reply, or has given up waiting for it: nobody knows its number any more. Whoever says so
    /// offers the role afterwards. What is returned is done with; its drop may be anybody's code, and wants no
    /// lock held.
    pub(super) fn leave(&mut self, number: u64) -> (Option<Sleeper>, Came) {
        let sleeper = self.wake(number);
        let mut came = None;
        if let Some(slot) = self.slot(number) {
            let is_answered = matches!(slot.phase, Phase::Replied);
            slot.generation = slot.generation.checked_add(1).unwrap_or(1);
            slot.phase = Phase::Free;
            came = slot.came.take();
            slot.bell.0.store(false, Ordering::Relaxed);
            if slot.reply.capacity() > KEPT {
                slot.reply = Vec::new();
            }
            self.unanswered -= usize::from(!is_answered);
            self.free.push(number as u32);
        }
        (sleeper, came)
    }

    /// Something is wrong with the connection. Of the threads one after the other finds that out; tasks wait for
    /// something to come, which may never be.
    pub(super) fn all_must_look(&mut self) {
        #[cfg(feature = "tokio")]
        {
            self.missed = true;
        }
    }

    /// Who is to be woken so that somebody takes the role. It doesn't count as asleep any more, so that the
    /// next one who asks wakes another one.
    pub(super) fn offer_the_role(&mut self) -> Option<Sleeper> {
        if self.is_read || self.looking > 0 {
            return None;
        }
        #[cfg(feature = "tokio")]
        if self.tasks_asleep > 0 && !self.is_driven() {
            return Some(self.wake_all());
        }
        if self.threads_asleep == 0 {
            #[cfg(feature = "tokio")]
            if std::mem::take(&mut self.missed) {
                return Some(Sleeper::Drivers(Arc::clone(&self.released)));
            }
            return None;
        }
        let is_thread = |slot: &Slot| matches!(slot.phase, Phase::Asleep(Sleeper::Thread(_)));
        let index = self.slots.iter().position(is_thread)?;
        self.wake(self.number_at(index))
    }

    fn number_at(&self, index: usize) -> u64 {
        u64::from(self.slots[index].generation) << 32 | index as u64
    }

    /// Whether somebody brings tasks their replies.
    #[cfg(feature = "tokio")]
    pub(super) fn is_driven(&self) -> bool {
        self.drivers > 0 && !self.is_over
    }

    /// Everybody is to look. Of tasks one isn't enough: who keeps its future may not poll it for a long time, nor drop
    /// it.
    #[cfg(feature = "tokio")]
    #[cold]
    fn wake_all(&mut self) -> Sleeper {
        let numbers: Vec<u64> = (0..self.slots.len()).map(|index| self.number_at(index)).collect();
        Sleeper::All(numbers.into_iter().filter_map(|number| self.wake(number)).collect())
    }
}
