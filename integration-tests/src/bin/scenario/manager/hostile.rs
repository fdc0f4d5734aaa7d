//! Clients of a manager that mean harm, beside one that doesn't.

use std::os::fd::RawFd;
use std::time::Duration;

use common_ipc::link::Connector;
use common_ipc::process::{Child, Launch, LaunchOptions};
use cross_process_bridge::manager::{Manager, ManagerError, SharedList, SharedQueue};
use integration_tests::{proc, raw};
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::manager::kinds::reread;
use crate::servers::{start_in, zygote};

scenarios![
    fault_36_garbage_on_its_own_connection_is_its_own_trouble,
    fault_36_a_flood_at_the_door,
    fault_50_ten_thousand_connections,
    fault_36_a_door_that_is_closed_for_all,
    fault_36_a_client_that_reads_nothing,
    fault_36_guessed_addresses,
    fault_50_waits_without_end,
];

/// A proxy taken apart.
#[derive(Serialize, Deserialize)]
enum Apart {
    Here((u64, u64)),
    Anywhere((u64, u64), Connector),
}

fn connector(list: &SharedList<u64>) -> ((u64, u64), Connector) {
    match reread(list) {
        Apart::Anywhere(address, connector) => (address, connector),
        Apart::Here(_) => panic!("it wasn't sent"),
    }
}

const BUILT_IN: u32 = (u16::MAX as u32 - 1) << 16;

/// What an honest client does meanwhile.
fn goes_on(list: &SharedList<u64>, hostile: &Child) {
    while hostile.is_alive().unwrap() {
        list.append(&1).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    // It may have flooded what would have brought its output.
    assert!(hostile.wait().unwrap().success());
    let child = Launch::new(&LaunchOptions::new()).start(|| list.len().unwrap()).unwrap();
    assert!(child.output::<usize>().unwrap() > 0);
}

fn fault_36_garbage_on_its_own_connection_is_its_own_trouble() -> Outcome {
    let manager = Manager::start().unwrap();
    let list = manager.list::<u64>().unwrap();
    list.append(&1).unwrap();
    for seed in 0..5 {
        let hostile = Launch::new(&LaunchOptions::new())
            .start(|| {
                list.append(&1).unwrap();
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        for _ in 0..100 {
                            let _ = list.with_timeout(Duration::from_millis(1)).append(&2);
                        }
                    });
                    raw::scribble("connection", seed, Duration::from_millis(50));
                });
                // Whatever has become of it: errors, in time.
                let _ = list.with_timeout(Duration::from_millis(50)).len();
            })
            .unwrap();
        goes_on(&list, &hostile);
    }
    // Well-formed requests that make no sense.
    let hostile = start_in_with(&list, |list| {
        let ((id, key), connector) = connector(&list);
        let caller = connector.caller(None).unwrap();
        for what in [BUILT_IN, BUILT_IN + 1, 0, 7, u32::MAX, u32::MAX << 16] {
            for length in [0, 1, 15, 16, 17, 40] {
                let bytes = vec![0xff_u8; length];
                let _ = caller.call::<Vec<u8>, _, _>(what, &bytes, Some(Duration::from_millis(20)), |_| ());
                let argument = (id, key, bytes);
                let time = Some(Duration::from_millis(20));
                let _ = caller.call::<(u64, u64, Vec<u8>), _, _>(what, &argument, time, |_| ());
            }
        }
    });
    goes_on(&list, &hostile);
    manager.stop().unwrap();
    Passed
}

fn start_in_with(list: &SharedList<u64>, run: fn(SharedList<u64>)) -> Child {
    let _zygote = zygote();
    start_in(run, list)
}

/// The sockets that this process has.
fn sockets() -> Vec<RawFd> {
    let all = proc::descriptors(std::process::id() as i32).into_iter();
    all.filter(|(number, what)| *number > 2 && what.to_string_lossy().starts_with("socket:"))
        .map(|(number, _)| number)
        .collect()
}

