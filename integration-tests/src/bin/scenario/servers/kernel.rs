//! Rows 1, 5, 19, 36: what the kernel, libc and the rest of a program make of a zygote's children.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common_ipc::process::{self, ExitStatus, JoinError, Launch, LaunchOptions, Signal, active_children};
use common_ipc::sync::Event;
use integration_tests::raw::{self, pthread::PthreadMutex};
use integration_tests::{proc, stress_factor};
use nix::sys::signal::Signal as NixSignal;

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;
use crate::servers::{Both, kill, start_in, zygote};

scenarios!(
    fault_01_starts_beside_busy_threads_hang_nobody,
    fault_05_starts_beside_signals_and_threads_lose_none,
    fault_19_a_thief_gets_no_child_of_a_zygote,
    fault_19_a_thief_of_all_children_costs_no_status,
    fault_19_children_of_a_zygote_are_not_thrown_away,
    fault_36_a_robust_mutex_of_a_dead_zygotes_child_is_told_of,
    libc_knows_a_zygotes_child_by_its_own_number,
    threads_of_a_zygotes_child_are_its_own,
);

/// The program while it is busy: threads that print, allocate, and read the environment, all under locks.
fn beside_busy_threads(work: impl FnOnce() + Send) {
    let over = AtomicBool::new(false);
    let rounds = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (over, rounds) = (&over, &rounds);
            scope.spawn(move || {
                let mut kept = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    println!("thread {thread} {:?}", std::env::var_os("PATH"));
                    kept.push(vec![thread; 100 + kept.len() % 5000]);
                    kept.truncate(kept.len() % 500);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _over = Finally(&over);
        assert!(proc::eventually(|| rounds.load(Ordering::Relaxed) > 8));
        work();
    });
}

/// Sets it also if the work panics, so that the threads end.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A body that needs all that the parent's threads may have locked.
fn busy_body(_: ()) -> usize {
    println!("{:?}", std::env::var_os("HOME"));
    let words: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    words.concat().len()
}

fn start_many(both: &Both<usize>, count: u32) {
    for _ in 0..count {
        assert_eq!(both.outputs(), [190, 190]);
    }
}

/// Standard output leads nowhere until this is dropped.
struct Quiet(OwnedFd);

impl Quiet {
    fn new() -> Quiet {
        let before = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
        raw::place(std::fs::File::options().write(true).open("/dev/null").unwrap().as_fd(), 1);
        Quiet(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        raw::place(self.0.as_fd(), 1);
    }
}

fn fault_01_starts_beside_busy_threads_hang_nobody() -> Outcome {
    let _quiet = Quiet::new();
    let both = Both::new(busy_body);
    beside_busy_threads(|| start_many(&both, 500 * stress_factor()));
    assert!(active_children().is_empty());
    Passed
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

fn fault_05_starts_beside_signals_and_threads_lose_none() -> Outcome {
    let _quiet = Quiet::new();
    let both = Both::new(busy_body);
    raw::handle_signal(NixSignal::SIGUSR1, count);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for sent in 1..=200 {
                // One that is pending would swallow the next.
                nix::sys::signal::kill(nix::unistd::getpid(), NixSignal::SIGUSR1).unwrap();
                assert!(
                    proc::eventually(|| SIGNALS.load(Ordering::Relaxed) == sent),
                    "signal {sent} is lost"
                );
            }
            over.store(true, Ordering::Relaxed);
        });
        beside_busy_threads(|| {
            start_many(&both, 100);
            while !over.load(Ordering::Relaxed) && !sender.is_finished() {
                start_many(&both, 5);
            }
        });
    });
    assert_eq!(SIGNALS.load(Ordering::Relaxed), 200);
    assert!(active_children().is_empty());
    Passed
}

fn end(how: i32) {
    match how {
        -2 => panic!("on purpose"),
        -1 => nix::sys::signal::raise(NixSignal::SIGKILL).unwrap(),
        0 => {}
        code => std::process::exit(code),
    }
}

