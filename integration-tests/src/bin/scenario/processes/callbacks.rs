//! Rows 17, 22, 30: what happens when nobody waits.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common_ipc::process::{
    Child, ExitStatus, Launch, LaunchOptions, Refusal, Signal, StartError, active_children, join_callbacks,
};
use integration_tests::{proc, stress_factor};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    fault_17_dropped_handles_leave_no_zombies,
    fault_22_each_callback_is_called_once_with_the_status,
    fault_22_a_callback_may_do_what_it_likes,
    fault_22_a_slow_callback_delays_nobodys_reaping,
    fault_22_a_callback_for_a_child_that_has_ended_is_called,
    fault_30_a_dropped_handle_lets_the_child_go_on,
    join_callbacks_keeps_its_deadline,
    a_callback_that_panics_badly_is_not_the_last,
    joining_callbacks_in_a_callback_does_not_wait,
    a_callback_has_the_programs_signal_mask,
    fault_22_a_slow_callback_holds_up_no_other_childs,
    the_callbacks_of_one_child_come_one_after_another,
    a_hook_is_called_where_the_child_is_collected,
    a_library_thread_is_no_hindrance_to_forks,
);

const SOON: Option<Duration> = Some(Duration::from_secs(20));

fn fault_17_dropped_handles_leave_no_zombies() -> Outcome {
    for _ in 0..10_000 * stress_factor() {
        drop(start(|| ()));
    }
    let me = std::process::id() as i32;
    assert!(proc::eventually(|| proc::children(me).is_empty()), "{:?}", proc::children(me));
    Passed
}

fn fault_22_each_callback_is_called_once_with_the_status() -> Outcome {
    let called = Arc::new(Mutex::new(Vec::new()));
    for round in 0..50 * stress_factor() {
        let child = start::<()>(move || std::process::exit(round as i32 % 256));
        for place in 0..3 {
            let called = Arc::clone(&called);
            child
                .on_exit(move |exit| {
                    called.lock().unwrap().push((round, place, exit.pid, exit.status.clone()))
                })
                .unwrap();
        }
        let pid = child.id();
        match round % 3 {
            0 => drop(child),
            1 => drop(child.wait().unwrap()),
            // Waiters race with the reaper.
            _ => while child.is_alive().unwrap() {},
        }
        assert!(proc::eventually(|| called.lock().unwrap().len() == 3));
        assert!(join_callbacks(SOON));
        let expected = (0..3).map(|place| (round, place, pid, ExitStatus::Exited(round as i32 % 256)));
        assert_eq!(std::mem::take(&mut *called.lock().unwrap()), expected.collect::<Vec<_>>());
    }
    Passed
}

fn fault_22_a_callback_may_do_what_it_likes() -> Outcome {
    let other = start(sleep_for_long);
    let (tell, told) = channel();
    let child = start(|| 5);
    let (own, others) = (child.clone(), other.clone());
    child.on_exit(|_| panic!("on purpose")).unwrap();
    child
        .on_exit(move |exit| {
            assert_eq!(own.wait().unwrap(), exit.status, "stored before the callback");
            assert_eq!(own.output::<i32>().unwrap(), 5);
            own.kill().unwrap();
            own.stop(Duration::ZERO).unwrap();
            // Whatever it says, it doesn't wait for this one.
            let _ = join_callbacks(None);
            assert!(matches!(offspring::spawn(|| ()), Err(StartError::Refused(_))));
            others.stop(Duration::from_secs(20)).unwrap();
            let tell_of_nested = tell.clone();
            own.on_exit(move |exit| tell_of_nested.send(exit.pid).unwrap()).unwrap();
            tell.send(0).unwrap();
        })
        .unwrap();
    assert_eq!(told.recv().unwrap(), 0);
    assert_eq!(told.recv().unwrap(), child.id());
    assert_eq!(other.wait().unwrap().signal(), Some(Signal::TERM));
    assert!(join_callbacks(SOON));
    Passed
}

fn fault_22_a_slow_callback_delays_nobodys_reaping() -> Outcome {
    let (began, begun) = channel();
    let (stop, wait) = channel::<()>();
    let slow = start(|| ());
    let others: Vec<_> = (0..10).map(|_| start(|| std::thread::sleep(Duration::from_millis(20)))).collect();
    let ids: Vec<_> = others.iter().map(Child::id).collect();
    slow.on_exit(move |_| {
        began.send(()).unwrap();
        let _ = wait.recv();
    })
    .unwrap();
    begun.recv().unwrap();
    drop(others);
    // They are collected, by the reaper, while the callback goes on.
    assert!(proc::eventually(|| ids.iter().all(|pid| proc::stat(*pid as i32).is_none())));
    assert!(!join_callbacks(Some(Duration::from_millis(5))));
    drop(stop);
    assert!(join_callbacks(SOON));
    Passed
}

