//! Processes, tasks and supervisors in tasks of tokio's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use pkit::supervisor::{Backoff, ChildSpec, Ended, Event, Supervisor, SupervisorError};
use pkit::{Process, ProcessPool, RestartPolicy, SlotPool, TaskError, Zygote};

pkit::init_before_main!();

/// On one thread, which nobody may block.
fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn supervisor(children: usize) -> Supervisor {
    let mut builder = Supervisor::builder().intensity(u32::MAX, Duration::from_secs(1));
    for number in 0..children {
        let child = ChildSpec::in_zygote(format!("child-{number}"), &Zygote::global(), sleep, 600_000);
        builder = builder.child(child.backoff(Backoff::new(Duration::ZERO, Duration::ZERO)));
    }
    builder.start().unwrap()
}

#[test]
fn a_process_is_joined_and_started_again() {
    block_on(async {
        let function = |number: u64| number * 7;
        let process: Process<u64> = Process::builder().build_function_in(&Zygote::global(), function, 6);
        for _ in 0..3 {
            process.start().unwrap();
            assert_eq!(process.join_async().await.unwrap(), 42);
            process.restart(RestartPolicy::Join).unwrap();
            assert_eq!(process.open().unwrap().output_async().await.unwrap(), 42);
        }
    });
}

#[test]
fn tasks_of_a_pool_are_joined() {
    block_on(async {
        let pool = ProcessPool::new(4).unwrap();
        let start = |milliseconds| pool.execute_in(&Zygote::global(), sleep, &milliseconds).unwrap();
        let tasks = [start(30), start(0), start(10)];
        let joined = tasks.map(|task| tokio::spawn(async move { task.join_async().await }));
        for task in joined {
            task.await.unwrap().unwrap();
        }
        let limited = pool.clone().task_timeout(Duration::from_millis(20));
        let late = limited.execute_in(&Zygote::global(), sleep, &600_000).unwrap();
        assert!(matches!(late.join_async().await, Err(TaskError::TimedOut { .. })));
        // A time-out around the wait ends the wait and not the task.
        let goes_on = start(600_000);
        tokio::time::timeout(Duration::from_millis(5), goes_on.join_async()).await.unwrap_err();
        assert!(goes_on.try_wait().unwrap().is_none());
        goes_on.kill().unwrap();
        assert!(matches!(goes_on.join_async().await, Err(TaskError::Join(_))));
    });
}

#[test]
fn a_shared_slot_is_free_when_its_task_was_joined() {
    block_on(async {
        let pool = ProcessPool::with_slots(SlotPool::new(1).unwrap());
        for round in 0..300 {
            let task = pool.try_execute_in(&Zygote::global(), sleep, &0).unwrap();
            task.unwrap_or_else(|| panic!("round {round}: the slot isn't free")).join_async().await.unwrap();
        }
    });
}

#[test]
fn a_supervisor_is_told_and_heard() {
    block_on(async {
        let supervisor = Arc::new(supervisor(3));
        let events = supervisor.events().unwrap();
        let first = supervisor.child("child-1").unwrap().pid.unwrap();
        supervisor.restart_async("child-1").await.unwrap();
        supervisor.rolling_restart_async("child-1").await.unwrap();
        supervisor.rolling_restart_all_async().await.unwrap();
        supervisor.stop_child_async("child-2").await.unwrap();
        supervisor.start_child_async("child-2").await.unwrap();
        assert!(matches!(
            supervisor.restart_async("nobody").await,
            Err(SupervisorError::UnknownChild { .. })
        ));
        let child = supervisor.child("child-1").unwrap();
        assert!(child.pid != Some(first) && child.restarts == 3, "{child:?}");

        // The end of one that is killed is heard, as are the events before.
        let pid = child.pid.unwrap();
        let waiting = Arc::clone(&supervisor);
        let waits = tokio::spawn(async move { waiting.wait_async().await });
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        loop {
            match events.recv_async().await.unwrap() {
                Event::Exited { pid: gone, .. } => break assert_eq!(gone, pid),
                Event::Lost { .. } => panic!("there were few"),
                _ => {}
            }
        }
        assert!(matches!(supervisor.stop_async().await.unwrap(), Ended::Stopped { .. }));
        assert!(matches!(waits.await.unwrap().unwrap(), Ended::Stopped { .. }));
        let mut stops = 0;
        while let Some(event) = events.recv_async().await {
            stops += u32::from(matches!(event, Event::Stopped(_)));
        }
        assert!(stops >= 2, "{stops}");
        assert!(matches!(supervisor.restart_async("child-0").await, Err(SupervisorError::Ended)));
        assert!(matches!(supervisor.wait_async().await.unwrap(), Ended::Stopped { .. }));
    });
}

#[test]
fn what_nobody_waits_for_is_done_all_the_same() {
    block_on(async {
        let supervisor = supervisor(1);
        let first = supervisor.child("child-0").unwrap().pid;
        drop(tokio::time::timeout(Duration::ZERO, supervisor.restart_async("child-0")).await);
        let events = supervisor.events().unwrap();
        // It was asked for, or wasn't polled even once.
        supervisor.rolling_restart_async("child-0").await.unwrap_or_else(|error| {
            assert!(matches!(error, SupervisorError::Busy { .. }), "{error}");
        });
        drop(events);
        // If it was busy with it, that takes its time.
        for _ in 0..6_000 {
            if supervisor.child("child-0").unwrap().pid != first {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_ne!(supervisor.child("child-0").unwrap().pid, first);
        supervisor.stop_async().await.unwrap();
    });
}
