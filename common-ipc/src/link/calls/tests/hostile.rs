//! A server that sends what no honest one sends.

use std::thread;

use super::*;
use crate::link::calls::{NO_REPLY, number as number_of};
use crate::link::connection::room::Patience;
use crate::link::connection::waiting::Wait;
use crate::link::poll::Deadline;
use crate::link::{CallProgress, DEFAULT_MAX_FRAME, open_calls};

/// Sends a frame as it is.
fn say(server: &OpenServer, number: u64, rest: &[u8]) {
    let frame = [&number.to_le_bytes(), rest].concat();
    server.connection.end().send_bytes(&frame, &mut None, Patience::Until(Deadline::NEVER)).unwrap();
}

/// The number of the next request.
fn next(server: &OpenServer) -> u64 {
    let mut bytes = Vec::new();
    server.connection.end().take_bytes(&mut bytes, Wait::until(Deadline::NEVER)).unwrap().unwrap();
    number_of(&bytes)
}

fn reply(value: u64) -> Vec<u8> {
    [&[0; 4][..], &value.to_le_bytes()].concat()
}

#[test]
fn replies_that_nobody_waits_for_are_dropped() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            for round in 0..500 {
                let own = next(&server);
                // No call; none yet; an earlier one of this slot; the next one of it; nothing at all, of a certain kind.
                for wrong in
                    [0, u64::MAX, own ^ 1 << 40, own - (1 << 32), own + (1 << 32), own ^ 1, round << 32]
                {
                    say(&server, wrong, &reply(u64::MAX));
                    say(&server, wrong, &[]);
                }
                say(&server, own, &reply(round));
                // Twice.
                say(&server, own, &reply(u64::MAX));
                say(&server, own, &[]);
            }
        });
        for round in 0..500 {
            assert_eq!(ask(&caller, 0), round);
        }
        server.join().unwrap();
    });
}

#[test]
fn a_reply_is_its_callers_whatever_is_in_it() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for rest in [&[][..], &[9; 4], &[0xff; 5], &[0xff; 4000]] {
                say(&server, next(&server), rest);
            }
        });
        let error = caller.call::<u64, _, _>(ECHO, &1u64, None, |_| ()).unwrap_err();
        assert!(matches!(error.cause, LinkError::Unanswered), "{error}");
        assert_eq!(error.progress, CallProgress::Taken);
        for _ in 0..3 {
            let reply =
                caller.call::<u64, _, _>(ECHO, &1u64, None, |reply| (reply.kind(), reply.decode::<u64>()));
            let (kind, value) = reply.unwrap();
            assert!(kind == 0x0909_0909 || kind == u32::MAX);
            value.unwrap_err();
        }
    });
}

#[test]
fn a_frame_that_is_no_reply_breaks_the_connection_for_all() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| caller.call::<u64, _, _>(ECHO, &1u64, None, |_| ()).unwrap_err()))
            .collect();
        let number = (0..4).map(|_| next(&server)).max().unwrap();
        server
            .connection
            .end()
            .send_bytes(&number.to_le_bytes()[..NO_REPLY - 1], &mut None, Patience::Until(Deadline::NEVER))
            .unwrap();
        for thread in threads {
            let error = thread.join().unwrap();
            assert!(matches!(error.cause, LinkError::Garbled(_) | LinkError::Broken(_)), "{error}");
            // It is there, and may do as it likes.
            assert_eq!(error.progress, CallProgress::Taken);
        }
    });
}

#[test]
fn a_request_without_a_header_breaks_the_connection() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    caller.engine.end().send_bytes(&[1; 11], &mut None, Patience::Until(Deadline::NEVER)).unwrap();
    let mut buffer = Vec::new();
    assert!(matches!(server.recv(&mut buffer), Err(LinkError::Garbled(_))));
    assert!(matches!(server.try_recv(&mut buffer), Err(LinkError::Broken(_))));
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn what_a_thread_finds_broken_ends_the_calls_of_tasks() {
    for _ in 0..20 {
        let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
        let tasks = caller.to_async().unwrap();
        let thread = thread::spawn(move || caller.call::<u64, _, _>(ECHO, &1u64, None, |_| ()).unwrap_err());
        let task =
            tokio::spawn(
                async move { tasks.call::<u64, _, _>(ECHO, &1u64, None, |_| ()).await.unwrap_err() },
            );
        let server = tokio::task::spawn_blocking(move || {
            let number = (0..2).map(|_| next(&server)).max().unwrap();
            let patience = Patience::Until(Deadline::NEVER);
            server.connection.end().send_bytes(&number.to_le_bytes()[..3], &mut None, patience).unwrap();
            server
        });
        let server = server.await.unwrap();
        let error = task.await.unwrap();
        assert!(matches!(error.cause, LinkError::Garbled(_) | LinkError::Broken(_)), "{error}");
        let error = tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        assert!(matches!(error.cause, LinkError::Garbled(_) | LinkError::Broken(_)), "{error}");
        drop(server);
    }
}

/// Sends replies that nobody waits for, as fast as there is room, until the other side is gone.
fn flood(server: &OpenServer, rest: &[u8], known: bool) {
    let number = next(server);
    let frame = [&(if known { number ^ 1 << 40 } else { u64::MAX }).to_le_bytes(), rest].concat();
    while server.connection.end().send_bytes(&frame, &mut None, Patience::Until(Deadline::NEVER)).is_ok() {}
}

#[test]
fn a_flood_of_replies_keeps_no_call_beyond_its_time() {
    for length in [4, 4000, 1 << 20] {
        let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || flood(&server, &vec![0; length], length == 4));
            for size in [10, 3 << 20] {
                let callers: Vec<_> = (0..3)
                    .map(|_| {
                        let caller = caller.clone();
                        scope.spawn(move || {
                            let text = "x".repeat(size);
                            for _ in 0..10 {
                                let timeout = Some(Duration::from_millis(10));
                                let error =
                                    caller.call::<String, _, _>(ECHO, &text, timeout, |_| ()).unwrap_err();
                                assert!(
                                    matches!(error.cause, LinkError::NoReply | LinkError::TimedOut),
                                    "{error}"
                                );
                            }
                        })
                    })
                    .collect();
                callers.into_iter().for_each(|caller| caller.join().unwrap());
            }
            drop(caller);
        });
    }
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_flood_of_replies_keeps_no_task_beyond_its_time() {
    for length in [4, 4000, 1 << 20] {
        let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
        let tasks = caller.to_async().unwrap();
        let flooding = thread::spawn(move || flood(&server, &vec![0; length], false));
        for size in [10, 3 << 20] {
            let text = "x".repeat(size);
            for _ in 0..10 {
                let timeout = Some(Duration::from_millis(10));
                let error = tasks.call::<String, _, _>(ECHO, &text, timeout, |_| ()).await.unwrap_err();
                assert!(matches!(error.cause, LinkError::NoReply | LinkError::TimedOut), "{error}");
            }
        }
        drop((caller, tasks));
        tokio::task::yield_now().await;
        flooding.join().unwrap();
    }
}
