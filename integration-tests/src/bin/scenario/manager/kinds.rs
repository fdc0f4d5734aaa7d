//! What a manager keeps, and how its proxies get to other processes.

use std::time::Duration;

use common_ipc::link::{DEFAULT_MAX_FRAME, Queue, open_calls};
use common_ipc::process::{Child, Launch, LaunchOptions};
use cross_process_bridge::bridge;
use cross_process_bridge::manager::{
    Manager, ManagerError, SharedEvent, SharedList, SharedLock, SharedMap, SharedQueue, SharedValue,
};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed, Skipped};
use crate::servers::{start_in, zygote};

scenarios![
    the_program_of_the_manager,
    each_kind_does_what_it_says,
    proxies_get_to_children_of_every_way,
    a_child_of_another_user_uses_proxies,
    proxies_are_handed_on_three_deep,
    managers_start_in_every_way,
    a_proxy_in_another_format_is_an_error,
    proxies_in_what_a_manager_keeps,
    many_copies_take_no_descriptors_of_their_own,
    long_values_and_pages,
];

struct Adder;

/// It is borrowed as a part of it only.
#[derive(Serialize, Deserialize)]
struct Odd(u8, String);

impl std::borrow::Borrow<str> for Odd {
    fn borrow(&self) -> &str {
        &self.1
    }
}

#[bridge]
impl Adder {
    fn new() -> Adder {
        Adder
    }

    fn add_to_list(&self, list: &SharedList<String>) -> Result<(), String> {
        list.append(&"a".to_owned()).map_err(|error| error.to_string())
    }

    fn keep(&self, list: SharedList<String>) -> SharedList<String> {
        list
    }
}

fn the_program_of_the_manager() -> Outcome {
    for way in 0..3 {
        let manager = Manager::start().unwrap();
        let list: SharedList<String> = manager.list().unwrap();
        let b = AdderBridge::new();
        match way {
            0 => {}
            1 => drop(b.process().launch_from_template().unwrap()),
            _ => drop(b.process().launch_in(&zygote()).pid()),
        }
        b.start().unwrap();
        b.add_to_list(&list).unwrap().unwrap();
        assert_eq!(list.to_vec().unwrap(), ["a"]);
        // There and back again.
        assert_eq!(b.keep(list).unwrap().len().unwrap(), 1);
        b.stop().unwrap();
        manager.stop().unwrap();
    }
    Passed
}

