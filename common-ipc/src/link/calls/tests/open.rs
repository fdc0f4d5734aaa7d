//! Types that differ from call to call, replies in any order, late ones, and what they bring along.

use std::thread;
use std::time::Duration;

use super::*;
use crate::link::codec::DecodeError;
use crate::link::{Bytes, CallProgress, Connection, DEFAULT_MAX_FRAME, open_calls};

#[test]
fn arguments_and_replies_are_of_any_type() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = Vec::new();
            while let Ok(request) = server.recv(&mut buffer) {
                match request.what() {
                    1 => {
                        let (text, responder) = request.decode::<(String, u8)>();
                        let (text, times) = text.unwrap();
                        // What borrows is read as what owns.
                        responder.reply::<Vec<String>, _>(7, &vec![text.as_str(); times.into()]).unwrap();
                    }
                    2 => {
                        assert!(!request.wants_reply());
                        let (value, responder) = request.decode::<i8>();
                        assert_eq!(value.unwrap(), -1);
                        responder.reply::<(), _>(0, &()).unwrap();
                    }
                    what => request.responder().reply::<u32, _>(404, &what).unwrap(),
                }
            }
        });
        let text = "ab".to_owned();
        let call = caller.call::<(String, u8), _, _>(1, &(&text, 2u8), None, |reply| {
            assert_eq!(reply.kind(), 7);
            reply.decode::<Vec<String>>()
        });
        assert_eq!(call.unwrap().unwrap(), ["ab", "ab"]);
        caller.send::<i8, _>(2, &-1i8, None).unwrap();
        let unknown = caller.call::<(), _, _>(3, &(), None, |reply| (reply.kind(), number_of(reply)));
        assert_eq!(unknown.unwrap(), (404, 3));
        drop(caller);
    });
}

fn number_of(reply: OpenReply<'_>) -> u32 {
    reply.decode::<u32>().unwrap()
}

#[test]
fn replies_in_any_order_find_eight_threads() {
    const THREADS: u64 = 8;
    const EACH: u64 = 2000;
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = Vec::new();
            let mut held = Vec::new();
            let mut turn = 0;
            while let Ok(request) = server.recv_timeout(&mut buffer, Duration::from_micros(200)) {
                let is_quiet = request.is_none();
                held.extend(request.map(|request| request.decode::<u64>()));
                // As many as come, and then the last one first, or the middle one.
                turn += 1;
                while is_quiet && !held.is_empty() || held.len() as u64 > turn % THREADS {
                    let (value, responder) = held.swap_remove(held.len() / 2);
                    responder.reply::<u64, _>(0, &value.unwrap()).unwrap();
                }
            }
        });
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let caller = caller.clone();
                scope.spawn(move || {
                    for count in 0..EACH {
                        let value = thread << 32 | count;
                        assert_eq!(ask(&caller, value), value);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(caller.engine.slots.lock().in_use(), 0);
        drop(caller);
    });
}

#[test]
fn a_late_reply_is_dropped_by_its_number() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        let late = {
            let mut buffer = Vec::new();
            for _ in 0..2 {
                let timeout = Some(Duration::from_millis(1));
                let error = caller.call::<u64, _, _>(ECHO, &1u64, timeout, |_| ()).unwrap_err();
                assert!(matches!(error.cause, LinkError::NoReply), "{error}");
                assert_eq!(error.progress, CallProgress::Taken);
            }
            let first = server.recv(&mut buffer).unwrap().responder();
            [first, server.recv(&mut buffer).unwrap().responder()]
        };
        for responder in late {
            responder.reply::<u64, _>(0, &1u64).unwrap();
        }
        echo(scope, server);
        // It has the slot that those had.
        assert_eq!(ask(&caller, 2), 2);
        drop(caller);
    });
}

#[test]
fn time_outs_of_many_leave_nobody_asleep() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = Vec::new();
            while let Ok(request) = server.recv(&mut buffer) {
                let (pause, responder) = request.decode::<u64>();
                let pause = pause.unwrap();
                thread::sleep(Duration::from_micros(pause));
                // The caller may be gone by now.
                let _ = responder.reply::<u64, _>(0, &pause);
            }
        });
        let threads: Vec<_> = (0..8u64)
            .map(|thread| {
                let caller = caller.clone();
                scope.spawn(move || {
                    let mut late = 0;
                    for round in 0..100 {
                        let pause = (thread * 31 + round * 17) % 300;
                        let timeout = (round % 10 != 0).then(|| Duration::from_micros((round * 7) % 900));
                        match caller.call::<u64, _, _>(ECHO, &pause, timeout, number) {
                            Ok(reply) => assert_eq!(reply, pause),
                            Err(error) => {
                                let is_late = matches!(error.cause, LinkError::NoReply);
                                // Somebody else was sending for so long.
                                let is_not_sent = matches!(error.cause, LinkError::TimedOut)
                                    && error.progress == CallProgress::NotSent;
                                assert!(is_late || is_not_sent, "{error}");
                                late += 1;
                            }
                        }
                    }
                    late
                })
            })
            .collect();
        let late: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(late > 10, "{late}");
        drop(caller);
    });
}