fn fault_22_a_callback_for_a_child_that_has_ended_is_called() -> Outcome {
    let child = start(|| ());
    child.wait().unwrap();
    let (tell, told) = channel();
    child.on_exit(move |exit| tell.send(exit.status.clone()).unwrap()).unwrap();
    assert_eq!(told.recv().unwrap(), ExitStatus::Exited(0));
    Passed
}

fn fault_30_a_dropped_handle_lets_the_child_go_on() -> Outcome {
    // Running, frozen, dead.
    let running = start(sleep_for_long);
    let frozen = start(sleep_for_long);
    frozen.signal(Signal::STOP).unwrap();
    let dead = start(|| ());
    let dead_pid = dead.id() as i32;
    assert!(proc::eventually(|| proc::stat(dead_pid).is_some_and(|stat| stat.state == 'Z')));
    let pids = [running.id(), frozen.id()];
    drop((running, frozen, dead));
    assert!(proc::eventually(|| proc::stat(dead_pid).is_none()));
    std::thread::sleep(Duration::from_millis(20));
    let active = active_children();
    assert_eq!(active.iter().map(Child::id).collect::<Vec<_>>(), pids);
    for child in active {
        child.kill().unwrap();
    }
    assert!(proc::eventually(|| pids.iter().all(|pid| proc::stat(*pid as i32).is_none())));
    Passed
}

fn join_callbacks_keeps_its_deadline() -> Outcome {
    assert!(join_callbacks(Some(Duration::ZERO)), "none is due");
    let (stop, wait) = channel::<()>();
    let child = start(|| ());
    child
        .on_exit(move |_| {
            let _ = wait.recv();
        })
        .unwrap();
    child.wait().unwrap();
    assert!(!join_callbacks(Some(Duration::from_millis(10))));
    drop(stop);
    assert!(join_callbacks(None));
    Passed
}

fn a_callback_that_panics_badly_is_not_the_last() -> Outcome {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop of a payload");
        }
    }
    let first = start(|| ());
    first.on_exit(|_| std::panic::panic_any(Bomb)).unwrap();
    first.wait().unwrap();
    let (sender, called) = std::sync::mpsc::channel();
    let second = start(|| ());
    second.on_exit(move |_| sender.send(()).unwrap()).unwrap();
    second.wait().unwrap();
    called.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(join_callbacks(SOON));
    Passed
}

fn joining_callbacks_in_a_callback_does_not_wait() -> Outcome {
    let (sender, told) = std::sync::mpsc::channel();
    let child = start(|| std::thread::sleep(Duration::from_millis(20)));
    for _ in 0..2 {
        let sender = sender.clone();
        child.on_exit(move |_| sender.send(join_callbacks(None)).unwrap()).unwrap();
    }
    child.wait().unwrap();
    assert!(join_callbacks(SOON));
    // The first one has the second one before it.
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], [false, true]);
    Passed
}

fn a_callback_has_the_programs_signal_mask() -> Outcome {
    let (sender, told) = std::sync::mpsc::channel();
    let child = start(|| ());
    // Collected by the reaper, which starts the callbacks' thread.
    child
        .on_exit(move |_| {
            let output = std::process::Command::new("/bin/cat").arg("/proc/self/status").output().unwrap();
            sender.send(String::from_utf8(output.stdout).unwrap()).unwrap();
        })
        .unwrap();
    let status = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
    assert!(join_callbacks(SOON));
    child.wait().unwrap();
    Passed
}

