//! Managers that are killed, stopped, or lose their program.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common_ipc::process::{Launch, LaunchOptions};
use cross_process_bridge::Execution;
use cross_process_bridge::manager::{
    Manager, ManagerError, SharedEvent, SharedList, SharedLock, SharedMap, SharedQueue, SharedValue,
};
use integration_tests::{proc, raw};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::servers::{start_in, zygote};

scenarios![
    fault_29_each_pending_call_of_eight_clients_is_one_error,
    fault_29_a_manager_that_is_dead_stays_dead,
    fault_29_a_manager_stopped_under_load,
    fault_49_time_outs_hold_while_the_manager_is_stopped,
    fault_54_the_manager_ends_with_its_program,
    fault_54_a_dropped_manager_ends_its_process,
    a_copy_of_the_manager_in_a_child_is_nobodys,
    fault_29_a_death_before_the_knock_is_heard,
];

#[derive(Clone, Serialize, Deserialize)]
struct All {
    list: SharedList<u64>,
    map: SharedMap<u64, u64>,
    value: SharedValue<u64>,
    lock: SharedLock,
    queue: SharedQueue<u64>,
    event: SharedEvent,
    ready: SharedValue<u64>,
}

impl All {
    fn of(manager: &Manager) -> All {
        All {
            list: manager.list().unwrap(),
            map: manager.map().unwrap(),
            value: manager.value(0).unwrap(),
            lock: manager.lock().unwrap(),
            queue: manager.queue(4).unwrap(),
            event: manager.event().unwrap(),
            ready: manager.value(0).unwrap(),
        }
    }
}

/// How many tries there were, and the errors of all threads.
type Seen = Vec<(String, bool, String)>;

/// Threads that wait for everything one can wait for, and others that never rest. Each ends with its first error.
fn load(all: All) -> Seen {
    let (tell, told) = channel();
    let ready = all.ready.clone();
    std::thread::scope(|scope| {
        let thread = |name: &'static str, mut one: Box<dyn FnMut() -> Result<(), ManagerError> + Send>| {
            let tell = tell.clone();
            scope.spawn(move || {
                let error = loop {
                    if let Err(error) = one() {
                        break error;
                    }
                };
                tell.send((name.to_owned(), error.is_gone(), error.to_string())).unwrap();
            });
        };
        let a = all.clone();
        thread("append", Box::new(move || a.list.append(&1)));
        let a = all.clone();
        thread("update", Box::new(move || a.value.update(|value| value + 1).map(drop)));
        let a = all.clone();
        thread("insert", Box::new(move || a.map.insert(&1, &2).map(drop)));
        let a = all.clone();
        thread("lock", Box::new(move || a.lock.lock().map(drop)));
        let a = all.clone();
        thread("recv", Box::new(move || a.queue.recv().map(drop)));
        let a = all.clone();
        thread("event", Box::new(move || a.event.wait()));
        let a = all.clone();
        thread("event_timeout", Box::new(move || a.event.wait_timeout(Duration::from_secs(600)).map(drop)));
        ready.update(|count| count + 1).unwrap();
    });
    drop(tell);
    told.iter().collect()
}

const CLIENTS: u64 = 8;

fn check(seen: &Seen) {
    assert_eq!(seen.len(), 7, "{seen:?}");
    for (name, is_gone, text) in seen {
        assert!(is_gone, "{name}: {text}");
    }
}

fn fault_29_each_pending_call_of_eight_clients_is_one_error() -> Outcome {
    let _zygote = zygote();
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    let children: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let all = all.clone();
            match number % 2 {
                0 => start_in(load, &all),
                _ => Launch::new(&LaunchOptions::new()).start(move || load(all)).unwrap(),
            }
        })
        .collect();
    assert!(proc::eventually(|| all.ready.get().unwrap() == CLIENTS));
    let guard = all.lock.lock().unwrap();
    manager.child().kill().unwrap();
    for child in children {
        check(&child.output::<Seen>().unwrap());
    }
    let error = all.list.append(&1).unwrap_err();
    assert!(matches!(&error, ManagerError::Gone { status: Some(status), .. } if status.signal().is_some()));
    drop(guard);
    let error = manager.stop().unwrap_err();
    assert!(error.is_gone(), "{error}");
    Passed
}

fn fault_29_a_manager_that_is_dead_stays_dead() -> Outcome {
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    all.list.append(&1).unwrap();
    manager.child().kill().unwrap();
    manager.child().wait().unwrap();
    let begin = raw::processor_time();
    let before = proc::descriptors(std::process::id() as i32).len();
    for _ in 0..1000 {
        let error = all.list.append(&1).unwrap_err();
        assert!(error.is_gone() && error.execution() == Execution::NotRun, "{error}");
    }
    // No tries to connect, no rests.
    assert!(raw::processor_time().saturating_sub(begin) < Duration::from_secs(5));
    assert!(proc::descriptors(std::process::id() as i32).len() <= before);
    // A child that has the proxies and was never connected.
    let child = Launch::new(&LaunchOptions::new()).start(|| all.value.get().unwrap_err().is_gone()).unwrap();
    assert!(child.output::<bool>().unwrap());
    assert!(manager.list::<u8>().unwrap_err().is_gone());
    drop(manager);
    let next = Manager::start().unwrap();
    next.list::<u64>().unwrap().append(&1).unwrap();
    assert!(all.list.append(&1).unwrap_err().is_gone());
    next.stop().unwrap();
    next.stop().unwrap();
    assert!(next.list::<u8>().unwrap_err().is_gone());
    Passed
}

