//! Full rings: who waits, who is told, and that nobody waits for ever.

use super::*;
use crate::link::Queue;

const SMALL: usize = 4096;

#[test]
fn both_sides_send_the_largest_message_at_once() {
    const LARGEST: usize = 1 << 20;
    let (one, other) = Connection::<String, String>::pair_with(LARGEST + 8, SMALL).unwrap();
    std::thread::scope(|scope| {
        for end in [one, other] {
            scope.spawn(move || {
                end.send(&"x".repeat(LARGEST)).unwrap();
                assert_eq!(end.recv().unwrap().len(), LARGEST);
            });
        }
    });
}

#[test]
fn many_small_messages_both_ways_at_once() {
    // What one side has taken in while it waited stays in order with what comes after it.
    let (one, other) = Connection::<u32, u32>::pair_with(1 << 20, SMALL).unwrap();
    std::thread::scope(|scope| {
        for end in [one, other] {
            scope.spawn(move || {
                (0..5_000).for_each(|number| end.send(&number).unwrap());
                (0..5_000).for_each(|number| assert_eq!(end.recv().unwrap(), number));
            });
        }
    });
}

#[test]
fn what_nobody_receives_is_bounded() {
    let (one, other) = Connection::<String, String>::pair_with(8192, SMALL).unwrap();
    let message = "x".repeat(100);
    let mut sent = 0;
    while one.send_timeout(&message, Duration::from_millis(30)).is_ok() {
        sent += 1;
    }
    assert!((30..40).contains(&sent), "{sent}");
    assert!(matches!(one.try_send(&message), Err(LinkError::Full)));
    for _ in 0..sent {
        assert_eq!(other.recv().unwrap(), message);
    }
    one.try_send(&message).unwrap();
    assert_eq!(other.recv().unwrap(), message);
    assert!(other.try_recv().unwrap().is_none());
}

#[test]
fn what_is_taken_in_while_waiting_is_bounded() {
    let (one, other) = Connection::<String, String>::pair_with(50_000, SMALL).unwrap();
    let message = "x".repeat(1000);
    // Nobody receives here, and everybody sends: a time-out ends it on both sides.
    let sent = std::thread::scope(|scope| {
        let flood = |end: Connection<String, String>, message: String| {
            move || {
                let mut sent = 0;
                while end.send_timeout(&message, Duration::from_millis(200)).is_ok() {
                    sent += 1;
                }
                (end, sent)
            }
        };
        let (a, b) = (scope.spawn(flood(one, message.clone())), scope.spawn(flood(other, message.clone())));
        [a.join().unwrap(), b.join().unwrap()]
    });
    let [(one, by_one), (other, by_other)] = sent;
    assert!(by_one < 70 && by_other < 70, "{by_one} {by_other}");
    for _ in 0..by_one {
        assert_eq!(other.recv().unwrap(), message);
    }
    for _ in 0..by_other {
        assert_eq!(one.recv().unwrap(), message);
    }
}

#[test]
fn a_send_that_times_out_half_way_leaves_the_connection_usable() {
    let (one, other) = Connection::<String, ()>::pair_with(1 << 20, SMALL).unwrap();
    for round in 0..3 {
        let error = one.send_timeout(&"x".repeat(100_000), Duration::from_millis(5)).unwrap_err();
        assert!(matches!(error, LinkError::TimedOut), "{error}");
        let next = format!("round {round}");
        std::thread::scope(|scope| {
            scope.spawn(|| one.send(&next).unwrap());
            assert_eq!(other.recv().unwrap(), next);
        });
    }
}

#[test]
fn what_was_given_up_half_way_is_no_message() {
    let (one, other) = Connection::<String, ()>::pair_with(1 << 20, SMALL).unwrap();
    assert!(one.send_timeout(&"x".repeat(100_000), Duration::from_millis(5)).is_err());
    drop(one);
    assert!(matches!(other.recv(), Err(LinkError::Closed)));
}

#[test]
fn try_send_sends_all_or_nothing() {
    let (one, other) = Connection::<String, ()>::pair_with(1 << 20, SMALL).unwrap();
    assert!(matches!(one.try_send(&"x".repeat(5000)), Err(LinkError::TooLarge(_))));
    one.try_send(&"x".repeat(3000)).unwrap();
    assert!(matches!(one.try_send(&"y".repeat(3000)), Err(LinkError::Full)));
    assert_eq!(other.recv().unwrap().len(), 3000);
    assert!(other.try_recv().unwrap().is_none());
    one.try_send(&"y".repeat(100)).unwrap();
    assert_eq!(other.recv().unwrap().len(), 100);
    // Whoever finds the ring empty says so: all of it can be had.
    assert!(other.try_recv().unwrap().is_none());
    one.try_send(&"z".repeat(4000)).unwrap();
    assert_eq!(other.recv().unwrap().len(), 4000);
}

#[test]
fn too_large_a_message_is_refused_whole() {
    let (one, other) = Connection::<String, u8>::pair_with_max(100).unwrap();
    assert!(matches!(one.send(&"x".repeat(93)), Err(LinkError::TooLarge(_))));
    for length in [91, 92] {
        one.send(&"x".repeat(length)).unwrap();
        assert_eq!(other.recv().unwrap().len(), length);
    }
    let (one, _other) = Connection::<Bytes, ()>::pair_with_max(10_000).unwrap();
    assert!(matches!(one.send(&vec![0; 10_001].into()), Err(LinkError::TooLarge(_))));
}

