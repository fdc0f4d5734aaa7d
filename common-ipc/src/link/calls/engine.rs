//! Sending requests, and bringing the replies to those who wait for them.
//!
//! There is no thread that does that: of those who wait one holds the *reader role*. It receives; what is another
//! one's it hands over; and when its own reply has come it takes out of the ring what else is there, and leaves
//! the role to another one. So a lone caller has nothing in its way.
//!
//! The others first look, with yields, whether they have a reply or the role is free; after a while they sleep. So
//! under load a reply is handed over, and the role, without a call of the kernel's.
//!
//! # Why nobody sleeps for ever
//!
//! `Slots` is under one lock. The role is taken, left, and a sleeper enters its sleep only with it held. What
//! holds whenever the lock is free: *if somebody sleeps, then somebody holds the role, or is `looking`, or was
//! woken and hasn't had the lock since.*
//!
//! - One goes to sleep only if the role is taken.
//! - Whoever leaves the role, or stops looking, or was woken, does so under the lock, and before that is over has
//!   taken the role, or sleeps (it was taken), or asks `offer_the_role` to wake somebody (in `leave`). Nothing
//!   else ends a wait: a reply, a time-out and an error all go through `leave`.
//! - Who is woken is taken off the sleepers under the lock: the next one who asks wakes another one.
//! - Whoever is `looking` does nothing between that and the lock but look and yield, a bounded time. Who is
//!   sending isn't `looking`: for that it may wait for room, for ever.
//!
//! A reply is handed over only by who holds the role; so whoever takes the role looks into its slot once more,
//! under the same lock, and from then on its reply can only be where it reads. And who holds the role reads until
//! its reply comes, its time is over, or the connection is.
//!
//! When the connection is over, whoever holds the role finds that out, and the next one that it wakes finds it out
//! again: each ends with an error of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde::{Serialize, Serializer};

use crate::link::attachments::Outgoing;
use crate::link::calls::error::{CallError, CallProgress};
use crate::link::calls::slots::{Bell, Sleeper, Slots};
use crate::link::calls::{NO_REPLY, REPLY_HEADER, number};
use crate::link::connection::room::Patience;
use crate::link::connection::waiting::Wait;
use crate::link::connection::{Came, Connection, End};
use crate::link::error::LinkError;
use crate::link::poll::Deadline;
use crate::link::ring::Garbled;
use crate::link::spin::Spinner;
use crate::ownership::generation::WrongProcess;
use crate::ownership::give::{Give, Giver};

/// What the clones of a caller share.
#[derive(Debug)]
pub(super) struct Engine {
    connection: Connection<(), ()>,
    pub(super) slots: Mutex<Slots>,
    /// What `slots` says of it: for those who look without the lock.
    is_read: AtomicBool,
    /// How often the role was left.
    received: AtomicU64,
    /// Requests that found no room when they were posted.
    posted: Mutex<VecDeque<Vec<u8>>>,
    /// Held by who sends them: in their order.
    posting: Mutex<()>,
    has_posted: AtomicBool,
}

/// Who takes no more time for each than this is at work on calls.
const PER_REPLY: Duration = Duration::from_micros(10);

impl Engine {
    pub(super) fn new(connection: Connection<(), ()>) -> Engine {
        Engine {
            connection,
            slots: Mutex::default(),
            is_read: AtomicBool::new(false),
            received: AtomicU64::new(0),
            posted: Mutex::default(),
            posting: Mutex::default(),
            has_posted: AtomicBool::new(false),
        }
    }

    pub(super) fn list(&self, giver: &mut Giver<'_>) {
        self.connection.list(giver);
    }

