//! Several processes at once on what a manager keeps, and what becomes of it when they are killed.

use std::collections::BTreeSet;
use std::time::Duration;

use common_ipc::process::{Child, Launch, LaunchOptions};
use cross_process_bridge::manager::{
    Manager, ManagerError, SharedEvent, SharedList, SharedLock, SharedMap, SharedQueue, SharedValue,
};
use integration_tests::{proc, stress_factor};

use crate::Outcome::{self, Passed};
use crate::servers::{start_in, zygote};

scenarios![
    fault_45_eight_clients_append_and_none_is_lost,
    fault_45_updates_of_many_are_exact,
    fault_45_threads_of_one_client_get_their_own,
    a_lock_excludes_while_its_holders_are_killed,
    a_lock_whose_holder_dies_says_so,
    fault_49_a_wait_that_is_given_up_takes_nothing,
    a_queue_loses_nothing_when_receivers_are_killed,
    a_queue_between_many,
    fault_50_a_full_queue_makes_senders_wait,
    fault_50_a_manager_keeps_no_more_than_it_may,
    an_event_wakes_all,
    fault_54_a_guard_copied_by_a_fork_unlocks_nothing,
];

const CLIENTS: u64 = 8;

/// Half of them by forks, half by the zygote.
fn clients<A>(run: fn((A, u64)), argument: &A) -> Vec<Child>
where
    A: Clone + serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    let _zygote = zygote();
    (0..CLIENTS)
        .map(|number| {
            let argument = argument.clone();
            if number % 2 == 0 {
                start_in(run, &(argument, number))
            } else {
                Launch::new(&LaunchOptions::new()).start(move || run((argument, number))).unwrap()
            }
        })
        .collect()
}

fn finish(children: Vec<Child>) {
    children.into_iter().for_each(|child| child.output::<()>().unwrap());
}

fn fault_45_eight_clients_append_and_none_is_lost() -> Outcome {
    let manager = Manager::start().unwrap();
    let list: SharedList<(u64, u64)> = manager.list().unwrap();
    let children = clients(
        |(list, client): (SharedList<(u64, u64)>, u64)| {
            for number in 0..1000 {
                list.append(&(client, number)).unwrap();
            }
        },
        &list,
    );
    finish(children);
    let all = list.to_vec().unwrap();
    assert_eq!(all.len() as u64, CLIENTS * 1000);
    for client in 0..CLIENTS {
        let of_it = all.iter().filter(|(by, _)| *by == client).map(|(_, number)| *number);
        assert!(of_it.eq(0..1000), "those of client {client} are in another order");
    }
    manager.stop().unwrap();
    Passed
}

fn fault_45_updates_of_many_are_exact() -> Outcome {
    type Both = (SharedMap<String, u64>, SharedValue<u64>);
    let manager = Manager::start().unwrap();
    let both: Both = (manager.map().unwrap(), manager.value(0).unwrap());
    let children = clients(
        |((map, value), client): (Both, u64)| {
            for number in 0..250 {
                map.update(&"sum".to_owned(), |sum| Some(sum.unwrap_or(0) + number)).unwrap();
                map.update(&format!("of {client}"), |sum| Some(sum.unwrap_or(0) + 1)).unwrap();
                value.update(|sum| sum + 1).unwrap();
            }
        },
        &both,
    );
    finish(children);
    assert_eq!(both.0.get(&"sum".to_owned()).unwrap(), Some(CLIENTS * (0..250).sum::<u64>()));
    assert_eq!(both.1.get().unwrap(), CLIENTS * 250);
    assert_eq!(both.0.len().unwrap() as u64, CLIENTS + 1);
    manager.stop().unwrap();
    Passed
}

fn fault_45_threads_of_one_client_get_their_own() -> Outcome {
    let manager = Manager::start().unwrap();
    let map: SharedMap<u64, u64> = manager.map().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let map = &map;
            scope.spawn(move || {
                for number in 0..500 {
                    let key = thread * 1000 + number;
                    assert_eq!(map.insert(&key, &(key * 3)).unwrap(), None);
                    assert_eq!(map.get(&key).unwrap(), Some(key * 3));
                }
            });
        }
    });
    assert_eq!(map.len().unwrap(), 4000);
    manager.stop().unwrap();
    Passed
}

type Guarded = (SharedLock, SharedValue<(u64, u64)>, SharedValue<u64>);

/// Two numbers that are the same whenever nobody holds the lock, unless a holder was killed.
fn work_under_the_lock(((lock, pair, repaired), _): (Guarded, u64)) {
    loop {
        let guard = lock.lock().unwrap();
        let (mut one, mut other) = pair.get().unwrap();
        if guard.holder_died() {
            repaired.update(|count| count + 1).unwrap();
            other = one;
        }
        assert_eq!(one, other, "somebody else was at it");
        one += 1;
        pair.set(&(one, other)).unwrap();
        pair.set(&(one, other + 1)).unwrap();
        drop(guard);
    }
}

