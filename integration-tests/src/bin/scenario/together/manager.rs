//! What a manager keeps, in the hands of all kinds of processes at once.

use std::collections::BTreeSet;
use std::thread::JoinHandle;
use std::time::Duration;

use common_ipc::process::{Child, LaunchOptions};
use cross_process_bridge::manager::{
    Manager, ManagerError, SharedEvent, SharedList, SharedLock, SharedMap, SharedQueue,
};
use cross_process_bridge::{BridgeError, bridge};
use nix::sys::signal::Signal as NixSignal;
use pkit::{TaskHandle, WorkerPool};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{Backend, Context, MessageProcess, RemoteError};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Made, ProbeBridge, tally};
use crate::servers::zygote;
use crate::together::{PATIENCE, WAYS, Way, output};
use crate::workers::result;

scenarios![
    together_all_kinds_add_to_what_a_manager_keeps,
    fault_29_together_a_manager_that_dies_is_one_error_in_each_kind,
    fault_36_together_a_lock_that_dies_with_its_holder_of_each_kind,
];

/// One proxy of each kind.
#[derive(Clone, Serialize, Deserialize)]
struct Shared {
    list: SharedList<u64>,
    map: SharedMap<String, u64>,
    lock: SharedLock,
    go: SharedEvent,
    words: SharedQueue<String>,
    /// Nobody ever sends anything over this one, or sets that one.
    silence: SharedQueue<u64>,
    never: SharedEvent,
    probe: ProbeBridge,
}

impl Shared {
    fn of(manager: &Manager) -> Shared {
        Shared {
            list: manager.list().unwrap(),
            map: manager.map().unwrap(),
            lock: manager.lock().unwrap(),
            go: manager.event().unwrap(),
            words: manager.queue(4).unwrap(),
            silence: manager.queue(4).unwrap(),
            never: manager.event().unwrap(),
            probe: manager.share(&ProbeBridge::new(tally(), Made::Well)).unwrap(),
        }
    }
}

fn manager(way: Way) -> Manager {
    match way {
        Way::Fork => Manager::start().unwrap(),
        Way::Zygote => Manager::builder().start_in(&zygote()).unwrap(),
    }
}

/// What a member is to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Job {
    Add,
    /// To wait for good, in one of three ways, until there is an error.
    Wait(usize),
    /// To be killed while it has the lock.
    Hold,
}

/// The errors that there were: of what, whether the manager was gone, and the text.
type Fate = Vec<(String, bool, String)>;

type Work = (Shared, String, Job);

/// What a member does, whatever it is.
fn work((shared, name, job): Work) -> Fate {
    match job {
        Job::Add => {
            add(&shared, &name).unwrap();
            Fate::new()
        }
        Job::Wait(how) => fate(&shared, &name, how),
        Job::Hold => {
            let _guard = shared.lock.lock().unwrap();
            shared.words.send(&name).unwrap();
            std::thread::sleep(Duration::from_secs(600));
            Fate::new()
        }
    }
}

const ROUNDS: u64 = 30;

fn add(shared: &Shared, name: &str) -> Result<(), ManagerError> {
    shared.words.send(&format!("{name} is there"))?;
    shared.go.wait()?;
    for number in 1..=ROUNDS {
        let guard = shared.lock.lock()?;
        assert!(!guard.holder_died());
        // Three calls that only the lock makes one of.
        let total = shared.map.get("total")?.unwrap_or(0);
        shared.list.append(&(total + number))?;
        shared.map.insert("total", &(total + number))?;
        drop(guard);
        shared.probe.add(number as i64)?;
        shared.map.update(name, |so_far| Some(so_far.unwrap_or(0) + number))?;
    }
    shared.words.send(&format!("{name} is done"))
}