fn each_kind_does_what_it_says() -> Outcome {
    let manager = Manager::start().unwrap();
    let list = manager.list_of([1_u32, 2, 3]).unwrap();
    list.insert(0, &0).unwrap();
    list.set(1, &10).unwrap();
    assert_eq!((list.get(1).unwrap(), list.get(9).unwrap()), (Some(10), None));
    assert_eq!(
        (list.remove(1).unwrap(), list.pop().unwrap(), list.remove(7).unwrap()),
        (Some(10), Some(3), None)
    );
    assert!(list.contains(&2).unwrap() && !list.contains(&3).unwrap());
    list.extend(&[4, 5]).unwrap();
    assert_eq!(list.iter().collect::<Result<Vec<_>, _>>().unwrap(), [0, 2, 4, 5]);
    assert_eq!(list.slice(1..3).unwrap(), [2, 4]);
    assert!(matches!(list.set(4, &1), Err(ManagerError::OutOfRange { index: 4, length: 4, .. })));
    assert!(matches!(list.insert(5, &1), Err(ManagerError::OutOfRange { .. })));
    list.clear().unwrap();
    assert!(list.is_empty().unwrap() && list.pop().unwrap().is_none());

    let map: SharedMap<String, i64> = manager.map().unwrap();
    let (a, b) = ("a".to_owned(), "b".to_owned());
    assert_eq!((map.insert(&a, &1).unwrap(), map.insert("a", &2).unwrap()), (None, Some(1)));
    assert_eq!((map.get_or_insert("a", &7).unwrap(), map.get_or_insert("b", &7).unwrap()), (2, 7));
    assert!(map.compare_and_set("a", Some(&2), Some(&3)).unwrap());
    assert!(!map.compare_and_set("a", Some(&2), Some(&4)).unwrap());
    assert!(!map.compare_and_set("a", None, Some(&4)).unwrap());
    assert_eq!(map.update("a", |value| value.map(|value| value * 2)).unwrap(), Some(6));
    assert_eq!(map.entries().unwrap(), [(a.clone(), 6), (b.clone(), 7)]);
    assert_eq!(map.update("a", |_| None).unwrap(), None);
    assert_eq!((map.keys().unwrap(), map.len().unwrap()), (vec![b.clone()], 1));
    assert!(!map.contains_key("a").unwrap());
    assert_eq!((map.remove("b").unwrap(), map.remove("b").unwrap()), (Some(7), None));

    // What a key is borrowed as must be encoded as the key is.
    let odd: SharedMap<Odd, i64> = manager.map().unwrap();
    odd.insert(&Odd(7, "seven".into()), &7).unwrap();
    assert_eq!(odd.get(&Odd(7, "seven".into())).unwrap(), Some(7));
    match odd.get("seven") {
        Err(ManagerError::Encode { message, .. }) if cfg!(debug_assertions) => {
            assert!(message.contains("read back"), "{message}");
        }
        other => assert!(matches!(other, Ok(None)) && !cfg!(debug_assertions), "{other:?}"),
    }

    let value = manager.value(5_i64).unwrap();
    value.set(&6).unwrap();
    assert_eq!((value.replace(&7).unwrap(), value.get().unwrap()), (6, 7));
    assert!(value.compare_and_set(&7, &8).unwrap() && !value.compare_and_set(&7, &9).unwrap());
    assert_eq!(value.update(|value| value + 1).unwrap(), 9);

    let lock = manager.lock().unwrap();
    let guard = lock.lock().unwrap();
    assert!(!guard.holder_died() && lock.try_lock().unwrap().is_none());
    assert!(matches!(lock.lock_timeout(Duration::from_millis(5)), Err(ManagerError::Timeout { .. })));
    guard.unlock();
    drop(lock.try_lock().unwrap().unwrap());

    let queue: SharedQueue<String> = manager.queue(2).unwrap();
    assert!(queue.try_recv().unwrap().is_none());
    assert!(queue.recv_timeout(Duration::from_millis(5)).unwrap().is_none());
    queue.send(&a).unwrap();
    assert!(queue.try_send(&b).unwrap() && !queue.try_send(&b).unwrap());
    let late = queue.send_timeout(&b, Duration::from_millis(5)).unwrap_err();
    assert!(matches!(late, ManagerError::Timeout { .. }), "{late}");
    assert_eq!(late.execution(), cross_process_bridge::Execution::NotRun);
    assert_eq!((queue.recv().unwrap(), queue.try_recv().unwrap()), (a, Some(b)));
    assert!(queue.is_empty().unwrap());

    let event = manager.event().unwrap();
    assert!(!event.is_set().unwrap() && !event.wait_timeout(Duration::from_millis(5)).unwrap());
    event.set().unwrap();
    event.wait().unwrap();
    event.clear().unwrap();
    assert!(!event.is_set().unwrap());

    // An object is deleted for all; what it was is told of by its kind.
    let copy = list.clone();
    list.delete().unwrap();
    assert!(matches!(copy.append(&1), Err(ManagerError::Deleted { .. })));
    assert!(matches!(copy.delete(), Err(ManagerError::Deleted { .. })));
    // What isn't of the type that somebody else says.
    let words: SharedList<String> = manager.list_of(["one".to_owned()]).unwrap();
    let queue: Queue<SharedList<String>> = Queue::new().unwrap();
    queue.send(&words).unwrap();
    let wrong = queue.recv().unwrap();
    let numbers: SharedList<u8> = reread(&wrong);
    assert!(matches!(numbers.get(0), Err(ManagerError::Decode { .. })));
    assert_eq!(wrong.get(0).unwrap().unwrap(), "one");
    let event: SharedEvent = reread(&wrong);
    assert!(matches!(event.set(), Err(ManagerError::WrongKind { .. })));
    manager.stop().unwrap();
    Passed
}

/// The same bytes as another type, as a peer's mistake would have it.
pub(crate) fn reread<A, B>(value: &A) -> B
where
    A: Serialize + serde::de::DeserializeOwned,
    B: serde::de::DeserializeOwned,
{
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    caller.send::<A, A>(1, value, None).unwrap();
    let mut buffer = Vec::new();
    server.recv(&mut buffer).unwrap().decode::<B>().0.unwrap()
}

/// One of each.
#[derive(Clone, Serialize, Deserialize)]
struct All {
    list: SharedList<String>,
    map: SharedMap<u32, u64>,
    value: SharedValue<i64>,
    lock: SharedLock,
    queue: SharedQueue<u32>,
    event: SharedEvent,
}

impl All {
    fn of(manager: &Manager) -> All {
        All {
            list: manager.list().unwrap(),
            map: manager.map().unwrap(),
            value: manager.value(0).unwrap(),
            lock: manager.lock().unwrap(),
            queue: manager.queue(100).unwrap(),
            event: manager.event().unwrap(),
        }
    }

