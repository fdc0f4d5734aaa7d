//! Row 34: tasks that don't end by themselves, and those that nearly do.

use std::time::{Duration, Instant};

use common_ipc::link::Connection;
use common_ipc::process::{ExitStatus, JoinError, ProcessGroup, active_children};
use common_ipc::sync::Event;
use integration_tests::{proc, raw, stress_factor};
use nix::sys::signal::Signal;
use pkit::{LaunchOptions, ProcessPool, SlotPool, Task, TaskError};

use crate::Outcome::{self, Passed};
use crate::processes::children::sleep_for_long;

scenarios!(
    fault_34_a_task_that_hangs_is_killed_when_its_time_is_over,
    fault_34_a_task_whose_time_is_over_ends_with_its_group,
    fault_34_a_task_that_ends_in_time_is_not_timed_out,
    fault_34_terminate_ends_deaf_tasks_after_the_grace,
    fault_34_a_time_limit_keeps_no_results,
);

fn deaf() {
    raw::ignore_signal(Signal::SIGTERM, true);
}

fn fault_34_a_task_that_hangs_is_killed_when_its_time_is_over() -> Outcome {
    let limit = Duration::from_millis(150);
    for pool in [ProcessPool::new(3).unwrap(), ProcessPool::with_slots(SlotPool::new(3).unwrap())] {
        let pool = pool.task_timeout(limit);
        let begin = Instant::now();
        let is_deaf = pool.execute(|| {
            deaf();
            sleep_for_long();
        });
        let spins = pool.execute(|| {
            deaf();
            loop {
                std::hint::spin_loop();
            }
        });
        let tasks: [Task<()>; 2] = [is_deaf.unwrap(), spins.unwrap()];
        // Nobody calls the pool or a task.
        let ended = |task: &Task<()>| proc::stat(task.pid() as i32).is_none_or(|stat| stat.state == 'Z');
        assert!(proc::eventually(|| tasks.iter().all(ended)));
        assert!(begin.elapsed() >= limit);
        for task in &tasks {
            assert!(matches!(task.join(), Err(TaskError::TimedOut { limit: said }) if said == limit));
            assert!(matches!(task.try_join(), Err(TaskError::TimedOut { .. })), "told again");
        }
        assert!(proc::eventually(|| pool.free().unwrap() == 3));
        // Forks go on beside the thread that has done it.
        assert_eq!(pool.execute(|| 1).unwrap().join().unwrap(), 1);
        // Also when the pool and the task are gone.
        let pid = pool.execute(sleep_for_long).unwrap().pid() as i32;
        drop(pool);
        assert!(proc::eventually(|| proc::stat(pid).is_none()));
    }
    Passed
}

fn fault_34_a_task_whose_time_is_over_ends_with_its_group() -> Outcome {
    let pool = ProcessPool::new(1).unwrap().task_timeout(Duration::from_millis(200));
    let (reader, writer) = Connection::<(), i32>::pair().unwrap();
    let options = LaunchOptions::new().process_group(ProcessGroup::New).give(&writer);
    let task: Task<()> = pool
        .options(options)
        .execute(move || {
            let child = raw::fork(|| {
                sleep_for_long();
                0
            });
            writer.send(&child).unwrap();
            sleep_for_long();
        })
        .unwrap();
    let grandchild = reader.recv().unwrap();
    assert!(matches!(task.join(), Err(TaskError::TimedOut { .. })));
    assert!(proc::eventually(|| !proc::runs(grandchild)));
    Passed
}

fn fault_34_a_task_that_ends_in_time_is_not_timed_out() -> Outcome {
    // Their ends and their time limits are close to each other.
    let pool = ProcessPool::new(2).unwrap().task_timeout(Duration::from_millis(10));
    let mut outcomes = [0, 0];
    for round in 0..100 * u64::from(stress_factor()) {
        let task = pool.execute(move || {
            std::thread::sleep(Duration::from_millis(round % 10 * 2));
            round
        });
        match task.unwrap().join() {
            Ok(output) => {
                assert_eq!(output, round);
                outcomes[0] += 1;
            }
            Err(TaskError::TimedOut { .. }) => outcomes[1] += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
    // One that has ended by itself, or was killed by somebody else, stays as it was when its time is over.
    let limit = Duration::from_secs(2);
    let later = pool.clone().task_timeout(limit);
    let exits = later.execute(|| -> () { std::process::exit(3) }).unwrap();
    let killed = later.execute(sleep_for_long).unwrap();
    killed.kill().unwrap();
    std::thread::sleep(limit + Duration::from_millis(200));
    assert!(matches!(exits.join(), Err(TaskError::Join(JoinError::Died(ExitStatus::Exited(3))))));
    assert!(matches!(killed.join(), Err(TaskError::Join(JoinError::Died(_)))));
    // Tasks with a far limit leave nothing behind.
    let patient = ProcessPool::new(2).unwrap().task_timeout(Duration::from_secs(3600));
    for _ in 0..300 {
        patient.execute(|| ()).unwrap().join().unwrap();
    }
    Passed
}

fn fault_34_terminate_ends_deaf_tasks_after_the_grace() -> Outcome {
    let pool = ProcessPool::new(2).unwrap();
    let ready = Event::new().unwrap();
    let is_deaf: Task<()> = pool
        .execute(|| {
            deaf();
            ready.set();
            sleep_for_long();
        })
        .unwrap();
    let hears = pool.execute(sleep_for_long).unwrap();
    assert!(ready.wait_timeout(Duration::from_secs(60)).unwrap());
    pool.terminate(Duration::from_millis(50)).unwrap();
    assert_eq!(is_deaf.wait().unwrap().signal().unwrap().as_raw(), 9);
    assert_eq!(hears.wait().unwrap().signal().unwrap().as_raw(), 15);
    assert!(active_children().is_empty());
    Passed
}

fn fault_34_a_time_limit_keeps_no_results() -> Outcome {
    let memory = || {
        let field = proc::status_field(std::process::id() as i32, "VmRSS");
        field.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let pool = ProcessPool::new(2).unwrap().task_timeout(Duration::from_secs(3600));
    let before = memory();
    for _ in 0..60 {
        let task = pool.execute(|| "x".repeat(4 << 20)).unwrap();
        assert_eq!(task.join().unwrap().len(), 4 << 20);
    }
    let after = memory();
    assert!(after < before + (60 << 10), "from {before} to {after} kB");
    Passed
}
