use std::collections::BTreeMap;

use common_ipc::link::{Bytes, DEFAULT_MAX_FRAME, OpenCaller, OpenResponder, OpenServer, open_calls};

use crate::manager::server::Outgoing;
use crate::manager::server::store::Store;
use crate::manager::wire::{Address, Answer, Failure, Made, Op};

const MAX: u64 = 1 << 20;

/// A store, and what makes responders that nobody waits for.
struct House {
    store: Store,
    caller: OpenCaller,
    server: OpenServer,
}

impl House {
    fn new(max: u64) -> House {
        let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
        House { store: Store::new(max, MAX), caller, server }
    }

    fn responder(&self) -> OpenResponder {
        self.caller.send::<(), _>(0, &(), None).unwrap();
        let mut buffer = Vec::new();
        self.server.recv(&mut buffer).unwrap().responder()
    }

    fn make(&mut self, made: Made) -> Address {
        self.store.make(made).unwrap()
    }

    /// All answers, in their order.
    fn ask(&mut self, client: u64, address: Address, op: Op) -> Vec<Answer> {
        let (responder, mut outgoing) = (self.responder(), Outgoing::new());
        self.store.carry_out(client, responder, address, op, &mut outgoing);
        outgoing.into_iter().map(|(_, answer)| answer).collect()
    }

    fn forget(&mut self, client: u64) -> Vec<Answer> {
        let mut outgoing = Outgoing::new();
        self.store.forget(client, &mut outgoing);
        outgoing.into_iter().map(|(_, answer)| answer).collect()
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.as_bytes())
}

fn value(text: &str) -> Answer {
    Answer::Value(Some(bytes(text)))
}

fn send(wait: u64, text: &str) -> Op {
    Op::QueueSend { wait, item: bytes(text), now: false }
}

fn recv(wait: u64) -> Op {
    Op::QueueRecv { wait, now: false }
}

#[test]
fn fault_50_all_that_is_kept_is_counted_and_given_back() {
    let mut house = House::new(4000);
    let empty = house.store.used();
    let list = house.make(Made::List);
    let text = "x".repeat(1000);
    assert_eq!(house.ask(1, list, Op::ListAppend(bytes(&text))), [Answer::Done]);
    let full = [Answer::Failed(Failure::Full { max: 4000 })];
    assert_eq!(house.ask(1, list, Op::ListExtend(vec![bytes(&text); 3])), full);
    assert_eq!(house.ask(1, list, Op::ListExtend(vec![Bytes::new(); 1000])), full);
    // A replacement counts once both are there.
    assert_eq!(house.ask(1, list, Op::ListSet(0, bytes(&text))), [Answer::Done]);
    assert_eq!(house.ask(1, list, Op::ListPop), [value(&text)]);
    assert_eq!(house.ask(1, list, Op::Delete), [Answer::Done]);
    assert_eq!(house.store.used(), empty);
    assert!(house.store.make(Made::Value(bytes(&"x".repeat(5000)))).is_err());
    assert_eq!(house.store.used(), empty);
}

#[test]
fn an_item_goes_back_to_its_place() {
    let mut house = House::new(MAX);
    let queue = house.make(Made::Queue { capacity: 10, bytes: u64::MAX });
    for text in ["a", "b", "c"] {
        assert_eq!(house.ask(1, queue, send(0, text)), [Answer::Done]);
    }
    assert_eq!(house.ask(2, queue, recv(1)), [value("a")]);
    assert_eq!(house.ask(3, queue, recv(1)), [value("b")]);
    // The second has it; the first dies without a word.
    assert_eq!(house.ask(3, queue, Op::QueueReceived { wait: 1 }), [Answer::Is(true)]);
    assert!(house.forget(2).is_empty());
    assert_eq!(house.ask(3, queue, recv(2)), [value("a")]);
    // One that has given up.
    assert_eq!(house.ask(3, queue, Op::GiveUp { wait: 2 }), [Answer::Is(true)]);
    assert_eq!(house.ask(3, queue, recv(3)), [value("a")]);
    assert_eq!(house.ask(3, queue, recv(4)), [value("c")]);
    // Of one that dies, those who wait have it, in order.
    assert!(house.ask(4, queue, recv(1)).is_empty() && house.ask(5, queue, recv(1)).is_empty());
    assert_eq!(house.forget(3), [value("a"), value("c")]);
}

