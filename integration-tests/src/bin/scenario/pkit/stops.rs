//! Rows 30, 34, 35, 54 and 55, through pkit's processes: what stops a run, what doesn't, and those around it.

use std::time::Duration;

use common_ipc::link::Queue;
use common_ipc::process::{Child, ProcessGroup, SetupStep, active_children};
use integration_tests::{proc, raw};
use nix::sys::signal::{Signal as NixSignal, raise};
use pkit::{LaunchOptions, Process, ProcessBuilder, Signal, StartError, StopStep};

use crate::Outcome::{self, Passed, Skipped};
use crate::pkit::ways::{all_ways, dressed, telling, ways};
use crate::processes::children::sleep_for_long;
use crate::servers::kill;

scenarios!(
    fault_30_a_process_that_is_dropped_goes_on,
    fault_34_every_stop_of_a_run_comes_to_an_end,
    fault_34_a_stop_takes_its_default_grace,
    fault_35_a_runs_child_holds_up_no_join,
    fault_35_a_runs_group_is_stopped_whole,
    fault_54_a_tree_of_processes_falls_with_its_root,
    fault_55_a_run_becomes_another_user,
    fault_55_a_run_of_a_plain_user_cannot,
);

const LONG: Duration = Duration::from_secs(60);

fn fault_30_a_process_that_is_dropped_goes_on() -> Outcome {
    let running = all_ways(|()| sleep_for_long());
    let hung = all_ways::<()>(|()| raise(NixSignal::SIGSTOP).unwrap());
    let dead = all_ways(|()| ());
    let mut alive = Vec::new();
    for process in running.iter().chain(&hung) {
        alive.push(process.start_wait().unwrap());
    }
    let gone: Vec<_> = dead.iter().map(|process| process.start().unwrap() as i32).collect();
    let stopped = |pid: &u32| proc::stat(*pid as i32).is_some_and(|stat| stat.state == 'T');
    assert!(proc::eventually(|| alive[3..].iter().all(stopped)));
    assert!(proc::eventually(|| gone.iter().all(|pid| !proc::runs(*pid))));
    drop((running, hung, dead));
    // The dead are collected in the background; nobody stops the others, nor goes on a stopped one.
    assert!(proc::eventually(|| gone.iter().all(|pid| proc::stat(*pid).is_none())));
    std::thread::sleep(Duration::from_millis(20));
    let mut active = active_children();
    active.retain(|child| alive.contains(&child.id()));
    assert_eq!(active.iter().map(Child::id).collect::<Vec<_>>(), alive);
    assert!(alive[3..].iter().all(stopped));
    for child in active {
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
    }
    Passed
}

fn fault_34_every_stop_of_a_run_comes_to_an_end() -> Outcome {
    let deaf = |told: Queue<u8>| {
        raw::ignore_signal(NixSignal::SIGTERM, true);
        told.send(&0).unwrap();
        sleep_for_long();
    };
    let stopped = |told: Queue<u8>| {
        told.send(&0).unwrap();
        raise(NixSignal::SIGSTOP).unwrap();
        sleep_for_long();
    };
    let busy = |told: Queue<u8>| {
        told.send(&0).unwrap();
        #[expect(clippy::empty_loop, reason = "it is busy")]
        loop {}
    };
    type Case = (fn(Queue<u8>), Duration, StopStep, Signal);
    let table: [Case; 4] = [
        (deaf, Duration::from_millis(50), StopStep::Killed, Signal::KILL),
        (deaf, Duration::ZERO, StopStep::Killed, Signal::KILL),
        (stopped, LONG, StopStep::Terminated, Signal::TERM),
        (busy, LONG, StopStep::Terminated, Signal::TERM),
    ];
    for (place, (body, grace, by, signal)) in table.into_iter().enumerate() {
        let told = Queue::new().unwrap();
        for process in telling(body, &told, |builder, options| builder.options(options)) {
            let pid = process.start().unwrap() as i32;
            told.recv().unwrap();
            if place == 2 {
                assert!(proc::eventually(|| proc::stat(pid).is_some_and(|stat| stat.state == 'T')));
            }
            let ended = process.stop(grace).unwrap();
            assert_eq!((ended.by, ended.status.signal()), (by, Some(signal)));
            assert!(proc::stat(pid).is_none());
        }
    }
    Passed
}

fn fault_34_a_stop_takes_its_default_grace() -> Outcome {
    let told = Queue::new().unwrap();
    let body = |told: Queue<u8>| {
        raw::ignore_signal(NixSignal::SIGTERM, true);
        told.send(&0).unwrap();
        sleep_for_long();
    };
    let processes = telling(body, &told, |builder, options| builder.options(options));
    for process in &processes {
        process.start().unwrap();
        told.recv().unwrap();
    }
    let begin = std::time::Instant::now();
    // Side by side, since each takes five seconds; a restart takes the same steps.
    std::thread::scope(|scope| {
        let [one, two, three] = &processes;
        scope.spawn(|| assert_eq!(one.terminate_wait().unwrap().by, StopStep::Killed));
        scope.spawn(|| assert_eq!(two.terminate_wait().unwrap().by, StopStep::Killed));
        scope.spawn(|| assert!(three.restart(pkit::RestartPolicy::Terminate).is_ok()));
    });
    assert!(begin.elapsed() >= pkit::AtExit::DEFAULT_GRACE);
    assert_eq!(processes[2].generation(), 2);
    processes[2].kill().unwrap();
    Passed
}

