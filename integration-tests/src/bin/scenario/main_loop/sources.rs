//! The loop of the program, with descriptors, timers and threads.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use integration_tests::{proc, raw};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal as NixSignal;
use valkka_multiprocess::{LoopError, MainLoop, Polled, Signal, WatchError};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    a_thousand_descriptors_cost_what_the_active_one_costs,
    a_flood_of_descriptors_starves_nothing,
    a_descriptor_that_was_closed_beneath_the_loop_is_dropped,
    a_descriptor_of_a_kind_that_cannot_be_polled_is_refused,
    a_watch_that_is_removed_while_another_is_handled_says_nothing_more,
    a_loop_is_stopped_from_anywhere,
    a_time_out_and_a_stop_can_be_told_apart,
    a_panic_passes_through_the_loop,
    a_loop_belongs_to_its_process,
    a_loop_that_nothing_can_wake_does_not_wait,
    a_slow_handler_gets_one_tick_for_those_it_missed,
    watches_come_and_go,
);

/// A test that fails waits no longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The next event of a loop that isn't stopped.
pub(crate) fn next<E: 'static>(main_loop: &mut MainLoop<E>) -> E {
    match main_loop.next_timeout(PATIENCE).unwrap() {
        Polled::Event(event) => event,
        Polled::Nothing => panic!("nothing came"),
        Polled::Stopped => panic!("the loop was stopped"),
    }
}

/// A descriptor that can be read for good, and what keeps it so.
pub(crate) fn readable() -> (UnixStream, UnixStream) {
    let (end, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    (end, far)
}

fn take(mut socket: &UnixStream) -> usize {
    socket.read(&mut [0; 1]).unwrap()
}

fn a_thousand_descriptors_cost_what_the_active_one_costs() -> Outcome {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).unwrap();
    for others in [0, 1000] {
        let mut main_loop = MainLoop::new().unwrap();
        let idle: Vec<_> = (0..others).map(|_| UnixStream::pair().unwrap()).collect();
        for (end, _) in &idle {
            main_loop.watch_fd(end.try_clone().unwrap(), |_| 1).unwrap();
        }
        let (end, mut far) = UnixStream::pair().unwrap();
        main_loop.watch_fd(end, |socket| take(socket) - 1).unwrap();
        let begin = Instant::now();
        for _ in 0..5_000 {
            far.write_all(b"x").unwrap();
            assert_eq!(next(&mut main_loop), 0);
        }
        println!("{others} others: {:?} for an event", begin.elapsed() / 5_000);
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    Passed
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Flood,
    Tick,
    Signal,
    Once,
}

fn a_flood_of_descriptors_starves_nothing() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let ends: Vec<_> = (0..200).map(|_| readable()).collect();
    for (end, _) in &ends {
        main_loop.watch_fd(end.try_clone().unwrap(), |_| Event::Flood).unwrap();
    }
    main_loop.every(Duration::from_millis(2), || Event::Tick).unwrap();
    main_loop.signals(&[Signal::USR1], |_| Event::Signal).unwrap();
    main_loop.after(Duration::from_millis(5), || Event::Once).unwrap();
    let stop = main_loop.stop_handle();
    let (mut ticks, mut signals, mut once, mut floods) = (0, 0, 0, 0);
    let mut stopper = None;
    while let Some(event) = main_loop.next().unwrap() {
        match event {
            Event::Flood => floods += 1,
            Event::Tick => {
                ticks += 1;
                nix::sys::signal::raise(NixSignal::SIGUSR1).unwrap();
            }
            Event::Signal => signals += 1,
            Event::Once => once += 1,
        }
        if ticks == 20 && signals > 10 && stopper.is_none() {
            let stop = stop.clone();
            stopper = Some(std::thread::spawn(move || stop.stop()));
        }
    }
    stopper.expect("the loop ended by this").join().unwrap();
    assert!(once == 1 && floods > 1000, "{once} {floods}");
    Passed
}

fn a_descriptor_that_was_closed_beneath_the_loop_is_dropped() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let (end, _far) = readable();
    let number = end.as_raw_fd();
    let lost = main_loop.watch_fd(end, |_| Event::Flood).unwrap();
    // A child has copies of the program's own descriptors: the kernel goes on to watch.
    let child = start(sleep_for_long);
    assert_eq!(next(&mut main_loop), Event::Flood);
    raw::close(number);
    main_loop.after(Duration::from_millis(50), || Event::Once).unwrap();
    let before = raw::processor_time();
    assert_eq!(next(&mut main_loop), Event::Once, "nothing more comes of it");
    assert!(raw::processor_time() - before < Duration::from_millis(40), "and nothing spins");

    assert!(!main_loop.unwatch(lost), "its watch is over");
    let (other, _other_far) = readable();
    main_loop.watch_fd(other, |_| Event::Tick).unwrap();
    assert_eq!(next(&mut main_loop), Event::Tick);
    child.kill().unwrap();
    child.wait().unwrap();
    Passed
}