    /// In any process.
    fn use_them(&self, number: u32) {
        self.event.wait().unwrap();
        self.list.append(&format!("{number}")).unwrap();
        self.map.insert(&number, &1).unwrap();
        self.map.update(&1000, |sum| Some(sum.unwrap_or(0) + u64::from(number))).unwrap();
        self.value.update(|sum| sum + i64::from(number)).unwrap();
        {
            let _guard = self.lock.lock().unwrap();
            let sum = self.map.get(&2000).unwrap().unwrap_or(0);
            self.map.insert(&2000, &(sum + u64::from(number))).unwrap();
        }
        self.queue.send(&number).unwrap();
    }

    fn check(&self, numbers: std::ops::Range<u32>) {
        self.event.set().unwrap();
        let mut received: Vec<_> = numbers.clone().map(|_| self.queue.recv().unwrap()).collect();
        received.sort_unstable();
        assert_eq!(received, numbers.clone().collect::<Vec<_>>());
        let sum: u32 = numbers.clone().sum();
        assert_eq!(self.list.len().unwrap(), numbers.len());
        assert_eq!(self.value.get().unwrap(), i64::from(sum));
        assert_eq!(self.map.get(&1000).unwrap(), Some(sum.into()));
        assert_eq!(self.map.get(&2000).unwrap(), Some(sum.into()));
    }
}

fn use_them((all, number): (All, u32)) {
    all.use_them(number);
}

fn finish(children: Vec<Child>) {
    children.into_iter().for_each(|child| child.output::<()>().unwrap());
}

fn proxies_get_to_children_of_every_way() -> Outcome {
    let _zygote = zygote();
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    // One that was used before, so that there is a connection that isn't the child's.
    all.list.append(&"first".to_owned()).unwrap();
    all.list.clear().unwrap();
    let options = LaunchOptions::new();
    let captured = all.clone();
    let template = Launch::new(&options).template(move || captured.use_them(2)).unwrap();
    let with = Launch::new(&options).template_with(use_them).unwrap();
    let children = vec![
        Launch::new(&options).start(|| all.use_them(0)).unwrap(),
        start_in(use_them, &(all.clone(), 1)),
        template.start().unwrap(),
        with.start_as(&options, &(all.clone(), 3)).unwrap(),
        // By a thread of the child's.
        Launch::new(&options)
            .start(|| std::thread::scope(|scope| scope.spawn(|| all.use_them(4)).join().unwrap()))
            .unwrap(),
    ];
    all.check(0..5);
    finish(children);
    manager.stop().unwrap();
    Passed
}

fn a_child_of_another_user_uses_proxies() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Skipped("only root has children of other users");
    }
    let zygote = zygote();
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    let options = LaunchOptions::new().uid(65534).gid(65534).groups([]);
    let captured = all.clone();
    let template = Launch::new(&options).template(move || captured.use_them(1)).unwrap();
    let children = vec![
        Launch::new(&options).start(|| all.use_them(0)).unwrap(),
        template.start().unwrap(),
        Launch::new(&options).start_in(&zygote, use_them, &(all.clone(), 2)).unwrap(),
    ];
    all.check(0..3);
    finish(children);
    manager.stop().unwrap();
    // And a manager of another user.
    let manager = Manager::builder().options(options).start().unwrap();
    let all = All::of(&manager);
    let child = Launch::new(&LaunchOptions::new()).start(|| all.use_them(0)).unwrap();
    all.check(0..1);
    finish(vec![child]);
    manager.stop().unwrap();
    Passed
}

fn hand_on((all, depth): (All, u32)) {
    if depth < 3 {
        let child = Launch::new(&LaunchOptions::new()).start(move || hand_on((all.clone(), depth + 1)));
        finish(vec![child.unwrap()]);
    } else {
        all.use_them(0);
    }
}

fn hand_on_used((all, depth): (All, u32)) {
    // Each has a connection of its own by then.
    all.list.len().unwrap();
    hand_on((all, depth));
}

fn proxies_are_handed_on_three_deep() -> Outcome {
    let _zygote = zygote();
    for run in [hand_on as fn((All, u32)), hand_on_used] {
        let manager = Manager::start().unwrap();
        let all = All::of(&manager);
        let children = [
            start_in(run, &(all.clone(), 1)),
            Launch::new(&LaunchOptions::new()).start(|| run((all.clone(), 1))).unwrap(),
        ];
        let received: Vec<_> = {
            all.event.set().unwrap();
            (0..2).map(|_| all.queue.recv().unwrap()).collect()
        };
        assert_eq!(received, [0, 0]);
        finish(children.into());
        manager.stop().unwrap();
    }
    Passed
}

