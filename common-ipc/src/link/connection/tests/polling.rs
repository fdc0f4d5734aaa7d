//! Waiting by poll: readable whenever there is something, however it got there.

use super::*;
use crate::link::safe_select;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

fn is_readable<Out, In>(end: &Connection<Out, In>) -> bool {
    !safe_select(&[end.as_fd()], Some(Duration::ZERO)).unwrap().is_empty()
}

#[test]
fn it_is_readable_as_long_as_something_is_there() {
    let (one, other) = Connection::<u8, u8>::pair().unwrap();
    // Something was there before anybody asked.
    other.send(&1).unwrap();
    assert!(is_readable(&one));
    other.send(&2).unwrap();
    assert_eq!(one.recv().unwrap(), 1);
    assert!(is_readable(&one), "one is left");
    assert_eq!(one.recv().unwrap(), 2);
    while is_readable(&one) {
        assert!(one.try_recv().unwrap().is_none());
    }
    other.send(&3).unwrap();
    assert!(is_readable(&one));
    assert_eq!(one.try_recv().unwrap(), Some(3));
    while is_readable(&one) {
        assert!(one.try_recv().unwrap().is_none());
    }
    drop(other);
    assert!(is_readable(&one));
    assert!(matches!(one.try_recv(), Err(LinkError::Closed)));
    assert!(is_readable(&one), "its end stays to be seen");
}

#[test]
fn no_wake_up_is_lost() {
    const MESSAGES: u32 = 50_000;
    for others_receive_too in [false, true] {
        let (one, other) = Connection::<u32, u32>::pair().unwrap();
        let left = AtomicU32::new(MESSAGES);
        let is_last = || left.fetch_sub(1, SeqCst) == 1;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..MESSAGES {
                    other.send(&number).unwrap();
                    if number % 7 == 0 {
                        std::thread::yield_now();
                    }
                }
                // Kept open: nothing but the messages ends the waits.
                assert_eq!(other.recv().unwrap(), 0);
            });
            if others_receive_too {
                scope.spawn(|| {
                    while left.load(SeqCst) > 0 {
                        if one.recv_timeout(Duration::from_micros(100)).unwrap().is_some() && is_last() {
                            one.send(&0).unwrap();
                        }
                    }
                });
            }
            while left.load(SeqCst) > 0 {
                // Who waits for ten seconds has missed something: all others are quick.
                let ready = safe_select(&[one.as_fd()], Some(Duration::from_secs(10))).unwrap();
                assert!(!ready.is_empty() || left.load(SeqCst) == 0, "a wake-up was lost");
                if one.try_recv().unwrap().is_some() && is_last() {
                    one.send(&0).unwrap();
                }
            }
        });
    }
}

#[test]
fn what_was_taken_in_by_a_blocked_send_is_readable() {
    let (one, other) = Connection::<String, String>::pair_with(1 << 20, 4096).unwrap();
    assert!(!is_readable(&one));
    other.send(&"taken in".to_owned()).unwrap();
    other.send(&"as well".to_owned()).unwrap();
    assert!(one.send_timeout(&"x".repeat(100_000), Duration::from_millis(5)).is_err());
    for text in ["taken in", "as well"] {
        assert!(is_readable(&one));
        assert_eq!(one.try_recv().unwrap().unwrap(), text);
    }
    while is_readable(&one) {
        assert!(one.try_recv().unwrap().is_none());
    }
}

#[test]
fn a_send_does_not_take_the_bell_from_those_who_poll() {
    let (one, other) = Connection::<u8, u8>::pair().unwrap();
    assert!(!is_readable(&one));
    for number in 0..10 {
        other.send(&number).unwrap();
    }
    // Long enough that it looks whether the other side lives, and hears what that has said.
    std::thread::sleep(Duration::from_millis(25));
    one.send(&1).unwrap();
    for number in 0..10 {
        assert!(is_readable(&one));
        assert_eq!(one.try_recv().unwrap(), Some(number));
    }
    assert!(!is_readable(&one));
}
