//! Objects of bridges in a manager.

use std::time::Duration;

use common_ipc::process::{Launch, LaunchOptions};
use cross_process_bridge::manager::{Manager, ManagerError};
use cross_process_bridge::{BridgeError, Execution, bridge, from_fn};

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Awkward, BEGUN, DROPPED, Death, Made, ProbeBridge, tally};
use crate::servers::{start_in, zygote};

scenarios![
    shared_objects_are_called_from_everywhere,
    fault_45_calls_of_one_object_by_many,
    a_slow_object_holds_up_nobody_else,
    fault_13_an_object_that_kills_the_manager,
    a_panic_is_that_calls_error,
    objects_that_cannot_be_made,
    fault_16_what_cannot_be_serialised_is_that_calls_error,
    what_a_shared_bridge_cannot_do,
    fault_49_time_outs_of_shared_objects,
    fault_50_calls_that_wait_for_an_object_are_bounded,
    a_method_that_takes_a_shared_object_ends_it,
    fault_46_an_object_that_calls_itself_through_its_proxy,
];

fn shared(manager: &Manager) -> ProbeBridge {
    manager.share(&ProbeBridge::new(tally(), Made::Well)).unwrap()
}

fn add((probe, number): (ProbeBridge, i64)) -> u32 {
    probe.add(number).unwrap();
    probe.pid().unwrap()
}

fn shared_objects_are_called_from_everywhere() -> Outcome {
    let _zygote = zygote();
    let tally = tally();
    let manager = Manager::start().unwrap();
    let probe = manager.share(&ProbeBridge::new(tally.clone(), Made::Well)).unwrap();
    let there = manager.child().id();
    assert_eq!(probe.pid().unwrap(), there);
    let in_fork = Launch::new(&LaunchOptions::new()).start(|| add((probe.clone(), 1))).unwrap();
    let captured = probe.clone();
    let template = Launch::new(&LaunchOptions::new()).template(move || add((captured, 2))).unwrap();
    let sent = start_in(add, &(probe.clone(), 4));
    let nested = start_in(
        |probe: ProbeBridge| {
            let child = Launch::new(&LaunchOptions::new()).start(move || add((probe, 8))).unwrap();
            child.output::<u32>().unwrap()
        },
        &probe,
    );
    for child in [in_fork, template.start().unwrap(), sent, nested] {
        assert_eq!(child.output::<u32>().unwrap(), there);
    }
    assert_eq!(probe.add(0).unwrap(), 15);
    let mut keys = vec!["before".to_owned()];
    probe.put("a".to_owned(), 1).unwrap();
    assert_eq!((probe.keys(&mut keys).unwrap(), keys.len()), (2, 2));
    assert!(probe.get("b").unwrap().is_err());
    assert_eq!(probe.bytes(&vec![7; 1 << 20]).unwrap().len(), 1 << 20);
    probe.note(0).unwrap();
    manager.stop().unwrap();
    assert_eq!(tally.get(DROPPED).unwrap(), 1);
    assert!(matches!(probe.add(1), Err(BridgeError::Manager(error)) if error.is_gone()));
    Passed
}

fn fault_45_calls_of_one_object_by_many() -> Outcome {
    let _zygote = zygote();
    let manager = Manager::start().unwrap();
    let probe = shared(&manager);
    let echo = |(probe, client): (ProbeBridge, u64)| {
        for number in 0..500 {
            assert_eq!(probe.echo(client * 1000 + number).unwrap(), client * 1000 + number);
            probe.add(1).unwrap();
        }
    };
    let children: Vec<_> = (0..8).map(|client| start_in(echo, &(probe.clone(), client))).collect();
    children.into_iter().for_each(|child| child.output::<()>().unwrap());
    assert_eq!(probe.add(0).unwrap(), 4000);
    manager.stop().unwrap();
    Passed
}

