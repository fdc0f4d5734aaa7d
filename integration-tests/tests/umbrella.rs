//! Everything that the umbrella re-exports, touched once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use multiprocess::link::Connection;
use multiprocess::memory::{FrozenArray, MemoryError, SharedArray, SharedMemory};
use multiprocess::process::Launch;
use multiprocess::sync::{
    AcquireError, Event, EventFd, EventFlag, LockError, Mutex, MutexGuard, Permit, Semaphore,
};
use multiprocess::{
    Child, ChildError, ExitStatus, Handle, JoinError, LaunchOptions, LoopStep, PanicReport, ParentDeath,
    ProcessGroup, Refusal, RemoteError, Resource, Sigint, Signal, StartError, Stdio, StopStep, Stopped,
    Subprocess, SubprocessLoop, active_children, spawn, spawn_with,
};

struct Task;

impl Subprocess for Task {
    type Output = Result<(), RemoteError>;

    fn run(&mut self) -> Self::Output {
        Ok(())
    }
}

struct Loop;

impl SubprocessLoop for Loop {
    fn step(&mut self) -> LoopStep {
        LoopStep::Stop
    }
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
    assert!(refused(Task.spawn().unwrap_err()));
    assert!(refused(Loop.spawn_with(options()).unwrap_err()));
    assert!(refused(Launch::new(&options()).start(|| ()).unwrap_err()));
    assert!(active_children().is_empty());
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<(Child, Handle<u8>, ExitStatus, PanicReport, Stopped, StopStep)>();
    is_send_and_sync::<(ChildError, JoinError, StartError, RemoteError, LaunchOptions)>();
    is_send_and_sync::<(Connection<u8, u8>, Event, multiprocess::common_ipc::RemoteError)>();
    is_send_and_sync::<multiprocess::offspring::Handle<u8, Task>>();
    is_send_and_sync::<(SharedMemory, SharedArray<u8>, FrozenArray<u8>, MemoryError)>();
    is_send_and_sync::<(EventFd, Semaphore, Permit, AcquireError, Mutex<u8>, MutexGuard<u8>, LockError<u8>)>(
    );
    let flags: [&dyn EventFlag; 2] = [&Event::new().unwrap(), &EventFd::new().unwrap()];
    flags.iter().for_each(|flag| flag.set().unwrap());
}
