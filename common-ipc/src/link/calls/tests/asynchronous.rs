//! Tasks, beside threads.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::*;
use crate::link::{AsyncOpenCaller, Bytes, CallError, CallProgress, DEFAULT_MAX_FRAME, open_calls};

async fn ask_async(caller: &AsyncOpenCaller, what: u64) -> u64 {
    caller.call::<u64, _, _>(ECHO, &what, None, number).await.unwrap()
}

fn echo_thread(server: OpenServer) -> thread::JoinHandle<()> {
    thread::spawn(move || thread::scope(|scope| echo(scope, server)))
}

#[tokio::test]
async fn calls_on_one_thread() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let echo = echo_thread(server);
    let tasks = caller.to_async().unwrap();
    drop(caller);
    for value in 0..100 {
        assert_eq!(ask_async(&tasks, value).await, value);
    }
    tasks.send::<u64, _>(ECHO, &1u64, None).await.unwrap();
    let text = tasks.call::<u64, _, _>(ECHO, &1u64, None, |reply| reply.decode::<String>()).await;
    text.unwrap().unwrap_err();
    drop(tasks);
    echo.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_and_threads_call_beside_each_other() {
    const EACH: u64 = 1000;
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let echo = echo_thread(server);
    let tasks = caller.to_async().unwrap();
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let caller = caller.clone();
            thread::spawn(move || {
                for count in 0..EACH {
                    let value = thread << 32 | count;
                    assert_eq!(ask(&caller, value), value);
                    if count % 100 == 0 {
                        thread::sleep(Duration::from_micros(200));
                    }
                }
            })
        })
        .collect();
    let mut set = tokio::task::JoinSet::new();
    for task in 0..8 {
        // Some by another driver.
        let tasks = if task % 2 == 0 { tasks.clone() } else { caller.to_async().unwrap() };
        set.spawn(async move {
            for count in 0..EACH {
                let value = (task + 100) << 32 | count;
                assert_eq!(ask_async(&tasks, value).await, value);
            }
        });
    }
    set.join_all().await;
    tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()))
        .await
        .unwrap();
    assert_eq!(caller.engine.slots.lock().in_use(), 0);
    drop((caller, tasks));
    tokio::task::spawn_blocking(|| echo.join().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_futures_hurt_nobody() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let server = thread::spawn(move || {
        let mut buffer = Vec::new();
        while let Ok(request) = server.recv(&mut buffer) {
            let (pause, responder) = request.decode::<u64>();
            let pause = pause.unwrap();
            thread::sleep(Duration::from_micros(pause));
            // The caller may be gone by now.
            let _ = responder.reply::<u64, _>(0, &pause);
        }
    });
    let tasks = caller.to_async().unwrap();
    let mut set = tokio::task::JoinSet::new();
    for task in 0..8u64 {
        let tasks = tasks.clone();
        set.spawn(async move {
            let mut dropped = 0;
            for round in 0..100 {
                let pause = (task * 31 + round * 17) % 300;
                let call = tasks.call::<u64, _, _>(ECHO, &pause, None, number);
                match tokio::time::timeout(Duration::from_micros(round * 7 % 900), call).await {
                    Ok(reply) => assert_eq!(reply.unwrap(), pause),
                    Err(_) => dropped += 1,
                }
                if round % 10 == 0 {
                    assert_eq!(ask_async(&tasks, pause).await, pause);
                }
            }
            dropped
        });
    }
    let blocking = {
        let caller = caller.clone();
        thread::spawn(move || (0..200).for_each(|pause| assert_eq!(ask(&caller, pause), pause)))
    };
    let dropped: u64 = set.join_all().await.into_iter().sum();
    assert!(dropped > 10, "{dropped}");
    tokio::task::spawn_blocking(|| blocking.join().unwrap()).await.unwrap();
    assert_eq!(caller.engine.slots.lock().in_use(), 0);
    drop((caller, tasks));
    tokio::task::spawn_blocking(|| server.join().unwrap()).await.unwrap();
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test]
async fn a_future_that_nobody_polls_holds_nobody_up() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let tasks = caller.to_async().unwrap();
    let mut unpolled = pin!(tasks.call::<u64, _, _>(ECHO, &1u64, None, number));
    let waker = Waker::from(Arc::new(Nothing));
    assert!(unpolled.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let echo = echo_thread(server);
    for value in 0..20 {
        assert_eq!(ask_async(&tasks, value).await, value);
        let caller = caller.clone();
        let ask = tokio::task::spawn_blocking(move || ask(&caller, value));
        assert_eq!(ask.await.unwrap(), value);
    }
    let reply = unpolled.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(reply, Poll::Ready(Ok(1))));
    drop((caller, tasks.clone()));
    drop(echo);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_server_ends_the_calls_of_tasks() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let tasks = caller.to_async().unwrap();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let tasks = tasks.clone();
        set.spawn(async move { tasks.call::<u64, _, _>(ECHO, &1u64, None, |_| ()).await.unwrap_err() });
    }
    let blocking = {
        let caller = caller.clone();
        tokio::task::spawn_blocking(move || caller.call::<u64, _, _>(ECHO, &1u64, None, |_| ()).unwrap_err())
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(server);
    for error in set.join_all().await.into_iter().chain([blocking.await.unwrap()]) {
        assert!(is_closed(&error.cause), "{error}");
        assert_eq!(error.progress, CallProgress::NotTaken);
    }
    let error = tasks.call::<u64, _, _>(ECHO, &1u64, None, |_| ()).await.unwrap_err();
    assert_eq!(error.progress, CallProgress::NotSent);
}

