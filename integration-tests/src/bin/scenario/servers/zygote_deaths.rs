//! Rows 27, 28, 29, 54: deaths of servers, of the threads that start children, and of the program.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::process::{
    self, Child, ForkServer, Launch, LaunchOptions, Signal, StartError, Zygote, active_children,
};
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::Signal as NixSignal;

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;
use crate::processes::parent_death::program;
use crate::servers::{kill, server, start_in, zygote};

scenarios!(
    fault_27_servers_and_their_children_die_with_the_program,
    fault_27_ties_of_a_zygotes_children_hold,
    fault_28_a_zygotes_child_survives_the_thread_that_started_it,
    fault_29_a_crowd_before_a_stopped_zygote_is_told,
    fault_29_a_dead_keeper_costs_new_zygotes_only,
    fault_29_a_zygote_that_dies_over_a_request_is_one_error,
    fault_29_a_zygote_that_dies_unasked_is_replaced,
    fault_29_a_zygote_whose_socket_others_have_is_replaced_when_it_dies,
    fault_29_a_zygote_that_is_killed_again_and_again_hangs_nobody,
    fault_29_a_zygote_that_is_stopped_is_killed,
    fault_54_a_tree_of_zygotes_falls_with_its_root,
);

type Started = Result<Child, StartError>;

fn try_start() -> Started {
    Launch::new(&LaunchOptions::new()).start_in(&Zygote::global(), |number: u32| number * 2, &21)
}

fn assert_starts() {
    assert_eq!(try_start().unwrap().output::<u32>().unwrap(), 42);
}

fn zygote_id() -> i32 {
    Zygote::global().id().unwrap() as i32
}

fn falls(program_name: &str, count: usize) {
    let (mut program, pids) = program(&[program_name], count);
    assert_eq!(pids.len(), count);
    assert!(pids.iter().all(|pid| proc::runs(*pid)), "{pids:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    for pid in &pids {
        assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} of {pids:?} survives");
    }
}

fn fault_27_servers_and_their_children_die_with_the_program() -> Outcome {
    // Keeper, zygote, template; a child of each of the two that spins; one in a session of its own; and one
    // that a thread has started which is gone.
    falls("program_with_servers", 7);
    Passed
}

fn fault_27_ties_of_a_zygotes_children_hold() -> Outcome {
    let path = std::env::temp_dir().join(format!("multiprocess-ties-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let (mut program, pids) = program(&["program_with_tied_children", path.to_str().unwrap()], 6);
    assert!(pids.len() == 6 && pids.iter().all(|pid| proc::runs(*pid)), "{pids:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    let (survivors, others) = pids.split_at(2);
    for pid in others {
        assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} of {pids:?} survives");
    }
    // Those that got a signal which they handle, one from a zygote and one from a template.
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "endedended");
    std::fs::remove_file(&path).unwrap();
    for pid in survivors {
        assert!(proc::runs(*pid), "{pid} of {pids:?} was meant to survive");
        kill(*pid, NixSignal::SIGKILL);
        assert!(proc::eventually(|| !proc::runs(*pid)));
    }
    Passed
}

fn fault_28_a_zygotes_child_survives_the_thread_that_started_it() -> Outcome {
    process::init().unwrap();
    let template = Launch::new(&LaunchOptions::new()).template(sleep_for_long).unwrap();
    // The zygote itself is made by that thread.
    let thread = std::thread::spawn(move || {
        let child = start_in(|()| sleep_for_long(), &());
        (child, template.start().unwrap(), template)
    });
    let (one, other, template) = thread.join().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    for child in [one, other] {
        assert!(child.is_alive().unwrap());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
    }
    assert!(proc::runs(zygote_id()) && template.is_alive());
    Passed
}

fn fault_29_a_crowd_before_a_stopped_zygote_is_told() -> Outcome {
    zygote();
    assert_starts();
    let stopped = zygote_id();
    kill(stopped, NixSignal::SIGSTOP);
    assert!(proc::eventually(|| proc::stat(stopped).is_some_and(|stat| stat.state == 'T')));
    // More than its socket takes, each with an end that is to move.
    let (waiting, stuck) = (AtomicU32::new(0), AtomicU32::new(0));
    let options = LaunchOptions::new().ready_timeout(Duration::from_secs(1));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let (here, there) = Connection::<u32, u32>::pair().unwrap();
                waiting.fetch_add(1, Ordering::Relaxed);
                let echo = |link: Connection<u32, u32>| link.send(&link.recv().unwrap()).unwrap();
                match Launch::new(&options).start_in(&Zygote::global(), echo, &there) {
                    Err(StartError::ServerStuck { .. } | StartError::ServerDied { .. }) => {
                        stuck.fetch_add(1, Ordering::Relaxed);
                        // It has moved nowhere.
                        there.send(&1).unwrap();
                        assert_eq!(here.recv().unwrap(), 1);
                    }
                    Ok(child) => {
                        here.send(&2).unwrap();
                        assert_eq!(here.recv().unwrap(), 2);
                        child.output::<()>().unwrap();
                    }
                    Err(other) => panic!("{other:?}"),
                }
            });
        }
    });
    assert_eq!(waiting.into_inner(), 100);
    assert!(stuck.into_inner() > 0);
    assert!(!proc::runs(stopped));
    assert_starts();
    assert!(active_children().is_empty());
    Passed
}