fn a_lock_excludes_while_its_holders_are_killed() -> Outcome {
    let manager = Manager::start().unwrap();
    let guarded: Guarded =
        (manager.lock().unwrap(), manager.value((0, 0)).unwrap(), manager.value(0).unwrap());
    let mut children = clients(work_under_the_lock, &guarded);
    for round in 0..20 * stress_factor() as usize {
        std::thread::sleep(Duration::from_millis(5));
        let place = round % children.len();
        children[place].kill().unwrap();
        children[place].wait().unwrap();
        let next = guarded.clone();
        children[place] =
            Launch::new(&LaunchOptions::new()).start(move || work_under_the_lock((next, 0))).unwrap();
    }
    let before = guarded.1.get().unwrap().0;
    assert!(proc::eventually(|| guarded.1.get().unwrap().0 > before + 10), "nobody gets the lock");
    for child in &children {
        assert!(child.is_alive().unwrap(), "{:?}", child.output::<()>());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let _last = guarded.0.lock().unwrap();
    manager.stop().unwrap();
    Passed
}

fn a_lock_whose_holder_dies_says_so() -> Outcome {
    let manager = Manager::start().unwrap();
    let (lock, held) = (manager.lock().unwrap(), manager.event().unwrap());
    let holder = Launch::new(&LaunchOptions::new())
        .start(|| {
            let _guard = lock.lock().unwrap();
            held.set().unwrap();
            std::thread::sleep(Duration::from_secs(600));
        })
        .unwrap();
    held.wait().unwrap();
    assert!(lock.try_lock().unwrap().is_none());
    let waits = std::thread::scope(|scope| {
        let waits = scope.spawn(|| lock.lock().unwrap().holder_died());
        std::thread::sleep(Duration::from_millis(20));
        holder.kill().unwrap();
        waits.join().unwrap()
    });
    assert!(waits);
    holder.wait().unwrap();
    assert!(!lock.lock().unwrap().holder_died(), "it is said once");
    manager.stop().unwrap();
    Passed
}

fn fault_49_a_wait_that_is_given_up_takes_nothing() -> Outcome {
    let manager = Manager::start().unwrap();
    let (lock, queue) = (manager.lock().unwrap(), manager.queue::<u32>(10).unwrap());
    let short = Duration::from_millis(1);
    let guard = lock.lock().unwrap();
    for _ in 0..50 {
        assert!(lock.lock_timeout(short).is_err());
        assert!(queue.recv_timeout(short).unwrap().is_none());
    }
    drop(guard);
    // Nobody who has given up stands in the way.
    drop(lock.lock_timeout(Duration::from_secs(10)).unwrap());
    // Items that come while receivers give up go to somebody who hasn't.
    let received = std::thread::scope(|scope| {
        let impatient = scope.spawn(|| {
            let mut received = Vec::new();
            while received.last() != Some(&u32::MAX) {
                received.extend(queue.recv_timeout(Duration::from_micros(50)).unwrap());
            }
            received
        });
        for number in 0..500 {
            queue.send(&number).unwrap();
        }
        queue.send(&u32::MAX).unwrap();
        impatient.join().unwrap()
    });
    assert!(received.iter().copied().eq((0..500).chain([u32::MAX])), "{received:?}");
    let hasty = lock.with_timeout(short);
    let guard = lock.lock().unwrap();
    assert!(matches!(hasty.lock(), Err(ManagerError::Timeout { .. })));
    drop(guard);
    manager.stop().unwrap();
    Passed
}

type Way = (SharedQueue<u64>, SharedList<u64>);

fn receive_for_ever(((queue, list), _): (Way, u64)) {
    loop {
        let item = queue.recv().unwrap();
        list.append(&item).unwrap();
    }
}

/// What a receiver had received and not noted when it was killed is gone: one item for each at most.
fn a_queue_loses_nothing_when_receivers_are_killed() -> Outcome {
    const ITEMS: u64 = 3000;
    let manager = Manager::start().unwrap();
    let way: Way = (manager.queue(50).unwrap(), manager.list().unwrap());
    let mut children = clients(receive_for_ever, &way);
    let mut killed = 0;
    for item in 0..ITEMS {
        way.0.send(&item).unwrap();
        if item % 150 == 149 {
            let place = killed % children.len();
            children[place].kill().unwrap();
            children[place].wait().unwrap();
            let next = way.clone();
            children[place] =
                Launch::new(&LaunchOptions::new()).start(move || receive_for_ever((next, 0))).unwrap();
            killed += 1;
        }
    }
    assert!(proc::eventually(|| way.0.is_empty().unwrap()));
    let enough = || way.1.len().unwrap() as u64 + killed as u64 >= ITEMS;
    assert!(proc::eventually(enough), "{} of {ITEMS}, {killed} killed", way.1.len().unwrap());
    for child in &children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let received = way.1.to_vec().unwrap();
    let different: BTreeSet<_> = received.iter().collect();
    assert_eq!(different.len(), received.len(), "something came twice");
    manager.stop().unwrap();
    Passed
}

fn a_queue_between_many() -> Outcome {
    let manager = Manager::start().unwrap();
    let way: Way = (manager.queue(10).unwrap(), manager.list().unwrap());
    let children = clients(
        |((queue, list), client): (Way, u64)| {
            if client < CLIENTS / 2 {
                for number in 0..500 {
                    queue.send(&(client * 1000 + number)).unwrap();
                }
            } else {
                for _ in 0..500 {
                    list.append(&queue.recv().unwrap()).unwrap();
                }
            }
        },
        &way,
    );
    finish(children);
    let mut received = way.1.to_vec().unwrap();
    received.sort_unstable();
    let sent = (0..CLIENTS / 2).flat_map(|client| client * 1000..client * 1000 + 500);
    assert!(received.into_iter().eq(sent));
    manager.stop().unwrap();
    Passed
}

fn fault_50_a_full_queue_makes_senders_wait() -> Outcome {
    let manager = Manager::start().unwrap();
    let queue = manager.queue_of_bytes::<String>(100, 10_000).unwrap();
    let text = "x".repeat(4000);
    queue.send(&text).unwrap();
    queue.send(&text).unwrap();
    assert!(!queue.try_send(&text).unwrap());
    let longer = queue.send(&"y".repeat(20_000)).unwrap_err();
    assert!(matches!(longer, ManagerError::Full { max: 10_000, .. }), "{longer}");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| queue.send(&"last".to_owned()).unwrap());
        // It has room, beside the two; this one hasn't.
        waits.join().unwrap();
        let waits = scope.spawn(|| queue.send(&text).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waits.is_finished());
        assert_eq!(queue.recv().unwrap(), text);
        waits.join().unwrap();
    });
    assert_eq!(queue.len().unwrap(), 3);
    manager.stop().unwrap();
    Passed
}