#[test]
fn fault_49_what_was_given_up_is_not_sent() {
    let mut house = House::new(MAX);
    let queue = house.make(Made::Queue { capacity: 1, bytes: u64::MAX });
    assert_eq!(house.ask(1, queue, send(1, "a")), [Answer::Done]);
    assert!(house.ask(1, queue, send(2, "b")).is_empty() && house.ask(1, queue, send(3, "c")).is_empty());
    assert_eq!(house.ask(1, queue, Op::GiveUp { wait: 2 }), [Answer::Is(true)]);
    // What was sent can't be called off.
    assert_eq!(house.ask(1, queue, Op::GiveUp { wait: 1 }), [Answer::Is(false)]);
    assert_eq!(house.ask(2, queue, recv(1)), [value("a")]);
    // There is room once it has come.
    assert_eq!(house.ask(2, queue, Op::QueueReceived { wait: 1 }), [Answer::Done, Answer::Is(true)]);
    assert_eq!(house.ask(2, queue, recv(2)), [value("c")]);
}

#[test]
fn a_lock_goes_on_with_the_word_that_its_holder_died() {
    let mut house = House::new(MAX);
    let lock = house.make(Made::Lock);
    let held = |holder_died| Answer::Locked { holder_died };
    let ask = |wait| Op::Lock { wait, now: false };
    assert_eq!(house.ask(1, lock, ask(1)), [held(false)]);
    assert_eq!(house.ask(2, lock, Op::Lock { wait: 1, now: true }), [Answer::NotNow]);
    assert!(house.ask(2, lock, ask(2)).is_empty() && house.ask(3, lock, ask(1)).is_empty());
    // Not another one's, nor by another number.
    assert_eq!(house.ask(3, lock, Op::Unlock { wait: 1 }), [Answer::Is(false)]);
    assert_eq!(house.ask(1, lock, Op::Unlock { wait: 2 }), [Answer::Is(false)]);
    assert_eq!(house.forget(1), [held(true)]);
    // The second has given up before it knew: the third is told instead.
    assert_eq!(house.ask(2, lock, Op::GiveUp { wait: 2 }), [held(true), Answer::Is(true)]);
    assert_eq!(house.ask(3, lock, Op::Unlock { wait: 1 }), [Answer::Is(true)]);
    assert_eq!(house.ask(2, lock, ask(3)), [held(false)]);
}

#[test]
fn fault_50_one_client_has_so_many_waits() {
    let mut house = House::new(MAX);
    let event = house.make(Made::Event);
    let refused = |answers: &[Answer]| matches!(answers, [Answer::Failed(Failure::TooManyWaits { .. })]);
    let most = (0..10_000).find(|wait| refused(&house.ask(1, event, Op::EventWait { wait: *wait }))).unwrap();
    assert_eq!(house.ask(1, event, Op::GiveUp { wait: 0 }), [Answer::Is(true)]);
    assert!(house.ask(1, event, Op::EventWait { wait: 0 }).is_empty());
    assert!(house.ask(2, event, Op::EventWait { wait: 0 }).is_empty());
    assert_eq!(house.ask(2, event, Op::EventSet).len() as u64, most + 2);
    assert_eq!(house.ask(2, event, Op::EventClear), [Answer::Done]);
    // All are counted off.
    assert!(house.ask(1, event, Op::EventWait { wait: 0 }).is_empty());
}

#[test]
fn a_page_has_one_element_at_least_and_no_more_than_fits() {
    let mut house = House::new(64 << 20);
    let list = house.make(Made::List);
    let long = bytes(&"x".repeat(900_000));
    house.ask(1, list, Op::ListExtend(vec![bytes("a"), long.clone(), long.clone(), bytes("b")]));
    let mut pages = Vec::new();
    let mut from = 0;
    loop {
        let op = Op::ListPage { from, count: u64::MAX, bytes: u64::MAX };
        let answers = house.ask(1, list, op);
        let [Answer::Page(page, more)] = &answers[..] else { panic!("{answers:?}") };
        pages.push(page.len());
        from += page.len() as u64;
        if !more {
            break;
        }
    }
    assert_eq!(pages, [1, 1, 1, 1]);
}

