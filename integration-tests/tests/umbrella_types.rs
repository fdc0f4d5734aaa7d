//! The rest of what the umbrella re-exports: who may go to another thread, and what says so when there is no zygote.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use multiprocess::prelude;
use multiprocess::{
    Backend, BridgeStream, Chunk, Context, EventGroup, FrontEnd, Incoming, MainContext, MainLoop, Manager,
    ManagerBuilder, ManagerError, MessageObject, MessageProcess, Portable, ProcessError, RemoteError, Reply,
    Router, SharedEvent, SharedList, SharedLock, SharedLockGuard, SharedMap, SharedQueue, SharedValue,
    StatePool, SyncIndex, TaskHandle, WorkError, WorkerPool, Zygote,
};

struct Echo;

impl Backend for Echo {
    type Command = u8;
    type Event = u8;

    fn handle(&mut self, cx: &mut Context<Self>, command: u8) -> Result<(), RemoteError> {
        Ok(cx.send_out(&command)?)
    }
}

#[test]
fn handles_go_to_any_thread() {
    fn are_send_and_sync<T: Send + Sync>() {}
    are_send_and_sync::<(WorkerPool, StatePool<u8>, TaskHandle<u8>, WorkError, Chunk, Zygote)>();
    are_send_and_sync::<(Manager, ManagerBuilder, ManagerError, SharedList<u8>, SharedMap<u8, u8>)>();
    are_send_and_sync::<(SharedValue<u8>, SharedLock, SharedLockGuard, SharedQueue<u8>, SharedEvent)>();
    are_send_and_sync::<(BridgeStream<u8>, MessageProcess<Echo>, FrontEnd<u8, u8>, ProcessError)>();
    are_send_and_sync::<(MessageObject, Reply<u8>, EventGroup, SyncIndex, Incoming<u8>)>();
}

#[test]
fn without_a_zygote_each_error_says_what_to_do() {
    // The test harness has threads, and nobody has called `init`.
    fn portable<T: Portable>(value: T) -> T {
        value
    }
    let says_so = |error: String| assert!(error.contains("init"), "{error}");
    says_so(WorkerPool::new(1).unwrap_err().to_string());
    says_so(StatePool::with_state(1, || 0u8).map(|_| ()).unwrap_err().to_string());
    let task =
        multiprocess::spawn_in(&Zygote::global(), multiprocess::LaunchOptions::new(), |n: u8| n, portable(1));
    says_so(task.map(drop).unwrap_err().to_string());
    assert!(multiprocess::spawn_restartable(multiprocess::LaunchOptions::new(), || ()).is_err());
    assert!(multiprocess::init().is_err());
    assert!(matches!(Manager::start(), Err(ManagerError::Start { .. })));
    assert!(MessageProcess::new("echo", Echo).start().is_err());
}

/// A program around a loop: three ticks, and it is done.
#[derive(Default)]
struct Ticks(u32);

impl MainContext for Ticks {
    type Event = ();
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn start_processes(&mut self, main_loop: &mut MainLoop<()>) -> Result<(), Self::Error> {
        main_loop.every(Duration::from_millis(1), || ())?;
        Ok(())
    }

    fn handle(&mut self, main_loop: &mut MainLoop<()>, _event: ()) -> Result<(), Self::Error> {
        self.0 += 1;
        if self.0 == 3 {
            main_loop.stop();
        }
        Ok(())
    }
}

#[test]
fn what_needs_no_process_works() {
    assert_eq!(MessageObject::new("ping").with("n", 7u8).get::<u8>("n").unwrap(), 7);
    let _: Router<Echo> = Router::new();
    let group = EventGroup::new(2).unwrap();
    let _both = [SyncIndex::reserve(&group).unwrap(), SyncIndex::reserve(&group).unwrap()];
    assert!(SyncIndex::reserve(&group).is_err());
    let mut ticks = Ticks::default();
    ticks.run().unwrap();
    assert_eq!(ticks.0, 3);
    assert_eq!(multiprocess::testing::Random::new(0).below(1), 0);
}

#[test]
fn every_reexport_is_touched() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let tests = ["umbrella", "umbrella_types", "before_main"]
        .map(|name| read(&format!("integration-tests/tests/{name}.rs")))
        .join("");
    let words: std::collections::HashSet<&str> =
        tests.split(|char: char| !char.is_alphanumeric() && char != '_').collect();
    let source = read("src/lib.rs");
    let mut seen = 0;
    for statement in source.split("pub use ").skip(1) {
        let names = statement.split(';').next().unwrap();
        let names = names.rsplit_once('{').map_or(names.rsplit("::").next().unwrap(), |(_, names)| names);
        for name in names.split([',', '}', '\n', ' ']).filter(|name| !name.is_empty()) {
            seen += 1;
            // Those of the feature `tokio` aren't here.
            assert!(words.contains(name) || name.starts_with("Async"), "{name} is touched by no test");
        }
    }
    assert!(seen > 80, "{seen} names");
}

#[test]
fn the_prelude_is_what_programs_name() {
    use prelude::*;

    struct Once;

    impl Subprocess for Once {
        type Output = u8;

        fn run(&mut self) -> u8 {
            1
        }
    }

    assert!(Once.spawn().is_err() && spawn(|| ()).is_err() && init().is_err());
    // Each crate is in its module, too.
    assert!(multiprocess::pkit::current().is_main());
    let _: Option<multiprocess::cross_process_bridge::BridgeError> = None;
    let _: Option<multiprocess::valkka_multiprocess::ProcessError> = None;
    assert_eq!(SlotPool::new(3).unwrap().free(), 3);
    assert!(Supervisor::builder().child(ChildSpec::new("one", || ())).start().is_err());
    fn is_a_program<P: MainContext>() {}
    is_a_program::<Ticks>();
    let _: (Option<JoinError>, Option<Timeout>, Option<Incoming<Reply<u8>>>) = (None, None, None);
}