fn fault_29_a_dead_keeper_costs_new_zygotes_only() -> Outcome {
    zygote();
    assert_starts();
    let keeper = server("mp-keeper").unwrap();
    kill(keeper, NixSignal::SIGKILL);
    assert!(proc::eventually(|| !proc::runs(keeper)));
    for _ in 0..3 {
        assert_starts();
        let error = Zygote::with_preload(|()| (), &()).unwrap_err();
        let StartError::ServerDied { server: ForkServer::Keeper, status } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(status.signal(), Some(Signal::KILL));
        assert!(error.to_string().contains("no new ones"), "{error}");
    }
    kill(zygote_id(), NixSignal::SIGKILL);
    assert!(proc::eventually(|| Zygote::global().id().is_none()));
    for _ in 0..3 {
        let error = try_start().unwrap_err();
        assert!(matches!(error, StartError::ServerDied { server: ForkServer::Keeper, .. }), "{error:?}");
    }
    // While there is one thread there can be another keeper.
    process::init().unwrap();
    assert_starts();
    Passed
}

fn fault_29_a_zygote_that_dies_over_a_request_is_one_error() -> Outcome {
    zygote();
    assert_starts();
    let mut provoked = 0;
    for _ in 0..5 {
        let stopped = zygote_id();
        kill(stopped, NixSignal::SIGSTOP);
        assert!(proc::eventually(|| proc::stat(stopped).is_some_and(|stat| stat.state == 'T')));
        let start = std::thread::spawn(try_start);
        std::thread::sleep(Duration::from_millis(50));
        kill(stopped, NixSignal::SIGKILL);
        match start.join().unwrap() {
            Err(StartError::ServerDied { server: ForkServer::Zygote, status }) => {
                assert_eq!(status.signal(), Some(Signal::KILL));
                provoked += 1;
            }
            // It hadn't asked yet, and then asked another one.
            Ok(child) => assert_eq!(child.output::<u32>().unwrap(), 42),
            Err(other) => panic!("{other:?}"),
        }
        assert_starts();
        assert_ne!(zygote_id(), stopped);
    }
    assert!(provoked > 0, "no request was ever pending: the test proves nothing");
    Passed
}

fn fault_29_a_zygote_whose_socket_others_have_is_replaced_when_it_dies() -> Outcome {
    zygote();
    assert_starts();
    for _ in 0..3 {
        let before = zygote_id();
        // As the keeper has for a moment. What is sent there nobody hears.
        let copies = raw::sockets_of(before);
        assert!(copies.len() >= 2, "{copies:?}");
        kill(before, NixSignal::SIGKILL);
        assert!(proc::eventually(|| !proc::runs(before)));
        assert_starts();
        assert_ne!(zygote_id(), before);
        drop(copies);
    }
    Passed
}

