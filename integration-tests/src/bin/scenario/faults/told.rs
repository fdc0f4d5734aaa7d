//! Rows 8, 14, 19, 20, 26, 31, 35, 44 and 59 for processes of every kind: what is told of how they ended.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common_ipc::process::{LaunchOptions, Sigint, Stdio, after_fork};
use integration_tests::{proc, raw};
use nix::sys::signal::{Signal as NixSignal, raise};

use crate::Outcome::{self, Passed};
use crate::faults::kinds::{Act, Done, Kinds};
use crate::logs::collector::{install, seen};
use crate::servers::kill;

scenarios!(
    fault_08_a_panic_is_told_of_every_kind_of_process,
    fault_14_a_crash_is_told_of_every_kind_of_process,
    fault_19_no_kind_of_process_is_a_success_because_its_status_is_lost,
    fault_20_an_exit_is_told_of_every_kind_of_process,
    fault_26_a_death_before_it_is_ready_is_an_error_of_every_kind_of_start,
    fault_31_which_kinds_of_processes_leave_ctrl_c_to_their_program,
    fault_35_a_grandchild_holds_up_no_kind_of_process,
    fault_44_interrupted_calls_of_every_kind_go_on,
    fault_59_the_last_record_of_every_kind_of_process_arrives,
);

/// What dies says nothing of its own.
fn quiet() -> LaunchOptions {
    LaunchOptions::new().stderr(Stdio::Null).core_limit(0)
}

fn assert_tells(done: &Done, words: &[&str]) {
    assert!(done.told.as_ref().is_err_and(|text| words.iter().all(|word| text.contains(word))), "{done:?}");
}

fn fault_08_a_panic_is_told_of_every_kind_of_process() -> Outcome {
    let mut kinds = Kinds::new(&quiet());
    for _ in 0..2 {
        for done in kinds.play(Act::Panic) {
            assert_tells(&done, &["told on purpose", "kinds.rs:"]);
        }
    }
    for done in kinds.play(Act::Nothing) {
        assert_eq!(done.told.as_deref(), Ok(""), "{done:?}");
    }
    Passed
}

fn fault_14_a_crash_is_told_of_every_kind_of_process() -> Outcome {
    let mut kinds = Kinds::new(&quiet());
    for (act, signal) in [(Act::Kill, "SIGKILL"), (Act::Abort, "SIGABRT"), (Act::Segfault, "SIGSEGV")] {
        for done in kinds.play(act) {
            assert_tells(&done, &[signal]);
            assert!(!done.told.as_ref().unwrap_err().contains("core dumped"), "{done:?}");
        }
    }
    for done in kinds.play(Act::Nothing) {
        assert_eq!(done.told.as_deref(), Ok(""), "{done:?}");
    }
    Passed
}

fn fault_19_no_kind_of_process_is_a_success_because_its_status_is_lost() -> Outcome {
    // The kernel throws away the status of every child that would be told of by SIGCHLD.
    raw::ignore_signal(NixSignal::SIGCHLD, true);
    let stranger = raw::fork(|| 3);
    let lost = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(stranger), None);
    assert_eq!(lost, Err(nix::errno::Errno::ECHILD), "nothing is thrown away: the test proves nothing");
    let mut kinds = Kinds::new(&quiet());
    for (act, truth) in [(Act::Kill, "SIGKILL"), (Act::Exit, "code 7"), (Act::Panic, "told on purpose")] {
        for done in kinds.play(act) {
            let text = done.told.as_ref().unwrap_err();
            assert!(text.contains(truth) || text.contains("collected by somebody else"), "{act:?} {done:?}");
        }
    }
    // What was said counts all the same.
    for done in kinds.play(Act::Nothing) {
        assert_eq!(done.told.as_deref(), Ok(""), "{done:?}");
    }
    raw::ignore_signal(NixSignal::SIGCHLD, false);
    Passed
}

fn fault_20_an_exit_is_told_of_every_kind_of_process() -> Outcome {
    for done in Kinds::new(&quiet()).play(Act::Exit) {
        assert_tells(&done, &["code 7"]);
    }
    Passed
}

fn fault_26_a_death_before_it_is_ready_is_an_error_of_every_kind_of_start() -> Outcome {
    // Of servers it isn't: they are none of the program's.
    after_fork(|| raise(NixSignal::SIGKILL).unwrap());
    let mut kinds = Kinds::new(&quiet());
    for _ in 0..2 {
        for done in kinds.play(Act::Nothing) {
            assert_tells(&done, &["SIGKILL"]);
        }
    }
    Passed
}

fn fault_31_which_kinds_of_processes_leave_ctrl_c_to_their_program() -> Outcome {
    for done in Kinds::new(&quiet()).play(Act::Interrupt) {
        // These are for their program to end, and say so in their documentation.
        match done.name {
            "WorkerPool" | "supervised child" | "manager" => {
                assert_eq!(done.told.as_deref(), Ok(""), "{done:?}")
            }
            // In an orderly way: after what it is at.
            "back end" => {}
            _ => assert_tells(&done, &["SIGINT"]),
        }
    }
    for done in Kinds::new(&quiet().sigint(Sigint::Ignore)).play(Act::Interrupt) {
        assert_eq!(done.told.as_deref(), Ok(""), "{done:?}");
    }
    Passed
}

fn fault_35_a_grandchild_holds_up_no_kind_of_process() -> Outcome {
    for done in Kinds::new(&quiet()).play(Act::Grandchild) {
        let grandchild = done.told.as_ref().unwrap().parse().unwrap();
        // It has the process's descriptors, and was held up by nobody.
        assert!(proc::runs(grandchild), "{done:?}");
        kill(grandchild, NixSignal::SIGKILL);
        assert!(proc::eventually(|| !proc::runs(grandchild)));
    }
    Passed
}

static INTERRUPTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    INTERRUPTED.fetch_add(1, Ordering::Relaxed);
}

fn fault_44_interrupted_calls_of_every_kind_go_on() -> Outcome {
    let mut kinds = Kinds::new(&quiet());
    kinds.play(Act::Nothing);
    raw::handle_signal(NixSignal::SIGALRM, count);
    raw::interval_timer(Duration::from_millis(1));
    for _ in 0..5 * integration_tests::stress_factor() {
        for done in kinds.play(Act::Id) {
            assert!(done.told.as_ref().is_ok_and(|text| text.parse::<u32>().is_ok()), "{done:?}");
        }
        for done in kinds.play(Act::Kill) {
            assert_tells(&done, &["SIGKILL"]);
        }
    }
    raw::interval_timer(Duration::ZERO);
    assert!(INTERRUPTED.load(Ordering::Relaxed) > 100, "{INTERRUPTED:?} interruptions prove nothing");
    Passed
}

fn fault_59_the_last_record_of_every_kind_of_process_arrives() -> Outcome {
    let mut kinds = Kinds::new(&quiet());
    kinds.play(Act::Nothing);
    install();
    let done = kinds.play(Act::Log);
    for done in &done {
        assert_tells(done, &["SIGKILL"]);
    }
    let last: Vec<_> = seen().into_iter().filter(|seen| seen.message.starts_with("the last of ")).collect();
    assert_eq!(last.len(), done.len(), "{last:#?}");
    for seen in last {
        assert_eq!(seen.message, format!("the last of {}", seen.pid.unwrap()), "{seen:?}");
    }
    Passed
}