fn fault_22_a_slow_callback_holds_up_no_other_childs() -> Outcome {
    let (stop, wait) = crossbeam_channel::bounded::<()>(0);
    let slow: Vec<_> = (0..15).map(|_| start(|| ())).collect();
    let others: Vec<_> = (0..20).map(|_| start(|| ())).collect();
    let (sender, told) = channel();
    for (place, child) in slow.iter().enumerate() {
        let (wait, sender) = (wait.clone(), sender.clone());
        child
            .on_exit(move |_| {
                let _ = wait.recv();
            })
            .unwrap();
        child.on_exit(move |_| sender.send(place).unwrap()).unwrap();
        child.wait().unwrap();
    }
    // Fifteen threads are in a callback that goes on. The others' come one after another on the last one.
    for (place, child) in others.iter().enumerate() {
        let sender = sender.clone();
        child.on_exit(move |_| sender.send(100 + place).unwrap()).unwrap();
    }
    let soon = Duration::from_secs(20);
    let mut numbers: Vec<_> = (0..20).map(|_| told.recv_timeout(soon).unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (100..120).collect::<Vec<_>>());
    assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "a child's own keep their order");
    drop(stop);
    let mut numbers: Vec<_> = (0..15).map(|_| told.recv_timeout(soon).unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..15).collect::<Vec<_>>());
    assert!(join_callbacks(SOON));
    start(|| ()).wait().unwrap();
    Passed
}

fn the_callbacks_of_one_child_come_one_after_another() -> Outcome {
    let running = Arc::new(Mutex::new(()));
    let order = Arc::new(Mutex::new(Vec::new()));
    let child = start(|| ());
    for place in 0..50 {
        let (running, order) = (Arc::clone(&running), Arc::clone(&order));
        if place == 25 {
            child.wait().unwrap();
        }
        child
            .on_exit(move |_| {
                let _alone = running.try_lock().expect("another one is running");
                order.lock().unwrap().push(place);
                std::thread::sleep(Duration::from_micros(200));
            })
            .unwrap();
    }
    assert!(join_callbacks(SOON));
    assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    Passed
}

fn a_hook_is_called_where_the_child_is_collected() -> Outcome {
    let (sender, told) = channel();
    let here = std::thread::current().id();
    // By the reaper, though the handle is kept and nobody waits.
    let child = start(|| ());
    let tell = sender.clone();
    child
        .on_collected(move |exit| tell.send((exit.status.clone(), std::thread::current().id())).unwrap())
        .unwrap();
    let (status, thread) = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(status, child.wait().unwrap());
    assert_ne!(thread, here);
    // Later than that: right here. A panic is caught.
    child.on_collected(|_| panic!("on purpose")).unwrap();
    let tell = sender.clone();
    child
        .on_collected(move |exit| tell.send((exit.status.clone(), std::thread::current().id())).unwrap())
        .unwrap();
    assert_eq!(told.try_recv().unwrap(), (status, here));
    // A hundred, each once, while waiters race with the reaper.
    for round in 0..100 {
        let child = start::<()>(move || std::process::exit(round));
        let tell = sender.clone();
        child
            .on_collected(move |exit| tell.send((exit.status.clone(), std::thread::current().id())).unwrap())
            .unwrap();
        while child.is_alive().unwrap() {}
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap().0, ExitStatus::Exited(round));
    }
    assert!(told.try_recv().is_err());
    Passed
}

fn a_library_thread_is_no_hindrance_to_forks() -> Outcome {
    let (tell, told) = channel::<bool>();
    let (answer, answered) = channel();
    common_ipc::process::start_library_thread("helper", move |thread| {
        while let Ok(slow) = thread.sleep(|| told.recv()) {
            thread.call(|| {
                assert!(matches!(
                    offspring::spawn(|| ()),
                    Err(StartError::Refused(common_ipc::process::Refusal::OnLibraryThread))
                ));
                answer.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(if slow { 2500 } else { 1 }));
            });
        }
        panic!("on purpose, as its end");
    })
    .unwrap();
    for _ in 0..200 {
        tell.send(false).unwrap();
        // Beside its work a fork waits; asleep it is nobody.
        start(|| ()).wait().unwrap();
        answered.recv().unwrap();
    }
    tell.send(true).unwrap();
    answered.recv().unwrap();
    let refused = Launch::new(&LaunchOptions::new()).start(|| ()).unwrap_err();
    assert!(matches!(refused, StartError::Refused(Refusal::CallbackRunning)), "{refused}");
    // At its end it isn't counted any more.
    drop(tell);
    let threads = || proc::status_field(std::process::id() as i32, "Threads");
    assert!(proc::eventually(|| threads() == "1"), "{}", threads());
    start(|| ()).wait().unwrap();
    // Nor does it stand for somebody else's, which is one.
    let (stop, wait) = channel::<()>();
    let other = std::thread::spawn(move || wait.recv());
    let refused = Launch::new(&LaunchOptions::new()).start(|| ()).unwrap_err();
    assert!(matches!(refused, StartError::Refused(Refusal::OtherThreads { count: 1 })), "{refused}");
    drop(stop);
    other.join().unwrap().unwrap_err();
    Passed
}