fn fault_29_a_zygote_that_dies_unasked_is_replaced() -> Outcome {
    zygote();
    assert_starts();
    for signal in [NixSignal::SIGKILL, NixSignal::SIGKILL, NixSignal::SIGKILL] {
        let before = zygote_id();
        // At once, so that the start may find it alive, dying or dead.
        kill(before, signal);
        assert!(proc::eventually(|| !proc::runs(before)));
        assert_starts();
        assert_ne!(zygote_id(), before);
    }
    // All signals that can be blocked are.
    let before = zygote_id();
    for signal in [NixSignal::SIGTERM, NixSignal::SIGINT, NixSignal::SIGHUP, NixSignal::SIGUSR1] {
        kill(before, signal);
    }
    assert_starts();
    assert_eq!(zygote_id(), before);
    // What a zygote was made with its successor has as well.
    static LOADED: AtomicU32 = AtomicU32::new(0);
    let loaded = Zygote::with_preload(|number: u32| LOADED.store(number, Ordering::Relaxed), &7).unwrap();
    kill(loaded.id().unwrap() as i32, NixSignal::SIGKILL);
    assert!(proc::eventually(|| loaded.id().is_none()));
    let run = |()| LOADED.load(Ordering::Relaxed);
    let child = Launch::new(&LaunchOptions::new()).start_in(&loaded, run, &()).unwrap();
    assert_eq!(child.output::<u32>().unwrap(), 7);
    Passed
}

fn fault_29_a_zygote_that_is_killed_again_and_again_hangs_nobody() -> Outcome {
    zygote();
    assert_starts();
    let kills = 200 * stress_factor();
    let over = AtomicBool::new(false);
    let counts = std::thread::scope(|scope| {
        let starters: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut started, mut died) = (0u32, 0u32);
                    while !over.load(Ordering::Relaxed) {
                        match try_start() {
                            Ok(child) => {
                                assert_eq!(child.output::<u32>().unwrap(), 42);
                                started += 1;
                            }
                            Err(StartError::ServerDied { server: ForkServer::Zygote, .. }) => died += 1,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                    (started, died)
                })
            })
            .collect();
        let mut seed = 1u32;
        for _ in 0..kills {
            let mut found = None;
            assert!(proc::eventually(|| {
                found = Zygote::global().id();
                found.is_some()
            }));
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            std::thread::sleep(Duration::from_micros(u64::from(seed >> 16) % 2000));
            // It is ours and not collected by anybody else, but it may be gone by itself: no other dies here.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(found.unwrap() as i32), NixSignal::SIGKILL);
        }
        over.store(true, Ordering::Relaxed);
        starters.into_iter().map(|starter| starter.join().unwrap()).collect::<Vec<_>>()
    });
    let (started, died) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(started > 0 && died > 0, "{started} started, {died} died with their zygote");
    // The last kill may be felt by this one.
    if let Ok(child) = try_start() {
        child.wait().unwrap();
    }
    assert_starts();
    assert!(active_children().is_empty());
    // The servers that were killed are collected; the police looks for what else there is.
    Passed
}

fn fault_29_a_zygote_that_is_stopped_is_killed() -> Outcome {
    zygote();
    assert_starts();
    let timeout = Duration::from_millis(300);
    for _ in 0..2 {
        let stopped = zygote_id();
        kill(stopped, NixSignal::SIGSTOP);
        assert!(proc::eventually(|| proc::stat(stopped).is_some_and(|stat| stat.state == 'T')));
        let options = LaunchOptions::new().ready_timeout(timeout);
        let run: fn(()) = |()| unreachable!("nobody was told");
        let error = Launch::new(&options).start_in(&Zygote::global(), run, &()).unwrap_err();
        assert!(
            matches!(error, StartError::ServerStuck { server: ForkServer::Zygote, timeout: had } if had == timeout),
            "{error:?}"
        );
        assert_starts();
        assert_ne!(zygote_id(), stopped);
        assert!(!proc::runs(stopped));
    }
    Passed
}

fn fault_54_a_tree_of_zygotes_falls_with_its_root() -> Outcome {
    // In each of three generations: the keeper, the zygote and its child.
    falls("program_with_zygotes_in_zygotes", 9);
    Passed
}
