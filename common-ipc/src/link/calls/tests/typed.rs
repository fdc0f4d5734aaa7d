//! Calls of one type each.

use std::time::Duration;

use crate::link::{LinkError, calls};

#[test]
fn replies_in_any_order_find_their_callers() {
    let (caller, server) = calls::<u32, u32>().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut held = Vec::new();
            while let Ok((request, responder)) = server.recv() {
                held.push((request, responder));
                if held.len() == 4 {
                    // The last one first.
                    while let Some((request, responder)) = held.pop() {
                        responder.reply(request + 1000).unwrap();
                    }
                }
            }
        });
        let callers: Vec<_> = (0..4)
            .map(|thread| {
                let caller = caller.clone();
                scope.spawn(move || {
                    for number in 0..2000 {
                        assert_eq!(caller.call(thread + number).unwrap(), thread + number + 1000);
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(caller.open.engine.slots.lock().in_use(), 0);
        drop(caller);
    });
}

#[test]
fn a_late_reply_is_dropped_and_nobody_is_left_asleep() {
    let (caller, server) = calls::<u64, u64>().unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            server.serve(|pause| {
                std::thread::sleep(Duration::from_micros(pause));
                pause
            })
        });
        let callers: Vec<_> = (0..6u64)
            .map(|thread| {
                let caller = caller.clone();
                scope.spawn(move || {
                    let mut late = 0;
                    for round in 0..100 {
                        let pause = (thread * 31 + round * 17) % 300;
                        let timeout = Duration::from_micros((round * 7) % 900);
                        match caller.call_timeout(pause, timeout) {
                            Ok(reply) => assert_eq!(reply, pause),
                            Err(LinkError::TimedOut | LinkError::NoReply) => late += 1,
                            Err(error) => panic!("{error}"),
                        }
                        if round % 10 == 0 {
                            assert_eq!(caller.call(pause).unwrap(), pause);
                        }
                    }
                    late
                })
            })
            .collect();
        let late: u32 = callers.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(late > 10, "{late}");
        drop(caller);
        server.join().unwrap().unwrap();
    });
}

#[test]
fn a_request_that_is_dropped_is_told() {
    let (caller, server) = calls::<u8, u8>().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(server.recv().unwrap()));
        assert!(matches!(caller.call(1), Err(LinkError::Unanswered)));
        let panics = scope.spawn(|| server.serve(|_| panic!("on purpose")));
        assert!(matches!(caller.call(2), Err(LinkError::Unanswered)));
        assert!(panics.join().is_err());
        let unanswered = caller.call_timeout(3, Duration::from_millis(2));
        assert!(matches!(unanswered, Err(LinkError::NoReply)));
    });
}

#[test]
fn the_end_of_the_server_ends_all_calls() {
    let (caller, server) = calls::<u8, u8>().unwrap();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|n| {
                let caller = &caller;
                scope.spawn(move || caller.call(n))
            })
            .collect();
        // Taken by nobody.
        std::thread::sleep(Duration::from_millis(5));
        drop(server);
        for thread in callers {
            assert!(matches!(thread.join().unwrap(), Err(LinkError::Closed)));
        }
    });
    assert!(matches!(caller.call(1), Err(LinkError::Closed)));
}

#[test]
fn a_server_looks_or_waits_for_a_time() {
    let (caller, server) = calls::<u8, u8>().unwrap();
    assert!(server.try_recv().unwrap().is_none());
    assert!(server.recv_timeout(Duration::from_millis(2)).unwrap().is_none());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| caller.call(1));
        let (request, responder) = server.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(request, 1);
        assert!(server.try_recv().unwrap().is_none(), "what was taken isn't there again");
        responder.reply(2).unwrap();
        assert_eq!(first.join().unwrap().unwrap(), 2);
    });
    drop(caller);
    assert!(matches!(server.try_recv(), Err(LinkError::Closed)));
}
