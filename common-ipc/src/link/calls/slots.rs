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
    /// Somebody holds the reader role.
    pub(super) is_read: bool,
    /// How many threads are awake and about to look whether the role is free, before they do anything else that takes
    /// time.
    pub(super) looking: usize,
    /// How many sleep.
    asleep: usize,
}

#[derive(Debug)]
struct Slot {
    /// How often it was used; never zero in a number.
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
#[must_use = "somebody sleeps"]
pub(super) enum Sleeper {
    Thread(Thread),
}

impl Sleeper {
    /// Without the lock held: whoever wakes takes that first.
    pub(super) fn wake(self) {
        match self {
            Sleeper::Thread(thread) => thread.unpark(),
        }
    }
}

impl Slots {
    /// A slot for a call. Its number isn't zero.
    pub(super) fn reserve(&mut self) -> u64 {
        let index = match self.free.pop() {
            Some(index) => index as usize,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    phase: Phase::Free,
                    reply: Vec::new(),
                    came: None,
                    spinner: Spinner::default(),
                    bell: Bell::default(),
                });
                // So that giving it back takes no memory.
                self.free.reserve(self.slots.len());
                self.slots.len() - 1
            }
        };
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        slot.phase = Phase::Awake;
        slot.bell.0.store(false, Ordering::Relaxed);
        u64::from(slot.generation) << 32 | index as u64
    }

    /// How many calls there are.
    pub(super) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(number as u32 as usize)?;
        (slot.generation == (number >> 32) as u32).then_some(slot)
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
        slot.phase = Phase::Awake;
        std::mem::swap(&mut slot.reply, bytes);
        Some(slot.came.take())
    }

    /// Hands a reply over, and leaves other room in `bytes`. What nobody waits for is dropped, and so is the second
    /// reply to a call. Says who is to be woken.
    pub(super) fn put(&mut self, number: u64, bytes: &mut Vec<u8>, came: Came) -> Option<Sleeper> {
        let slot = self.slot(number)?;
        if matches!(slot.phase, Phase::Free | Phase::Replied) {
            return None;
        }
        std::mem::swap(&mut slot.reply, bytes);
        slot.came = came;
        slot.bell.0.store(true, Ordering::Relaxed);
        match std::mem::replace(&mut slot.phase, Phase::Replied) {
            Phase::Asleep(sleeper) => {
                self.asleep -= 1;
                Some(sleeper)
            }
            _ => None,
        }
    }

    /// Who calls is about to sleep.
    pub(super) fn sleep(&mut self, number: u64, sleeper: Sleeper) {
        if let Some(slot) = self.slot(number) {
            slot.phase = Phase::Asleep(sleeper);
            self.asleep += 1;
        }
    }

    /// Who calls is awake, for whatever reason.
    pub(super) fn awake(&mut self, number: u64) {
        if let Some(slot) = self.slot(number) {
            if matches!(slot.phase, Phase::Asleep(_)) {
                slot.phase = Phase::Awake;
                self.asleep -= 1;
            }
        }
    }

    /// The call has its reply, or has given up waiting for it. Says who is to be woken for the role.
    pub(super) fn leave(&mut self, number: u64) -> Option<Sleeper> {
        self.awake(number);
        if let Some(slot) = self.slot(number) {
            slot.phase = Phase::Free;
            slot.came = None;
            if slot.reply.capacity() > KEPT {
                slot.reply = Vec::new();
            }
            self.free.push(number as u32);
        }
        self.offer_the_role()
    }

    /// Who is to be woken so that somebody takes the role. It doesn't count as asleep any more, so that the
    /// next one who asks wakes another one.
    pub(super) fn offer_the_role(&mut self) -> Option<Sleeper> {
        if self.is_read || self.looking > 0 || self.asleep == 0 {
            return None;
        }
        let asleep = self.slots.iter_mut().find(|slot| matches!(slot.phase, Phase::Asleep(_)))?;
        self.asleep -= 1;
        match std::mem::replace(&mut asleep.phase, Phase::Awake) {
            Phase::Asleep(sleeper) => Some(sleeper),
            _ => None,
        }
    }
}