/// Starts a grandchild, which has whatever its parent has, tells its id and ends.
fn leave_a_grandchild(told: Queue<i32>) -> i32 {
    let grandchild = raw::fork(|| {
        sleep_for_long();
        0
    });
    told.send(&grandchild).unwrap();
    grandchild
}

fn fault_35_a_runs_child_holds_up_no_join() -> Outcome {
    let told = Queue::new().unwrap();
    let dress = |builder: ProcessBuilder<i32>, options| builder.options(options);
    for process in telling(leave_a_grandchild, &told, dress) {
        process.start().unwrap();
        let grandchild = told.recv().unwrap();
        // It holds the streams, and the run's end of its link.
        assert_eq!(process.join().unwrap(), grandchild);
        assert!(proc::runs(grandchild));
        kill(grandchild, NixSignal::SIGKILL);
        assert!(proc::eventually(|| !proc::runs(grandchild)));
    }
    Passed
}

fn fault_35_a_runs_group_is_stopped_whole() -> Outcome {
    let told = Queue::new().unwrap();
    let body = |told: Queue<i32>| {
        leave_a_grandchild(told);
        sleep_for_long();
    };
    let dress = |builder: ProcessBuilder<()>, options: LaunchOptions| {
        builder.options(options.process_group(ProcessGroup::New))
    };
    for process in telling(body, &told, dress) {
        let stops: [fn(&Process<()>) -> bool; 3] =
            [|it| it.terminate_wait().is_ok(), |it| it.kill().is_ok(), |it| it.terminate().is_ok()];
        for stop in stops {
            process.start().unwrap();
            let grandchild = told.recv().unwrap();
            assert!(stop(&process));
            assert!(process.join().is_err());
            assert!(proc::eventually(|| !proc::runs(grandchild)));
        }
    }
    Passed
}

/// A process that starts another one like itself, so many levels deep.
fn nest((told, levels): (Queue<u32>, u8)) {
    told.send(&std::process::id()).unwrap();
    if levels > 1 {
        let (queue, options) = (told.clone(), LaunchOptions::new().give(&told));
        let below = move || nest((queue, levels - 1));
        let process = match levels % 2 {
            0 => Process::builder().options(options).build(below),
            _ => Process::builder().options(options).build_template(below).unwrap(),
        };
        process.start().unwrap();
        process.join().unwrap();
    }
    sleep_for_long();
}

fn fault_54_a_tree_of_processes_falls_with_its_root() -> Outcome {
    let told = Queue::new().unwrap();
    let giving = LaunchOptions::new().give(&told);
    let processes = ways(nest, (told.clone(), 3), giving, |builder, options| builder.options(options));
    let kinds: [fn(&Process<()>); 2] =
        [|it| it.kill().unwrap(), |it| assert_eq!(it.terminate_wait().unwrap().by, StopStep::Terminated)];
    for process in &processes {
        for end in kinds {
            let root = process.start().unwrap();
            let pids = [told.recv().unwrap(), told.recv().unwrap(), told.recv().unwrap()];
            assert_eq!(pids[0], root);
            end(process);
            assert!(proc::eventually(|| pids.iter().all(|pid| !proc::runs(*pid as i32))), "{pids:?}");
        }
    }
    Passed
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn fault_55_a_run_becomes_another_user() -> Outcome {
    if !is_root() {
        return Skipped("becoming another user needs root");
    }
    let ids = |()| {
        let groups = nix::unistd::getgroups().unwrap();
        let mut groups: Vec<u32> = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
        groups.sort_unstable();
        let root_again = nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).is_ok();
        let (uids, gids) = (nix::unistd::getresuid().unwrap(), nix::unistd::getresgid().unwrap());
        let ids = [uids.real, uids.effective, uids.saved].map(nix::unistd::Uid::as_raw);
        (ids, [gids.real, gids.effective, gids.saved].map(nix::unistd::Gid::as_raw), groups, root_again)
    };
    let dress = |builder: ProcessBuilder<_>, options: LaunchOptions| {
        builder.options(options.uid(65534).gid(65533).groups([7, 5]))
    };
    for process in dressed(ids, dress) {
        for _ in 0..2 {
            process.start_wait().unwrap();
            assert_eq!(process.join().unwrap(), ([65534; 3], [65533; 3], vec![5, 7], false));
        }
    }
    // It is still the program's to stop.
    let dress = |builder: ProcessBuilder<_>, options: LaunchOptions| builder.options(options.user("nobody"));
    for process in dressed(|()| sleep_for_long(), dress) {
        process.start().unwrap();
        assert_eq!(process.terminate_wait().unwrap().status.signal(), Some(Signal::TERM));
    }
    Passed
}

fn fault_55_a_run_of_a_plain_user_cannot() -> Outcome {
    // As root, by way of a process that isn't.
    let options = if is_root() { LaunchOptions::new().uid(65534) } else { LaunchOptions::new() };
    let plain = Process::builder().options(options).build(|| {
        for (options, expected) in [
            (LaunchOptions::new().uid(1), SetupStep::User),
            (LaunchOptions::new().gid(1), SetupStep::Group),
            (LaunchOptions::new().groups([1]), SetupStep::Groups),
        ] {
            for process in dressed(|()| (), |builder, _| builder.options(options.clone())) {
                for error in [process.start().unwrap_err(), process.start_wait().unwrap_err()] {
                    let StartError::Setup { step, .. } = error else { panic!("{error:?}") };
                    assert_eq!(step, expected);
                }
                assert_eq!((process.pid(), process.generation()), (None, 0));
            }
        }
    });
    plain.start().unwrap();
    plain.join().unwrap();
    Passed
}
