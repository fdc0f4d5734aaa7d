//! Children that are waited for in tasks of tokio's.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use common_ipc::process::{Child, JoinError, Launch, LaunchOptions, Signal, StopStep};
use common_ipc::sync::Event;
use integration_tests::raw;

use crate::Outcome::{self, Passed};
use crate::processes::children::{sleep_for_long, start};
use crate::servers::zygote;

scenarios!(
    a_child_awaited_by_many_tasks,
    a_childs_wait_that_is_given_up_changes_nothing,
    what_ended_a_child_that_is_awaited_or_stopped,
);

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs it in a runtime that doesn't keep children from being started by fork beside it.
fn in_runtime<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    raw::allow_forks();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test());
}

fn a_child_awaited_by_many_tasks() -> Outcome {
    zygote();
    in_runtime(|| async {
        let forked = start(|| std::thread::sleep(Duration::from_millis(20)));
        let of_zygote = Launch::new(&LaunchOptions::new()).start_in(&zygote(), |n: u32| n + 1, &41).unwrap();
        let waits: Vec<_> = (0..20)
            .map(|_| {
                let child = forked.clone();
                tokio::spawn(async move { child.wait_async().await.unwrap() })
            })
            .collect();
        assert_eq!(of_zygote.output_async::<u32>().await.unwrap(), 42);
        for wait in waits {
            assert!(wait.await.unwrap().success());
        }
        // It has ended.
        assert!(forked.wait_async().await.unwrap().success());
        let panics = start::<()>(|| panic!("on purpose"));
        assert!(matches!(panics.output_async::<()>().await, Err(JoinError::Panicked(_))));
    });
    Passed
}

fn a_childs_wait_that_is_given_up_changes_nothing() -> Outcome {
    in_runtime(|| async {
        let child = start(sleep_for_long);
        for _ in 0..100 {
            let wait = tokio::time::timeout(Duration::from_micros(200), child.wait_async());
            assert!(wait.await.is_err());
        }
        assert!(child.is_alive().unwrap());
        child.kill().unwrap();
        assert_eq!(child.wait_async().await.unwrap().signal(), Some(Signal::KILL));
    });
    Passed
}

fn ignores_sigterm() -> Child {
    let options = LaunchOptions::new();
    Launch::new(&options)
        .start(|| {
            raw::ignore_signal(nix::sys::signal::Signal::SIGTERM, true);
            common_ipc::process::ready();
            sleep_for_long();
        })
        .unwrap()
}

fn what_ended_a_child_that_is_awaited_or_stopped() -> Outcome {
    in_runtime(|| async {
        let go = Event::new().unwrap();
        let ends = start(|| go.wait().unwrap());
        let mut waiting = pin!(ends.wait_or_stop_async(PATIENCE, PATIENCE));
        // It ends once it is waited for.
        let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(first.is_pending());
        go.set();
        assert_eq!(waiting.await.unwrap().by, StopStep::EndedByItself);
        assert_eq!(ends.wait_or_stop_async(PATIENCE, PATIENCE).await.unwrap().by, StopStep::HadEnded);
        let stopped = start(sleep_for_long).wait_or_stop_async(Duration::ZERO, PATIENCE).await.unwrap();
        assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Terminated, Some(Signal::TERM)));
        let deaf = ignores_sigterm();
        assert_eq!(deaf.wait_ready(PATIENCE).unwrap(), common_ipc::process::Readiness::Ready);
        let stopped = deaf.wait_or_stop_async(Duration::ZERO, Duration::from_millis(50)).await.unwrap();
        assert_eq!((stopped.by, stopped.status.signal()), (StopStep::Killed, Some(Signal::KILL)));
    });
    Passed
}
