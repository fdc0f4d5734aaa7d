//! Rows 27, 28, 31, 32: the deaths of parents, of threads, and the signals of a terminal.

use std::process::{Command, Stdio};
use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::process::{ExitStatus, Launch, LaunchOptions, ParentDeath, ProcessGroup, Sigint, Signal};
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::Signal as NixSignal;
use nix::unistd::Pid;
use offspring::{LoopStep, Subprocess, SubprocessLoop};

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;

scenarios!(
    fault_27_no_child_survives_its_parent,
    fault_27_a_loop_has_its_end_and_no_more,
    fault_27_a_child_that_is_meant_to_survive_does,
    a_survivor_is_left_alone_by_the_exit,
    fault_28_a_child_survives_the_thread_that_started_it,
    fault_28_a_parent_that_dies_at_once_leaves_nobody,
    fault_31_ctrl_c_is_the_parents_to_decide,
    fault_32_sigterm_during_the_start_skips_neither_begin_nor_end,
);

/// Runs a program of this binary (see `programs`) that prints process ids and goes on; returns it
/// and the ids.
pub(crate) fn program(arguments: &[&str], lines: usize) -> (std::process::Child, Vec<i32>) {
    use std::io::BufRead;
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut program = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = std::io::BufReader::new(program.stdout.take().unwrap());
    let pids = stdout.lines().take(lines).map(|line| line.unwrap().parse().unwrap()).collect();
    (program, pids)
}

fn fault_27_no_child_survives_its_parent() -> Outcome {
    // Children that spin in their own code: of the main thread, of another thread, a grandchild, one
    // that has closed all its descriptors, and one in a session of its own.
    let (mut program, pids) = program(&["program_with_spinning_children"], 5);
    assert!(pids.iter().all(|pid| proc::runs(*pid)), "{pids:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    for pid in &pids {
        assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} of {pids:?} survives");
    }
    Passed
}

fn fault_27_a_loop_has_its_end_and_no_more() -> Outcome {
    let path = std::env::temp_dir().join(format!("multiprocess-loops-{}", std::process::id()));
    for signal in [NixSignal::SIGINT, NixSignal::SIGKILL] {
        let _ = std::fs::remove_file(&path);
        let (mut program, pids) = program(&["program_with_loops", path.to_str().unwrap()], 2);
        assert!(pids.iter().all(|pid| proc::runs(*pid)), "{pids:?}");
        nix::sys::signal::kill(Pid::from_raw(program.id() as i32), signal).unwrap();
        program.wait().unwrap();
        for pid in &pids {
            assert!(proc::eventually(|| !proc::runs(*pid)), "{pid} of {pids:?} survives");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "ended");
    }
    std::fs::remove_file(&path).unwrap();
    Passed
}

fn fault_27_a_child_that_is_meant_to_survive_does() -> Outcome {
    let (mut program, pids) = program(&["program_with_a_survivor"], 1);
    program.kill().unwrap();
    program.wait().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(proc::runs(pids[0]));
    nix::sys::signal::kill(Pid::from_raw(pids[0]), NixSignal::SIGKILL).unwrap();
    assert!(proc::eventually(|| !proc::runs(pids[0])));
    Passed
}

fn a_survivor_is_left_alone_by_the_exit() -> Outcome {
    let (mut program, pids) = program(&["program_that_exits_with_a_survivor"], 1);
    assert!(program.wait().unwrap().success());
    std::thread::sleep(Duration::from_millis(50));
    assert!(proc::runs(pids[0]));
    nix::sys::signal::kill(Pid::from_raw(pids[0]), NixSignal::SIGKILL).unwrap();
    assert!(proc::eventually(|| !proc::runs(pids[0])));
    Passed
}

fn fault_28_a_child_survives_the_thread_that_started_it() -> Outcome {
    raw::allow_forks();
    let child = std::thread::spawn(|| Launch::new(&LaunchOptions::new()).start(sleep_for_long).unwrap());
    let child = child.join().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.is_alive().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    Passed
}