fn fault_29_a_manager_stopped_under_load() -> Outcome {
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    let child = Launch::new(&LaunchOptions::new()).start(|| load(all.clone())).unwrap();
    assert!(proc::eventually(|| all.ready.get().unwrap() == 1));
    manager.stop().unwrap();
    check(&child.output::<Seen>().unwrap());
    Passed
}

/// Stops a process, and sees that all of its threads have stopped.
pub(crate) fn stop(pid: Pid) {
    kill(pid, Signal::SIGSTOP).unwrap();
    let has_stopped = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    let tasks = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    assert!(proc::eventually(|| tasks().all(has_stopped)));
}

fn fault_49_time_outs_hold_while_the_manager_is_stopped() -> Outcome {
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    all.queue.send(&7).unwrap();
    all.list.append(&1).unwrap();
    let pid = Pid::from_raw(manager.child().id() as i32);
    stop(pid);
    let short = Duration::from_millis(50);
    let late = |error: ManagerError| matches!(error, ManagerError::Timeout { .. });
    assert!(late(all.list.with_timeout(short).append(&2).unwrap_err()));
    assert!(late(all.map.with_timeout(short).get(&2).unwrap_err()));
    assert!(late(all.value.with_timeout(short).get().unwrap_err()));
    assert!(late(all.lock.lock_timeout(short).unwrap_err()));
    assert!(all.queue.recv_timeout(short).unwrap().is_none());
    assert!(!all.event.wait_timeout(short).unwrap());
    let error = all.queue.send_timeout(&8, short).unwrap_err();
    assert!(matches!(error, ManagerError::Timeout { execution: Execution::Unknown, .. }), "{error}");
    // One that isn't connected yet.
    let child = Launch::new(&LaunchOptions::new())
        .start(|| matches!(all.list.with_timeout(short).len(), Err(ManagerError::Timeout { .. })))
        .unwrap();
    assert!(child.output::<bool>().unwrap());
    // Many words that nobody hears, and none that waits.
    let begin = Instant::now();
    for _ in 0..2000 {
        assert!(all.queue.recv_timeout(Duration::ZERO).unwrap().is_none());
    }
    assert!(begin.elapsed() < Duration::from_secs(30));
    kill(pid, Signal::SIGCONT).unwrap();
    // What was handed to those who had given up came back.
    assert_eq!(all.queue.recv_timeout(Duration::from_secs(20)).unwrap(), Some(7));
    drop(all.lock.lock_timeout(Duration::from_secs(20)).unwrap());
    assert!(proc::eventually(|| all.list.len().unwrap() == 2));
    stop(pid);
    drop(manager);
    assert!(all.list.append(&1).unwrap_err().is_gone());
    Passed
}

fn fault_54_the_manager_ends_with_its_program() -> Outcome {
    for way in 0..2 {
        let _zygote = zygote();
        let (numbers, there) = common_ipc::link::Connection::<(), (u32, SharedList<u64>)>::pair().unwrap();
        let program = Launch::new(&LaunchOptions::new().give(&there))
            .start(move || {
                let manager = match way {
                    0 => Manager::start().unwrap(),
                    _ => {
                        common_ipc::process::init().unwrap();
                        Manager::builder().start_in(&common_ipc::process::Zygote::global()).unwrap()
                    }
                };
                let list = manager.list().unwrap();
                there.send(&(manager.child().id(), list)).unwrap();
                std::thread::sleep(Duration::from_secs(600));
            })
            .unwrap();
        let (pid, list) = numbers.recv().unwrap();
        list.append(&1).unwrap();
        program.kill().unwrap();
        program.wait().unwrap();
        assert!(proc::eventually(|| !proc::runs(pid as i32)));
        let error = list.append(&2).unwrap_err();
        assert!(error.is_gone(), "{error}");
    }
    Passed
}

fn fault_54_a_dropped_manager_ends_its_process() -> Outcome {
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    let guard = all.lock.lock().unwrap();
    let pid = manager.child().id() as i32;
    drop(manager);
    assert!(!proc::runs(pid));
    drop(guard);
    assert!(all.list.len().unwrap_err().is_gone());
    Passed
}

fn a_copy_of_the_manager_in_a_child_is_nobodys() -> Outcome {
    let manager = Manager::start().unwrap();
    let child = Launch::new(&LaunchOptions::new())
        .start(|| {
            let refused = |error: ManagerError| matches!(error, ManagerError::WrongProcess(_));
            refused(manager.list::<u8>().unwrap_err()) && refused(manager.stop().unwrap_err())
        })
        .unwrap();
    assert!(child.output::<bool>().unwrap());
    manager.list::<u8>().unwrap().append(&1).unwrap();
    manager.stop().unwrap();
    Passed
}

/// Whoever has knocked while the manager couldn't hear, and waits, learns of its death.
fn fault_29_a_death_before_the_knock_is_heard() -> Outcome {
    let manager = Manager::start().unwrap();
    let all = All::of(&manager);
    let pid = Pid::from_raw(manager.child().id() as i32);
    // A copy of its descriptors lives on, as when somebody forks there without the library.
    stop(pid);
    let (begun, there) = common_ipc::link::Connection::<(), ()>::pair().unwrap();
    let child = Launch::new(&LaunchOptions::new().give(&there))
        .start(move || {
            there.send(&()).unwrap();
            let error = all.list.len().unwrap_err();
            (error.is_gone(), error.execution() == Execution::NotRun)
        })
        .unwrap();
    begun.recv().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    manager.child().kill().unwrap();
    assert_eq!(child.output::<(bool, bool)>().unwrap(), (true, true));
    Passed
}
