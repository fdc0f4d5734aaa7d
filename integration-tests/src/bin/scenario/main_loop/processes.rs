//! The loop of the program, with back ends.

use std::os::fd::AsFd;
use std::time::Duration;

use common_ipc::link::safe_select;
use common_ipc::process::ProcessGroup;
use integration_tests::raw;
use nix::sys::signal::{Signal as NixSignal, killpg};
use nix::unistd::{Pid, getpgrp, setpgid};
use serde::{Deserialize, Serialize};
use valkka_multiprocess::{
    Backend, Context, Ended, Incoming, LaunchOptions, MainLoop, MessageProcess, Polled, RemoteError, Signal,
    WatchError,
};

use crate::Outcome::{self, Passed};
use crate::main_loop::sources::{PATIENCE, next};

scenarios!(
    back_ends_are_told_apart,
    the_end_of_a_back_end_is_its_last_event,
    what_a_killed_back_end_had_sent_comes_before_its_end,
    a_back_end_is_watched_anew_after_a_start,
    a_back_end_is_watched_once_at_a_time,
    a_watch_ends_without_the_back_end,
    a_handler_may_stop_what_it_handles,
    a_loop_in_a_thread_watches_back_ends,
    fault_31_ctrl_c_is_an_event_of_the_program_alone,
);

#[derive(Serialize, Deserialize)]
pub(crate) enum Command {
    Echo(u32),
    /// So many events in a row.
    Send(u32),
    /// Events without end.
    Flood,
    Fail,
    /// Closes all descriptors, and lives on.
    HangUp,
    Abort,
}

pub(crate) struct Worker;

impl Backend for Worker {
    type Command = Command;
    type Event = u32;

    fn handle(&mut self, cx: &mut Context<Self>, command: Command) -> Result<(), RemoteError> {
        match command {
            Command::Echo(number) => cx.send_out(&number)?,
            Command::Send(count) => (0..count).try_for_each(|number| cx.send_out(&number))?,
            Command::Flood => (0..).try_for_each(|number| cx.send_out(&number))?,
            Command::Fail => return Err(RemoteError::msg("as it was told to")),
            Command::HangUp => {
                raw::close_from(3);
                std::thread::sleep(PATIENCE);
            }
            Command::Abort => std::process::abort(),
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) enum Event {
    Worker(usize, Incoming<u32>),
    Tick,
    Signal(Signal),
}

pub(crate) fn worker(number: usize) -> MessageProcess<Worker> {
    let worker = MessageProcess::new(format!("worker-{number}"), Worker).ignore_sigint();
    worker.start().unwrap();
    worker
}

pub(crate) fn workers(count: usize, main_loop: &mut MainLoop<Event>) -> Vec<MessageProcess<Worker>> {
    let workers: Vec<_> = (0..count).map(worker).collect();
    for (number, worker) in workers.iter().enumerate() {
        main_loop.watch(worker, move |incoming| Event::Worker(number, incoming)).unwrap();
    }
    workers
}

/// The next event, which has to be of a back end.
pub(crate) fn of_worker(main_loop: &mut MainLoop<Event>) -> (usize, Incoming<u32>) {
    match next(main_loop) {
        Event::Worker(number, incoming) => (number, incoming),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn ended(main_loop: &mut MainLoop<Event>) -> Ended {
    match of_worker(main_loop) {
        (_, Incoming::Ended(ended)) => ended,
        other => panic!("{other:?}"),
    }
}

fn back_ends_are_told_apart() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(4, &mut main_loop);
    for round in 0..100 {
        for (number, worker) in workers.iter().enumerate() {
            worker.send(&Command::Echo(round + number as u32)).unwrap();
        }
        let mut seen: Vec<_> = (0..4).map(|_| of_worker(&mut main_loop)).collect();
        seen.sort_by_key(|(number, _)| *number);
        for (place, (number, incoming)) in seen.into_iter().enumerate() {
            assert_eq!((number, incoming), (place, Incoming::Event(round + place as u32)));
        }
    }
    // Nothing is left that would keep the loop awake.
    main_loop.after(Duration::from_millis(200), || Event::Tick).unwrap();
    let before = raw::processor_time();
    assert!(matches!(next(&mut main_loop), Event::Tick));
    assert!(raw::processor_time() - before < Duration::from_millis(100));
    workers[2].send(&Command::Fail).unwrap();
    let (number, incoming) = of_worker(&mut main_loop);
    assert!(matches!(&incoming, Incoming::Failed(failure) if failure.to_string().contains("as it was told")));
    assert_eq!(number, 2);
    Passed
}

fn the_end_of_a_back_end_is_its_last_event() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(2, &mut main_loop);
    workers[0].send(&Command::Echo(7)).unwrap();
    workers[0].request_stop().unwrap();
    assert_eq!(of_worker(&mut main_loop), (0, Incoming::Event(7)));
    let end = ended(&mut main_loop);
    assert!(end.is_clean() && end.name == "worker-0", "{end:?}");
    workers[1].send(&Command::Abort).unwrap();
    assert_eq!(ended(&mut main_loop).status.signal(), Some(Signal::ABRT));
    assert!(matches!(main_loop.try_next().unwrap(), Polled::Nothing));
    assert!(main_loop.next().is_err(), "nothing is watched any more");
    Passed
}

fn what_a_killed_back_end_had_sent_comes_before_its_end() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(1, &mut main_loop);
    workers[0].send(&Command::Send(1000)).unwrap();
    workers[0].send(&Command::Abort).unwrap();
    workers[0].child().unwrap().wait().unwrap();
    for number in 0..1000 {
        assert_eq!(of_worker(&mut main_loop), (0, Incoming::Event(number)));
    }
    assert_eq!(ended(&mut main_loop).status.signal(), Some(Signal::ABRT));
    Passed
}

fn a_back_end_is_watched_anew_after_a_start() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let worker = worker(0);
    for round in 0..20 {
        main_loop.watch(&worker, move |incoming| Event::Worker(round, incoming)).unwrap();
        worker.send(&Command::Echo(1)).unwrap();
        assert_eq!(of_worker(&mut main_loop), (round, Incoming::Event(1)));
        worker.child().unwrap().kill().unwrap();
        assert_eq!(ended(&mut main_loop).status.signal(), Some(Signal::KILL));
        worker.start().unwrap();
    }
    // The watch of a run that has ended, and of the next one, side by side.
    main_loop.watch(&worker, |incoming| Event::Worker(100, incoming)).unwrap();
    worker.stop().unwrap();
    worker.start().unwrap();
    main_loop.watch(&worker, |incoming| Event::Worker(101, incoming)).unwrap();
    worker.send(&Command::Echo(2)).unwrap();
    let mut seen = [of_worker(&mut main_loop), of_worker(&mut main_loop)];
    seen.sort_by_key(|(number, _)| *number);
    assert!(matches!(seen, [(100, Incoming::Ended(_)), (101, Incoming::Event(2))]), "{seen:?}");
    Passed
}