fn assert_truth(how: i32, status: &ExitStatus) {
    match how {
        -2 => assert!(matches!(status, ExitStatus::Panicked(_)), "{status:?}"),
        -1 => assert_eq!(*status, ExitStatus::Signaled { signal: Signal::KILL, core_dumped: false }),
        code => assert_eq!(*status, ExitStatus::Exited(code)),
    }
}

fn fault_19_a_thief_gets_no_child_of_a_zygote() -> Outcome {
    zygote();
    // To whom all children are one there are none, while keeper and zygote are there.
    assert_eq!(raw::collect_any(libc::WNOHANG), Err(libc::ECHILD));
    let template = Launch::new(&LaunchOptions::new()).template(|| 5).unwrap();
    let (over, stolen) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                stolen.fetch_add(u32::from(raw::collect_any(0).is_ok()), Ordering::Relaxed);
            }
        });
        let _over = Finally(&over);
        for round in 0..100 * stress_factor() {
            let how = [-2, -1, 0, 3, 255][round as usize % 5];
            let options = LaunchOptions::new().stderr(process::Stdio::Null);
            let child = Launch::new(&options).start_in(&zygote(), end, &how).unwrap();
            assert_truth(how, &child.wait().unwrap());
            assert_eq!(template.start().unwrap().output::<i32>().unwrap(), 5);
        }
    });
    assert_eq!(stolen.load(Ordering::Relaxed), 0);
    assert_eq!(raw::collect_any(libc::WNOHANG), Err(libc::ECHILD));
    Passed
}

fn fault_19_a_thief_of_all_children_costs_no_status() -> Outcome {
    zygote();
    start_in(|()| (), &()).wait().unwrap();
    let (over, stolen) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                stolen.fetch_add(u32::from(raw::collect_any(libc::__WALL).is_ok()), Ordering::Relaxed);
            }
        });
        let over = Finally(&over);
        for round in 0..200 * stress_factor() {
            let how = [0, 3][round as usize % 2];
            let child = Launch::new(&LaunchOptions::new()).start_in(&zygote(), end, &how).unwrap();
            let status = child.wait().unwrap();
            // On a kernel that keeps no status of those who are collected, or for one who was gone too soon.
            if status != ExitStatus::Unknown {
                assert_truth(how, &status);
            }
            assert!(how == 0 || !status.success());
            let output = start_in(|number: i32| number, &7).output::<i32>();
            assert!(matches!(output, Ok(7)), "{output:?}");
        }
        drop(over);
        // Whom the thief waits for last.
        start_in(|()| (), &()).wait().unwrap();
        let last = zygote().id().unwrap() as i32;
        kill(last, NixSignal::SIGKILL);
        assert!(proc::eventually(|| !proc::runs(last)));
    });
    assert!(stolen.load(Ordering::Relaxed) > 0, "nothing was stolen: the test proves nothing");
    assert_eq!(start_in(|()| 1, &()).output::<i32>().unwrap(), 1, "by a new zygote");
    Passed
}

fn fault_19_children_of_a_zygote_are_not_thrown_away() -> Outcome {
    raw::ignore_signal(NixSignal::SIGCHLD, true);
    zygote();
    let options = LaunchOptions::new().stderr(process::Stdio::Null);
    for how in [-2, -1, 0, 3, 255] {
        let child = Launch::new(&options).start_in(&zygote(), end, &how).unwrap();
        // It has ended before anybody waits.
        assert!(proc::eventually(|| !proc::runs(child.id() as i32)));
        assert_truth(how, &child.wait().unwrap());
    }
    let error = Launch::new(&options).start_in(&zygote(), end, &-2).unwrap().output::<()>().unwrap_err();
    assert!(matches!(error, JoinError::Panicked(_)), "{error:?}");
    raw::ignore_signal(NixSignal::SIGCHLD, false);
    Passed
}

