//! Tasks that are waited for in tasks of tokio's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use offspring::{Handle, JoinError, LaunchOptions, StartError, Zygote, spawn_in};

offspring::init_before_main!();

/// On one thread, which nobody may block.
fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn start(milliseconds: u64) -> Result<Handle<u64, u64>, StartError> {
    let sleep = |milliseconds| {
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    };
    spawn_in(&Zygote::global(), LaunchOptions::new(), sleep, milliseconds)
}

#[test]
fn many_are_waited_for_at_once() {
    block_on(async {
        let tasks: Vec<_> = (0..50).map(|n| start(n % 7 * 5).unwrap()).collect();
        let waits: Vec<_> = tasks
            .into_iter()
            .enumerate()
            .map(|(n, task)| tokio::spawn(async move { (n as u64, task.wait_async().await.unwrap()) }))
            .collect();
        for wait in waits {
            let (n, output) = wait.await.unwrap();
            assert_eq!(output, n % 7 * 5);
        }
    });
}

#[test]
fn a_time_out_ends_the_wait_and_not_the_process() {
    block_on(async {
        let task = start(600_000).unwrap();
        tokio::time::timeout(Duration::from_millis(20), task.wait_async()).await.unwrap_err();
        assert!(task.is_alive().unwrap());
        task.kill().unwrap();
        for _ in 0..2 {
            // Also when it has ended, and was collected.
            assert!(matches!(task.wait_async().await, Err(JoinError::Died(_))));
        }
    });
}
