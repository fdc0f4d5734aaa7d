//! Each system call of what a program does only once fails: its `init`, its first start of each kind, the thread that
//! collects its children.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common_ipc::process::{Child, Launch, LaunchOptions, Signal, Zygote, init, join_callbacks};
use integration_tests::{proc, raw};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Outcome::{self, Passed};
use crate::injected::{Any, Life, Operation, any, injected};

scenarios![
    injected_each_call_of_a_programs_first_starts,
    injected_a_program_killed_at_each_call_of_its_first_starts,
];

const PATIENCE: Duration = Duration::from_secs(20);
/// What such a program tells by its exit code.
const FAILED: i32 = 3;

/// All first starts of a program, and what becomes of them.
fn first_starts() -> Result<(), Any> {
    any(init())?;
    let options = LaunchOptions::new();
    let launch = || Launch::new(&options);
    let children = [
        any(launch().start(|| 7))?,
        any(launch().start_in(&Zygote::global(), |()| 7, &()))?,
        any(any(launch().template(|| 7))?.start())?,
    ];
    any(children[0].on_exit(|_| ()))?;
    children.iter().try_for_each(is_as_it_should_be)
}

fn is_as_it_should_be(child: &Child) -> Result<(), Any> {
    let output = any(child.output_timeout::<i32>(PATIENCE))?;
    assert_eq!(output, Some(7));
    Ok(())
}

/// In a process of its own, which has started nothing before: 0, or that it was told of a failure.
fn program() -> i32 {
    let code = catch_unwind(AssertUnwindSafe(|| {
        let code = first_starts().map_or(FAILED, |()| 0);
        assert!(join_callbacks(Some(PATIENCE)), "a callback doesn't end");
        code
    }));
    code.unwrap_or(101)
}

/// A program that was told of a failure, or was killed.
#[derive(Debug, thiserror::Error)]
#[error("the program ended so: {0:?}")]
struct Ended(WaitStatus);

fn programs(may_be_killed: bool, sweep: impl FnOnce(&mut Life<'_, (), Ended>)) -> Outcome {
    // What a program leaves behind comes to this process.
    set_child_subreaper(true).unwrap();
    sweep(&mut Operation {
        prepare: &mut || (),
        run: &mut |()| match waitpid(Pid::from_raw(raw::fork(program)), None).unwrap() {
            WaitStatus::Exited(_, 0) => Ok(()),
            ended => Err(Ended(ended)),
        },
        finish: &mut |(), outcome| {
            match outcome {
                Ok(()) | Err(Ended(WaitStatus::Exited(_, FAILED))) => {}
                Err(Ended(WaitStatus::Signaled(..))) if may_be_killed => {}
                Err(error) => panic!("{error}"),
            }
            // Its keeper and its zygote end with it, and all that they have made.
            assert!(proc::eventually(nobody_is_left), "{:?}", proc::children(std::process::id() as i32));
        },
    });
    Passed
}

fn nobody_is_left() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) => {}
            Err(errno) => return errno == Errno::ECHILD,
        }
    }
}

fn injected_each_call_of_a_programs_first_starts() -> Outcome {
    let injector = injected!();
    programs(false, |life| life.fails_well_as_program(&injector))
}

fn injected_a_program_killed_at_each_call_of_its_first_starts() -> Outcome {
    let injector = injected!();
    programs(true, |life| life.is_killed_well(&injector, &[Signal::KILL]))
}
