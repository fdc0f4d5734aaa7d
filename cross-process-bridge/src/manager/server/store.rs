//! What the manager keeps, and the operations on it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use common_ipc::link::{Bytes, OpenResponder};

use crate::manager::server::Outgoing;
use crate::manager::server::lock::Lock;
use crate::manager::server::map::{Entry, Map};
use crate::manager::server::objects::Inbox;
use crate::manager::server::queue::Queue;
use crate::manager::wire::{Address, Answer, Failure, Made, Op};

/// What is kept beside the bytes of each value.
const OVERHEAD: u64 = 96;
/// So many operations of one client may wait.
const WAITS_MAX: u64 = 4096;

/// All objects.
#[derive(Debug)]
pub(crate) struct Store {
    objects: HashMap<u64, Object>,
    next: u64,
    memory: Memory,
    waits: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Object {
    key: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    List(VecDeque<Bytes>),
    Map(Map),
    Value(Entry),
    Lock(Lock),
    Queue(Queue),
    Event { is_set: bool, waiters: Vec<Waiter> },
    Bridge(Arc<Inbox>),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Kind::List(_) => "list",
            Kind::Map(_) => "map",
            Kind::Value(_) => "value",
            Kind::Lock(_) => "lock",
            Kind::Queue(_) => "queue",
            Kind::Event { .. } => "event",
            Kind::Bridge(_) => "bridge's object",
        }
    }
}

/// Somebody who waits for something.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) client: u64,
    pub(super) wait: u64,
    pub(super) responder: OpenResponder,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    pub(super) client: u64,
    pub(super) responder: OpenResponder,
    pub(super) waits: &'a mut HashMap<u64, u64>,
}

impl Asker<'_> {
    /// Has it wait, unless too many of it do.
    pub(super) fn wait(self, wait: u64) -> Result<Waiter, (OpenResponder, Answer)> {
        let waits = self.waits.entry(self.client).or_default();
        if *waits >= WAITS_MAX {
            return Err((self.responder, Answer::Failed(Failure::TooManyWaits { max: WAITS_MAX })));
        }
        *waits += 1;
        Ok(Waiter { client: self.client, wait, responder: self.responder })
    }
}

/// How much is kept, in bytes.
#[derive(Debug)]
pub(super) struct Memory {
    used: u64,
    max: u64,
    /// The longest page.
    max_page: u64,
    /// Of the last change to anything.
    version: u64,
}

impl Memory {
    /// Takes room for values of so many bytes in all.
    pub(super) fn take(&mut self, count: usize, bytes: usize) -> Result<(), Failure> {
        let cost = (bytes as u64).saturating_add(OVERHEAD.saturating_mul(count as u64));
        let used = self.used.saturating_add(cost);
        if used > self.max {
            return Err(Failure::Full { max: self.max });
        }
        self.used = used;
        Ok(())
    }

    pub(super) fn give_back(&mut self, count: usize, bytes: usize) {
        self.used = self.used.saturating_sub(bytes as u64 + OVERHEAD * count as u64);
    }

    /// A page of so many bytes, or of as many as there may be.
    pub(super) fn page(&self, bytes: u64) -> Page {
        Page { left: bytes.min(self.max_page), is_empty: true }
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}

impl Store {
    pub(crate) fn new(max: u64, max_message: u64) -> Store {
        let max_page = PAGE_MAX.min(max_message / 2);
        Store {
            objects: HashMap::new(),
            next: 1,
            memory: Memory { used: 0, max, max_page, version: 0 },
            waits: HashMap::new(),
        }
    }

    /// How much is kept.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.memory.used
    }