fn fate(shared: &Shared, name: &str, how: usize) -> Fate {
    // The program may have heard it, and have killed the manager, before that has answered.
    assert!(shared.words.send(&name.to_owned()).map_or_else(|error| error.is_gone(), |()| true));
    let mut fate = Fate::new();
    let mut note =
        |what: &str, error: ManagerError| fate.push((what.into(), error.is_gone(), error.to_string()));
    // What it waits for when the end comes.
    match how % 3 {
        0 => note("lock", shared.lock.lock().map(drop).unwrap_err()),
        1 => note("recv", shared.silence.recv().unwrap_err()),
        _ => note("wait", shared.never.wait().unwrap_err()),
    }
    // What it does afterwards.
    note("append", shared.list.append(&1).unwrap_err());
    note("insert", shared.map.insert(name, &1).unwrap_err());
    note("try_lock", shared.lock.try_lock().map(drop).unwrap_err());
    note("send", shared.words.send(&String::new()).unwrap_err());
    note("is_set", shared.go.is_set().unwrap_err());
    match shared.probe.add(1).unwrap_err() {
        BridgeError::Manager(error) => note("probe", *error),
        other => fate.push(("probe".into(), false, other.to_string())),
    }
    fate
}

struct Guest;

#[bridge]
impl Guest {
    fn new() -> Guest {
        Guest
    }

    fn work(&self, shared: Shared, name: String, job: Job) -> Fate {
        work((shared, name, job))
    }
}

#[derive(Serialize, Deserialize)]
struct Servant;

impl Backend for Servant {
    type Command = Work;
    type Event = Fate;

    fn handle(&mut self, cx: &mut Context<Self>, command: Work) -> Result<(), RemoteError> {
        Ok(cx.send_out(&work(command))?)
    }
}

/// A process of some kind that is at its job.
enum Member {
    Task(Child),
    Process(pkit::Process<Fate>),
    Worker(TaskHandle<Fate>),
    BackEnd(Box<MessageProcess<Servant>>),
    Object(GuestBridge, JoinHandle<Result<Fate, BridgeError>>),
}

impl Member {
    fn fate(self) -> Fate {
        match self {
            Member::Task(child) => output(&child),
            Member::Process(process) => {
                process.join_timeout(PATIENCE).unwrap().expect("a process that hangs")
            }
            Member::Worker(task) => result(task).unwrap(),
            Member::BackEnd(process) => {
                let fate = process.recv_timeout(PATIENCE).unwrap().expect("a back end that hangs");
                assert!(process.stop().unwrap().status.success());
                fate
            }
            Member::Object(bridge, call) => {
                let fate = call.join().unwrap().unwrap();
                bridge.stop().unwrap();
                fate
            }
        }
    }

    fn kill(self) {
        match self {
            Member::Task(child) => child.kill().unwrap(),
            Member::Process(process) => process.kill().unwrap(),
            Member::Worker(task) => assert!(task.cancel().unwrap()),
            Member::BackEnd(process) => process.child().unwrap().kill().unwrap(),
            Member::Object(bridge, call) => {
                bridge.process().kill().unwrap();
                let error = call.join().unwrap().unwrap_err();
                assert!(matches!(error, BridgeError::PeerDied { .. }), "{error}");
            }
        }
    }
}

/// All kinds, each by a fork and from a zygote, but for workers, which come from a zygote only. Each has its own name.
fn members(shared: &Shared, workers: &WorkerPool, mut job: impl FnMut() -> Job) -> Vec<(String, Member)> {
    let mut members = Vec::new();
    let mut objects = Vec::new();
    let mut next = |kind: &str, way: Way| -> Work { (shared.clone(), format!("{kind} ({way:?})"), job()) };
    for way in WAYS {
        let argument = next("task", way);
        let name = argument.1.clone();
        members.push((name, Member::Task(way.task(LaunchOptions::new(), work, argument))));

        let argument = next("process", way);
        let name = argument.1.clone();
        let process = match way {
            Way::Fork => pkit::Process::builder().build(move || work(argument.clone())),
            Way::Zygote => pkit::Process::builder().build_function_in(&zygote(), work, argument),
        };
        process.start_wait().unwrap();
        members.push((name, Member::Process(process)));

        let argument = next("worker", way);
        let name = argument.1.clone();
        members.push((name, Member::Worker(workers.submit(work, argument).unwrap())));

        let argument = next("back end", way);
        let name = argument.1.clone();
        let process = way.message("servant", Servant, LaunchOptions::new());
        process.send(&argument).unwrap();
        members.push((name, Member::BackEnd(Box::new(process))));

        let guest = GuestBridge::new();
        way.of_bridge(guest.process());
        guest.start().unwrap();
        objects.push((guest, next("object", way)));
    }
    // Their calls come last: they wait in threads, beside which nothing is forked.
    for (guest, (shared, name, job)) in objects {
        let (bridge, label) = (guest.clone(), name.clone());
        let call = std::thread::spawn(move || bridge.work(shared, name, job));
        members.push((label, Member::Object(guest, call)));
    }
    members
}

