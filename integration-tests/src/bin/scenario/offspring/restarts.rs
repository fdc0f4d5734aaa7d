//! Tasks of offspring's that are started from a zygote, and those that are started again.

use std::fs::File;
use std::rc::Rc;
use std::time::Duration;

use common_ipc::link::{Connection, Queue};
use common_ipc::process::{ExitStatus, JoinError, LaunchOptions, Signal, StartError};
use integration_tests::stress_factor;
use nix::fcntl::{Flock, FlockArg};
use offspring::{LoopStep, Subprocess, SubprocessLoop, spawn, spawn_in, spawn_restartable};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::servers::{server, zygote};

scenarios!(
    fault_23_a_task_starts_again_after_its_end,
    a_loop_from_a_zygote_begins_and_ends,
    a_restart_is_of_the_task_as_it_was,
    a_restart_that_fails_can_be_tried_again,
    a_started_handle_restarts_what_a_template_holds,
    a_stopped_task_is_restarted,
    a_task_is_started_from_a_zygote_later,
    a_task_waits_for_its_end_before_a_restart,
    clones_of_a_process_stay_with_that_process,
    what_was_started_once_is_not_restarted,
);

/// Beside a thread: no start forks from here on.
fn beside_a_thread() {
    std::thread::spawn(std::thread::park);
    assert!(matches!(spawn(|| ()), Err(StartError::Refused(_))));
}

/// Needn't be serialisable.
struct Counter {
    count: Rc<std::cell::Cell<u32>>,
}

impl Subprocess for Counter {
    type Output = (u32, u32);
    const RESTARTABLE: bool = true;

    fn run(&mut self) -> (u32, u32) {
        self.count.set(self.count.get() + 1);
        (std::process::id(), self.count.get())
    }
}

fn a_restart_is_of_the_task_as_it_was() -> Outcome {
    let mut task = Counter { count: Rc::default() }.spawn().unwrap();
    beside_a_thread();
    let (mut before, count) = task.wait().unwrap();
    assert_eq!(count, 1);
    for _ in 0..20 {
        task.restart().unwrap();
        let (pid, count) = task.wait().unwrap();
        assert_eq!((count, task.id()), (1, Some(pid)));
        assert_ne!(pid, before);
        before = pid;
    }
    assert!(server("tmpl:Counter-1").is_some());
    drop(task);
    assert!(server("tmpl:Counter-1").is_none());
    Passed
}

fn fault_23_a_task_starts_again_after_its_end() -> Outcome {
    let path = std::env::temp_dir().join(format!("multiprocess-restart-{}", std::process::id()));
    File::create(&path).unwrap();
    let locked = path.clone();
    let mut task = spawn_restartable(LaunchOptions::new(), move || {
        // Held to the end of the process, and by nobody else.
        let lock = Flock::lock(File::open(&locked).unwrap(), FlockArg::LockExclusiveNonblock);
        std::mem::forget(lock.map_err(|(_, errno)| errno).unwrap());
        std::thread::sleep(Duration::from_secs(600));
    })
    .unwrap();
    beside_a_thread();
    for round in 0..200 * stress_factor() {
        if round % 2 == 0 {
            // Sometimes it has the lock by then.
            std::thread::sleep(Duration::from_micros(300));
        }
        task.restart().unwrap();
    }
    let held = || Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock).is_err();
    integration_tests::proc::eventually(held);
    assert!(held() && task.is_alive().unwrap(), "the last one has the lock");
    task.stop(Duration::ZERO).unwrap();
    std::fs::remove_file(&path).unwrap();
    Passed
}

fn what_was_started_once_is_not_restarted() -> Outcome {
    let mut task = spawn(|| 7).unwrap();
    assert!(matches!(task.restart(), Err(StartError::NotRestartable { .. })));
    // It is as it was.
    assert_eq!(task.wait().unwrap(), 7);
    Passed
}

fn a_stopped_task_is_restarted() -> Outcome {
    let queue = Queue::<u32>::new().unwrap();
    let sender = queue.clone();
    let mut task = spawn_restartable(LaunchOptions::new().give(&queue), move || {
        sender.send(&std::process::id()).unwrap();
        std::thread::sleep(Duration::from_secs(600));
    })
    .unwrap();
    let first = queue.recv().unwrap();
    task.process().unwrap().signal(Signal::STOP).unwrap();
    task.restart().unwrap();
    assert_ne!(queue.recv().unwrap(), first);
    task.stop(Duration::ZERO).unwrap();
    Passed
}

fn clones_of_a_process_stay_with_that_process() -> Outcome {
    let mut task =
        spawn_restartable(LaunchOptions::new(), || std::thread::sleep(Duration::from_secs(600))).unwrap();
    let old = task.process().unwrap().clone();
    task.restart().unwrap();
    assert_eq!(old.wait().unwrap().signal(), Some(Signal::TERM));
    // It is over, and its handle harms nobody.
    old.kill().unwrap();
    old.terminate().unwrap();
    assert_ne!(Some(old.id()), task.id());
    assert!(task.is_alive().unwrap());
    task.stop(Duration::ZERO).unwrap();
    Passed
}