    pub(super) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.connection.serialize(serializer)
    }

    pub(super) fn end(&self) -> &Arc<End> {
        self.connection.end()
    }

    /// In another process the lock may never come free: nobody there unlocks it.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Slots>, WrongProcess> {
        self.connection.check_home()?;
        Ok(self.slots.lock())
    }

    /// Sends a request that has no reply. Its header is there.
    pub(super) fn send(
        &self,
        bytes: &[u8],
        mut outgoing: Option<Box<Outgoing>>,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        self.send_posted(Patience::Until(deadline)).map_err(CallError::not_sent)?;
        let sent = self.end().send_bytes(bytes, &mut outgoing, Patience::Until(deadline));
        // What was posted while this had the way.
        let _ = self.send_posted(Patience::None);
        sent.map(drop).map_err(CallError::not_sent)
    }

    /// Sends a request that has no reply, now or before the next one. Its header is there.
    pub(super) fn post(&self, bytes: &[u8], mut outgoing: Option<Box<Outgoing>>) -> Result<(), CallError> {
        self.connection.check_home().map_err(CallError::not_sent)?;
        let sent = self.send_posted(Patience::None);
        match sent.and_then(|()| self.end().send_bytes(bytes, &mut outgoing, Patience::None)) {
            Ok(_) => Ok(()),
            Err(LinkError::Full) if outgoing.is_none() => {
                let mut posted = self.posted.lock();
                posted.push_back(bytes.to_vec());
                self.has_posted.store(true, Ordering::SeqCst);
                drop(posted);
                // Whoever had the way may be done by now.
                let _ = self.send_posted(Patience::None);
                Ok(())
            }
            Err(error) => Err(CallError::not_sent(error)),
        }
    }

    /// Whether something that was posted has no room yet.
    pub(super) fn has_posted(&self) -> bool {
        self.has_posted.load(Ordering::SeqCst)
    }

    /// Sends what was posted.
    #[inline]
    pub(super) fn send_posted(&self, patience: Patience<'_>) -> Result<(), LinkError> {
        if !self.has_posted.load(Ordering::SeqCst) { Ok(()) } else { self.send_all_posted(patience) }
    }

    #[cold]
    fn send_all_posted(&self, patience: Patience<'_>) -> Result<(), LinkError> {
        self.connection.check_home()?;
        // Who doesn't wait leaves them to whoever is at it.
        let posting = match patience {
            Patience::Until(deadline) => deadline.lock(&self.posting).ok_or(LinkError::TimedOut)?,
            _ => self.posting.try_lock().ok_or(LinkError::Full)?,
        };
        loop {
            let posted = self.posted.lock();
            let Some(first) = posted.front().cloned() else {
                self.has_posted.store(false, Ordering::SeqCst);
                // Before the other one: who posts next finds it free.
                drop(posting);
                return Ok(());
            };
            // While this waits for room others post more.
            drop(posted);
            self.end().send_bytes(&first, &mut None, patience)?;
            self.posted.lock().pop_front();
        }
    }

    /// Sends a request, its header but for the number in it, and leaves its reply in the same place.
    pub(super) fn exchange(
        &self,
        bytes: &mut Vec<u8>,
        mut outgoing: Option<Box<Outgoing>>,
        deadline: Deadline,
    ) -> Result<Came, CallError> {
        self.send_posted(Patience::Until(deadline)).map_err(CallError::not_sent)?;
        let number = self.reserve()?;
        bytes[..NO_REPLY].copy_from_slice(&number.to_le_bytes());
        let place = match self.end().send_bytes(bytes, &mut outgoing, Patience::Until(deadline)) {
            Ok(place) => place,
            Err(error) => {
                self.leave(number);
                return Err(CallError::not_sent(error));
            }
        };
        // What was posted while this had the way.
        let _ = self.send_posted(Patience::None);
        let came = self.wait(number, bytes, deadline).map_err(|error| self.failed(error, place))?;
        if bytes.len() == NO_REPLY {
            return Err(CallError::taken(LinkError::Unanswered));
        }
        Ok(came)
    }

    /// A number for a request. Before that is on its way: whoever receives must know the reply.
    pub(super) fn reserve(&self) -> Result<u64, CallError> {
        Ok(self.lock().map_err(CallError::not_sent)?.reserve())
    }

    /// What became of a request that was sent.
    pub(super) fn failed(&self, cause: LinkError, place: u64) -> CallError {
        let is_gone = matches!(cause, LinkError::Closed | LinkError::Truncated);
        if is_gone {
            // A process that has lost its descriptors still has the memory, and all that waits in there.
            self.end().give_up_the_rest();
        }
        let taken = !is_gone || self.end().was_taken(place);
        CallError { cause, progress: if taken { CallProgress::Taken } else { CallProgress::NotTaken } }
    }

    fn wait(&self, number: u64, bytes: &mut Vec<u8>, deadline: Deadline) -> Result<Came, LinkError> {
        let mut slots = self.slots.lock();
        let mut looks = None;
        let result = loop {
            if let Some(came) = slots.take(number, bytes) {
                break Some(Ok(came));
            }
            if !slots.is_read {
                break None;
            }
            let (bell, spinner) = match &mut looks {
                None => looks.insert(slots.look(number)),
                Some(_) if deadline.has_passed() => break Some(Err(LinkError::NoReply)),
                Some(looks) => {
                    slots.sleep(number, Sleeper::Thread(std::thread::current()));
                    drop(slots);
                    deadline.park();
                    slots = self.slots.lock();
                    drop(slots.wake(number));
                    looks
                }
            };
            slots.looking += 1;
            let others = slots.in_use() - 1;
            drop(slots);
            self.look(others, bell, spinner);
            slots = self.slots.lock();
            slots.looking -= 1;
        };
        if let Some((_, spinner)) = looks {
            slots.learnt(number, spinner);
        }
        match result {
            Some(result) => {
                self.leave_locked(slots, number);
                result
            }
            None => {
                self.take_the_role(&mut slots);
                let others = slots.in_use() - 1;
                drop(slots);
                self.read(number, bytes, deadline, others)
            }
        }
    }

    /// Looks for a while whether there is a reply or the role is free.
    fn look(&self, others: usize, bell: &Bell, spinner: &mut Spinner) {
        let mut before = self.received.load(Ordering::Relaxed);
        let is_used = |time: Duration| {
            let now = self.received.load(Ordering::Relaxed);
            let count = now.wrapping_sub(std::mem::replace(&mut before, now));
            PER_REPLY * count.min(1 << 20) as u32 >= time
        };
        let is_there = || bell.was_rung() || !self.is_read.load(Ordering::Relaxed);
        spinner.spin_among(others, is_there, is_used);
    }

    /// Holding the role: receives until the reply with this number is there, hands the others over, and leaves.
    pub(super) fn read(
        &self,
        own: u64,
        bytes: &mut Vec<u8>,
        deadline: Deadline,
        others: usize,
    ) -> Result<Came, LinkError> {
        let result = loop {
            bytes.clear();
            match self.end().recv_bytes(bytes, Wait { deadline, others, beside: None }) {
                Ok(Some(came)) => match self.number_of(bytes) {
                    Ok(number) if number == own => break Ok(came),
                    Ok(number) => {
                        self.hand_over(number, bytes, came);
                        // There may be no end of what is for others.
                        if deadline.has_passed() {
                            break Err(LinkError::NoReply);
                        }
                    }
                    Err(error) => break Err(error),
                },
                Ok(None) => break Err(LinkError::NoReply),
                Err(error) => break Err(error),
            }
        };
        let mut slots = self.slots.lock();
        self.received.store(self.received.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // This one counts as such.
        let others = slots.unanswered - 1;
        let mut trouble = !matches!(result, Ok(_) | Err(LinkError::NoReply));
        if others > 0 && result.is_ok() {
            let mut room = slots.lend_room(own);
            drop(slots);
            trouble = self.hand_over_what_is_there(others, &mut room).is_err();
            slots = self.slots.lock();
            slots.return_room(own, room);
        }
        self.leave_the_role(&mut slots);
        if trouble {
            slots.all_must_look();
        }
        self.leave_locked(slots, own);
        result
    }

    pub(super) fn take_the_role(&self, slots: &mut Slots) {
        slots.is_read = true;
        self.is_read.store(true, Ordering::Relaxed);
    }

    /// Whoever does that offers it to somebody else before the lock is free again.
    pub(super) fn leave_the_role(&self, slots: &mut Slots) {
        slots.is_read = false;
        self.is_read.store(false, Ordering::Relaxed);
    }

    /// Holding the role. Each of the others has one reply at the most. What is wrong is found again by the next one
    /// who reads.
    fn hand_over_what_is_there(&self, most: usize, bytes: &mut Vec<u8>) -> Result<(), LinkError> {
        for _ in 0..most {
            bytes.clear();
            let Some(came) = self.end().recv_what_is_there(bytes)? else { break };
            let number = self.number_of(bytes)?;
            self.hand_over(number, bytes, came);
        }
        Ok(())
    }

    pub(super) fn hand_over(&self, number: u64, bytes: &mut Vec<u8>, came: Came) {
        let sleeper = self.slots.lock().put(number, bytes, came);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }

    /// Of the call that a reply is for.
    pub(super) fn number_of(&self, bytes: &[u8]) -> Result<u64, LinkError> {
        if bytes.len() != NO_REPLY && bytes.len() < REPLY_HEADER {
            return Err(self.end().fail(Garbled("a reply without a header").into()));
        }
        Ok(number(bytes))
    }

    pub(super) fn leave(&self, number: u64) {
        self.leave_locked(self.slots.lock(), number);
    }

    fn leave_locked(&self, mut slots: MutexGuard<'_, Slots>, number: u64) {
        let done_with = slots.leave(number);
        self.offer_the_role(slots);
        drop(done_with);
    }

    pub(super) fn offer_the_role(&self, mut slots: MutexGuard<'_, Slots>) {
        let sleeper = slots.offer_the_role();
        drop(slots);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
    }
}
