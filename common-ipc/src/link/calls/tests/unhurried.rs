//! Those who don't wait for room: replies that are kept, requests that are posted.

use std::time::Duration;

use crate::link::{LinkError, OpenResponder, open_calls};

const MAX: usize = 4 << 20;

#[test]
fn a_reply_without_room_is_kept_and_sent_by_whoever_receives() {
    let (caller, server) = open_calls(MAX).unwrap();
    let server = server.with_outbox(MAX).unwrap();
    let (pass, passed) = std::sync::mpsc::channel::<OpenResponder>();
    std::thread::scope(|scope| {
        let replies = scope.spawn(move || {
            let mut count = 0;
            for responder in passed {
                responder.reply::<Vec<u8>, _>(0, &vec![7_u8; 300_000]).unwrap();
                count += 1;
            }
            count
        });
        scope.spawn(move || {
            let mut buffer = Vec::new();
            while let Ok(request) = server.recv(&mut buffer) {
                pass.send(request.responder()).unwrap();
            }
        });
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let caller = caller.clone();
                scope.spawn(move || {
                    for _ in 0..5 {
                        let length = caller
                            .call::<(), _, _>(1, &(), None, |reply| reply.decode::<Vec<u8>>().unwrap().len());
                        assert_eq!(length.unwrap(), 300_000);
                    }
                })
            })
            .collect();
        drop(caller);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(replies.join().unwrap(), 20);
    });
}

#[test]
fn fault_50_more_than_may_be_kept_ends_the_connection() {
    let (caller, server) = open_calls(MAX).unwrap();
    let server = server.with_outbox(1 << 20).unwrap();
    let ask = || {
        let short = Some(Duration::from_micros(1));
        caller.call::<(), _, _>(1, &(), short, |_| ()).unwrap_err();
        let mut buffer = Vec::new();
        server.try_recv(&mut buffer).unwrap().unwrap().responder()
    };
    let reply = |responder: OpenResponder| responder.reply::<Vec<u8>, _>(0, &vec![7_u8; 300_000]);
    let refused = (0..10).find_map(|_| reply(ask()).err()).unwrap();
    assert!(matches!(refused.cause, LinkError::Full));
    drop(refused);
    assert!(matches!(server.recv(&mut Vec::new()), Err(LinkError::Full)));
    // Too long for any reply: that is said, and changes nothing.
    let (caller, server) = open_calls(1000).unwrap();
    let server = server.with_outbox(1 << 20).unwrap();
    caller.call::<(), _, _>(1, &(), Some(Duration::from_micros(1)), |_| ()).unwrap_err();
    let mut buffer = Vec::new();
    let responder = server.try_recv(&mut buffer).unwrap().unwrap().responder();
    let error = responder.reply::<Vec<u8>, _>(0, &vec![7_u8; 2000]).unwrap_err();
    assert!(matches!(error.cause, LinkError::TooLarge(_)));
    error.responder.reply::<u8, _>(0, &7_u8).unwrap();
}

#[test]
fn what_is_posted_goes_before_what_is_sent_next() {
    const POSTED: u64 = 30_000;
    let (caller, server) = open_calls(MAX).unwrap();
    for number in 0..POSTED {
        caller.post::<u64, _>(1, &number).unwrap();
    }
    let receives = std::thread::spawn(move || {
        let mut buffer = Vec::new();
        for number in 0..=POSTED {
            let (came, responder) = server.recv(&mut buffer).unwrap().decode::<u64>();
            assert_eq!(came.unwrap(), number);
            responder.reply::<(), _>(0, &()).unwrap();
        }
        server
    });
    caller.call::<u64, _, _>(1, &POSTED, None, |_| ()).unwrap();
    drop(receives.join().unwrap());
    assert!(caller.post::<u64, _>(1, &0).is_err());
}
