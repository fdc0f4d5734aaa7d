//! How far a call had come that failed.

use std::thread;
use std::time::Duration;

use super::*;
use crate::link::connection::room::Patience;
use crate::link::connection::waiting::Wait;
use crate::link::poll::Deadline;
use crate::link::{Bytes, CallError, CallProgress, DEFAULT_MAX_FRAME, open_calls};

fn call(caller: &OpenCaller) -> CallError {
    caller.call::<u64, _, _>(ECHO, &1u64, None, |_| ()).unwrap_err()
}

/// Takes requests, and will say nothing about them: as who dies does.
fn take(server: &OpenServer, count: usize) {
    for _ in 0..count {
        server.connection.end().take_bytes(&mut Vec::new(), Wait::until(Deadline::NEVER)).unwrap().unwrap();
    }
}

#[test]
fn the_end_of_the_server_ends_all_calls_and_says_which_were_taken() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| call(&caller))).collect();
        take(&server, 3);
        assert!(eventually(|| caller.engine.slots.lock().in_use() == 8));
        // They have a number, and some may still be sending.
        thread::sleep(Duration::from_millis(20));
        drop(server);
        let errors: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(errors.iter().all(|error| is_closed(&error.cause)), "{errors:?}");
        let count = |progress| errors.iter().filter(|error| error.progress == progress).count();
        assert_eq!((count(CallProgress::Taken), count(CallProgress::NotTaken)), (3, 5), "{errors:?}");
    });
    let error = call(&caller);
    assert!(is_closed(&error.cause), "{error}");
    assert_eq!(error.progress, CallProgress::NotSent);
    assert_eq!(error.to_string(), format!("{} (the call wasn't sent)", error.cause));
}

#[test]
fn places_in_the_ring_go_around_with_it() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    // In parts, and two of them have room in the ring.
    let large = Bytes::from(vec![1; 100_000]);
    let call = || caller.call::<Bytes, _, _>(ECHO, &large, None, |_| ()).unwrap_err();
    thread::scope(|scope| {
        let begun_before = scope.spawn(call);
        take(&server, 1);
        for _ in 0..20 {
            caller.send::<Bytes, _>(ECHO, &large, None).unwrap();
            take(&server, 1);
        }
        let threads = [(); 2].map(|()| scope.spawn(call));
        take(&server, 1);
        assert!(eventually(|| caller.engine.slots.lock().in_use() == 3));
        thread::sleep(Duration::from_millis(20));
        drop(server);
        assert_eq!(begun_before.join().unwrap().progress, CallProgress::Taken);
        let mut progress = threads.map(|thread| thread.join().unwrap().progress);
        progress.sort_by_key(|progress| *progress == CallProgress::Taken);
        assert_eq!(progress, [CallProgress::NotTaken, CallProgress::Taken]);
    });
}

#[test]
fn what_cannot_be_sent_is_not_sent() {
    let (caller, server) = open_calls(10_000).unwrap();
    let not_sent = |error: CallError| {
        assert_eq!(error.progress, CallProgress::NotSent, "{error}");
        error.cause
    };
    let large = Bytes::from(vec![0; 20_000]);
    let error = not_sent(caller.call::<Bytes, _, _>(ECHO, &large, None, |_| ()).unwrap_err());
    assert!(matches!(error, LinkError::TooLarge(_)), "{error}");
    let error = not_sent(caller.send::<Bytes, _>(ECHO, &large, None).unwrap_err());
    assert!(matches!(error, LinkError::TooLarge(_)), "{error}");
    if cfg!(debug_assertions) {
        let error = not_sent(caller.call::<String, _, _>(ECHO, &1u8, None, |_| ()).unwrap_err());
        assert!(matches!(error, LinkError::Encode(_)), "{error}");
    }
    // Nobody takes anything: sooner or later there is no room.
    let fits = Bytes::from(vec![0; 9_000]);
    let timeout = Some(Duration::from_millis(1));
    let full = (0..100).find_map(|_| caller.send::<Bytes, _>(ECHO, &fits, timeout).err());
    assert!(matches!(not_sent(full.unwrap()), LinkError::TimedOut));
    let error = not_sent(caller.call::<Bytes, _, _>(ECHO, &fits, timeout, |_| ()).unwrap_err());
    assert!(matches!(error, LinkError::TimedOut), "{error}");
    assert_eq!(caller.engine.slots.lock().in_use(), 0);
    drop(server);
}

#[test]
fn taken_in_by_who_waits_for_room_is_taken() {
    let (caller, server) = open_calls(1 << 20).unwrap();
    let forever = || Patience::Until(Deadline::NEVER);
    let place = caller.engine.end().send_bytes(&[0; 100], &mut None, forever()).unwrap();
    assert!(!caller.engine.end().was_taken(place));
    thread::scope(|scope| {
        // Twice what has room, and nobody reads.
        let reply =
            scope.spawn(move || server.connection.end().send_bytes(&[0; 1 << 19], &mut None, forever()));
        assert!(eventually(|| caller.engine.end().was_taken(place)));
        drop(caller);
        assert!(is_closed(&reply.join().unwrap().unwrap_err()));
    });
}

#[test]
fn what_was_not_taken_when_a_call_failed_is_never_taken() {
    let (caller, server) = open_calls(DEFAULT_MAX_FRAME).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| call(&caller));
        take(&server, 1);
        let second = scope.spawn(|| call(&caller));
        assert!(eventually(|| caller.engine.slots.lock().in_use() == 2));
        thread::sleep(Duration::from_millis(20));
        // As by who has closed all descriptors and goes on.
        server.connection.end().hang_up();
        assert_eq!(first.join().unwrap().progress, CallProgress::Taken);
        assert_eq!(second.join().unwrap().progress, CallProgress::NotTaken);
    });
    let mut buffer = Vec::new();
    assert!(is_closed(&server.recv(&mut buffer).unwrap_err()));
}