#[tokio::test]
async fn time_outs_say_whether_it_was_sent() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let tasks = caller.to_async().unwrap();
    let timeout = Some(Duration::from_millis(5));
    let call = |error: CallError| (error.progress, matches!(error.cause, LinkError::TimedOut));
    let error = tasks.call::<u64, _, _>(ECHO, &1u64, timeout, |_| ()).await.unwrap_err();
    assert!(matches!(error.cause, LinkError::NoReply), "{error}");
    assert_eq!(error.progress, CallProgress::Taken);
    // More than the ring has room for: sent in part, and given up.
    let large = Bytes::from(vec![0; 1 << 20]);
    let error = tasks.call::<Bytes, _, _>(ECHO, &large, timeout, |_| ()).await.unwrap_err();
    assert_eq!(call(error), (CallProgress::NotSent, true));
    let error = tasks.send::<Bytes, _>(ECHO, &large, timeout).await.unwrap_err();
    assert_eq!(call(error), (CallProgress::NotSent, true));
    let echo = echo_thread(server);
    assert_eq!(ask_async(&tasks, 3).await, 3);
    drop((caller, tasks));
    echo.join().unwrap();
}

#[test]
fn after_the_end_of_the_runtime_threads_call_on_and_tasks_are_told() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let echo = echo_thread(server);
    let new = || tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let first = new();
    let tasks = first.block_on(async { caller.to_async().unwrap() });
    assert_eq!(first.block_on(ask_async(&tasks, 1)), 1);
    drop(first);
    assert_eq!(ask(&caller, 2), 2);
    let error = new().block_on(tasks.call::<u64, _, _>(ECHO, &1u64, None, number));
    if let Err(error) = error {
        assert!(matches!(error.cause, LinkError::Io(_)), "{error}");
    }
    assert!(caller.to_async().is_err(), "outside of a runtime");
    drop((caller, tasks));
    echo.join().unwrap();
}

#[tokio::test]
async fn futures_may_go_to_other_threads() {
    fn check<T: Send>(_: &T) {}
    let (caller, _server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let tasks = caller.to_async().unwrap();
    check(&tasks.call::<String, _, _>(ECHO, "text", None, number));
    check(&tasks.send::<String, _>(ECHO, "text", None));
}