    /// A new object.
    pub(crate) fn make(&mut self, made: Made) -> Result<Address, Failure> {
        let first = match &made {
            Made::Value(bytes) => bytes.len(),
            _ => 0,
        };
        self.memory.take(2, first)?;
        let kind = match made {
            Made::List => Kind::List(VecDeque::new()),
            Made::Map => Kind::Map(Map::default()),
            Made::Value(value) => Kind::Value(Entry { version: self.memory.next_version(), value }),
            Made::Lock => Kind::Lock(Lock::default()),
            Made::Queue { capacity, bytes } => Kind::Queue(Queue::new(capacity, bytes)),
            Made::Event => Kind::Event { is_set: false, waiters: Vec::new() },
        };
        Ok(self.add(kind))
    }

    /// An object with a thread of its own.
    pub(super) fn make_bridge(&mut self, inbox: Arc<Inbox>) -> Result<Address, Failure> {
        self.memory.take(2, 0)?;
        Ok(self.add(Kind::Bridge(inbox)))
    }

    fn add(&mut self, kind: Kind) -> Address {
        let address = Address { id: self.next, key: common_ipc::random_number() };
        self.next += 1;
        self.objects.insert(address.id, Object { key: address.key, kind });
        address
    }

    /// The inbox of a bridge's object.
    pub(super) fn inbox(&self, address: Address) -> Result<Arc<Inbox>, Failure> {
        match self.objects.get(&address.id).filter(|object| object.key == address.key) {
            Some(Object { kind: Kind::Bridge(inbox), .. }) => Ok(Arc::clone(inbox)),
            Some(object) => Err(Failure::WrongKind { is: object.kind.name().to_owned() }),
            None => Err(Failure::Deleted),
        }
    }

    /// A client is gone: what it holds is for others, and what it waits for isn't for it any more.
    pub(crate) fn forget(&mut self, client: u64, outgoing: &mut Outgoing) {
        self.waits.remove(&client);
        for object in self.objects.values_mut() {
            let mut answers = Answers { outgoing, waits: &mut self.waits };
            match &mut object.kind {
                Kind::Lock(lock) => lock.forget(client, &mut answers),
                Kind::Queue(queue) => queue.forget(client, &mut self.memory, &mut answers),
                Kind::Event { waiters, .. } => waiters.retain(|waiter| waiter.client != client),
                Kind::List(_) | Kind::Map(_) | Kind::Value(_) | Kind::Bridge(_) => {}
            }
        }
    }

    /// Ends an object. Who waits for it is told.
    pub(super) fn delete(&mut self, address: Address, outgoing: &mut Outgoing) -> bool {
        let is_there = self.objects.get(&address.id).is_some_and(|object| object.key == address.key);
        let Some(object) = is_there.then(|| self.objects.remove(&address.id)).flatten() else { return false };
        let (mut count, mut bytes) = (2, 0);
        let mut tell = |waiter: Waiter| {
            let mut answers = Answers { outgoing: &mut *outgoing, waits: &mut self.waits };
            answers.tell(waiter, Answer::Failed(Failure::Deleted));
        };
        match object.kind {
            Kind::List(list) => {
                count += list.len();
                bytes += list.iter().map(|value| value.len()).sum::<usize>();
            }
            Kind::Map(map) => {
                let (kept, of) = map.size();
                count += kept;
                bytes += of;
            }
            Kind::Value(entry) => bytes += entry.value.len(),
            Kind::Lock(lock) => lock.waiters.into_iter().for_each(tell),
            Kind::Queue(queue) => {
                let (kept, of, waiters) = queue.end();
                count += kept;
                bytes += of;
                waiters.into_iter().for_each(tell);
            }
            Kind::Event { waiters, .. } => waiters.into_iter().for_each(&mut tell),
            Kind::Bridge(inbox) => inbox.close(),
        }
        self.memory.give_back(count, bytes);
        true
    }