/// Made before the keeper, which has it mapped, and so have zygotes and their children.
static MUTEX: OnceLock<PthreadMutex> = OnceLock::new();

fn fault_36_a_robust_mutex_of_a_dead_zygotes_child_is_told_of() -> Outcome {
    let mutex = MUTEX.get_or_init(PthreadMutex::new);
    let dies = |how: i32| {
        let mutex = MUTEX.get().unwrap();
        let locked = mutex.lock();
        end(how);
        locked
    };
    zygote();
    for how in [-1, 3, 0, -1] {
        start_in(dies, &how).wait().unwrap();
        assert_eq!(mutex.lock(), libc::EOWNERDEAD, "after {how}");
        assert_eq!(mutex.unlock(), 0);
        // One that ends well leaves nothing to tell.
        start_in(|()| assert_eq!((mutex_of_all().lock(), mutex_of_all().unlock()), (0, 0)), &())
            .output::<()>()
            .unwrap();
        assert_eq!((mutex.lock(), mutex.unlock()), (0, 0));
    }
    let template = Launch::new(&LaunchOptions::new()).template(move || dies(-1)).unwrap();
    template.start().unwrap().wait().unwrap();
    assert_eq!((mutex.lock(), mutex.unlock()), (libc::EOWNERDEAD, 0));
    Passed
}

fn mutex_of_all() -> &'static PthreadMutex {
    MUTEX.get().unwrap()
}

fn libc_knows_a_zygotes_child_by_its_own_number() -> Outcome {
    MUTEX.get_or_init(PthreadMutex::new);
    let zygote = zygote();
    start_in(|()| (), &()).wait().unwrap();
    let before = zygote.id();
    let held = Event::new().unwrap();
    // It owns what it has locked, and neither its parent nor its sibling does.
    let holder = start_in(
        |held: Event| {
            let mutex = mutex_of_all();
            assert_eq!((mutex.lock(), mutex.lock()), (0, libc::EDEADLK));
            held.set();
            sleep_for_long();
        },
        &held,
    );
    assert!(held.wait_timeout(Duration::from_secs(20)).unwrap());
    assert_eq!(mutex_of_all().unlock(), libc::EPERM);
    let sibling = start_in(|()| mutex_of_all().unlock(), &());
    assert_eq!(sibling.output::<i32>().unwrap(), libc::EPERM);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!((mutex_of_all().lock(), mutex_of_all().unlock()), (libc::EOWNERDEAD, 0));
    // raise and abort signal the thread that libc takes itself for.
    let raises: [fn(()); 2] =
        [|()| nix::sys::signal::raise(NixSignal::SIGUSR1).unwrap(), |()| std::process::abort()];
    let options = LaunchOptions::new().core_limit(0);
    for (run, signal) in raises.into_iter().zip([Signal::USR1, Signal::ABRT]) {
        let child = Launch::new(&options).start_in(&zygote, run, &()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal));
    }
    let numbers = start_in(|()| (nix::unistd::gettid().as_raw(), std::process::id() as i32), &());
    let (thread, process): (i32, i32) = numbers.output().unwrap();
    assert_eq!(thread, process);
    assert_eq!(zygote.id(), before, "the zygote was hit");
    Passed
}

fn threads_of_a_zygotes_child_are_its_own() -> Outcome {
    let both = Both::new(|()| {
        let sum = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for number in 0..20 {
                let sum = &sum;
                scope.spawn(move || {
                    let threads = proc::status_field(std::process::id() as i32, "Threads");
                    assert!(threads.parse::<u32>().unwrap() > 1);
                    sum.fetch_add(number, Ordering::Relaxed)
                });
            }
        });
        let joined = std::thread::spawn(|| std::thread::current().id()).join().unwrap();
        assert_ne!(joined, std::thread::current().id());
        sum.into_inner()
    });
    for _ in 0..20 {
        assert_eq!(both.outputs(), [190, 190]);
    }
    Passed
}
