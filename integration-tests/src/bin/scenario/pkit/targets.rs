//! What pkit's processes make of targets that don't just run and return.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common_ipc::link::Queue;
use common_ipc::process::{ProcessGroup, Stdio};
use integration_tests::{proc, raw};
use pkit::{ExitStatus, JoinError, LaunchOptions, Process, ProcessBuilder, Signal, StartError, ready};
use serde::{Deserialize, Serialize};

use crate::Outcome::{self, Passed};
use crate::pkit::ways::{all_ways, dressed, telling};
use crate::processes::children::sleep_for_long;
use crate::servers::{kill, zygote};

scenarios!(
    a_target_may_fork_by_libc,
    only_the_run_itself_is_ready,
    a_target_may_become_another_program,
    a_target_that_became_another_program_is_never_ready,
    a_target_may_make_a_daemon,
    a_target_may_end_on_another_thread,
    an_argument_that_panics_costs_one_start,
    outputs_that_cannot_be_had_are_errors_of_the_join,
);

fn a_target_may_fork_by_libc() -> Outcome {
    let body = |told: Queue<i32>| {
        for end in [|| 0, || std::process::exit(9), || panic!("in a copy"), || -> i32 { raw::c_exit(8) }] {
            let copy = raw::fork(|| {
                let panicked = std::panic::catch_unwind(end);
                panicked.unwrap_or(5)
            });
            told.send(&copy).unwrap();
            nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(copy), None).unwrap();
        }
        std::process::id()
    };
    let told = Queue::new().unwrap();
    let dress =
        |builder: ProcessBuilder<u32>, options: LaunchOptions| builder.options(options.stderr(Stdio::Null));
    for process in telling(body, &told, dress) {
        let pid = process.start_wait().unwrap();
        assert_eq!(process.join().unwrap(), pid, "the copies didn't speak for it");
        assert_eq!(process.exit_status().unwrap(), Some(ExitStatus::Exited(0)));
        for _ in 0..4 {
            assert!(!proc::runs(told.recv().unwrap()));
        }
    }
    Passed
}

fn only_the_run_itself_is_ready() -> Outcome {
    let body = |told: Queue<i32>| {
        let copy = raw::fork(|| {
            ready();
            0
        });
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(copy), None).unwrap();
        told.send(&copy).unwrap();
        sleep_for_long();
    };
    let told = Queue::new().unwrap();
    for process in telling(body, &told, |builder, options| builder.options(options).ready_by_target()) {
        process.start().unwrap();
        told.recv().unwrap();
        let run = process.open().unwrap();
        assert!(!run.is_ready().unwrap() && !run.wait_ready(Duration::from_millis(20)).unwrap());
        process.kill().unwrap();
        run.wait().unwrap();
    }
    Passed
}

fn a_target_may_become_another_program() -> Outcome {
    for process in all_ways::<()>(|()| panic!("{}", Command::new("/bin/true").exec())) {
        process.start_wait().unwrap();
        assert!(matches!(process.join(), Err(JoinError::Died(ExitStatus::Exited(0)))));
    }
    for process in all_ways::<()>(|()| panic!("{}", Command::new("/bin/sleep").arg("600").exec())) {
        let pid = process.start_wait().unwrap() as i32;
        assert!(proc::eventually(|| proc::name(pid) == "sleep"));
        assert_eq!(process.join_timeout(Duration::from_millis(20)).unwrap(), None);
        assert_eq!(process.terminate_wait().unwrap().status.signal(), Some(Signal::TERM));
    }
    Passed
}

fn a_target_that_became_another_program_is_never_ready() -> Outcome {
    let dress = |builder: ProcessBuilder<()>, options| builder.options(options).ready_by_target();
    for process in dressed(|()| panic!("{}", Command::new("/bin/sleep").arg("600").exec()), dress) {
        let before = raw::processor_time();
        let error = process.start_wait_timeout(Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, StartError::NotReady { .. }), "{error:?}");
        assert!(raw::processor_time() - before < Duration::from_millis(200), "it spins");
        assert!(process.pid().is_none());
    }
    for process in dressed(|()| panic!("{}", Command::new("/bin/true").exec()), dress) {
        let error = process.start_wait().unwrap_err();
        assert!(matches!(error, StartError::EndedEarly { status: ExitStatus::Exited(0) }), "{error:?}");
    }
    Passed
}