/// So many words of the members, in whatever order.
fn words(shared: &Shared, count: usize) -> BTreeSet<String> {
    let word = || shared.words.recv_timeout(PATIENCE).unwrap().expect("a member that says nothing");
    (0..count).map(|_| word()).collect()
}

fn named(members: &[(String, Member)], what: &str) -> BTreeSet<String> {
    members.iter().map(|(name, _)| format!("{name}{what}")).collect()
}

fn together_all_kinds_add_to_what_a_manager_keeps() -> Outcome {
    zygote();
    let workers = WorkerPool::new(2).unwrap();
    for way in WAYS {
        let manager = manager(way);
        let shared = Shared::of(&manager);
        let members = members(&shared, &workers, || Job::Add);
        assert_eq!(words(&shared, 10), named(&members, " is there"));
        shared.go.set().unwrap();
        assert_eq!(words(&shared, 10), named(&members, " is done"));
        let each = ROUNDS * (ROUNDS + 1) / 2;
        assert_eq!(shared.map.get("total").unwrap(), Some(10 * each));
        assert_eq!(shared.probe.add(0).unwrap(), 10 * each as i64);
        for (name, _) in &members {
            assert_eq!(shared.map.get(name).unwrap(), Some(each), "{name}");
        }
        let sums = shared.list.to_vec().unwrap();
        assert_eq!((sums.len() as u64, sums.last().copied()), (10 * ROUNDS, Some(10 * each)));
        // The lock was there each time.
        assert!(sums.is_sorted_by(|one, next| one < next && next - one <= ROUNDS), "{sums:?}");
        for (name, member) in members {
            assert_eq!(member.fate(), Fate::new(), "{name}");
        }
        manager.stop().unwrap();
    }
    workers.close().unwrap();
    Passed
}

fn fault_29_together_a_manager_that_dies_is_one_error_in_each_kind() -> Outcome {
    zygote();
    let workers = WorkerPool::new(2).unwrap();
    for way in WAYS {
        let manager = manager(way);
        let shared = Shared::of(&manager);
        let guard = shared.lock.lock().unwrap();
        let mut how = 0;
        let job = || {
            how += 1;
            Job::Wait(how)
        };
        let members = members(&shared, &workers, job);
        assert_eq!(words(&shared, 10), named(&members, ""));
        manager.child().kill().unwrap();
        for (name, member) in members {
            let fate = member.fate();
            assert_eq!(fate.len(), 7, "{name}: {fate:?}");
            for (what, is_gone, text) in fate {
                assert!(is_gone, "{name}, {what}: {text}");
            }
        }
        let error = shared.list.append(&1).unwrap_err();
        let ManagerError::Gone { status: Some(status), .. } = &error else { panic!("{error}") };
        assert_eq!(status.signal().map(|signal| signal.as_raw()), Some(NixSignal::SIGKILL as i32));
        drop(guard);
        assert!(manager.stop().unwrap_err().is_gone());
    }
    workers.close().unwrap();
    Passed
}

fn fault_36_together_a_lock_that_dies_with_its_holder_of_each_kind() -> Outcome {
    zygote();
    let workers = WorkerPool::new(2).unwrap();
    for way in WAYS {
        let manager = manager(way);
        let shared = Shared::of(&manager);
        let mut members = members(&shared, &workers, || Job::Hold);
        // In the order in which they come by the lock.
        while !members.is_empty() {
            let holder = words(&shared, 1).pop_first().unwrap();
            assert!(shared.lock.try_lock().unwrap().is_none(), "{holder} has it");
            let place = members.iter().position(|(name, _)| *name == holder).unwrap();
            members.swap_remove(place).1.kill();
        }
        let guard = shared.lock.lock_timeout(PATIENCE).unwrap();
        assert!(guard.holder_died());
        drop(guard);
        assert!(!shared.lock.lock_timeout(PATIENCE).unwrap().holder_died());
        manager.stop().unwrap();
    }
    workers.close().unwrap();
    Passed
}
