//! Row 1: forks beside other threads.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common_ipc::process::{ForkRule, Launch, LaunchOptions, Refusal, StartError, start_library_thread};
use integration_tests::{proc, raw, stress_factor};

use crate::Outcome::{self, Passed};

scenarios!(
    fault_01_a_start_beside_another_thread_is_refused,
    fault_01_a_start_after_a_join_is_not_refused,
    fault_01_a_start_from_a_callback_is_refused,
    fault_01_a_start_waits_for_a_short_callback,
    fault_01_a_long_callback_refuses_a_start,
    fault_01_library_threads_do_not_hang_children,
    fault_01_noise_before_the_fork_does_not_hang_children,
    fault_01_the_rule_can_be_changed,
    starting_while_panicking_is_refused,
    a_panic_in_a_library_threads_call_is_no_hindrance_to_forks,
);

fn options() -> LaunchOptions {
    LaunchOptions::new()
}

fn refusal(result: Result<impl std::fmt::Debug, StartError>) -> Refusal {
    match result {
        Err(StartError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn fault_01_a_start_beside_another_thread_is_refused() -> Outcome {
    let (stop, wait) = channel::<()>();
    let other = thread::spawn(move || wait.recv());
    let refused = refusal(offspring::spawn(|| ()));
    assert_eq!(refused, Refusal::OtherThreads { count: 1 });
    let text = refused.to_string();
    for way_out in ["before the first thread", "async runtime", "cargo test"] {
        assert!(text.contains(way_out), "{text}");
    }
    drop(stop);
    let _ = other.join().unwrap();
    offspring::spawn(|| ()).unwrap().join().unwrap();
    Passed
}

fn fault_01_a_start_after_a_join_is_not_refused() -> Outcome {
    // A joined thread is counted for some microseconds more.
    for _ in 0..300 * stress_factor() {
        thread::spawn(|| ()).join().unwrap();
        offspring::spawn(|| ()).unwrap().join().unwrap();
    }
    Passed
}

fn fault_01_a_start_from_a_callback_is_refused() -> Outcome {
    let (tell, told) = channel();
    let child = Launch::new(&options()).start(|| ()).unwrap();
    child.on_exit(move |_| tell.send(refusal(offspring::spawn(|| ()))).unwrap()).unwrap();
    assert_eq!(told.recv().unwrap(), Refusal::OnLibraryThread);
    Passed
}

fn fault_01_a_start_waits_for_a_short_callback() -> Outcome {
    let child = Launch::new(&options()).start(|| ()).unwrap();
    let (tell, told) = channel();
    child
        .on_exit(move |_| {
            tell.send(()).unwrap();
            thread::sleep(Duration::from_millis(100));
        })
        .unwrap();
    told.recv().unwrap();
    offspring::spawn(|| ()).unwrap().join().unwrap();
    Passed
}

fn fault_01_a_long_callback_refuses_a_start() -> Outcome {
    let child = Launch::new(&options()).start(|| ()).unwrap();
    let ((tell, told), (stop, wait)) = (channel(), channel::<()>());
    child
        .on_exit(move |_| {
            tell.send(()).unwrap();
            let _ = wait.recv();
        })
        .unwrap();
    told.recv().unwrap();
    assert_eq!(refusal(offspring::spawn(|| ())), Refusal::CallbackRunning);
    drop(stop);
    assert!(common_ipc::process::join_callbacks(Some(Duration::from_secs(10))));
    offspring::spawn(|| ()).unwrap().join().unwrap();
    Passed
}

/// What hangs in a child when somebody held its lock at the fork.
fn use_locks() -> usize {
    println!("a line");
    let text = std::env::var("PATH").unwrap_or_default();
    let boxes: Vec<_> = (0..100).map(|length| vec![1u8; length * 10]).collect();
    text.len() + boxes.len()
}

fn fault_01_library_threads_do_not_hang_children() -> Outcome {
    for round in 0..500 * stress_factor() {
        // The reaper collects these, and calls their callbacks, while others are started.
        let busy = Launch::new(&options()).start(|| ()).unwrap();
        busy.on_exit(|_| assert_ne!(use_locks(), 0)).unwrap();
        drop(busy);
        let options = options().stdout(offspring::Stdio::Null);
        let child = Launch::new(&options).start(use_locks).unwrap();
        let output = child.output_timeout::<usize>(Duration::from_secs(20)).unwrap();
        assert!(output.is_some(), "the child of round {round} hangs");
    }
    assert!(common_ipc::process::join_callbacks(Some(Duration::from_secs(20))));
    Passed
}

fn fault_01_noise_before_the_fork_does_not_hang_children() -> Outcome {
    for round in 0..100 * stress_factor() {
        let (stop, wait) = channel::<()>();
        let noise = thread::spawn(move || {
            while wait.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                std::hint::black_box(use_locks());
            }
        });
        // Refused while it lasts, and then the locks are free.
        assert!(matches!(refusal(offspring::spawn(|| ())), Refusal::OtherThreads { .. }));
        drop(stop);
        noise.join().unwrap();
        let task = offspring::spawn_with(options().stdout(offspring::Stdio::Null), use_locks).unwrap();
        let output = task.wait_timeout(Duration::from_secs(20)).unwrap();
        assert!(output.is_some(), "the child of round {round} hangs");
    }
    Passed
}

fn fault_01_the_rule_can_be_changed() -> Outcome {
    let (stop, wait) = channel::<()>();
    let other = thread::spawn(move || wait.recv());
    for rule in [ForkRule::Warn, ForkRule::Allow] {
        let task = offspring::spawn_with(raw::with_rule(options(), rule), || 7).unwrap();
        assert_eq!(task.join().unwrap(), 7);
    }
    assert!(matches!(refusal(offspring::spawn(|| ())), Refusal::OtherThreads { .. }));
    raw::allow_forks();
    assert_eq!(offspring::spawn(|| 8).unwrap().join().unwrap(), 8);
    drop(stop);
    let _ = other.join().unwrap();
    Passed
}

fn starting_while_panicking_is_refused() -> Outcome {
    struct StartsWhenDropped(std::sync::mpsc::Sender<Refusal>);
    impl Drop for StartsWhenDropped {
        fn drop(&mut self) {
            self.0.send(refusal(offspring::spawn(|| ()))).unwrap();
        }
    }
    let (tell, told) = channel();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _starts = StartsWhenDropped(tell);
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(told.recv().unwrap(), Refusal::Panicking);
    Passed
}

fn a_panic_in_a_library_threads_call_is_no_hindrance_to_forks() -> Outcome {
    let (keep, kept) = channel::<()>();
    start_library_thread("other", move |thread| {
        let _ = thread.sleep(|| kept.recv());
    })
    .unwrap();
    let threads = || proc::status_field(std::process::id() as i32, "Threads");
    for _ in 0..3 {
        start_library_thread("panics", |thread| {
            thread.call(|| panic!("on purpose"));
        })
        .unwrap();
        assert!(proc::eventually(|| threads() == "2"), "{}", threads());
        Launch::new(&options()).start(|| ()).unwrap().wait().unwrap();
    }
    drop(keep);
    assert!(proc::eventually(|| threads() == "1"), "{}", threads());
    Passed
}
