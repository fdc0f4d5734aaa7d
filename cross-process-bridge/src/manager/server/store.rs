//! What the manager keeps, and the operations on it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use common_ipc::link::{Bytes, OpenResponder};

use crate::manager::server::Outgoing;
use crate::manager::server::event::Event;
use crate::manager::server::list;
use crate::manager::server::lock::Lock;
use crate::manager::server::map::{Entry, Map};
use crate::manager::server::memory::Memory;
use crate::manager::server::objects::Inbox;
use crate::manager::server::queue::Queue;
use crate::manager::wire::{Address, Answer, Failure, Made, Op};

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
    Event(Event),
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
            Kind::Event(_) => "event",
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

impl Store {
    pub(crate) fn new(max: u64, max_message: u64) -> Store {
        Store {
            objects: HashMap::new(),
            next: 1,
            memory: Memory::new(max, max_message),
            waits: HashMap::new(),
        }
    }

    /// How much is kept.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.memory.used()
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
            Made::Event => Kind::Event(Event::default()),
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
                Kind::Event(event) => event.waiters.retain(|waiter| waiter.client != client),
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
            Kind::Event(event) => event.waiters.into_iter().for_each(&mut tell),
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
            Kind::List(list) => list::carry_out(list, op, memory),
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
            Kind::Event(event) => {
                let mut answers = Answers { outgoing, waits: &mut self.waits };
                event.carry_out(client, responder, op, &mut answers);
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
