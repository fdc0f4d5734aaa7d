//! Starts and ends beside threads that hold what both need.

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use common_ipc::link::pipe;
use common_ipc::process::{Child, ExitStatus, JoinError, Launch, LaunchOptions, Resource};
use integration_tests::{raw, stress_factor};

use crate::Outcome::{self, Passed, Skipped};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    fault_01_a_thread_that_starts_the_reaper_is_counted,
    starts_beside_a_thread_that_panics_go_on,
    starts_beside_a_thread_that_waits_while_it_writes_go_on,
    starts_beside_a_thread_that_reads_go_on,
    an_exit_beside_a_thread_that_reads_goes_on,
    what_was_printed_is_written_where_no_thread_is_to_be_had,
);

fn starts_beside_a_thread_that_panics_go_on() -> Outcome {
    raw::allow_forks();
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(std::panic::catch_unwind(|| panic!("again")).is_err());
            }
        });
        for round in 0..1000 * stress_factor() {
            // A body that neither prints nor panics: what those need may be locked in its copy.
            assert_eq!(start(|| round).output::<u32>().unwrap(), round);
        }
        done.store(true, Ordering::Relaxed);
    });
    Passed
}

fn starts_beside_a_thread_that_waits_while_it_writes_go_on() -> Outcome {
    raw::allow_forks();
    let done = AtomicBool::new(false);
    let (sender, children) = channel::<Child>();
    std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            for child in children {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{:?}", child.wait().unwrap()).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        for _ in 0..100 * stress_factor() {
            sender.send(start(|| std::thread::sleep(Duration::from_millis(1)))).unwrap();
        }
        drop(sender);
    });
    assert!(done.load(Ordering::Relaxed));
    Passed
}

fn starts_beside_a_thread_that_reads_go_on() -> Outcome {
    raw::allow_forks();
    let (reader, writer) = pipe().unwrap();
    let before = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    raw::place(reader.as_fd(), 0);
    let reading = std::thread::spawn(raw::c_read_line);
    // It has C's standard input locked by then, or else this proves less.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(start(|| 5).output::<i32>().unwrap(), 5);
    drop(writer);
    reading.join().unwrap();
    raw::place(before.as_fd(), 0);
    Passed
}

fn an_exit_beside_a_thread_that_reads_goes_on() -> Outcome {
    let (reader, _writer) = pipe().unwrap();
    let options = LaunchOptions::new().stdin(&reader);
    let child = Launch::new(&options).start::<(), _>(|| {
        std::thread::spawn(raw::c_read_line);
        std::thread::sleep(Duration::from_millis(50));
        std::process::exit(3);
    });
    let error = child.unwrap().output_timeout::<()>(Duration::from_secs(15)).unwrap_err();
    assert!(matches!(error, JoinError::Died(ExitStatus::Exited(3))), "{error:?}");
    Passed
}

fn what_was_printed_is_written_where_no_thread_is_to_be_had() -> Outcome {
    if !nix::unistd::geteuid().is_root() {
        return Skipped("becoming a user who has no other processes needs root");
    }
    let (mut reader, writer) = pipe().unwrap();
    let options = LaunchOptions::new().uid(54321).limit(Resource::Processes, 2, 2).stdout(&writer);
    let child = Launch::new(&options).start(|| {
        std::thread::spawn(|| std::thread::sleep(Duration::from_secs(600)));
        assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "a thread was to be had");
        print!("half a line");
    });
    drop((writer, options));
    child.unwrap().output::<()>().unwrap();
    assert_eq!(std::io::read_to_string(&mut reader).unwrap(), "half a line");
    Passed
}

fn spin_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::hint::spin_loop();
    }
}

fn fault_01_a_thread_that_starts_the_reaper_is_counted() -> Outcome {
    // Each time in a process whose reaper hasn't been started.
    for round in 0..200 * stress_factor() {
        let stranger = raw::fork(|| {
            let child = start(sleep_for_long);
            let (go, done) = (AtomicBool::new(false), AtomicBool::new(false));
            let forked = std::thread::scope(|scope| {
                scope.spawn(|| {
                    spin_until(|| go.load(Ordering::Relaxed));
                    // So that the start looks around somewhere in the midst of what follows.
                    let begin = std::time::Instant::now();
                    spin_until(|| begin.elapsed() >= Duration::from_micros(u64::from(round % 20) * 5));
                    child.on_exit(|_| ()).unwrap();
                    spin_until(|| done.load(Ordering::Relaxed));
                });
                std::thread::sleep(Duration::from_millis(1));
                go.store(true, Ordering::Relaxed);
                let forked = Launch::new(&LaunchOptions::new()).start(|| ()).is_ok();
                done.store(true, Ordering::Relaxed);
                forked
            });
            child.kill().unwrap();
            child.wait().unwrap();
            i32::from(forked)
        });
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(stranger), None).unwrap();
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?} in round {round}");
    }
    Passed
}
