//! Managers and bridges at the edges of what they promise.

use std::time::{Duration, Instant};

use common_ipc::link::{Connector, DEFAULT_MAX_FRAME, OpenCaller, listener};
use common_ipc::process::{Launch, LaunchOptions, Resource};
use cross_process_bridge::Execution;
use cross_process_bridge::manager::{Manager, ManagerError, SharedQueue};
use integration_tests::proc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome::{self, Passed};
use crate::bridge::ways::{Made, ProbeBridge, tally};
use crate::manager::death::stop;
use crate::manager::kinds::reread;
use crate::servers::{start_in, zygote};

scenarios![
    a_lock_is_free_though_the_word_had_no_room,
    fault_47_an_item_that_was_refused_late_is_not_called_sent,
    fault_50_descriptors_of_calls_that_wait_for_an_object,
    long_results_of_several_objects_at_once,
    fault_50_calls_end_when_a_connection_is_given_up,
    a_first_value_may_be_as_long_as_any,
];

fn shared(manager: &Manager) -> ProbeBridge {
    manager.share(&ProbeBridge::new(tally(), Made::Well)).unwrap()
}

fn pid(manager: &Manager) -> Pid {
    Pid::from_raw(manager.child().id() as i32)
}

/// Its holder does nothing more with the manager.
fn a_lock_is_free_though_the_word_had_no_room() -> Outcome {
    let manager = Manager::start().unwrap();
    let (lock, probe) = (manager.lock().unwrap(), shared(&manager));
    let guard = lock.lock().unwrap();
    stop(pid(&manager));
    let hasty = probe.with_timeout(Duration::from_millis(30));
    while hasty.note(0).is_ok() {}
    drop(guard);
    kill(pid(&manager), Signal::SIGCONT).unwrap();
    let other = Launch::new(&LaunchOptions::new())
        .start(|| lock.lock_timeout(Duration::from_secs(20)).is_ok())
        .unwrap();
    assert!(other.output::<bool>().unwrap());
    manager.stop().unwrap();
    Passed
}

fn fault_47_an_item_that_was_refused_late_is_not_called_sent() -> Outcome {
    let manager = Manager::start().unwrap();
    let queue: SharedQueue<Vec<u8>> = manager.queue_of_bytes(10, 1000).unwrap();
    queue.send(&vec![7; 10]).unwrap();
    for round in 0..5 {
        stop(pid(&manager));
        let sent = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(90));
                kill(pid(&manager), Signal::SIGCONT).unwrap();
            });
            queue.send_timeout(&vec![7; 5000], Duration::from_millis(50))
        });
        let Err(error) = sent else { panic!("it was called sent, in round {round}") };
        // It isn't heard in time on a machine that is busy.
        assert!(matches!(error, ManagerError::Timeout { execution, .. } if execution != Execution::Ran));
    }
    assert_eq!(queue.len().unwrap(), 1);
    manager.stop().unwrap();
    Passed
}

type Address = (u64, u64);

/// A proxy of a shared object, taken apart: its type's name, its address, and the way there.
#[derive(serde::Serialize, serde::Deserialize)]
struct Apart(String, Written);

#[derive(serde::Serialize, serde::Deserialize)]
enum Written {
    Here(Address),
    Anywhere(Address, Connector),
}

fn apart(probe: &ProbeBridge) -> (Address, Connector) {
    match reread::<_, Apart>(probe) {
        Apart(_, Written::Anywhere(address, connector)) => (address, connector),
        Apart(_, Written::Here(_)) => panic!("it wasn't sent"),
    }
}

