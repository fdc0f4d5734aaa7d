//! Everything that the umbrella re-exports, touched once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use multiprocess::link::Connection;
use multiprocess::logging::InstallError;
use multiprocess::memory::{FrozenArray, MemoryError, SharedArray, SharedMemory};
use multiprocess::process::Launch;
use multiprocess::supervisor;
use multiprocess::sync::{
    AcquireError, Event, EventFd, EventFlag, LockError, Mutex, MutexGuard, Permit, Semaphore,
};
use multiprocess::{
    AtExit, BridgeError, BridgeProcess, Child, ChildError, Crosses, Current, Execution, ExitStatus, Handle,
    JoinError, LaunchOptions, LoopStep, Map, MapUnordered, PanicReport, ParentDeath, PoolError, Process,
    ProcessBuilder, ProcessExit, ProcessGroup, ProcessOpen, ProcessPool, Refusal, RemoteError, Resource,
    RestartPolicy, Sigint, Signal, Slot, SlotError, SlotPool, StartError, Stdio, StopSignals, StopStep,
    Stopped, Subprocess, SubprocessLoop, Target, Task, TaskError, TaskInfo, TaskStatus, Timeout,
    active_children, current, join_callbacks, progress, ready, spawn, spawn_with,
};

struct Once;

impl Subprocess for Once {
    type Output = Result<(), RemoteError>;

    fn run(&mut self) -> Self::Output {
        Ok(())
    }
}

struct Seven;

impl Target for Seven {
    type Output = u32;

    fn run(self) -> u32 {
        7
    }
}

struct Loop;

impl SubprocessLoop for Loop {
    fn step(&mut self) -> LoopStep {
        LoopStep::Stop
    }
}

struct Eight;

#[multiprocess::bridge]
impl Eight {
    fn new() -> Eight {
        Eight
    }

    fn get(&self) -> u32 {
        8
    }
}

#[test]
fn a_bridge_is_there() {
    fn crosses<T: Crosses>() {}
    crosses::<u32>();
    let eight = EightBridge::new();
    let refused = |error: &BridgeError| matches!(error, BridgeError::Start(why) if matches!(**why, StartError::Refused(_)));
    assert!(refused(&eight.start().unwrap_err()));
    assert_eq!(eight.get().unwrap_err().execution(), Execution::NotRun);
    let hasty = eight.with_timeout(Timeout::after(std::time::Duration::from_secs(1)));
    let process: &BridgeProcess = hasty.process();
    assert_eq!(process.pid(), None);
}

#[test]
fn everything_is_there() {
    let options = || {
        LaunchOptions::new()
            .stdout(Stdio::Null)
            .sigint(Sigint::Ignore)
            .process_group(ProcessGroup::New)
            .on_parent_death(ParentDeath::Signal(Signal::TERM))
            .limit(Resource::Core, 0, 0)
    };
    // The test harness has threads of its own: each start says so, in the same words.
    let refused = |error: StartError| matches!(error, StartError::Refused(Refusal::OtherThreads { .. }));
    assert!(refused(spawn(|| ()).unwrap_err()));
    assert!(refused(spawn_with(options(), || ()).unwrap_err()));
    assert!(refused(Once.spawn().unwrap_err()));
    assert!(refused(Loop.spawn_with(options()).unwrap_err()));
    assert!(refused(Launch::new(&options()).start(|| ()).unwrap_err()));
    let sevenfold: ProcessBuilder<u32> = Process::builder().at_exit(AtExit::Wait).options(options());
    let process = sevenfold.on_exit(|exit: &ProcessExit<u32>| assert!(exit.status().success())).build(Seven);
    assert!(refused(process.start().unwrap_err()));
    assert!(refused(process.restart(RestartPolicy::Terminate).unwrap_err()));
    assert!(refused(ProcessOpen::start(options(), Seven).unwrap_err()));
    let pool = ProcessPool::new(1).unwrap();
    assert!(pool.execute(|| 7).is_err());
    let child = supervisor::ChildSpec::new("seven", || ());
    assert!(supervisor::Supervisor::builder().child(child).start().is_err());
    assert_eq!(SlotPool::new(2).unwrap().free(), 2);
    assert!(active_children().is_empty());
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<(Child, Handle<u8>, ExitStatus, PanicReport, Stopped, StopStep)>();
    is_send_and_sync::<(ChildError, JoinError, StartError, RemoteError, LaunchOptions)>();
    is_send_and_sync::<(Connection<u8, u8>, Event, multiprocess::common_ipc::RemoteError)>();
    is_send_and_sync::<multiprocess::offspring::Handle<u8, Once>>();
    is_send_and_sync::<(Process<u8>, ProcessOpen<u8>, ProcessPool, Task<u8>, TaskError, SlotPool, Slot)>();
    is_send_and_sync::<(supervisor::Supervisor, supervisor::SupervisorError, supervisor::Events, Current)>();
    is_send_and_sync::<(PoolError, SlotError, TaskInfo, TaskStatus)>();
    assert!(current().is_main() && StopSignals::held().is_err() && join_callbacks(None));
    ready();
    progress();
    let mut none: Map<'_, _, ()> = pool.map(std::iter::empty::<()>(), |()| ());
    assert!(none.next().is_none());
    let mut none: MapUnordered<'_, _, ()> = pool.map_unordered(std::iter::empty::<()>(), |()| ());
    assert!(none.next().is_none());
    is_send_and_sync::<(SharedMemory, SharedArray<u8>, FrozenArray<u8>, MemoryError, InstallError)>();
    is_send_and_sync::<(EventFd, Semaphore, Permit, AcquireError, Mutex<u8>, MutexGuard<u8>, LockError<u8>)>(
    );
    let flags: [&dyn EventFlag; 2] = [&Event::new().unwrap(), &EventFd::new().unwrap()];
    flags.iter().for_each(|flag| flag.set().unwrap());
}
