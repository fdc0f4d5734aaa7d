//! A pool of processes whose tasks crash, hang, exit, fork and leave.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use common_ipc::link::Connection;
use common_ipc::process::{ExitStatus, JoinError, StopStep};
use common_ipc::sync::Event;
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::Signal;
use pkit::{LaunchOptions, PoolError, ProcessPool, SlotPool, Task, TaskError, TaskStatus};

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};

scenarios!(
    fault_15_a_task_that_is_killed_fails_alone,
    fault_15_tasks_that_exit_exec_and_fork_fail_alone,
    fault_30_a_dropped_pool_leaves_its_tasks_alone,
    fault_30_a_dropped_task_is_collected_while_nobody_looks,
    fault_35_a_grandchild_that_holds_stderr_delays_no_join,
    fault_54_a_pool_in_a_task_of_a_pool,
    fault_54_a_pool_of_the_parents_is_wrong_process,
    pool_200_tasks_in_a_row_leave_descriptors_as_they_were,
    pool_a_map_dropped_midway_kills_what_is_under_way,
    pool_an_endless_map_holds_no_more_than_its_slots,
);

fn me() -> i32 {
    std::process::id() as i32
}

fn deaf() {
    raw::ignore_signal(Signal::SIGTERM, true);
}

fn fault_15_a_task_that_is_killed_fails_alone() -> Outcome {
    for pool in [ProcessPool::new(4).unwrap(), ProcessPool::with_slots(SlotPool::new(4).unwrap())] {
        let tasks: Vec<_> = (0..8u32)
            .map(|number| {
                pool.execute(move || {
                    if number == 3 {
                        sleep_for_long();
                    }
                    number
                })
                .unwrap()
            })
            .collect();
        tasks[3].kill().unwrap();
        for (number, task) in (0..8u32).zip(&tasks) {
            match task.join() {
                Ok(output) => assert_eq!(output, number),
                Err(TaskError::Join(JoinError::Died(status))) => {
                    assert_eq!((number, status.signal().unwrap().as_raw()), (3, 9));
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(proc::eventually(|| pool.free().unwrap() == 4));
        assert_eq!(pool.execute(|| 1).unwrap().join().unwrap(), 1);
    }
    Passed
}

fn fault_15_tasks_that_exit_exec_and_fork_fail_alone() -> Outcome {
    let pool = ProcessPool::new(2).unwrap();
    let exits: Task<u8> = pool.execute(|| std::process::exit(7)).unwrap();
    let execs: Task<u8> =
        pool.execute(|| panic!("{}", Command::new("/bin/sh").args(["-c", "exit 8"]).exec())).unwrap();
    let aborts: Task<u8> = pool.execute(|| std::process::abort()).unwrap();
    let panics: Task<u8> = pool.execute(|| panic!("on purpose")).unwrap();
    // It leaves a process of another group behind, and ends.
    let pid_of_left: Task<i32> = pool
        .execute(|| {
            raw::fork(|| {
                nix::unistd::setsid().unwrap();
                sleep_for_long();
                0
            })
        })
        .unwrap();
    let ended = |task: &Task<u8>| match task.join() {
        Err(TaskError::Join(JoinError::Died(status))) => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(ended(&exits), ExitStatus::Exited(7));
    assert_eq!(ended(&execs), ExitStatus::Exited(8));
    assert_eq!(ended(&aborts).signal().unwrap().as_raw(), 6);
    assert!(matches!(panics.join(), Err(TaskError::Join(JoinError::Panicked(_)))));
    let daemon = pid_of_left.join().unwrap();
    assert!(proc::runs(daemon), "it is nobody's business of the pool's");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon), Signal::SIGKILL).unwrap();
    assert_eq!(pool.free().unwrap(), 2);
    pool.close().unwrap();
    Passed
}

fn fault_30_a_dropped_pool_leaves_its_tasks_alone() -> Outcome {
    for pool in [ProcessPool::new(3).unwrap(), ProcessPool::with_slots(SlotPool::new(3).unwrap())] {
        let go = Event::new().unwrap();
        let runs = pool.execute(|| go.wait().unwrap()).unwrap();
        let is_deaf = Event::new().unwrap();
        let hangs = pool.execute(|| {
            deaf();
            is_deaf.set();
            sleep_for_long();
        });
        let hangs = hangs.unwrap();
        let dead = pool.execute(|| -> () { std::process::abort() }).unwrap();
        assert!(proc::eventually(|| proc::stat(dead.pid() as i32).is_none_or(|stat| stat.state == 'Z')));
        drop((pool, dead));
        assert_ne!(runs.status().unwrap(), TaskStatus::Finished);
        go.set();
        runs.join().unwrap();
        is_deaf.wait().unwrap();
        assert_eq!(hangs.stop(Duration::from_millis(50)).unwrap().by, StopStep::Killed);
        assert!(proc::eventually(|| proc::children(me()).is_empty()));
    }
    Passed
}

fn fault_30_a_dropped_task_is_collected_while_nobody_looks() -> Outcome {
    for pool in [ProcessPool::new(3).unwrap(), ProcessPool::with_slots(SlotPool::new(3).unwrap())] {
        let go = Event::new().unwrap();
        for _ in 0..2 {
            drop(pool.execute(|| go.wait().unwrap()).unwrap());
        }
        let listed = pool.tasks().unwrap();
        assert_eq!(listed.len(), 2);
        drop(listed);
        // Longer than it takes until the background looks after them.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(proc::children(me()).len(), 2);
        go.set();
        assert!(proc::eventually(|| proc::children(me()).is_empty()), "a zombie");
        drop(pool.execute(|| ()).unwrap());
        assert!(proc::eventually(|| proc::children(me()).is_empty()), "a zombie");
        assert_eq!(pool.free().unwrap(), 3);
    }
    Passed
}

fn fault_35_a_grandchild_that_holds_stderr_delays_no_join() -> Outcome {
    let pool = ProcessPool::new(2).unwrap();
    let task = pool
        .execute(|| {
            raw::fork(|| {
                // It has the task's standard streams.
                sleep_for_long();
                0
            })
        })
        .unwrap();
    let grandchild = task.join().unwrap();
    assert!(proc::runs(grandchild));
    pool.close().unwrap();
    assert!(proc::runs(grandchild));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(grandchild), Signal::SIGKILL).unwrap();
    Passed
}

fn fault_54_a_pool_in_a_task_of_a_pool() -> Outcome {
    // Three levels, all of which have results.
    let pool = ProcessPool::new(2).unwrap().task_timeout(Duration::from_secs(60));
    let sums = pool.map(0..3u32, |outer| {
        let pool = ProcessPool::new(2).unwrap().task_timeout(Duration::from_secs(60));
        let inner = pool.map(0..3u32, |inner| {
            let pool = ProcessPool::new(2).unwrap();
            pool.execute(move || outer * 10 + inner).unwrap().join().unwrap()
        });
        inner.map(Result::unwrap).sum::<u32>()
    });
    assert_eq!(sums.map(Result::unwrap).collect::<Vec<_>>(), [3, 33, 63]);
    // The root's task is killed, and with it all below.
    let (reader, writer) = Connection::<(), u32>::pair().unwrap();
    let root = ProcessPool::new(1).unwrap().options(LaunchOptions::new().give(&writer));
    let task: Task<()> = root
        .execute(move || {
            let middle = ProcessPool::new(1).unwrap().options(LaunchOptions::new().give(&writer));
            let task = middle.execute(move || {
                writer.send(&std::process::id()).unwrap();
                let lowest = ProcessPool::new(1).unwrap();
                let task = lowest.execute(sleep_for_long).unwrap();
                writer.send(&task.pid()).unwrap();
                task.join().unwrap();
            });
            task.unwrap().join().unwrap();
        })
        .unwrap();
    let below = [reader.recv().unwrap() as i32, reader.recv().unwrap() as i32];
    assert!(below.iter().all(|pid| proc::runs(*pid)));
    task.kill().unwrap();
    assert!(proc::eventually(|| !below.iter().any(|pid| proc::runs(*pid))));
    assert!(matches!(task.join(), Err(TaskError::Join(JoinError::Died(_)))));
    Passed
}

fn fault_54_a_pool_of_the_parents_is_wrong_process() -> Outcome {
    let pool = ProcessPool::new(2).unwrap();
    let shared = ProcessPool::with_slots(SlotPool::new(2).unwrap());
    let task = pool.execute(sleep_for_long).unwrap();
    let child = start(|| {
        let refused = |error: PoolError| matches!(error, PoolError::WrongProcess(_) | PoolError::Child(_));
        [&pool, &shared].iter().all(|pool| {
            pool.execute(|| ()).is_err_and(refused)
                && pool.try_execute(|| ()).is_err_and(refused)
                && pool.tasks().is_err_and(refused)
                && pool.task(1).is_err_and(refused)
                && pool.free().is_err_and(refused)
                && pool.close().is_err_and(refused)
                && pool.terminate(Duration::ZERO).is_err_and(refused)
                && pool.map(0..1, |_| ()).all(|result| result.is_err())
        }) && task.join().is_err()
            && task.kill().is_err()
            && task.status().is_err()
    });
    assert!(child.output::<bool>().unwrap());
    // Its copies were dropped there, and nothing was done to what they are copies of.
    assert_ne!(task.status().unwrap(), TaskStatus::Finished);
    assert_eq!(pool.free().unwrap(), 1);
    pool.terminate(Duration::from_secs(20)).unwrap();
    Passed
}

fn pool_200_tasks_in_a_row_leave_descriptors_as_they_were() -> Outcome {
    // What every process has once it was needed.
    start(|| ()).on_exit(|_| ()).unwrap();
    for pool in [ProcessPool::new(2).unwrap(), ProcessPool::with_slots(SlotPool::new(2).unwrap())] {
        let round = || drop(pool.execute(|| vec![0u8; 1000]).unwrap());
        for _ in 0..20 {
            round();
        }
        while pool.free().unwrap() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let before = proc::descriptors(me()).len();
        let kept: Vec<_> =
            (0..200 * stress_factor()).map(|_| pool.execute(|| vec![0u8; 1000]).unwrap()).collect();
        assert!(kept.iter().all(|task| task.join().unwrap().len() == 1000));
        assert!(proc::eventually(|| proc::descriptors(me()).len() <= before), "handles keep descriptors");
        for _ in 0..200 * stress_factor() {
            round();
        }
        pool.close().unwrap();
        assert!(proc::eventually(|| proc::descriptors(me()).len() <= before));
    }
    Passed
}

fn pool_a_map_dropped_midway_kills_what_is_under_way() -> Outcome {
    for pool in [ProcessPool::new(3).unwrap(), ProcessPool::with_slots(SlotPool::new(3).unwrap())] {
        let mut results = pool.map(0.., |number: u32| {
            if number > 0 {
                sleep_for_long();
            }
            number
        });
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert!(!proc::children(me()).is_empty());
        drop(results);
        assert!(proc::eventually(|| proc::children(me()).is_empty()));
        assert_eq!(pool.free().unwrap(), 3);
    }
    Passed
}

fn pool_an_endless_map_holds_no_more_than_its_slots() -> Outcome {
    let pool = ProcessPool::new(2).unwrap();
    let drawn = std::cell::Cell::new(0usize);
    let items = std::iter::from_fn(|| {
        drawn.set(drawn.get() + 1);
        Some(drawn.get())
    });
    // The first one is slow, and the others must not run away meanwhile.
    let mut results = pool.map(items, |number| {
        if number == 1 {
            std::thread::sleep(Duration::from_millis(200));
        }
        number
    });
    for number in 1..=100 {
        assert_eq!(results.next().unwrap().unwrap(), number);
        assert!(drawn.get() <= number + 1, "{} drawn for {number}", drawn.get());
    }
    Passed
}