fn managers_start_in_every_way() -> Outcome {
    let zygote = zygote();
    let template = Manager::builder().template().unwrap();
    let one = std::thread::spawn(move || {
        let by_zygote = Manager::builder().start_in(&zygote).unwrap();
        let by_template = Manager::builder().start_from(&template).unwrap();
        let refused = Manager::start().unwrap_err();
        assert!(matches!(refused, ManagerError::Start(_)), "{refused}");
        for manager in [by_zygote, by_template] {
            let all = All::of(&manager);
            all.event.set().unwrap();
            all.use_them(0);
            all.check(0..1);
            let shared = manager.share(&AdderBridge::new()).unwrap();
            shared.add_to_list(&all.list).unwrap().unwrap();
            assert_eq!(all.list.len().unwrap(), 2);
            manager.stop().unwrap();
        }
    });
    one.join().unwrap();
    Passed
}

fn a_proxy_in_another_format_is_an_error() -> Outcome {
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    let error = serde_json::to_string(&all.list).unwrap_err();
    assert!(error.to_string().contains("descriptors"), "{error}");
    let error = common_ipc::link::codec::encode(&all.lock).unwrap_err();
    assert!(error.message.contains("descriptors"), "{error}");
    assert!(serde_json::from_str::<SharedList<u8>>("{\"Here\":{\"id\":1,\"key\":2}}").is_err());
    let shared = manager.share(&AdderBridge::new()).unwrap();
    assert!(serde_json::to_string(&shared).is_err());
    // A bridge that has its own process isn't sent at all.
    let queue: Queue<AdderBridge> = Queue::new().unwrap();
    let error = queue.send(&AdderBridge::new()).unwrap_err();
    assert!(error.to_string().contains("share"), "{error}");
    queue.send(&shared).unwrap();
    queue.recv().unwrap().add_to_list(&all.list).unwrap().unwrap();
    assert_eq!(all.list.len().unwrap(), 1);
    manager.stop().unwrap();
    Passed
}

fn proxies_in_what_a_manager_keeps() -> Outcome {
    let manager = Manager::start().unwrap();
    let lists: SharedMap<String, SharedList<u32>> = manager.map().unwrap();
    lists.insert(&"one".to_owned(), &manager.list_of([1, 2]).unwrap()).unwrap();
    let run = |lists: SharedMap<String, SharedList<u32>>| {
        lists.get(&"one".to_owned()).unwrap().unwrap().append(&3).unwrap();
    };
    let _zygote = zygote();
    start_in(run, &lists).output::<()>().unwrap();
    assert_eq!(lists.get(&"one".to_owned()).unwrap().unwrap().to_vec().unwrap(), [1, 2, 3]);
    // Of another manager's there is no way to keep the descriptors.
    let other = Manager::start().unwrap();
    let error = lists.insert(&"two".to_owned(), &other.list().unwrap()).unwrap_err();
    assert!(matches!(error, ManagerError::Encode { .. }), "{error}");
    manager.stop().unwrap();
    other.stop().unwrap();
    Passed
}

fn many_copies_take_no_descriptors_of_their_own() -> Outcome {
    let manager = Manager::start().unwrap();
    let queue: Queue<SharedList<u32>> = Queue::new().unwrap();
    let list = manager.list::<u32>().unwrap();
    let count = || integration_tests::proc::descriptors(std::process::id() as i32).len();
    list.append(&0).unwrap();
    let before = count();
    let copies: Vec<_> = (0..300)
        .map(|_| {
            queue.send(&list).unwrap();
            queue.recv().unwrap()
        })
        .collect();
    assert!(copies.iter().all(|copy| copy.append(&1).is_ok()));
    assert!(count() <= before + 1, "{} after {before}", count());
    assert_eq!(list.len().unwrap(), 301);
    drop((queue, copies));
    manager.stop().unwrap();
    Passed
}

fn long_values_and_pages() -> Outcome {
    let manager = Manager::builder().max_message(4 << 20).start().unwrap();
    let list: SharedList<String> = manager.list().unwrap();
    let text = "x".repeat(300_000);
    for _ in 0..20 {
        list.append(&text).unwrap();
    }
    assert!(list.to_vec().unwrap().iter().all(|value| *value == text));
    assert_eq!(list.iter().count(), 20);
    assert_eq!(list.slice(5..7).unwrap().len(), 2);
    list.append(&"y".repeat(3 << 20)).unwrap();
    assert_eq!(list.get(20).unwrap().unwrap().len(), 3 << 20);
    let error = list.append(&"z".repeat(5 << 20)).unwrap_err();
    assert!(matches!(error, ManagerError::TooLarge { .. }), "{error}");
    let map: SharedMap<u64, String> = manager.map().unwrap();
    for key in 0..20 {
        map.insert(&key, &text).unwrap();
    }
    assert_eq!((map.entries().unwrap().len(), map.keys().unwrap().len()), (20, 20));
    let small: SharedList<()> = manager.list().unwrap();
    small.extend(&vec![(); 100_000]).unwrap();
    assert_eq!(small.to_vec().unwrap().len(), 100_000);
    manager.stop().unwrap();
    Passed
}
