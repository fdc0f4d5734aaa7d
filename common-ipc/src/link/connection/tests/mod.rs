//! What a connection does, between threads; what it does between processes is for the integration tests.

#[cfg(feature = "tokio")]
mod asynchronous;
mod hostile;
mod polling;
mod room;
mod travel;

use super::*;
use crate::link::Bytes;
use crate::link::codec;
use crate::link::ring::{END, START};
use proptest::prelude::*;

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
    assert!(matches!(other.try_recv(), Err(LinkError::Closed)));
    assert!(matches!(other.send(&1), Err(LinkError::Closed)));
    assert!(matches!(other.try_send(&1), Err(LinkError::Closed)));
}

#[test]
fn a_drop_ends_a_blocked_recv() {
    let (one, other) = Connection::<u8, u8>::pair().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other.recv());
        std::thread::sleep(Duration::from_millis(5));
        drop(one);
        assert!(matches!(waiting.join().unwrap(), Err(LinkError::Closed)));
    });
}

#[test]
fn halves_send_and_receive_in_each_way() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    const LONG: Duration = Duration::from_secs(20);
    let (one, other) = Connection::<u8, u8>::pair().unwrap();
    let (sender, receiver) = (one.split().0, other.split().1);
    sender.try_send(&1).unwrap();
    sender.send_timeout(&2, LONG).unwrap();
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), Some(1));
    assert_eq!(receiver.try_recv().unwrap(), Some(2));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(5)).unwrap(), None);
    let is_readable =
        |time| poll(&mut [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)], time).unwrap() == 1;
    assert!(!is_readable(PollTimeout::ZERO));
    sender.send(&3).unwrap();
    assert!(is_readable(PollTimeout::from(20_000u16)));
    assert_eq!(receiver.try_recv().unwrap(), Some(3));
}

#[test]
fn halves_and_clones_share_an_end() {
    let (one, other) = Connection::<u8, u8>::pair().unwrap();
    let (sender, receiver) = one.split();
    sender.clone().send(&1).unwrap();
    assert_eq!(other.recv().unwrap(), 1);
    drop(sender);
    other.send(&2).unwrap();
    assert_eq!(receiver.recv().unwrap(), 2);
    assert!(receiver.try_recv().unwrap().is_none());
    drop(receiver);
    assert!(matches!(other.send(&3), Err(LinkError::Closed)));
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
fn four_threads_receive_each_message_once() {
    const MESSAGES: u64 = 20_000;
    let (one, other) = Connection::<u64, ()>::pair().unwrap();
    let sum = std::thread::scope(|scope| {
        let receivers: Vec<_> = (0..4).map(|_| scope.spawn(|| other.iter().flatten().sum::<u64>())).collect();
        (0..MESSAGES).for_each(|number| one.send(&number).unwrap());
        drop(one);
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum::<u64>()
    });
    assert_eq!(sum, MESSAGES * (MESSAGES - 1) / 2);
}

#[test]
fn a_message_may_be_sent_from_within_another() {
    thread_local! {
        static OTHER: std::cell::RefCell<Option<Connection<Bytes, Bytes>>> = const { std::cell::RefCell::new(None) };
    }
    /// Sends one of its own while it is serialised, and while it is deserialised.
    #[derive(Debug, PartialEq)]
    struct Nosy(Bytes);
    impl Serialize for Nosy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            OTHER.with_borrow(|other| other.as_ref().unwrap().send(&vec![1; 5000].into()).unwrap());
            self.0.serialize(serializer)
        }
    }
    impl<'de> serde::Deserialize<'de> for Nosy {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            OTHER.with_borrow(|other| other.as_ref().unwrap().send(&vec![2; 5000].into()).unwrap());
            Bytes::deserialize(deserializer).map(Nosy)
        }
    }
    let (side, far_side) = Connection::<Bytes, Bytes>::pair().unwrap();
    OTHER.set(Some(side));
    let (one, other) = Connection::<(Bytes, Nosy, Bytes), ()>::pair().unwrap();
    let message = (vec![3; 5000].into(), Nosy(vec![4; 6000].into()), vec![5; 7000].into());
    one.send(&message).unwrap();
    assert_eq!(other.recv().unwrap(), message);
    assert_eq!(far_side.recv().unwrap()[0], 1);
    assert_eq!(far_side.recv().unwrap()[0], 2);
    OTHER.set(None);
}

/// Lengths around every edge that there is for a ring of 64 KiB and a cap.
const CAP: usize = 700_000;

fn lengths() -> impl Strategy<Value = usize> {
    let edges = [0, 1, 4096, DEFAULT_RING / 4, DEFAULT_RING / 2, DEFAULT_RING, 2 * DEFAULT_RING, CAP - 100];
    (prop::sample::select(edges.to_vec()), -20isize..=20)
        .prop_map(|(edge, off)| edge.saturating_add_signed(off))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn messages_of_every_length_come_back(lengths in prop::collection::vec((lengths(), any::<bool>()), 1..12)) {
        let (one, other) = Connection::<(String, Bytes), (String, Bytes)>::pair_with_max(CAP).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || for message in other.iter() { other.send(&message.unwrap()).unwrap() });
            for (length, as_bytes) in lengths {
                let text = "z".repeat(if as_bytes { 3 } else { length });
                let bytes = Bytes::from(vec![length as u8; if as_bytes { length } else { 3 }]);
                let message = (text, bytes);
                one.send(&message).unwrap();
                assert_eq!(one.recv().unwrap(), message);
            }
            drop(one);
        });
    }
}

/// Writes a chunk as it is, as only a peer that doesn't use this library does.
fn write_raw<Out, In>(connection: &Connection<Out, In>, flags: u32, bytes: &[u8]) {
    let view = connection.end.view().unwrap();
    let producer = &mut connection.end.sending.lock().producer;
    assert!(producer.room(view).unwrap() >= Some(bytes.len() as u32));
    producer.put(view, bytes);
    producer.commit(view, flags);
    if producer.must_ring(view) {
        crate::link::control::ring(connection.end.wires.control.get().unwrap());
    }
}

#[test]
fn a_value_is_encoded_as_it_always_was() {
    let (one, other) = Connection::<(), String>::pair().unwrap();
    write_raw(&other, START | END, &codec::encode("text").unwrap());
    assert_eq!(one.recv().unwrap(), "text");
}
