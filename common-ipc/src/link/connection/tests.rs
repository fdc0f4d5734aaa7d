use super::*;
use crate::link::Bytes;

#[test]
fn messages_go_both_ways_between_threads() {
    let (one, other) = Connection::<String, usize>::pair().unwrap();
    let echo = std::thread::spawn(move || {
        while let Ok(text) = other.recv() {
            other.send(&text.len()).unwrap();
        }
    });
    for length in [0, 1, 1000, 1 << 20] {
        one.send(&"x".repeat(length)).unwrap();
        assert_eq!(one.recv().unwrap(), length);
    }
    drop(one);
    echo.join().unwrap();
}

#[test]
fn what_was_sent_before_the_end_is_received_before_the_error() {
    let (one, other) = Connection::<u8, u8>::pair().unwrap();
    one.send(&1).unwrap();
    drop(one);
    assert_eq!(other.recv().unwrap(), 1);
    assert!(matches!(other.recv(), Err(LinkError::Closed)));
    assert!(matches!(other.send(&1), Err(LinkError::Closed)));
}

#[test]
fn too_large_a_message_is_refused_whole() {
    let (one, other) = Connection::<String, u8>::pair_with_max(100).unwrap();
    assert!(matches!(one.send(&"x".repeat(200)), Err(LinkError::TooLarge(_))));
    one.send(&"fits".to_owned()).unwrap();
    assert_eq!(other.recv().unwrap(), "fits");
}

#[test]
fn four_threads_send_large_messages_unmixed() {
    let (one, other) = Connection::<Vec<u32>, ()>::pair().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let one = one.clone();
            scope.spawn(move || {
                for _ in 0..10 {
                    one.send(&vec![thread; 50_000]).unwrap();
                }
            });
        }
        for _ in 0..40 {
            let message = other.recv().unwrap();
            assert_eq!(message.len(), 50_000);
            assert!(message.iter().all(|word| *word == message[0]));
        }
    });
}

#[test]
fn bytes_travel_beside_the_message() {
    let (one, other) = Connection::<(u8, Vec<Bytes>, Bytes), ()>::pair_with(1 << 24, 4096).unwrap();
    let message =
        (7, vec![Bytes::new(), vec![1; 4095].into(), vec![2; 4096].into()], Bytes::from(vec![3; 1 << 20]));
    std::thread::scope(|scope| {
        scope.spawn(|| one.send(&message).unwrap());
        assert_eq!(other.recv().unwrap(), message);
    });
}