fn a_descriptor_of_a_kind_that_cannot_be_polled_is_refused() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(matches!(main_loop.watch_fd(file, |_| Event::Once), Err(WatchError::NotPollable)));
    let (end, _far) = readable();
    let end = Arc::new(end);
    main_loop.watch_fd(Arc::clone(&end), |_| Event::Flood).unwrap();
    assert!(matches!(main_loop.watch_fd(Arc::clone(&end), |_| Event::Once), Err(WatchError::AlreadyWatched)));
    let copy = end.try_clone().unwrap();
    main_loop.watch_fd(copy, |_| Event::Tick).unwrap();
    // Each has its turn, as often as the other.
    let seen: Vec<_> = (0..10).map(|_| next(&mut main_loop)).collect();
    assert_eq!(seen.iter().filter(|event| **event == Event::Flood).count(), 5, "{seen:?}");
    Passed
}

fn a_watch_that_is_removed_while_another_is_handled_says_nothing_more() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let ((one, mut one_far), (two, mut two_far)) = (readable(), readable());
    let ids = [
        main_loop.watch_fd(one, |socket| (0, take(socket))).unwrap(),
        main_loop.watch_fd(two, |socket| (1, take(socket))).unwrap(),
    ];
    let timer = main_loop.after(Duration::ZERO, || (2, 0)).unwrap();
    // All three are ready; whoever comes first ends the others.
    let (first, _) = next(&mut main_loop);
    for (place, id) in ids.into_iter().chain([timer]).enumerate() {
        assert_eq!(main_loop.unwatch(id), place != 2 || first != 2);
        assert!(!main_loop.unwatch(id), "it is over");
    }
    main_loop.after(Duration::from_millis(5), || (3, 0)).unwrap();
    assert_eq!(next(&mut main_loop), (3, 0));
    // The loop has dropped them.
    for far in [&mut one_far, &mut two_far] {
        assert!(far.write_all(b"x").is_err());
    }
    Passed
}

fn a_loop_is_stopped_from_anywhere() -> Outcome {
    // Before the first event.
    let mut main_loop = MainLoop::new().unwrap();
    main_loop.every(Duration::from_millis(1), || ()).unwrap();
    main_loop.stop_handle().stop();
    assert_eq!(main_loop.next().unwrap(), None);
    assert_eq!(main_loop.next().unwrap(), None, "for good");

    // While events are there.
    let mut main_loop = MainLoop::new().unwrap();
    let (end, _far) = readable();
    main_loop.watch_fd(end, |_| ()).unwrap();
    assert_eq!(main_loop.next().unwrap(), Some(()));
    main_loop.stop();
    assert_eq!(main_loop.next().unwrap(), None);

    // While it sleeps, from threads.
    for round in 0..200 {
        let mut main_loop = MainLoop::<()>::new().unwrap();
        let handle = main_loop.stop_handle();
        let threads = [handle.clone(), handle].map(|handle| {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(round * 5));
                handle.stop();
            })
        });
        assert_eq!(main_loop.next().unwrap(), None);
        for thread in threads {
            thread.join().unwrap();
        }
    }

    // When it is gone.
    let handle = MainLoop::<()>::new().unwrap().stop_handle();
    handle.stop();
    assert!(handle.is_stopped());
    Passed
}

fn a_time_out_and_a_stop_can_be_told_apart() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing);
    let begin = Instant::now();
    assert_eq!(main_loop.next_timeout(Duration::from_micros(1500)).unwrap(), Polled::Nothing);
    assert!(begin.elapsed() >= Duration::from_micros(1500));
    main_loop.after(Duration::ZERO, || 1).unwrap();
    assert_eq!(main_loop.try_next().unwrap(), Polled::Event(1));
    main_loop.after(Duration::MAX, || 2).unwrap();
    main_loop.every(Duration::MAX, || 3).unwrap();
    assert_eq!(main_loop.next_timeout(Duration::from_millis(1)).unwrap(), Polled::Nothing);
    main_loop.after(Duration::from_millis(2), || 4).unwrap();
    assert_eq!(main_loop.next_timeout(Duration::MAX).unwrap(), Polled::Event(4));

    // Signals that others handle don't cut it short.
    extern "C" fn nothing(_: libc::c_int) {}
    raw::handle_signal(NixSignal::SIGALRM, nothing);
    raw::interval_timer(Duration::from_micros(300));
    let begin = Instant::now();
    assert_eq!(main_loop.next_timeout(Duration::from_millis(20)).unwrap(), Polled::Nothing);
    assert!(begin.elapsed() >= Duration::from_millis(20));
    raw::interval_timer(Duration::ZERO);

    main_loop.stop();
    assert_eq!(main_loop.next_timeout(Duration::MAX).unwrap(), Polled::Stopped);
    assert_eq!(main_loop.try_next().unwrap(), Polled::Stopped);
    Passed
}