fn a_started_handle_restarts_what_a_template_holds() -> Outcome {
    let mut handle = Counter { count: Rc::default() }.spawn().unwrap().into_started().unwrap();
    let first = handle.wait().unwrap().0;
    handle.restart().unwrap();
    assert_ne!(handle.wait().unwrap().0, first);
    Passed
}

fn a_restart_that_fails_can_be_tried_again() -> Outcome {
    let path = std::env::temp_dir().join(format!("multiprocess-again-{}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    let mut task = spawn_restartable(LaunchOptions::new().cwd(&path), std::process::id).unwrap();
    let first = task.wait().unwrap();
    std::fs::remove_dir(&path).unwrap();
    assert!(matches!(task.restart(), Err(StartError::Setup { .. })));
    // What there is is the process that has ended.
    assert_eq!(task.wait().unwrap(), first);
    std::fs::create_dir(&path).unwrap();
    task.restart().unwrap();
    std::fs::remove_dir(&path).unwrap();
    assert_ne!(task.wait().unwrap(), first);
    Passed
}

struct Patient {
    link: Connection<u32, ()>,
}

impl Subprocess for Patient {
    type Output = u32;
    const RESTARTABLE: bool = true;
    const TERMINATE_ON_SHUTDOWN: bool = false;

    fn run(&mut self) -> u32 {
        self.link.recv().map_or(1, |()| 2)
    }
}

fn a_task_waits_for_its_end_before_a_restart() -> Outcome {
    let (here, there) = Connection::<(), u32>::pair().unwrap();
    let options = LaunchOptions::new().give(&there);
    let mut task = Patient { link: there }.spawn_with(options).unwrap();
    // Its end was given to the first process, which isn't ended for a second one that can't be.
    assert!(matches!(task.restart(), Err(StartError::GivenTwice(_))));
    assert!(task.is_alive().unwrap());
    here.send(&()).unwrap();
    assert_eq!(task.wait().unwrap(), 2);

    struct Slow;
    impl Subprocess for Slow {
        type Output = u32;
        const RESTARTABLE: bool = true;
        const TERMINATE_ON_SHUTDOWN: bool = false;
        fn run(&mut self) -> u32 {
            std::thread::sleep(Duration::from_millis(30));
            std::process::id()
        }
    }
    let mut slow = Slow.spawn().unwrap();
    let first = slow.process().unwrap().clone();
    slow.restart().unwrap();
    assert_eq!(first.try_wait().unwrap(), Some(ExitStatus::Exited(0)), "it ended by itself");
    assert_ne!(slow.wait().unwrap(), first.id());
    Passed
}

#[derive(Serialize, Deserialize)]
struct Steps {
    told: Queue<String>,
}

impl SubprocessLoop for Steps {
    fn begin(&mut self) {
        self.told.send(&"begin".to_owned()).unwrap();
    }

    fn step(&mut self) -> LoopStep {
        LoopStep::After(Duration::from_millis(1))
    }

    fn end(&mut self) {
        self.told.send(&"end".to_owned()).unwrap();
    }
}

fn a_loop_from_a_zygote_begins_and_ends() -> Outcome {
    let told = Queue::new().unwrap();
    let zygote = zygote();
    beside_a_thread();
    let mut task = Steps { told: told.clone() }.spawn_in(&zygote, LaunchOptions::new()).unwrap();
    for _ in 0..50 {
        // However early the request to stop comes.
        task.restart().unwrap();
    }
    task.shutdown().unwrap();
    for _ in 0..51 {
        assert_eq!([told.recv().unwrap(), told.recv().unwrap()], ["begin", "end"]);
    }
    Passed
}

#[derive(Serialize, Deserialize)]
struct Later(u32);

impl Subprocess for Later {
    type Output = u32;
    const EXPLICIT_START: bool = true;
    const WAIT_FOR_CHILD: bool = true;

    fn run(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

fn a_task_is_started_from_a_zygote_later() -> Outcome {
    let mut task = Later(41).spawn().unwrap();
    assert!(matches!(task.restart(), Err(StartError::NotRestartable { .. })));
    // Nobody has called init: it can be tried again.
    assert!(matches!(task.start_in(&offspring::Zygote::global()), Err(StartError::NotInitialised)));
    let zygote = zygote();
    task.start_in(&zygote).unwrap();
    assert!(matches!(task.start(), Err(StartError::AlreadyStarted)));
    assert_eq!(task.wait().unwrap(), 42);
    task.restart().unwrap();
    assert_eq!(task.wait().unwrap(), 42);

    let mut function =
        spawn_in(&zygote, LaunchOptions::new(), |text: String| text.len(), "four".to_owned()).unwrap();
    assert_eq!(function.wait().unwrap(), 4);
    function.restart().unwrap();
    assert_eq!(function.wait().unwrap(), 4);
    let mut died = spawn_in(&zygote, LaunchOptions::new(), |code| std::process::exit(code), 3).unwrap();
    assert!(matches!(died.wait(), Err::<(), _>(JoinError::Died(ExitStatus::Exited(3)))));
    died.restart().unwrap();
    assert!(matches!(died.wait(), Err::<(), _>(JoinError::Died(ExitStatus::Exited(3)))));
    Passed
}