fn a_back_end_is_watched_once_at_a_time() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let idle = MessageProcess::new("idle", Worker);
    assert!(matches!(main_loop.watch(&idle, |_| Event::Tick), Err(WatchError::NotStarted)));
    let worker = worker(0);
    let id = main_loop.watch(&worker, |_| Event::Tick).unwrap();
    assert!(matches!(main_loop.watch(&worker, |_| Event::Tick), Err(WatchError::AlreadyWatched)));
    assert!(matches!(main_loop.watch(worker.front(), |_| Event::Tick), Err(WatchError::AlreadyWatched)));
    assert!(main_loop.unwatch(id));
    main_loop.watch(worker.front(), |incoming| Event::Worker(0, incoming)).unwrap();
    // Another loop: each event goes to one of the two.
    let mut other = MainLoop::new().unwrap();
    other.watch(&worker, |incoming| Event::Worker(1, incoming)).unwrap();
    worker.stop().unwrap();
    assert!(ended(&mut main_loop).is_clean());
    assert!(ended(&mut other).is_clean());
    Passed
}

fn a_watch_ends_without_the_back_end() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let worker = worker(0);
    let id = main_loop.watch(&worker, |incoming| Event::Worker(0, incoming)).unwrap();
    worker.send(&Command::Send(100)).unwrap();
    for number in 0..10 {
        assert_eq!(of_worker(&mut main_loop), (0, Incoming::Event(number)));
    }
    assert!(main_loop.unwatch(id));
    main_loop.after(Duration::from_millis(5), || Event::Tick).unwrap();
    assert!(matches!(next(&mut main_loop), Event::Tick));
    // What is left is the front end's.
    assert_eq!(worker.recv().unwrap(), 10);
    Passed
}

fn a_handler_may_stop_what_it_handles() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(2, &mut main_loop);
    workers[0].send(&Command::Send(500)).unwrap();
    assert_eq!(of_worker(&mut main_loop), (0, Incoming::Event(0)));
    // It waits for the end, and keeps what comes meanwhile.
    workers[0].stop().unwrap();
    for number in 1..500 {
        assert_eq!(of_worker(&mut main_loop), (0, Incoming::Event(number)));
    }
    assert!(ended(&mut main_loop).is_clean());
    workers[1].send(&Command::Echo(1)).unwrap();
    assert_eq!(of_worker(&mut main_loop), (1, Incoming::Event(1)));
    Passed
}

fn a_loop_in_a_thread_watches_back_ends() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let workers = workers(2, &mut main_loop);
    let stop = main_loop.stop_handle();
    let thread = std::thread::spawn(move || {
        let mut sum = 0;
        while let Some(event) = main_loop.next().unwrap() {
            if let Event::Worker(_, Incoming::Event(number)) = event {
                sum += number;
            }
            if sum == 20 {
                stop.stop();
            }
        }
        sum
    });
    for worker in workers.iter().cycle().take(20) {
        worker.send(&Command::Echo(1)).unwrap();
    }
    assert_eq!(thread.join().unwrap(), 20);
    Passed
}

fn fault_31_ctrl_c_is_an_event_of_the_program_alone() -> Outcome {
    // A group of its own for this program, as a shell would make it.
    setpgid(Pid::from_raw(0), Pid::from_raw(0)).unwrap();
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.signals(&[Signal::INT], Event::Signal).unwrap();
    let workers = workers(2, &mut main_loop);
    let plain = MessageProcess::new("plain", Worker);
    let apart = MessageProcess::new("apart", Worker)
        .launch_with(LaunchOptions::new().process_group(ProcessGroup::New));
    for process in [&plain, &apart] {
        process.start().unwrap();
        process.wait_ready(PATIENCE).unwrap();
    }
    killpg(getpgrp(), NixSignal::SIGINT).unwrap();
    assert!(matches!(next(&mut main_loop), Event::Signal(Signal::INT)));
    // One that doesn't ignore it ends in an orderly way.
    assert!(safe_select(&[plain.child().unwrap().as_fd()], Some(PATIENCE)).unwrap() == [0]);
    assert!(plain.wait_stop().unwrap().is_clean());
    for worker in workers.iter().chain([&apart]) {
        assert!(worker.is_alive());
    }
    workers[1].send(&Command::Echo(4)).unwrap();
    assert_eq!(of_worker(&mut main_loop), (1, Incoming::Event(4)));
    Passed
}