fn a_panic_passes_through_the_loop() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let (end, mut far) = readable();
    let mut panics = 1;
    main_loop
        .watch_fd(end, move |socket| {
            assert_eq!(take(socket), 1);
            assert!(std::mem::take(&mut panics) == 0, "the first time");
            "descriptor"
        })
        .unwrap();
    main_loop.after(Duration::ZERO, || panic!("a timer")).unwrap();
    for _ in 0..2 {
        catch_unwind(AssertUnwindSafe(|| main_loop.next_timeout(PATIENCE))).unwrap_err();
    }
    far.write_all(b"x").unwrap();
    assert_eq!(next(&mut main_loop), "descriptor");
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing);
    Passed
}

fn a_loop_belongs_to_its_process() -> Outcome {
    let here = proc::descriptors(std::process::id() as i32).len();
    let mut main_loop = MainLoop::new().unwrap();
    let signals = main_loop.signals(&[Signal::USR1], |_| ()).unwrap();
    let timer = main_loop.after(Duration::from_millis(1), || ()).unwrap();
    assert_eq!(proc::descriptors(std::process::id() as i32).len(), here + 3);
    let stop = main_loop.stop_handle();
    let child = start(|| {
        let mut main_loop = main_loop;
        let found = proc::descriptors(std::process::id() as i32);
        let is_the_loops = |target: &std::path::Path| {
            ["eventpoll", "eventfd"].iter().any(|kind| target.to_string_lossy().contains(kind))
        };
        assert!(!found.iter().any(|(_, target)| is_the_loops(target)), "{found:?}");
        assert!(matches!(main_loop.next(), Err(LoopError::WrongProcess(_))));
        assert!(matches!(main_loop.try_next(), Err(LoopError::WrongProcess(_))));
        assert!(matches!(main_loop.every(PATIENCE, || ()), Err(WatchError::WrongProcess(_))));
        assert!(matches!(main_loop.signals(&[Signal::HUP], |_| ()), Err(WatchError::WrongProcess(_))));
        assert!(!main_loop.unwatch(signals) && !main_loop.unwatch(timer));
        main_loop.stop();
        drop(main_loop);
        // One of its own.
        let mut own = MainLoop::new().unwrap();
        own.after(Duration::ZERO, || 7).unwrap();
        next(&mut own)
    });
    assert_eq!(child.output::<i32>().unwrap(), 7);
    assert!(!stop.is_stopped());
    Passed
}

fn a_loop_that_nothing_can_wake_does_not_wait() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    assert!(matches!(main_loop.next(), Err(LoopError::NothingWatched)));
    main_loop.after(Duration::ZERO, || ()).unwrap();
    assert_eq!(main_loop.next().unwrap(), Some(()));
    assert!(matches!(main_loop.next(), Err(LoopError::NothingWatched)));
    let stop = main_loop.stop_handle();
    let stopper = std::thread::spawn(move || stop.stop());
    assert!(matches!(main_loop.next(), Ok(None) | Err(LoopError::NothingWatched)));
    stopper.join().unwrap();
    assert!(matches!(main_loop.next(), Ok(None)));
    Passed
}

fn a_slow_handler_gets_one_tick_for_those_it_missed() -> Outcome {
    let mut main_loop = MainLoop::new().unwrap();
    let begin = Instant::now();
    main_loop.every(Duration::from_millis(10), Instant::now).unwrap();
    next(&mut main_loop);
    std::thread::sleep(Duration::from_millis(35));
    next(&mut main_loop);
    let after = next(&mut main_loop) - begin;
    assert!(after >= Duration::from_millis(50), "in its rhythm: {after:?}");
    // Without a period, or nearly: it doesn't keep others from their turns.
    main_loop.every(Duration::ZERO, Instant::now).unwrap();
    for _ in 0..10 {
        next(&mut main_loop);
    }
    Passed
}

fn watches_come_and_go() -> Outcome {
    let before = proc::descriptors(std::process::id() as i32).len();
    let mut main_loop = MainLoop::new().unwrap();
    for round in 0..2_000u32 {
        let (end, far) = readable();
        let id = main_loop.watch_fd(end, move |_| round).unwrap();
        let timer = main_loop.every(PATIENCE, move || round).unwrap();
        assert_eq!(next(&mut main_loop), round);
        assert!(main_loop.unwatch(id) && main_loop.unwatch(timer));
        drop(far);
    }
    assert_eq!(main_loop.try_next().unwrap(), Polled::Nothing);
    drop(main_loop);
    assert_eq!(proc::descriptors(std::process::id() as i32).len(), before);
    Passed
}