fn fault_50_a_manager_keeps_no_more_than_it_may() -> Outcome {
    const MAX: u64 = 8 << 20;
    let manager = Manager::builder().max_memory(MAX).start().unwrap();
    let list: SharedList<String> = manager.list().unwrap();
    let empty: SharedList<()> = manager.list().unwrap();
    let queue: SharedQueue<String> = manager.queue(usize::MAX).unwrap();
    let text = "x".repeat(100_000);
    let full = |error: &ManagerError| matches!(error, ManagerError::Full { max: MAX, .. });
    let error = (0..1000).find_map(|_| list.append(&text).err()).unwrap();
    assert!(full(&error), "{error}");
    assert!(full(&queue.send(&text).unwrap_err()));
    let error = (0..1_000_000).find_map(|_| empty.extend(&[(); 1000]).err()).unwrap();
    assert!(full(&error), "{error}");
    let resident = proc::resident_kib_of(manager.child().id() as i32);
    assert!(resident < 100 << 10, "{resident} KiB");
    assert!(list.len().unwrap() > 70);
    list.clear().unwrap();
    list.append(&text).unwrap();
    empty.delete().unwrap();
    list.delete().unwrap();
    // All of it is back.
    let again: SharedList<String> = manager.list().unwrap();
    for _ in 0..75 {
        again.append(&text).unwrap();
    }
    manager.stop().unwrap();
    Passed
}

fn an_event_wakes_all() -> Outcome {
    type Both = (SharedEvent, SharedValue<u64>);
    let manager = Manager::start().unwrap();
    let both: Both = (manager.event().unwrap(), manager.value(0).unwrap());
    let children = clients(
        |((event, count), _): (Both, u64)| {
            count.update(|count| count + 1).unwrap();
            event.wait().unwrap();
            count.update(|count| count + 100).unwrap();
        },
        &both,
    );
    assert!(proc::eventually(|| both.1.get().unwrap() == CLIENTS));
    both.0.set().unwrap();
    finish(children);
    assert_eq!(both.1.get().unwrap(), CLIENTS * 101);
    manager.stop().unwrap();
    Passed
}

fn fault_54_a_guard_copied_by_a_fork_unlocks_nothing() -> Outcome {
    let manager = Manager::start().unwrap();
    let lock = manager.lock().unwrap();
    let guard = std::cell::Cell::new(Some(lock.lock().unwrap()));
    let child = Launch::new(&LaunchOptions::new())
        .start(|| {
            drop(guard.take());
            lock.try_lock().unwrap().is_none()
        })
        .unwrap();
    assert!(child.output::<bool>().unwrap());
    drop(guard);
    drop(lock.try_lock().unwrap().unwrap());
    manager.stop().unwrap();
    Passed
}