#[test]
fn what_cannot_be_decoded_hurts_nobody_else() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        echo(scope, server);
        let others: Vec<_> = (0..3)
            .map(|thread| {
                let caller = caller.clone();
                scope.spawn(move || {
                    (0..500).for_each(|count| assert_eq!(ask(&caller, thread + count), thread + count))
                })
            })
            .collect();
        for _ in 0..100 {
            let wrong: Result<String, DecodeError> =
                caller.call::<u64, _, _>(ECHO, &u64::MAX, None, |reply| reply.decode()).unwrap();
            assert!(wrong.unwrap_err().type_name.contains("String"));
        }
        others.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(ask(&caller, 5), 5);
        drop(caller);
    });
}

#[test]
fn a_request_that_cannot_be_decoded_is_still_answered() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = Vec::new();
            let (argument, responder) = server.recv(&mut buffer).unwrap().decode::<String>();
            let error = argument.unwrap_err();
            responder.reply::<String, _>(1, &error.to_string()).unwrap();
            // Nothing but a drop.
            drop(server.recv(&mut buffer).unwrap());
        });
        let text = caller.call::<u8, _, _>(ECHO, &1u8, None, |reply| reply.decode::<String>());
        assert!(text.unwrap().unwrap().contains("String"));
        let error = caller.call::<u8, _, _>(ECHO, &1u8, None, |_| ()).unwrap_err();
        assert!(matches!(error.cause, LinkError::Unanswered), "{error}");
    });
}

struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("on purpose"))
    }
}

#[test]
fn a_reply_that_cannot_be_sent_leaves_the_request_answerable() {
    let (caller, server) = open_calls(10_000).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = Vec::new();
            for _ in 0..2 {
                let responder = server.recv(&mut buffer).unwrap().responder();
                let error = responder.reply::<(), _>(0, &Unwritable).unwrap_err();
                assert!(matches!(error.cause, LinkError::Encode(_)), "{error}");
                let error = error.responder.reply::<Bytes, _>(0, &Bytes::from(vec![0; 20_000])).unwrap_err();
                assert!(matches!(error.cause, LinkError::TooLarge(_)), "{error}");
                error.responder.reply::<String, _>(1, "it was too much").unwrap();
            }
        });
        for _ in 0..2 {
            let text = caller.call::<(), _, _>(ECHO, &(), None, |reply| reply.decode::<String>());
            assert_eq!(text.unwrap().unwrap(), "it was too much");
        }
    });
}

/// An end, which has descriptors.
type Link = Connection<u8, u8>;

#[test]
fn bytes_and_descriptors_travel_both_ways() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = Vec::new();
            while let Ok(request) = server.recv(&mut buffer) {
                let (argument, responder) = request.decode::<(Bytes, Link)>();
                let (bytes, theirs) = argument.unwrap();
                let (one, other) = Link::pair().unwrap();
                responder.reply::<(Bytes, Link), _>(0, &(&bytes, &one)).unwrap();
                other.send(&theirs.recv().unwrap()).unwrap();
            }
        });
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let caller = caller.clone();
                scope.spawn(move || {
                    for count in 0..20 {
                        let bytes = Bytes::from(vec![thread; 10_000 * count + 1]);
                        let (one, other) = Link::pair().unwrap();
                        one.send(&thread).unwrap();
                        let reply =
                            caller.call::<(Bytes, Link), _, _>(ECHO, &(&bytes, &other), None, |reply| {
                                reply.decode::<(Bytes, Link)>()
                            });
                        let (back, end) = reply.unwrap().unwrap();
                        assert_eq!((back, end.recv().unwrap()), (bytes, thread));
                        assert!(matches!(other.send(&1), Err(LinkError::WrongProcess(_))), "it has moved");
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        drop(caller);
    });
}

#[test]
fn a_call_within_a_call() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        echo(scope, server);
        let sum = caller.call::<u64, _, _>(ECHO, &1u64, None, |reply| number(reply) + ask(&caller, 2));
        assert_eq!(sum.unwrap(), 3);
        drop(caller);
    });
}

#[test]
fn a_server_that_moved_serves_on() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    let (here, there) = Connection::<OpenServer, OpenServer>::pair().unwrap();
    caller.send::<u64, _>(ECHO, &3u64, None).unwrap();
    server.try_recv(&mut Vec::new()).unwrap().unwrap().decode::<u64>().0.unwrap();
    caller.send::<u64, _>(ECHO, &4u64, None).unwrap();
    here.send(&server).unwrap();
    assert!(matches!(server.recv(&mut Vec::new()), Err(LinkError::WrongProcess(_))));
    let server = there.recv().unwrap();
    let mut buffer = Vec::new();
    assert_eq!(server.recv(&mut buffer).unwrap().decode::<u64>().0.unwrap(), 4);
    thread::scope(|scope| {
        echo(scope, server);
        assert_eq!(ask(&caller, 5), 5);
        drop(caller);
    });
}