#[test]
fn who_does_not_know_the_key_finds_nothing() {
    let mut house = House::new(MAX);
    let list = house.make(Made::List);
    let guessed = Address { key: list.key ^ 1, ..list };
    for op in [Op::Length, Op::Delete, Op::ListPop] {
        assert_eq!(house.ask(1, guessed, op), [Answer::Failed(Failure::Deleted)]);
    }
    let wrong = house.ask(1, list, Op::EventSet);
    assert_eq!(wrong, [Answer::Failed(Failure::WrongKind { is: "list".to_owned() })]);
}

/// Whatever was done, in whatever order: nothing stays counted, and no item is lost or there twice.
#[test]
fn any_order_of_operations_adds_up() {
    fastrand::seed(7);
    for _ in 0..50 {
        let mut house = House::new(MAX);
        let made = [
            Made::List,
            Made::Map,
            Made::Value(bytes("first")),
            Made::Lock,
            Made::Queue { capacity: 3, bytes: 100 },
            Made::Event,
        ];
        let all = made.map(|made| house.make(made));
        let queue = all[4];
        let (mut sent, mut received) = (BTreeMap::new(), BTreeMap::new());
        for step in 0..500_u64 {
            let (client, wait, now) = (fastrand::u64(1..5), step, fastrand::bool());
            let text = bytes(&format!("{}", fastrand::u64(0..20)));
            let earlier = step.saturating_sub(fastrand::u64(1..30));
            let (address, op) = match fastrand::u64(0..22) {
                0 => (all[0], Op::ListAppend(text)),
                1 => (all[0], Op::ListInsert(fastrand::u64(0..4), text)),
                2 => (all[0], Op::ListSet(fastrand::u64(0..4), text)),
                3 => (all[0], Op::ListRemove(fastrand::u64(0..4))),
                4 => (all[1], Op::MapInsert(text.clone(), text)),
                5 => (all[1], Op::MapPut { key: text.clone(), expected: None, value: Some(text) }),
                6 => (all[1], Op::MapRemove(text)),
                7 => (all[1], Op::MapCompareAndSet { key: text.clone(), expected: Some(text), value: None }),
                8 => (all[2], Op::ValueSet(text)),
                9 => (all[2], Op::ValueCompareAndSet { expected: text.clone(), value: text }),
                10 => (all[3], Op::Lock { wait, now }),
                11 => (all[3], Op::Unlock { wait: earlier }),
                12 => (all[3], Op::GiveUp { wait: earlier }),
                13 => (all[5], Op::EventWait { wait }),
                14 => (all[5], if now { Op::EventSet } else { Op::EventClear }),
                15 => (all[5], Op::GiveUp { wait: earlier }),
                16 | 17 => (queue, Op::QueueSend { wait, item: bytes(&format!("{step}")), now }),
                18 | 19 => (queue, Op::QueueRecv { wait, now }),
                20 => (queue, Op::QueueReceived { wait: earlier }),
                _ if fastrand::u64(0..10) == 0 => {
                    house.forget(client);
                    continue;
                }
                _ => (queue, Op::GiveUp { wait: earlier }),
            };
            let answers = house.ask(client, address, op.clone());
            match (&op, answers.last()) {
                (Op::QueueSend { item, .. }, Some(Answer::Done)) => drop(sent.insert(item.clone(), client)),
                (Op::QueueReceived { .. }, Some(Answer::Is(true))) => *received.entry(()).or_insert(0) += 1,
                _ => {}
            }
        }
        (1..5).for_each(|client| drop(house.forget(client)));
        let mut left = 0;
        while let [Answer::Value(Some(_))] = &house.ask(9, queue, Op::QueueRecv { wait: left, now: true })[..]
        {
            left += 1;
        }
        // Senders that waited may have been served later on.
        assert!(left + received.get(&()).copied().unwrap_or(0) >= sent.len() as u64 - received.len() as u64);
        house.forget(9);
        for address in all {
            assert_eq!(house.ask(9, address, Op::Delete).last(), Some(&Answer::Done));
        }
        assert_eq!(house.store.used(), 0);
    }
}