fn a_slow_object_holds_up_nobody_else() -> Outcome {
    let manager = Manager::start().unwrap();
    let tally = tally();
    let slow = manager.share(&ProbeBridge::new(tally.clone(), Made::Well)).unwrap();
    let (fast, list) = (shared(&manager), manager.list::<u32>().unwrap());
    std::thread::scope(|scope| {
        let works = scope.spawn(|| slow.work(1500).unwrap());
        assert!(integration_tests::proc::eventually(|| tally.get(BEGUN).unwrap() == 1));
        for number in 0..100 {
            assert_eq!(fast.echo(number).unwrap(), number);
            list.append(&1).unwrap();
        }
        assert!(!works.is_finished());
        works.join().unwrap();
    });
    manager.stop().unwrap();
    Passed
}

fn fault_13_an_object_that_kills_the_manager() -> Outcome {
    for death in [Death::Kill, Death::Abort, Death::Segfault, Death::StackOverflow, Death::Exit] {
        let manager = Manager::start().unwrap();
        let (probe, list) = (shared(&manager), manager.list::<u32>().unwrap());
        let error = probe.die(death).unwrap_err();
        assert_eq!(error.execution(), Execution::Unknown, "{death:?}: {error}");
        assert!(matches!(&error, BridgeError::Manager(error) if error.is_gone()), "{death:?}: {error}");
        assert!(list.append(&1).unwrap_err().is_gone());
        assert!(matches!(manager.stop(), Err(ManagerError::Gone { status: Some(_), .. })), "{death:?}");
    }
    Passed
}

fn a_panic_is_that_calls_error() -> Outcome {
    let manager = Manager::start().unwrap();
    let probe = shared(&manager);
    let error = probe.panic("on purpose".to_owned()).unwrap_err();
    assert!(matches!(&error, BridgeError::Panicked { .. }), "{error}");
    assert_eq!(probe.add(1).unwrap(), 2);
    manager.stop().unwrap();
    Passed
}