    /// Carries out an operation; all answers go to `outgoing`.
    pub(crate) fn carry_out(
        &mut self,
        client: u64,
        responder: OpenResponder,
        address: Address,
        op: Op,
        outgoing: &mut Outgoing,
    ) {
        if op == Op::Delete {
            let answer =
                if self.delete(address, outgoing) { Answer::Done } else { Answer::Failed(Failure::Deleted) };
            outgoing.push((responder, answer));
            return;
        }
        let object = self.objects.get_mut(&address.id).filter(|object| object.key == address.key);
        let Some(object) = object else {
            outgoing.push((responder, Answer::Failed(Failure::Deleted)));
            return;
        };
        let memory = &mut self.memory;
        let answer = match &mut object.kind {
            Kind::List(list) => list_op(list, op, memory),
            Kind::Map(map) => map.carry_out(op, memory),
            Kind::Value(entry) => entry.carry_out(op, memory),
            Kind::Lock(lock) => {
                let mut answers = Answers { outgoing, waits: &mut self.waits };
                lock.carry_out(client, responder, op, &mut answers);
                return;
            }
            Kind::Queue(queue) => {
                let mut answers = Answers { outgoing, waits: &mut self.waits };
                queue.carry_out(client, responder, op, memory, &mut answers);
                return;
            }
            Kind::Event { is_set, waiters } => {
                let mut answers = Answers { outgoing, waits: &mut self.waits };
                event_op(is_set, waiters, client, responder, op, &mut answers);
                return;
            }
            Kind::Bridge(_) => Err(None),
        };
        let answer = answer.unwrap_or_else(|failure| {
            Answer::Failed(
                failure.unwrap_or_else(|| Failure::WrongKind { is: object.kind.name().to_owned() }),
            )
        });
        outgoing.push((responder, answer));
    }
}

/// `Err(None)`: it is no operation of this kind.
pub(super) type Outcome = Result<Answer, Option<Failure>>;

/// Where answers go, and who waits for one.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    pub(super) outgoing: &'a mut Outgoing,
    pub(super) waits: &'a mut HashMap<u64, u64>,
}

impl Answers<'_> {
    /// To somebody who asks.
    pub(super) fn reply(&mut self, responder: OpenResponder, answer: Answer) {
        self.outgoing.push((responder, answer));
    }

    /// Has somebody wait; `None` if too many of that client do, which it is told.
    pub(super) fn wait(&mut self, client: u64, wait: u64, responder: OpenResponder) -> Option<Waiter> {
        let asker = Asker { client, responder, waits: self.waits };
        match asker.wait(wait) {
            Ok(waiter) => Some(waiter),
            Err(refused) => {
                self.outgoing.push(refused);
                None
            }
        }
    }

    /// To somebody who has waited.
    pub(super) fn tell(&mut self, waiter: Waiter, answer: Answer) {
        self.gone(&waiter);
        self.outgoing.push((waiter.responder, answer));
    }

    /// It waits no more.
    pub(super) fn gone(&mut self, waiter: &Waiter) {
        if let Some(waits) = self.waits.get_mut(&waiter.client) {
            *waits = waits.saturating_sub(1);
        }
    }
}

/// Takes whoever waits by that number out of the line; nobody is told.
pub(super) fn withdraw(
    waiters: &mut VecDeque<Waiter>,
    client: u64,
    wait: u64,
    answers: &mut Answers<'_>,
) -> bool {
    let found = waiters.iter().position(|waiter| (waiter.client, waiter.wait) == (client, wait));
    let Some(waiter) = found.and_then(|place| waiters.remove(place)) else { return false };
    answers.gone(&waiter);
    // Its client has given up: the reply is dropped there.
    answers.reply(waiter.responder, Answer::NotNow);
    true
}

/// A list keeps so many places, used or not.
const KEPT_PLACES: usize = 1024;

