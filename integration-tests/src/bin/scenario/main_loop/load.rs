//! The loop of the program under load, and when something runs out or goes away.

use std::time::{Duration, Instant};

use integration_tests::{proc, raw};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal as NixSignal;
use valkka_multiprocess::{ExitStatus, Incoming, LoopError, MainLoop, Signal, WatchError};

use crate::Outcome::{self, Passed};
use crate::main_loop::processes::{Command, Event, ended, of_worker, worker, workers};
use crate::main_loop::sources::{next, readable};

scenarios!(
    a_flood_of_one_back_end_starves_nothing,
    a_flood_ends_with_a_stop,
    a_back_end_that_hangs_up_and_lives_on_costs_nothing,
    a_back_end_that_somebody_else_waits_for_ends_in_the_loop_too,
    a_hundred_back_ends_end_at_once,
    many_back_ends_are_received_in_turns,
    what_somebody_else_has_kept_comes_to_the_loop,
    a_handler_that_sends_into_a_full_link_loses_nothing,
    a_back_end_without_descriptors_left_is_a_typed_error,
    a_loop_without_descriptors_left_is_a_typed_error,
);

fn a_flood_of_one_back_end_starves_nothing() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(3, &mut main_loop);
    main_loop.every(Duration::from_millis(2), || Event::Tick).unwrap();
    main_loop.signals(&[Signal::USR1], Event::Signal).unwrap();
    workers[0].send(&Command::Flood).unwrap();
    let (mut floods, mut echoes, mut ticks, mut signals, mut in_a_row, mut most) = (0u32, 0, 0, 0, 0u32, 0);
    while echoes < 20 || ticks < 20 || signals < 5 {
        let is_flood = match next(&mut main_loop) {
            Event::Worker(0, incoming) => {
                assert_eq!(incoming, Incoming::Event(floods), "in order");
                floods += 1;
                true
            }
            Event::Worker(number, incoming) => {
                assert_eq!(incoming, Incoming::Event(number as u32));
                echoes += 1;
                false
            }
            Event::Tick => {
                ticks += 1;
                workers[1].send(&Command::Echo(1)).unwrap();
                workers[2].send(&Command::Echo(2)).unwrap();
                nix::sys::signal::raise(NixSignal::SIGUSR1).unwrap();
                false
            }
            Event::Signal(_) => {
                signals += 1;
                false
            }
        };
        in_a_row = if is_flood { in_a_row + 1 } else { 0 };
        most = most.max(in_a_row);
    }
    println!("{floods} events of the flood, up to {most} in a row");
    assert!(floods > 100);
    workers[0].child().unwrap().kill().unwrap();
    Passed
}

fn a_flood_ends_with_a_stop() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(1, &mut main_loop);
    workers[0].send(&Command::Flood).unwrap();
    let mut count = 0;
    while let Some(event) = main_loop.next().unwrap() {
        assert!(matches!(event, Event::Worker(0, Incoming::Event(_))));
        count += 1;
        if count == 1000 {
            main_loop.stop();
        }
    }
    assert_eq!(count, 1000);
    // SIGTERM ends the flood, which waits for room.
    workers[0].child().unwrap().kill().unwrap();
    Passed
}

fn a_back_end_that_hangs_up_and_lives_on_costs_nothing() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(1, &mut main_loop);
    workers[0].send(&Command::HangUp).unwrap();
    // Until it has.
    assert!(proc::eventually(|| proc::descriptors(workers[0].pid().unwrap() as i32).len() <= 3));
    main_loop.every(Duration::from_millis(50), || Event::Tick).unwrap();
    let before = raw::processor_time();
    for _ in 0..4 {
        assert!(matches!(next(&mut main_loop), Event::Tick));
    }
    let spent = raw::processor_time() - before;
    assert!(spent < Duration::from_millis(100), "{spent:?}");
    let child = workers[0].child().unwrap();
    child.kill().unwrap();
    let end = loop {
        if let Event::Worker(_, Incoming::Ended(end)) = next(&mut main_loop) {
            break end;
        }
    };
    assert_eq!(end.status.signal(), Some(Signal::KILL));
    Passed
}

fn a_back_end_that_somebody_else_waits_for_ends_in_the_loop_too() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(8, &mut main_loop);
    let children: Vec<_> = workers.iter().map(|worker| worker.child().unwrap()).collect();
    let waiters: Vec<_> =
        children.iter().cloned().map(|child| std::thread::spawn(move || child.wait().unwrap())).collect();
    for child in &children {
        child.kill().unwrap();
    }
    for _ in 0..8 {
        assert_eq!(ended(&mut main_loop).status.signal(), Some(Signal::KILL));
    }
    for waiter in waiters {
        assert!(matches!(waiter.join().unwrap(), ExitStatus::Signaled { .. }));
    }
    Passed
}

