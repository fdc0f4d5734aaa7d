//! A queue: items that are there, on their way, and waited for.
//!
//! An item that is handed to a receiver stays here until that says that it has it. Whoever gives up, or dies, before it
//! has said so never had it: it goes back to where it was taken from.

use std::collections::{BTreeMap, HashMap, VecDeque};

use common_ipc::link::{Bytes, OpenResponder};

use crate::manager::server::memory::Memory;
use crate::manager::server::store::{Answers, Waiter, withdraw};
use crate::manager::wire::{Answer, Failure, Op};

#[derive(Debug)]
pub(super) struct Queue {
    capacity: u64,
    max_bytes: u64,
    /// By the order in which they came.
    items: BTreeMap<u64, Bytes>,
    /// Of the items, and of those on their way.
    bytes: u64,
    next: u64,
    /// On their way to a client and one of its waits.
    handed: BTreeMap<(u64, u64), (u64, Bytes)>,
    receivers: VecDeque<Waiter>,
    senders: VecDeque<(Waiter, Bytes)>,
    /// The last waits of each client to send that were refused: it may ask, if it hasn't heard that in time.
    refused: HashMap<u64, VecDeque<u64>>,
}

/// So many of those are known of one client.
const REFUSED_KNOWN: usize = 1024;

impl Queue {
    pub(super) fn new(capacity: u64, max_bytes: u64) -> Queue {
        Queue {
            capacity: capacity.max(1),
            max_bytes,
            items: BTreeMap::new(),
            bytes: 0,
            next: 0,
            handed: BTreeMap::new(),
            receivers: VecDeque::new(),
            senders: VecDeque::new(),
            refused: HashMap::new(),
        }
    }

    pub(super) fn carry_out(
        &mut self,
        client: u64,
        responder: OpenResponder,
        op: Op,
        memory: &mut Memory,
        answers: &mut Answers<'_>,
    ) {
        let answer = match op {
            Op::Length => Answer::Count(self.items.len() as u64),
            Op::QueueSend { wait, item, now } => {
                if item.len() as u64 > self.max_bytes {
                    self.refuse(client, wait, Failure::Full { max: self.max_bytes })
                } else if self.senders.is_empty() && self.has_room(item.len()) {
                    match memory.take(1, item.len()) {
                        Ok(()) => {
                            self.accept(item);
                            self.go_on(answers);
                            Answer::Done
                        }
                        Err(failure) => self.refuse(client, wait, failure),
                    }
                } else if now {
                    Answer::NotNow
                } else {
                    match memory.take(1, item.len()) {
                        Err(failure) => self.refuse(client, wait, failure),
                        Ok(()) => {
                            match answers.wait(client, wait, responder) {
                                Some(waiter) => self.senders.push_back((waiter, item)),
                                None => {
                                    memory.give_back(1, item.len());
                                    self.note_refused(client, wait);
                                }
                            }
                            return;
                        }
                    }
                }
            }
            Op::QueueRecv { wait, now } => match self.items.pop_first() {
                Some((number, item)) => {
                    self.hand(client, wait, number, &item);
                    Answer::Value(Some(item))
                }
                None if now => Answer::NotNow,
                None => {
                    self.receivers.extend(answers.wait(client, wait, responder));
                    return;
                }
            },
            Op::QueueReceived { wait } => {
                let received = self.handed.remove(&(client, wait));
                if let Some((_, item)) = &received {
                    self.bytes -= item.len() as u64;
                    memory.give_back(1, item.len());
                    self.go_on(answers);
                }
                Answer::Is(received.is_some())
            }
            Op::Clear => {
                let items = std::mem::take(&mut self.items);
                let bytes: usize = items.values().map(|item| item.len()).sum();
                self.bytes -= bytes as u64;
                memory.give_back(items.len(), bytes);
                self.go_on(answers);
                Answer::Done
            }
            Op::GiveUp { wait } if self.give_up(client, wait, memory, answers) => Answer::Is(true),
            Op::GiveUp { wait } => self.became_of(client, wait),
            _ => Answer::Failed(Failure::WrongKind { is: "queue".to_owned() }),
        };
        answers.reply(responder, answer);
    }

    fn refuse(&mut self, client: u64, wait: u64, failure: Failure) -> Answer {
        self.note_refused(client, wait);
        Answer::Failed(failure)
    }