fn list_op(list: &mut VecDeque<Bytes>, op: Op, memory: &mut Memory) -> Outcome {
    let length = list.len() as u64;
    let out_of_range = |index| Err(Some(Failure::OutOfRange { index, length }));
    let given_back = |memory: &mut Memory, value: Option<Bytes>| {
        if let Some(value) = &value {
            memory.give_back(1, value.len());
        }
        Ok(Answer::Value(value))
    };
    // What nobody counts any more isn't kept either.
    let shrink = |list: &mut VecDeque<Bytes>| {
        if list.capacity() > KEPT_PLACES && list.len() < list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
    };
    match op {
        Op::Length => Ok(Answer::Count(length)),
        Op::Clear => {
            let values = std::mem::take(list);
            memory.give_back(values.len(), values.iter().map(|value| value.len()).sum());
            Ok(Answer::Done)
        }
        Op::ListAppend(value) => {
            memory.take(1, value.len())?;
            list.push_back(value);
            Ok(Answer::Done)
        }
        Op::ListExtend(values) => {
            memory.take(values.len(), values.iter().map(|value| value.len()).sum())?;
            list.extend(values);
            Ok(Answer::Done)
        }
        Op::ListGet(index) => Ok(Answer::Value(list.get(index as usize).cloned())),
        Op::ListSet(index, value) => {
            let Some(place) = list.get_mut(index as usize) else { return out_of_range(index) };
            memory.take(1, value.len())?;
            let before = std::mem::replace(place, value);
            memory.give_back(1, before.len());
            Ok(Answer::Done)
        }
        Op::ListInsert(index, value) => {
            if index > length {
                return out_of_range(index);
            }
            memory.take(1, value.len())?;
            list.insert(index as usize, value);
            Ok(Answer::Done)
        }
        Op::ListRemove(index) => {
            let value = list.remove(index as usize);
            shrink(list);
            given_back(memory, value)
        }
        Op::ListPop => {
            let value = list.pop_back();
            shrink(list);
            given_back(memory, value)
        }
        Op::ListContains(value) => Ok(Answer::Is(list.contains(&value))),
        Op::ListPage { from, count, bytes } => {
            let mut room = memory.page(bytes);
            let page: Vec<Bytes> = list
                .iter()
                .skip(usize::try_from(from).unwrap_or(usize::MAX))
                .take(usize::try_from(count).unwrap_or(usize::MAX))
                .take_while(|value| room.fits(value.len()))
                .cloned()
                .collect();
            let end = from.saturating_add(page.len() as u64);
            let more = end < length && (page.len() as u64) < count;
            Ok(Answer::Page(page, more))
        }
        _ => Err(None),
    }
}

/// A page has no more than about so many bytes, whatever is asked for.
const PAGE_MAX: u64 = 4 << 20;
/// What an element takes in a page beside its bytes.
const BESIDE: u64 = 32;

/// What has room in one answer.
#[derive(Debug)]
pub(super) struct Page {
    left: u64,
    is_empty: bool,
}

impl Page {
    /// Whether one more of this length goes in: the first always does.
    pub(super) fn fits(&mut self, length: usize) -> bool {
        let length = length as u64 + BESIDE;
        let fits = self.is_empty || length <= self.left;
        (self.left, self.is_empty) = (self.left.saturating_sub(length), false);
        fits
    }
}

fn event_op(
    is_set: &mut bool,
    waiters: &mut Vec<Waiter>,
    client: u64,
    responder: OpenResponder,
    op: Op,
    answers: &mut Answers<'_>,
) {
    let answer = match op {
        Op::EventSet => {
            *is_set = true;
            waiters.drain(..).for_each(|waiter| answers.tell(waiter, Answer::Done));
            Answer::Done
        }
        Op::EventClear => {
            *is_set = false;
            Answer::Done
        }
        Op::EventIsSet => Answer::Is(*is_set),
        Op::EventWait { .. } if *is_set => Answer::Done,
        Op::EventWait { wait } => {
            waiters.extend(answers.wait(client, wait, responder));
            return;
        }
        Op::GiveUp { wait } => {
            let found = waiters.iter().position(|waiter| (waiter.client, waiter.wait) == (client, wait));
            let waiter = found.map(|place| waiters.swap_remove(place));
            waiter.iter().for_each(|waiter| answers.gone(waiter));
            Answer::Is(waiter.is_some())
        }
        _ => Answer::Failed(Failure::WrongKind { is: "event".to_owned() }),
    };
    answers.reply(responder, answer);
}