fn fault_36_a_flood_at_the_door() -> Outcome {
    let manager = Manager::start().unwrap();
    let list = manager.list::<u64>().unwrap();
    let hostile = start_in_with(&list, |list| {
        let (_, connector) = connector(&list);
        drop(list);
        let end = std::time::Instant::now() + Duration::from_millis(500);
        while std::time::Instant::now() < end {
            for socket in sockets() {
                let packet = [7; 600];
                let length = std::process::id() as usize % 600;
                let _ = send(socket, &packet[..length], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
            }
        }
        drop(connector);
    });
    // One who comes in the midst of it.
    let late = Launch::new(&LaunchOptions::new())
        .start(|| {
            let list = list.with_timeout(Duration::from_secs(20));
            (0..10).all(|_| list.append(&1).is_ok())
        })
        .unwrap();
    goes_on(&list, &hostile);
    assert!(late.output::<bool>().unwrap());
    manager.stop().unwrap();
    Passed
}

fn fault_50_ten_thousand_connections() -> Outcome {
    let manager = Manager::start().unwrap();
    let list = manager.list::<u64>().unwrap();
    let pid = manager.child().id() as i32;
    let hostile = start_in_with(&list, |list| {
        let (_, connector) = connector(&list);
        let mut kept = std::collections::VecDeque::new();
        for _ in 0..10_000 {
            let Ok(caller) = connector.caller(Some(Duration::from_secs(10))) else { continue };
            connector.disconnect(&caller);
            kept.push_back(caller);
            if kept.len() > 100 {
                // The first ones are those that were let in.
                kept.remove(50);
            }
        }
        let refused = list.append(&1);
        assert!(matches!(refused, Err(ManagerError::Refused { .. })), "{refused:?}");
    });
    let mut most = 0;
    while hostile.is_alive().unwrap() {
        list.append(&1).unwrap();
        most = most.max(proc::descriptors(pid).len());
        std::thread::sleep(Duration::from_millis(2));
    }
    hostile.output::<()>().unwrap();
    assert!(most < 150, "{most} descriptors");
    goes_on(&list, &hostile);
    // It has left, and so have its connections.
    assert!(proc::eventually(|| proc::descriptors(pid).len() < 40));
    manager.stop().unwrap();
    Passed
}

/// Those who are connected don't notice; others are told.
fn fault_36_a_door_that_is_closed_for_all() -> Outcome {
    let manager = Manager::start().unwrap();
    let list = manager.list::<u64>().unwrap();
    list.append(&1).unwrap();
    let hostile = start_in_with(&list, |list| {
        let (_, _connector) = connector(&list);
        for socket in sockets() {
            let _ = shutdown(socket, Shutdown::Both);
        }
        drop(list);
    });
    hostile.wait().unwrap();
    list.append(&1).unwrap();
    let child = Launch::new(&LaunchOptions::new())
        .start(|| matches!(list.append(&1), Err(ManagerError::Refused { .. })))
        .unwrap();
    assert!(child.output::<bool>().unwrap());
    assert_eq!(list.len().unwrap(), 2);
    manager.stop().unwrap();
    Passed
}

/// It asks for much, and takes none of it.
fn fault_36_a_client_that_reads_nothing() -> Outcome {
    let manager = Manager::start().unwrap();
    let list = manager.list::<u64>().unwrap();
    list.extend(&vec![7; 50_000]).unwrap();
    let pid = manager.child().id() as i32;
    let hostile = start_in_with(&list, |list| {
        let ((id, key), connector) = connector(&list);
        let caller = connector.caller(None).unwrap();
        for _ in 0..1000 {
            // A page, whose reply nobody waits for after a moment.
            let page = ((id, key), 12_u32, 0_u64, u64::MAX, u64::MAX);
            let time = Some(Duration::from_micros(1));
            let _ = caller.call::<((u64, u64), u32, u64, u64, u64), _, _>(BUILT_IN, &page, time, |_| ());
        }
        std::thread::sleep(Duration::from_millis(300));
    });
    goes_on(&list, &hostile);
    assert!(proc::resident_kib_of(pid) < 300 << 10);
    manager.stop().unwrap();
    Passed
}

fn fault_36_guessed_addresses() -> Outcome {
    let manager = Manager::start().unwrap();
    let (list, secret) = (manager.list::<u64>().unwrap(), manager.list::<u64>().unwrap());
    secret.append(&1).unwrap();
    let hostile = start_in_with(&list, |list| {
        let ((id, key), connector) = connector(&list);
        let caller = connector.caller(None).unwrap();
        for id in id..id + 4 {
            for key in [0, 1, key ^ 1, u64::MAX] {
                // Clear it.
                let clear = ((id, key), 2_u32);
                let _ = caller.call::<((u64, u64), u32), _, _>(BUILT_IN, &clear, None, |_| ());
            }
        }
    });
    hostile.output::<()>().unwrap();
    assert_eq!(secret.len().unwrap(), 1);
    manager.stop().unwrap();
    Passed
}

fn fault_50_waits_without_end() -> Outcome {
    let manager = Manager::start().unwrap();
    let queue: SharedQueue<u64> = manager.queue(10).unwrap();
    let list = manager.list::<u64>().unwrap();
    let hostile = Launch::new(&LaunchOptions::new())
        .start(|| {
            let list: SharedList<u64> = reread(&queue);
            let ((id, key), connector) = connector(&list);
            let caller = connector.caller(None).unwrap();
            // Receives, and never gives up; the last of them is refused.
            let wait_in_vain = |wait: u64, time| {
                let recv = ((id, key), 29_u32, wait, false);
                caller.call::<((u64, u64), u32, u64, bool), _, _>(BUILT_IN, &recv, Some(time), |_| ()).is_ok()
            };
            for wait in 0..20_000 {
                wait_in_vain(wait, Duration::from_micros(1));
            }
            wait_in_vain(20_000, Duration::from_secs(20))
        })
        .unwrap();
    assert!(hostile.output::<bool>().unwrap());
    // It is gone, and what comes is for others.
    queue.send(&7).unwrap();
    assert_eq!(queue.recv_timeout(Duration::from_secs(10)).unwrap(), Some(7));
    list.append(&1).unwrap();
    manager.stop().unwrap();
    Passed
}
