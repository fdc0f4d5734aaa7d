//! Tasks that serve.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::link::{AsyncOpenServer, Bytes, DEFAULT_MAX_FRAME, open_calls, safe_select};

fn served() -> (OpenCaller, AsyncOpenServer) {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    (caller, server.to_async().unwrap())
}

/// Says everything back, until the callers are gone.
async fn echo_async(server: AsyncOpenServer) -> u64 {
    let mut buffer = Vec::new();
    let mut count = 0;
    while let Ok(request) = server.recv(&mut buffer).await {
        let (number, responder) = request.decode::<u64>();
        responder.reply_async::<u64, _>(0, &number.unwrap()).await.unwrap();
        count += 1;
    }
    count
}

#[tokio::test]
async fn tasks_serve_threads() {
    let (caller, server) = served();
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let caller = caller.clone();
            thread::spawn(move || {
                for count in 0..500 {
                    let value = thread << 32 | count;
                    assert_eq!(ask(&caller, value), value);
                    if count % 50 == 0 {
                        thread::sleep(Duration::from_micros(300));
                    }
                }
            })
        })
        .collect();
    drop(caller);
    assert_eq!(echo_async(server).await, 2000);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test]
async fn a_dropped_receive_loses_no_request() {
    let (caller, server) = served();
    let sender = thread::spawn(move || {
        for number in 0..200u64 {
            caller.send::<u64, _>(ECHO, &number, None).unwrap();
            thread::sleep(Duration::from_micros(number % 7 * 50));
        }
    });
    let (mut buffer, mut next, mut dropped) = (Vec::new(), 0, 0);
    while next < 200 {
        let soon = Duration::from_millis((next + dropped) % 2);
        match tokio::time::timeout(soon, server.recv(&mut buffer)).await {
            Ok(request) => {
                assert_eq!(request.unwrap().decode::<u64>().0.unwrap(), next);
                next += 1;
            }
            Err(_) => dropped += 1,
        }
    }
    assert!(dropped > 0);
    assert!(is_closed(&server.recv(&mut buffer).await.unwrap_err()));
    sender.join().unwrap();
}

#[tokio::test]
async fn many_requests_leave_time_for_other_tasks() {
    let (caller, server) = served();
    for number in 0..1000u64 {
        caller.send::<u64, _>(ECHO, &number, None).unwrap();
    }
    let turns = Cell::new(0);
    let receive = async {
        let mut buffer = Vec::new();
        for _ in 0..1000 {
            drop(server.recv(&mut buffer).await.unwrap());
        }
    };
    let beside = async {
        loop {
            turns.set(turns.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    let mut receive = std::pin::pin!(receive);
    let mut beside = std::pin::pin!(beside);
    std::future::poll_fn(|context| {
        let _: std::task::Poll<()> = beside.as_mut().poll(context);
        receive.as_mut().poll(context)
    })
    .await;
    assert!(turns.get() > 5, "{}", turns.get());
}

#[tokio::test]
async fn without_room_nothing_blocks_the_thread() {
    let (caller, server) = served();
    let asking = {
        let caller = caller.clone();
        thread::spawn(move || {
            // Of two requests, both answered while the ring is full: one with a lot, one not at all.
            let large = {
                let caller = caller.clone();
                thread::spawn(move || {
                    caller
                        .call::<u64, _, _>(ECHO, &1u64, None, |reply| reply.decode::<Bytes>().unwrap().len())
                })
            };
            let error = caller.call::<u64, _, _>(ECHO, &2u64, None, number).unwrap_err();
            (large.join().unwrap().unwrap(), error)
        })
    };
    let mut buffer = Vec::new();
    let mut large = None;
    let mut unanswered = None;
    for _ in 0..2 {
        let (which, responder) = server.recv(&mut buffer).await.unwrap().decode::<u64>();
        *(if which.unwrap() == 1 { &mut large } else { &mut unanswered }) = Some(responder);
    }
    let (large, unanswered) = (large.unwrap(), unanswered.unwrap());
    let bytes = Bytes::from(vec![7; 32 << 20]);
    let reply = tokio::spawn(async move { large.reply_async::<Bytes, _>(0, &bytes).await });
    tokio::task::yield_now().await;
    let begin = Instant::now();
    drop(unanswered);
    let took = begin.elapsed();
    reply.await.unwrap().unwrap();
    let (length, error) = tokio::task::spawn_blocking(|| asking.join().unwrap()).await.unwrap();
    assert_eq!(length, 32 << 20);
    assert!(matches!(error.cause, LinkError::Unanswered), "{error} {took:?}");
    drop(caller);
}

#[tokio::test]
async fn a_reply_that_cannot_be_sent_leaves_what_answers() {
    let (caller, server) = open_calls(1000).unwrap();
    let server = server.to_async().unwrap();
    let asking = thread::spawn(move || ask(&caller, 1));
    let mut buffer = Vec::new();
    let (_, responder) = server.recv(&mut buffer).await.unwrap().decode::<u64>();
    let error = responder.reply_async::<Vec<u8>, _>(0, &vec![0u8; 5000]).await.unwrap_err();
    assert!(matches!(error.cause, LinkError::TooLarge(_)), "{error}");
    error.responder.reply_async::<u64, _>(0, &9u64).await.unwrap();
    assert_eq!(asking.join().unwrap(), 9);
}

#[test]
fn it_belongs_to_a_runtime() {
    let (_caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    assert!(server.to_async().is_err());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let tasks = runtime.block_on(async { server.to_async().unwrap() });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let error = runtime.block_on(async { tasks.recv(&mut Vec::new()).await.map(drop).unwrap_err() });
    assert!(matches!(error, LinkError::Io(_)), "{error}");
}

#[tokio::test]
async fn tasks_threads_and_those_who_poll_share_the_requests() {
    const ALL: u64 = 6000;
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let counted = Arc::new(AtomicU64::new(0));
    let beside: Vec<_> = (0..2)
        .map(|thread| {
            let (server, counted) = (server.clone(), Arc::clone(&counted));
            thread::spawn(move || {
                let mut buffer = Vec::new();
                loop {
                    let received = match thread {
                        0 => server.recv(&mut buffer).map(Some),
                        _ => {
                            safe_select(&[server.as_fd()], None).unwrap();
                            server.try_recv(&mut buffer)
                        }
                    };
                    match received {
                        Ok(request) => counted.fetch_add(u64::from(request.is_some()), Ordering::Relaxed),
                        Err(error) => return assert!(is_closed(&error), "{error}"),
                    };
                    if thread == 0 {
                        // Others want to receive as well.
                        thread::sleep(Duration::from_micros(50));
                    }
                }
            })
        })
        .collect();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let (server, counted) = (server.to_async().unwrap(), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while server.recv(&mut buffer).await.is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    drop(server);
    let sender = tokio::task::spawn_blocking(move || {
        for number in 0..ALL {
            caller.send::<u64, _>(ECHO, &number, None).unwrap();
            if number % 7 == 0 {
                thread::sleep(Duration::from_micros(number % 11 * 20));
            }
        }
    });
    sender.await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    tokio::task::spawn_blocking(|| beside.into_iter().for_each(|thread| thread.join().unwrap()))
        .await
        .unwrap();
    assert_eq!(counted.load(Ordering::Relaxed), ALL);
}