#[test]
fn a_drop_ends_a_blocked_send() {
    let (one, other) = Connection::<String, ()>::pair_with(1 << 20, SMALL).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| one.send(&"x".repeat(100_000)));
        std::thread::sleep(Duration::from_millis(5));
        drop(other);
        assert!(matches!(waiting.join().unwrap(), Err(LinkError::Closed)));
    });
}

#[test]
fn others_wait_for_who_waits_for_room_and_give_up_in_time() {
    let (one, _other) = Connection::<String, String>::pair_with(1 << 20, SMALL).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| one.send_timeout(&"x".repeat(100_000), Duration::from_millis(200)));
        while one.try_send(&String::new()).is_ok() {}
        let timed = one.send_timeout(&"y".to_owned(), Duration::from_millis(5));
        assert!(matches!(timed, Err(LinkError::TimedOut)));
        assert!(one.recv_timeout(Duration::from_millis(5)).unwrap().is_none());
    });
}

#[test]
fn an_empty_ring_is_never_full() {
    let (one, other) = Connection::<String, ()>::pair_with(1 << 20, SMALL).unwrap();
    for length in SMALL - 100..SMALL {
        match one.try_send(&"x".repeat(length)) {
            Ok(()) => assert_eq!(other.recv().unwrap().len(), length),
            Err(error) => assert!(matches!(error, LinkError::TooLarge(_)), "{length}: {error}"),
        }
        // Also what was refused leaves nothing behind.
        assert!(other.try_recv().unwrap().is_none());
    }
}

#[test]
fn a_flood_does_not_hold_up_a_send_with_a_deadline() {
    let (one, other) = Connection::<String, u8>::pair_with(1 << 20, SMALL).unwrap();
    let (one, other) = (&one, &other);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = other.send_timeout(&1, Duration::from_millis(1));
            }
        });
        // It arrives, or it doesn't: the other side takes it in while it waits for room itself.
        let _ = one.send_timeout(&"x".repeat(100_000), Duration::from_millis(30));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn what_was_given_up_in_a_full_ring_is_told_later() {
    let (one, other) = Connection::<String, ()>::pair_with(1 << 20, SMALL).unwrap();
    // With this before them three quarters leave no room for another header.
    let before = "x".repeat(996);
    one.send(&before).unwrap();
    assert!(one.send_timeout(&"y".repeat(100_000), Duration::from_millis(5)).is_err());
    assert!(one.end.sending.lock().is_midway());
    assert_eq!(other.recv().unwrap(), before);
    assert!(other.try_recv().unwrap().is_none());
    one.send(&"after".to_owned()).unwrap();
    assert_eq!(other.recv().unwrap(), "after");
}

/// Descriptors go beside the ring, where there is less room.
#[test]
fn descriptors_that_nobody_takes_are_bounded() {
    let (one, other) = Connection::<Queue<u8>, u8>::pair_with(1 << 10, 1 << 20).unwrap();
    let queue = Queue::new().unwrap();
    let mut sent = 0;
    while one.try_send(&queue).is_ok() {
        sent += 1;
    }
    assert!((1..10_000).contains(&sent), "{sent}");
    assert!(matches!(one.try_send(&queue), Err(LinkError::Full)));
    assert!(matches!(one.send_timeout(&queue, Duration::from_millis(20)), Err(LinkError::TimedOut)));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| one.send(&queue));
        std::thread::sleep(Duration::from_millis(5));
        for _ in 0..=sent {
            drop(other.recv().unwrap());
        }
        waiting.join().unwrap().unwrap();
    });
    assert!(other.try_recv().unwrap().is_none());
    // Nor are they for ever.
    while one.try_send(&queue).is_ok() {}
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| one.send(&queue));
        std::thread::sleep(Duration::from_millis(5));
        drop(other);
        assert!(matches!(waiting.join().unwrap(), Err(LinkError::Closed)));
    });
}

#[test]
fn an_end_whose_other_side_hears_nothing_cannot_move_yet() {
    let (moves, deaf) = Connection::<Queue<u8>, u8>::pair_with(1 << 10, 1 << 20).unwrap();
    let (one, other) = Connection::<Connection<Queue<u8>, u8>, u8>::pair().unwrap();
    let queue = Queue::new().unwrap();
    let mut sent = 0;
    while moves.try_send(&queue).is_ok() {
        sent += 1;
    }
    assert!(matches!(one.try_send(&moves), Err(LinkError::Full)));
    assert!(matches!(one.send_timeout(&moves, Duration::from_millis(20)), Err(LinkError::TimedOut)));
    for _ in 0..sent {
        drop(deaf.recv().unwrap());
    }
    // It is here as before, and then there.
    moves.send(&queue).unwrap();
    drop(deaf.recv().unwrap());
    one.send(&moves).unwrap();
    let moved = other.recv().unwrap();
    moved.send(&queue).unwrap();
    drop(deaf.recv().unwrap());
}