    fn note_refused(&mut self, client: u64, wait: u64) {
        let refused = self.refused.entry(client).or_default();
        if refused.len() == REFUSED_KNOWN {
            refused.pop_front();
        }
        refused.push_back(wait);
    }

    /// Of an item that doesn't wait any more: whether it won't be sent. Where that isn't known any more, it isn't said.
    fn became_of(&self, client: u64, wait: u64) -> Answer {
        let refused = self.refused.get(&client);
        match refused {
            Some(refused) if refused.contains(&wait) => Answer::Is(true),
            Some(refused) if refused.len() == REFUSED_KNOWN => Answer::NotNow,
            _ => Answer::Is(false),
        }
    }

    fn has_room(&self, length: usize) -> bool {
        let count = self.items.len() + self.handed.len();
        (count as u64) < self.capacity && self.bytes.saturating_add(length as u64) <= self.max_bytes
    }

    /// Its memory was taken.
    fn accept(&mut self, item: Bytes) {
        self.bytes += item.len() as u64;
        self.items.insert(self.next, item);
        self.next += 1;
    }

    fn hand(&mut self, client: u64, wait: u64, number: u64, item: &Bytes) {
        // Nobody honest uses a number twice.
        if let Some((number, before)) = self.handed.insert((client, wait), (number, item.clone())) {
            self.items.insert(number, before);
        }
    }

    /// Whoever waits for what there is now has it.
    fn go_on(&mut self, answers: &mut Answers<'_>) {
        loop {
            while !self.receivers.is_empty() {
                let Some((number, item)) = self.items.pop_first() else { break };
                let Some(waiter) = self.receivers.pop_front() else { break };
                self.hand(waiter.client, waiter.wait, number, &item);
                answers.tell(waiter, Answer::Value(Some(item)));
            }
            let fits = self.senders.front().is_some_and(|(_, item)| self.has_room(item.len()));
            let Some((waiter, item)) = fits.then(|| self.senders.pop_front()).flatten() else { return };
            self.accept(item);
            answers.tell(waiter, Answer::Done);
        }
    }

    /// Whether it was called off: it isn't, if an item was sent.
    fn give_up(&mut self, client: u64, wait: u64, memory: &mut Memory, answers: &mut Answers<'_>) -> bool {
        if let Some((number, item)) = self.handed.remove(&(client, wait)) {
            self.items.insert(number, item);
            self.go_on(answers);
            return true;
        }
        if withdraw(&mut self.receivers, client, wait, answers) {
            return true;
        }
        let of_it = |(waiter, _): &(Waiter, Bytes)| (waiter.client, waiter.wait) == (client, wait);
        let found = self.senders.iter().position(of_it).and_then(|place| self.senders.remove(place));
        let Some((waiter, item)) = found else { return false };
        memory.give_back(1, item.len());
        answers.gone(&waiter);
        self.go_on(answers);
        true
    }

    pub(super) fn forget(&mut self, client: u64, memory: &mut Memory, answers: &mut Answers<'_>) {
        self.refused.remove(&client);
        self.receivers.retain(|waiter| waiter.client != client);
        self.senders.retain(|(waiter, item)| {
            let stays = waiter.client != client;
            if !stays {
                memory.give_back(1, item.len());
            }
            stays
        });
        let waits: Vec<_> =
            self.handed.range((client, 0)..=(client, u64::MAX)).map(|(known, _)| *known).collect();
        for known in waits {
            if let Some((number, item)) = self.handed.remove(&known) {
                self.items.insert(number, item);
            }
        }
        self.go_on(answers);
    }

    /// How many items it keeps, their bytes, and who waits.
    pub(super) fn end(self) -> (usize, usize, Vec<Waiter>) {
        let on_the_way = self.handed.into_values().map(|(_, item)| item);
        let items = self.items.into_values().chain(on_the_way);
        let (senders, unsent): (Vec<_>, Vec<_>) = self.senders.into_iter().unzip();
        let (mut count, mut bytes) = (0, 0);
        for item in items.chain(unsent) {
            count += 1;
            bytes += item.len();
        }
        (count, bytes, self.receivers.into_iter().chain(senders).collect())
    }
}
