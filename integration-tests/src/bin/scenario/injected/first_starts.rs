//! Each system call of what a program does only once fails: its `init`, its first start of each kind, the thread that
//! collects its children.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common_ipc::memory::SharedAtomics;
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
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// What such a program says when it is done, and what it is told then.
const NOTHING_FAILED: u64 = 1;
const SOMETHING_FAILED: u64 = 2;
const END: u64 = 3;

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

/// In a process of its own, which has started nothing before. What fails once works the second time.
fn program(word: &AtomicU64) -> i32 {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let first = first_starts();
        if let Err(error) = &first {
            first_starts().unwrap_or_else(|again| panic!("again, after {error}: {again}"));
        }
        assert!(join_callbacks(Some(PATIENCE)), "a callback doesn't end");
        word.store(if first.is_ok() { NOTHING_FAILED } else { SOMETHING_FAILED }, Ordering::SeqCst);
        // Its background goes on, and it is looked at.
        let told = (0..120_000).any(|_| {
            std::thread::sleep(LOOK_AGAIN);
            word.load(Ordering::SeqCst) == END
        });
        assert!(told, "nobody looks");
    }));
    lived.map_or(101, |()| 0)
}

/// A program that was told of a failure, or was killed.
#[derive(Debug, thiserror::Error)]
#[error("a program that was told of a failure, or ended so: {0:?}")]
struct Failed(Option<WaitStatus>);

struct Programs {
    word: SharedAtomics,
    /// The one that is done.
    done: Cell<Option<Pid>>,
}

impl Programs {
    fn run(&self) -> Result<(), Failed> {
        let word = &self.word[0];
        word.store(0, Ordering::SeqCst);
        let pid = Pid::from_raw(raw::fork(|| program(word)));
        while word.load(Ordering::SeqCst) == 0 {
            let ended = waitpid(pid, Some(WaitPidFlag::WNOHANG)).unwrap();
            if ended != WaitStatus::StillAlive {
                return Err(Failed(Some(ended)));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        self.done.set(Some(pid));
        if word.load(Ordering::SeqCst) == NOTHING_FAILED { Ok(()) } else { Err(Failed(None)) }
    }

    /// Ends a program that is done, and has no more descriptors than so many, once its background has closed what it
    /// closes.
    fn end(&self, pid: Pid, most: usize) {
        let mut open = Vec::new();
        let is_clean = proc::eventually(|| {
            open = proc::descriptors(pid.as_raw());
            open.len() <= most
        });
        self.word[0].store(END, Ordering::SeqCst);
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 0));
        assert!(is_clean, "{open:?}");
    }
}

fn programs(may_be_killed: bool, sweep: impl FnOnce(&mut Life<'_, (), Failed>)) -> Outcome {
    // What a program leaves behind comes to this process.
    set_child_subreaper(true).unwrap();
    let programs = Programs { word: SharedAtomics::new(1).unwrap(), done: Cell::new(None) };
    programs.run().unwrap();
    // What it needs, with or without a failure.
    let first = programs.done.take().unwrap();
    let looks = (0..50).map(|_| {
        std::thread::sleep(10 * LOOK_AGAIN);
        proc::descriptors(first.as_raw()).len()
    });
    let most = looks.min().unwrap();
    programs.end(first, most);
    sweep(&mut Operation {
        prepare: &mut || (),
        run: &mut |()| programs.run(),
        finish: &mut |(), outcome| {
            match (programs.done.take(), outcome) {
                (Some(program), _) => programs.end(program, most),
                (None, Err(Failed(Some(WaitStatus::Signaled(..))))) if may_be_killed => {}
                (None, outcome) => panic!("{outcome:?}"),
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