fn objects_that_cannot_be_made() -> Outcome {
    let manager = Manager::start().unwrap();
    let made = |made| manager.share(&ProbeBridge::new(tally(), made)).unwrap_err();
    let bridge_error = |error: ManagerError| match error {
        ManagerError::Bridge(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(bridge_error(made(Made::ByError)), BridgeError::Constructor { .. }));
    assert!(matches!(bridge_error(made(Made::ByPanic)), BridgeError::Panicked { .. }));
    let closure = from_fn(|| Simple);
    assert!(matches!(bridge_error(manager.share(&closure).unwrap_err()), BridgeError::Start(_)));
    shared(&manager).echo(1).unwrap();
    assert!(made(Made::By(Death::Kill)).is_gone());
    Passed
}

struct Simple;

#[bridge]
impl Simple {
    fn new() -> Simple {
        Simple
    }

    fn call(&self, other: SimpleBridge) -> Result<u32, (bool, String)> {
        other.pid().map_err(|error| (matches!(error, BridgeError::Reentrant { .. }), error.to_string()))
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn numbers(&self) -> impl Iterator<Item = u32> {
        0..3
    }

    fn each(&self, mut call: impl FnMut(u32)) {
        call(1);
    }
}

fn fault_16_what_cannot_be_serialised_is_that_calls_error() -> Outcome {
    let manager = Manager::start().unwrap();
    let probe = shared(&manager);
    let error = probe.awkward(Awkward::CannotBeWritten, 0).unwrap_err();
    assert!(matches!(&error, BridgeError::Encode { execution: Execution::NotRun, .. }), "{error}");
    let error = probe.awkward(Awkward::Plain, 1).unwrap_err();
    assert!(matches!(&error, BridgeError::Encode { execution: Execution::Ran, .. }), "{error}");
    assert!(probe.awkward(Awkward::Plain, 3).is_err());
    let error = probe.many(17 << 20).unwrap_err();
    assert!(matches!(&error, BridgeError::TooLarge { execution: Execution::Ran, .. }), "{error}");
    assert_eq!(probe.many(5 << 20).unwrap().len(), 5 << 20);
    assert_eq!(probe.echo(1).unwrap(), 1);
    manager.stop().unwrap();
    Passed
}

fn what_a_shared_bridge_cannot_do() -> Outcome {
    let manager = Manager::start().unwrap();
    let probe = shared(&manager);
    let refused = |result: Result<(), BridgeError>| matches!(result, Err(BridgeError::InManager { .. }));
    assert!(refused(probe.start()) && refused(probe.stop()));
    assert!(refused(probe.clone().scope(|_| ())));
    assert!(probe.process().restart().is_err() && probe.process().pid().is_none());
    let again = manager.share(&probe).unwrap_err();
    assert!(matches!(again, ManagerError::Bridge(BridgeError::InManager { .. })), "{again}");
    let simple = manager.share(&SimpleBridge::new()).unwrap();
    assert!(refused(simple.numbers().map(drop)) && refused(simple.each(|_| ())));
    // To another type than that of the object.
    let (caller, server) = common_ipc::link::open_calls(1 << 20).unwrap();
    caller.send::<ProbeBridge, _>(1, &probe, None).unwrap();
    let mut buffer = Vec::new();
    let wrong = server.recv(&mut buffer).unwrap().decode::<SimpleBridge>().0.unwrap_err();
    assert!(wrong.to_string().contains("Probe"), "{wrong}");
    assert_eq!(probe.echo(1).unwrap(), 1);
    manager.stop().unwrap();
    Passed
}

fn fault_49_time_outs_of_shared_objects() -> Outcome {
    let manager = Manager::start().unwrap();
    let probe = shared(&manager);
    let hasty = probe.with_timeout(Duration::from_millis(20));
    let error = hasty.work(300).unwrap_err();
    assert!(matches!(error, BridgeError::Timeout { killed: false, execution: Execution::Unknown, .. }));
    assert_eq!(probe.echo(3).unwrap(), 3);
    // One that hangs at the end is ended with its process.
    let hangs = probe.clone();
    assert!(hangs.with_timeout(Duration::from_millis(20)).work(600_000).is_err());
    drop(manager);
    Passed
}

fn fault_50_calls_that_wait_for_an_object_are_bounded() -> Outcome {
    let manager = Manager::builder().max_message(1 << 20).start().unwrap();
    let probe = shared(&manager);
    probe.note(400).unwrap();
    // Nobody waits for the replies to these.
    let error = (0..100_000).find_map(|_| {
        let hasty = probe.with_timeout(Duration::from_millis(1));
        match hasty.text(&"x".repeat(100_000)) {
            Err(BridgeError::Timeout { .. }) => None,
            other => other.err(),
        }
    });
    let error = error.unwrap();
    assert!(matches!(&error, BridgeError::Manager(error) if matches!(**error, ManagerError::Full { .. })));
    assert_eq!(
        probe.echo(1).ok().or_else(|| {
            std::thread::sleep(Duration::from_millis(1000));
            probe.echo(1).ok()
        }),
        Some(1)
    );
    manager.stop().unwrap();
    Passed
}

fn a_method_that_takes_a_shared_object_ends_it() -> Outcome {
    let manager = Manager::start().unwrap();
    let probe = shared(&manager);
    probe.add(7).unwrap();
    let other = probe.clone();
    assert_eq!(probe.finish().unwrap(), 7);
    let deleted = || match other.echo(1) {
        Err(BridgeError::Manager(error)) => matches!(*error, ManagerError::Deleted { .. }),
        _ => false,
    };
    assert!(integration_tests::proc::eventually(deleted));
    manager.list::<u8>().unwrap().append(&1).unwrap();
    manager.stop().unwrap();
    Passed
}

fn fault_46_an_object_that_calls_itself_through_its_proxy() -> Outcome {
    let manager = Manager::start().unwrap();
    let share = || manager.share(&SimpleBridge::new()).unwrap();
    let (one, other) = (share(), share());
    let (is_reentrant, text) = one.call(one.clone()).unwrap().unwrap_err();
    assert!(is_reentrant, "{text}");
    assert_eq!(one.call(other).unwrap().unwrap(), manager.child().id());
    manager.stop().unwrap();
    Passed
}