fn a_target_may_make_a_daemon() -> Outcome {
    let body = |told: Queue<i32>| {
        // What is the run's own isn't its copies' to use: a pipe of libc's is.
        let (reader, writer) = nix::unistd::pipe().unwrap();
        raw::fork(|| {
            nix::unistd::setsid().unwrap();
            let daemon = raw::fork(|| {
                std::thread::sleep(Duration::from_secs(30));
                0
            });
            nix::unistd::write(&writer, &daemon.to_ne_bytes()).unwrap();
            0
        });
        let mut pid = [0; 4];
        nix::unistd::read(&reader, &mut pid).unwrap();
        told.send(&i32::from_ne_bytes(pid)).unwrap();
        7
    };
    let told = Queue::new().unwrap();
    let dress = |builder: ProcessBuilder<i32>, options: LaunchOptions| {
        builder.options(options.process_group(ProcessGroup::New))
    };
    for process in telling(body, &told, dress) {
        for _ in 0..3 {
            process.start_wait().unwrap();
            let daemon = told.recv().unwrap();
            assert_eq!(process.join().unwrap(), 7);
            process.terminate_wait().unwrap();
            assert!(proc::runs(daemon), "it has left the run and its group for good");
            kill(daemon, nix::sys::signal::Signal::SIGKILL);
            assert!(proc::eventually(|| !proc::runs(daemon)));
        }
    }
    Passed
}

fn a_target_may_end_on_another_thread() -> Outcome {
    for process in all_ways(|()| {
        std::thread::spawn(|| std::process::exit(6));
        sleep_for_long();
    }) {
        process.start_wait().unwrap();
        assert!(matches!(process.join(), Err(JoinError::Died(ExitStatus::Exited(6)))));
    }
    // A panic elsewhere than in the target's own thread is that thread's business.
    let dress =
        |builder: ProcessBuilder<bool>, options: LaunchOptions| builder.options(options.stderr(Stdio::Null));
    for process in dressed(|()| std::thread::spawn(|| panic!("on purpose")).join().is_err(), dress) {
        process.start().unwrap();
        assert!(process.join().unwrap());
    }
    Passed
}

/// Its first serialisation panics.
#[derive(Deserialize)]
struct Fragile(u8);

impl Serialize for Fragile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        static BROKEN: AtomicBool = AtomicBool::new(false);
        assert!(BROKEN.swap(true, Ordering::Relaxed), "on purpose");
        serializer.serialize_newtype_struct("Fragile", &self.0)
    }
}

fn an_argument_that_panics_costs_one_start() -> Outcome {
    let zygote = zygote();
    let process = Process::builder().build_function_in(&zygote, |Fragile(number)| number, Fragile(5));
    let first = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| process.start()));
    match first {
        Ok(Err(StartError::Encode(_))) | Err(_) => {}
        Ok(other) => panic!("{other:?}"),
    }
    assert_eq!((process.generation(), process.is_alive().unwrap()), (0, false));
    process.start().unwrap();
    assert_eq!(process.join().unwrap(), 5);
    Passed
}

#[derive(Debug, Deserialize)]
struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("on purpose"))
    }
}

fn outputs_that_cannot_be_had_are_errors_of_the_join() -> Outcome {
    for process in all_ways(|()| Unserialisable) {
        process.start().unwrap();
        let error = process.join().unwrap_err();
        assert!(matches!(&error, JoinError::Encode { message, .. } if message == "on purpose"), "{error:?}");
    }
    let dress =
        |builder: ProcessBuilder<Vec<u8>>, options: LaunchOptions| builder.options(options.max_output(1000));
    for process in dressed(|()| vec![7u8; 5000], dress) {
        for _ in 0..2 {
            process.start().unwrap();
            assert!(matches!(process.join(), Err(JoinError::TooLarge { max: 1000, .. })));
            assert!(matches!(process.try_join(), Err(JoinError::TooLarge { .. })));
        }
    }
    Passed
}