fn a_hundred_back_ends_end_at_once() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(100, &mut main_loop);
    for worker in &workers {
        worker.send(&Command::Echo(3)).unwrap();
    }
    for _ in 0..100 {
        assert!(matches!(of_worker(&mut main_loop), (_, Incoming::Event(3))));
    }
    for worker in &workers {
        worker.child().unwrap().kill().unwrap();
    }
    let mut names: Vec<_> = (0..100).map(|_| ended(&mut main_loop).name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 100);
    assert!(main_loop.next().is_err(), "nothing is watched any more");
    Passed
}

fn many_back_ends_are_received_in_turns() -> Outcome {
    const EACH: u32 = 10_000;
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(64, &mut main_loop);
    let begin = Instant::now();
    for worker in &workers {
        worker.send(&Command::Send(EACH)).unwrap();
    }
    let mut expected = vec![0; workers.len()];
    for _ in 0..workers.len() as u32 * EACH {
        let (number, incoming) = of_worker(&mut main_loop);
        assert_eq!(incoming, Incoming::Event(expected[number]));
        expected[number] += 1;
    }
    let count = workers.len() as f64 * f64::from(EACH);
    println!("{:.2} million events a second", count / begin.elapsed().as_secs_f64() / 1e6);
    Passed
}

fn what_somebody_else_has_kept_comes_to_the_loop() -> Outcome {
    for watched_before in [true, false] {
        let mut main_loop = MainLoop::new().unwrap();
        let worker = worker(0);
        let watch = |main_loop: &mut MainLoop<Event>| {
            main_loop.watch(&worker, |incoming| Event::Worker(0, incoming)).unwrap();
        };
        if watched_before {
            watch(&mut main_loop);
        }
        worker.send(&Command::Send(200)).unwrap();
        worker.send(&Command::Echo(200)).unwrap();
        // It waits for an end that doesn't come.
        assert_eq!(worker.wait_stop_timeout(Duration::from_millis(100)).unwrap(), None);
        if !watched_before {
            watch(&mut main_loop);
        }
        for number in 0..=200 {
            assert_eq!(of_worker(&mut main_loop), (0, Incoming::Event(number)));
        }
        main_loop.after(Duration::from_millis(100), || Event::Tick).unwrap();
        let before = raw::processor_time();
        assert!(matches!(next(&mut main_loop), Event::Tick));
        assert!(raw::processor_time() - before < Duration::from_millis(50), "nothing spins");
    }
    Passed
}

fn a_handler_that_sends_into_a_full_link_loses_nothing() -> Outcome {
    const ROUNDS: u32 = 50_000;
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(1, &mut main_loop);
    let (mut sent, mut seen) = (0, 0);
    // More than the links hold, both ways: to send is to wait for room, with echoes that come meanwhile.
    while sent < ROUNDS {
        for _ in 0..10_000 {
            workers[0].send(&Command::Echo(sent)).unwrap();
            sent += 1;
        }
        assert_eq!(of_worker(&mut main_loop), (0, Incoming::Event(seen)));
        seen += 1;
    }
    while seen < ROUNDS {
        assert_eq!(of_worker(&mut main_loop), (0, Incoming::Event(seen)));
        seen += 1;
    }
    Passed
}

fn a_back_end_without_descriptors_left_is_a_typed_error() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = [worker(0), worker(1)];
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    for worker in &workers {
        let error = main_loop.watch(worker, |_| Event::Tick).unwrap_err();
        assert!(
            matches!(&error, WatchError::Os(source) if source.raw_os_error() == Some(libc::EMFILE)),
            "{error}"
        );
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    main_loop.watch(&workers[1], |incoming| Event::Worker(1, incoming)).unwrap();
    // The end needs no descriptor more.
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    workers[1].send(&Command::Echo(1)).unwrap();
    assert_eq!(of_worker(&mut main_loop), (1, Incoming::Event(1)));
    workers[1].child().unwrap().kill().unwrap();
    assert_eq!(ended(&mut main_loop).status.signal(), Some(Signal::KILL));
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    Passed
}

fn a_loop_without_descriptors_left_is_a_typed_error() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let (end, _far) = readable();
    // What the library opens once.
    drop(MainLoop::<()>::new().unwrap());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
    let no_room = |error: &std::io::Error| error.raw_os_error() == Some(libc::EMFILE);
    let error = MainLoop::<()>::new().unwrap_err();
    assert!(matches!(&error, LoopError::Os { source, .. } if no_room(source)), "{error}");
    let error = main_loop.signals(&[Signal::USR1], Event::Signal).unwrap_err();
    assert!(matches!(&error, WatchError::Os(source) if no_room(source)), "{error}");
    // What needs none goes on.
    main_loop.watch_fd(end, |_| Event::Tick).unwrap();
    assert!(matches!(next(&mut main_loop), Event::Tick));
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    main_loop.signals(&[Signal::USR1], Event::Signal).unwrap();
    Passed
}