fn fault_28_a_parent_that_dies_at_once_leaves_nobody() -> Outcome {
    // The parent is a child of this one that is killed some time around its start of a grandchild.
    let (reader, writer) = nix::unistd::pipe().unwrap();
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    for round in 0..100 * stress_factor() {
        let go = common_ipc::sync::Event::new().unwrap();
        let middle = Launch::new(&LaunchOptions::new().on_parent_death(ParentDeath::Signal(Signal::TERM)))
            .start(|| {
                go.set();
                let grandchild = Launch::new(&LaunchOptions::new()).start(|| {
                    nix::unistd::write(&writer, &std::process::id().to_ne_bytes()).unwrap();
                    sleep_for_long();
                });
                drop(grandchild);
                sleep_for_long();
            })
            .unwrap();
        go.wait_or_death(&middle, None).unwrap();
        std::thread::sleep(Duration::from_micros(u64::from(round % 50) * 10));
        middle.kill().unwrap();
        middle.wait().unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    let mut bytes = vec![0; 4 * 100 * stress_factor() as usize];
    let count = nix::unistd::read(&reader, &mut bytes).unwrap_or(0);
    assert!(count > 0, "no grandchild ever ran: the test proves nothing");
    for pid in bytes[..count].chunks_exact(4) {
        let pid = i32::from_ne_bytes([pid[0], pid[1], pid[2], pid[3]]);
        assert!(proc::eventually(|| !proc::runs(pid)), "{pid} survives");
    }
    Passed
}

fn fault_31_ctrl_c_is_the_parents_to_decide() -> Outcome {
    // A group of its own for this program, as a shell would make it.
    nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).unwrap();
    raw::ignore_signal(NixSignal::SIGINT, true);
    let start =
        |options: LaunchOptions| Launch::new(&options).wait_until_ready(true).start(sleep_for_long).unwrap();
    let plain = start(LaunchOptions::new());
    let ignoring = start(LaunchOptions::new().sigint(Sigint::Ignore));
    let apart = start(LaunchOptions::new().process_group(ProcessGroup::New));
    let looping = Looping.spawn().unwrap();
    nix::sys::signal::killpg(nix::unistd::getpgrp(), NixSignal::SIGINT).unwrap();
    assert_eq!(plain.wait().unwrap().signal(), Some(Signal::INT));
    looping.wait().unwrap();
    for child in [ignoring, apart] {
        assert!(child.wait_timeout(Duration::from_millis(20)).unwrap().is_none());
        assert_eq!(child.stop(Duration::from_secs(20)).unwrap().status.signal(), Some(Signal::TERM));
    }
    Passed
}

struct Looping;

impl SubprocessLoop for Looping {
    fn step(&mut self) -> LoopStep {
        LoopStep::After(Duration::from_secs(600))
    }
}

struct Reporting(Connection<String, ()>);

impl SubprocessLoop for Reporting {
    fn begin(&mut self) {
        self.0.send(&"begin".to_owned()).unwrap();
    }

    fn step(&mut self) -> LoopStep {
        LoopStep::After(Duration::from_millis(1))
    }

    fn end(&mut self) {
        self.0.send(&"end".to_owned()).unwrap();
    }
}

fn fault_32_sigterm_during_the_start_skips_neither_begin_nor_end() -> Outcome {
    for round in 0..50 * stress_factor() {
        let (here, there) = Connection::<(), String>::pair().unwrap();
        let options = LaunchOptions::new().give(&there);
        let task = Reporting(there).spawn_with(options).unwrap();
        // 0 to 20 ms after the start, most of them right after it.
        std::thread::sleep(Duration::from_micros(u64::from(round % 50).pow(2) * 8));
        task.process().unwrap().terminate().unwrap();
        task.wait().unwrap();
        assert_eq!(task.process().unwrap().wait().unwrap(), ExitStatus::Exited(0));
        assert_eq!([here.recv().unwrap(), here.recv().unwrap()], ["begin", "end"]);
        here.recv().unwrap_err();
    }
    Passed
}