fn fault_50_descriptors_of_calls_that_wait_for_an_object() -> Outcome {
    let _zygote = zygote();
    let options = LaunchOptions::new().limit(Resource::OpenFiles, 256, 256);
    let manager = Manager::builder().options(options).start().unwrap();
    let (probe, list) = (shared(&manager), manager.list::<u64>().unwrap());
    list.append(&1).unwrap();
    probe.note(3000).unwrap();
    let hostile = start_in(
        |probe: ProbeBridge| {
            let (address, connector): ((u64, u64), Connector) = apart(&probe);
            let caller: OpenCaller = connector.caller(None).unwrap();
            let doors: Vec<_> = (0..2).map(|_| listener(DEFAULT_MAX_FRAME).unwrap()).collect();
            let doors: Vec<Connector> = doors.into_iter().map(|(_, connector)| connector).collect();
            for _ in 0..200 {
                let time = Some(Duration::from_millis(1));
                let call = (address, &doors);
                let _ = caller.call::<(Address, Vec<Connector>), _, _>(1, &call, time, |_| ());
            }
            std::thread::sleep(Duration::from_millis(1500));
        },
        &probe,
    );
    std::thread::sleep(Duration::from_millis(700));
    assert!(hostile.is_alive().unwrap());
    let other = Launch::new(&LaunchOptions::new()).start(|| list.append(&2).unwrap()).unwrap();
    let appended = other.wait().map(|status| status.success());
    assert!(appended.unwrap());
    assert_eq!(list.len().unwrap(), 2);
    hostile.wait().unwrap();
    manager.stop().unwrap();
    Passed
}

fn long_results_of_several_objects_at_once() -> Outcome {
    let manager = Manager::start().unwrap();
    let probes: Vec<_> = (0..4).map(|_| shared(&manager)).collect();
    let bytes = vec![7; 12 << 20];
    std::thread::scope(|scope| {
        for probe in &probes {
            scope.spawn(|| {
                for round in 0..3 {
                    let came = probe.bytes(&bytes);
                    assert!(came.as_ref().is_ok_and(|came| came.len() == bytes.len()), "{round}: {came:.0?}");
                }
            });
        }
    });
    manager.stop().unwrap();
    Passed
}

/// It hasn't read what is more than the manager keeps for it, and one of its calls is under way for long.
fn fault_50_calls_end_when_a_connection_is_given_up() -> Outcome {
    let manager = Manager::builder().max_message(1 << 20).start().unwrap();
    let slow = shared(&manager);
    let probes: Vec<_> = (0..4).map(|_| shared(&manager)).collect();
    let list = manager.list::<u64>().unwrap();
    let client = Launch::new(&LaunchOptions::new())
        .start(|| {
            list.len().unwrap();
            std::thread::scope(|scope| {
                let works = scope.spawn(|| slow.work(30_000).is_err());
                let others: Vec<_> = probes
                    .iter()
                    .map(|probe| {
                        scope.spawn(|| {
                            let hasty = probe.with_timeout(Duration::from_millis(1));
                            probe.note(500).unwrap();
                            for _ in 0..20 {
                                let _ = hasty.many(900_000);
                            }
                        })
                    })
                    .collect();
                others.into_iter().for_each(|other| other.join().unwrap());
                // So nobody reads: neither does the one that waits.
                kill(Pid::this(), Signal::SIGSTOP).unwrap();
                let begin = Instant::now();
                works.join().unwrap() && begin.elapsed() < Duration::from_secs(25)
            })
        })
        .unwrap();
    let there = Pid::from_raw(client.id() as i32);
    assert!(proc::eventually(|| proc::stat(there.as_raw()).is_some_and(|stat| stat.state == 'T')));
    std::thread::sleep(Duration::from_secs(4));
    kill(there, Signal::SIGCONT).unwrap();
    let ended = client.output::<bool>().unwrap();
    drop(manager);
    assert!(ended, "its call waited for the object");
    Passed
}

fn a_first_value_may_be_as_long_as_any() -> Outcome {
    let manager = Manager::builder().max_message(200 << 20).start().unwrap();
    let bytes = common_ipc::link::Bytes::from(vec![7; 100 << 20]);
    let value = manager.value(bytes.clone());
    let value = value.unwrap();
    value.set(&bytes).unwrap();
    assert_eq!(value.get().unwrap().len(), bytes.len());
    manager.stop().unwrap();
    Passed
}
